//! The end of a datagram transport, which the protocol is told exactly once.

use crate::event_loop::{Direction, Loop};
use crate::ffi::{Instance, Object, Raised, Res, aside};
use crate::names::names;

use super::super::failure;
use super::super::life::Phase;
use super::{DatagramTransport, send};

pub(super) fn close(this: &Instance<DatagramTransport>) -> Res<()> {
    if this.is_closing() {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    this.phase.set(Phase::Closing);
    this.watches.end(&event_loop, Direction::Read);
    if !this.queue.borrow().is_empty() {
        // Writable events send the rest, and end it.
        return Ok(());
    }
    send::stop_writing(&event_loop, this);
    this.schedule_lost(&event_loop, this, None)
}

/// Ends it without waiting; what is queued is lost.
pub(super) fn abort(this: &Instance<DatagramTransport>) -> Res<()> {
    match this.open_loop() {
        Some(event_loop) => force_close(&event_loop, this, None),
        None => Ok(()),
    }
}

/// `_force_close(exception)`
pub(super) fn force_close_with(this: &Instance<DatagramTransport>, exception: &Object) -> Res<()> {
    match this.open_loop() {
        Some(event_loop) => force_close(&event_loop, this, Some(exception).filter(|cause| !cause.is_none())),
        None => Ok(()),
    }
}

/// A datagram cannot be sent, or an earlier one has found nobody there. The protocol is told, where it
/// stands, and the transport goes on.
#[cold]
pub(super) fn tell_error(this: &Instance<DatagramTransport>, raised: Raised) -> Res<()> {
    let exception = raised.take();
    match this.protocol.get() {
        Some(target) => target.method(&names().error_received, &[&exception]).map(drop),
        None => Ok(()),
    }
}

/// Something is wrong beyond repair: it is reported, and the transport ends.
#[cold]
pub(super) fn fatal(
    event_loop: &Instance<Loop>,
    this: &Instance<DatagramTransport>,
    raised: Raised,
    message: &str,
) -> Res<()> {
    failure::fatal(event_loop, this.as_object(), raised, message, |exception| {
        force_close(event_loop, this, Some(exception))
    })
}

fn force_close(
    event_loop: &Instance<Loop>,
    this: &Instance<DatagramTransport>,
    cause: Option<&Object>,
) -> Res<()> {
    if this.phase.get() >= Phase::Ending {
        return Ok(());
    }
    send::stop_writing(event_loop, this);
    if this.phase.get() == Phase::Open {
        this.watches.end(event_loop, Direction::Read);
    }
    let scheduled = this.schedule_lost(event_loop, this, cause);
    this.queued.set(0);
    let unsent = std::mem::take(&mut *this.queue.borrow_mut());
    drop(unsent);
    scheduled
}

/// Tells the protocol, and closes the socket.
pub(super) fn lost(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
    if this.phase.get() == Phase::Closed {
        return Ok(());
    }
    let told = this.tell_lost();
    let closed = aside(|| {
        this.phase.set(Phase::Closed);
        let closed = this.endpoint.close(this);
        this.part(event_loop, this.as_object());
        closed
    });
    told.and(closed)
}

/// The last reference is gone.
#[cold]
pub(super) fn abandoned(this: &Instance<DatagramTransport>) {
    if this.was_left_open(this.as_object())
        && let Err(raised) = this.endpoint.close(this)
    {
        raised.unraisable(this.as_object());
    }
}
