//! The end of a datagram transport; the protocol is told exactly once.

use crate::event_loop::{Direction, Loop};
use crate::ffi::{Instance, Raised, Res};
use crate::names::names;

use super::super::ending::Ending;
use super::super::life::ConnectionState;
use super::{DatagramTransport, send};

pub(super) fn close(this: &Instance<DatagramTransport>) -> Res<()> {
    if this.is_closing() {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    this.phase.set(ConnectionState::Closing);
    this.watches.end(&event_loop, Direction::Read);
    if !this.queue.borrow().is_empty() {
        // Writable events send the rest, and then end the transport.
        return Ok(());
    }
    send::stop_writing(&event_loop, this);
    this.schedule_lost(&event_loop, this, None)
}

/// A datagram cannot be sent, or an earlier one has found no receiver. The protocol is told, in the current
/// context, and the transport continues.
#[cold]
pub(super) fn tell_error(this: &Instance<DatagramTransport>, raised: Raised) -> Res<()> {
    let exception = raised.take();
    match this.protocol.get() {
        Some(target) => target.method(&names().error_received, &[&exception]).map(drop),
        None => Ok(()),
    }
}

impl Ending for DatagramTransport {
    fn stop_watching(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) {
        send::stop_writing(event_loop, this);
        if this.phase.get() == ConnectionState::Open {
            this.watches.end(event_loop, Direction::Read);
        }
    }

    fn drop_unsent(this: &Instance<DatagramTransport>) {
        this.queued.set(0);
        let unsent = std::mem::take(&mut *this.queue.borrow_mut());
        drop(unsent);
    }

    fn close_descriptor(this: &Instance<DatagramTransport>) -> Res<()> {
        this.endpoint.close(this)
    }
}
