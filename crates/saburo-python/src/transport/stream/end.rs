//! The end of a connection; the protocol is told exactly once.

use crate::event_loop::{Direction, Loop};
use crate::ffi::{Instance, Object, Res, builtin, string};
use crate::future;
use crate::names::names;

use super::super::clients;
use super::super::ending::{self, Ending};
use super::super::life::Life;
use super::{ConnectionState, StreamTransport, write};

pub(super) fn close(this: &Instance<StreamTransport>) -> Res<()> {
    if this.is_closing() {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    this.phase.set(ConnectionState::Closing);
    this.watches.end(&event_loop, Direction::Read);
    if this.outgoing.is_blocked() {
        // Writable events send the rest, and then end the transport.
        return Ok(());
    }
    write::send_now(&event_loop, this)
}

/// Ends the connection without waiting. Data written earlier in this turn is tried once: on asyncio it would
/// have been sent by the call that wrote it.
pub(super) fn abort(this: &Instance<StreamTransport>) -> Res<()> {
    if let Some(event_loop) = this.open_loop() {
        write::send_gathered(&event_loop, this)?;
    }
    ending::abort(this)
}

/// `_force_close(exception)`: `abort()` because of an exception.
pub(super) fn force_close_with(this: &Instance<StreamTransport>, exception: &Object) -> Res<()> {
    if let Some(event_loop) = this.open_loop() {
        write::send_gathered(&event_loop, this)?;
    }
    ending::force_close_with(this, exception)
}

/// In a forked child: waiting data belongs to the parent, which sends it.
pub(super) fn leave_to_parent(this: &Instance<StreamTransport>) -> Res<()> {
    Life::leave_to_parent(this);
    let unsent = this.queue.borrow_mut().take();
    std::mem::forget(unsent);
    match this.protocol.get() {
        Some(target) => this.receiver.get().leave_to_parent(&target),
        None => Ok(()),
    }
}

impl Ending for StreamTransport {
    fn stop_watching(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) {
        if this.outgoing.unblock() {
            this.watches.end(event_loop, Direction::Write);
        }
        if this.phase.get() == ConnectionState::Open {
            this.watches.end(event_loop, Direction::Read);
        }
    }

    fn drop_unsent(this: &Instance<StreamTransport>) {
        let unsent = this.queue.borrow_mut().take();
        drop(unsent);
    }

    fn close_descriptor(this: &Instance<StreamTransport>) -> Res<()> {
        this.endpoint.close(this)
    }

    fn release(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
        this.phase.set(ConnectionState::Closed);
        let server = this.server.take();
        let waiter = this.empty_waiter.take();
        if let Some(room) = this.room_waiter.take()
            && let Err(raised) = future::cancel(&room, None)
        {
            raised.unraisable(this.as_object());
        }
        let closed = Self::close_descriptor(this);
        this.part(event_loop, this.as_object());
        if let Some(server) = server {
            clients::leave(&server)?;
        }
        if let Some(waiter) = waiter
            && !waiter.method(&names().done, &[])?.truth()?
        {
            let error = builtin::connection_error().call(&[&*string("Connection is closed by peer")?])?;
            waiter.method(&names().set_exception, &[&error])?;
        }
        closed
    }

    fn abandon(this: &Instance<StreamTransport>) -> Res<()> {
        let server = this.server.take();
        Self::close_descriptor(this)?;
        server.map_or(Ok(()), |server| clients::leave(&server))
    }
}
