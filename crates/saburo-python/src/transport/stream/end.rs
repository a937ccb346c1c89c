//! The end of a connection, which the protocol is told exactly once.

use crate::event_loop::{Direction, Loop};
use crate::ffi::{Instance, Object, Raised, Res, aside, string};
use crate::future;
use crate::names::names;

use super::super::clients;
use super::super::life::Life;
use super::{Phase, StreamTransport, failure, write};

pub(super) fn close(this: &Instance<StreamTransport>) -> Res<()> {
    if this.is_closing() {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    this.phase.set(Phase::Closing);
    this.watches.end(&event_loop, Direction::Read);
    if this.outgoing.is_blocked() {
        // Writable events send the rest, and end it.
        return Ok(());
    }
    write::flush(&event_loop, this)
}

/// Ends the connection without waiting. What was written in this turn before is tried once: on asyncio it
/// would have left with the call that wrote it.
pub(super) fn abort(this: &Instance<StreamTransport>) -> Res<()> {
    if let Some(event_loop) = this.open_loop() {
        write::send_gathered(&event_loop, this)?;
        force_close(&event_loop, this, None)?;
    }
    Ok(())
}

/// `_force_close(exception)`: abort() because of something.
pub(super) fn force_close_with(this: &Instance<StreamTransport>, exception: &Object) -> Res<()> {
    match this.open_loop() {
        Some(event_loop) => {
            write::send_gathered(&event_loop, this)?;
            force_close(&event_loop, this, Some(exception).filter(|cause| !cause.is_none()))
        }
        None => Ok(()),
    }
}

/// Something is wrong beyond repair: it is reported, and the connection ends.
#[cold]
pub(super) fn fatal(
    event_loop: &Instance<Loop>,
    this: &Instance<StreamTransport>,
    raised: Raised,
    message: &str,
) -> Res<()> {
    failure::fatal(event_loop, this.as_object(), raised, message, |exception| {
        force_close(event_loop, this, Some(exception))
    })
}

fn force_close(
    event_loop: &Instance<Loop>,
    this: &Instance<StreamTransport>,
    cause: Option<&Object>,
) -> Res<()> {
    if this.phase.get() >= Phase::Ending {
        return Ok(());
    }
    let unsent = this.queue.borrow_mut().take();
    drop(unsent);
    if this.outgoing.unblock() {
        this.watches.end(event_loop, Direction::Write);
    }
    if this.phase.get() == Phase::Open {
        this.watches.end(event_loop, Direction::Read);
    }
    this.schedule_lost(event_loop, this, cause)
}

/// In a forked child: what waits to be sent is the parent's to send.
pub(super) fn leave_to_parent(this: &Instance<StreamTransport>) -> Res<()> {
    Life::leave_to_parent(this);
    let unsent = this.queue.borrow_mut().take();
    std::mem::forget(unsent);
    match this.protocol.get() {
        Some(target) => this.receiver.get().leave_to_parent(&target),
        None => Ok(()),
    }
}

/// Tells the protocol, and closes the descriptor.
pub(super) fn lost(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.phase.get() == Phase::Closed {
        return Ok(());
    }
    let told = this.tell_lost();
    aside(|| release(event_loop, this))?;
    told
}

/// Closes a connection that no protocol has been told of.
pub(super) fn discard(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    release(event_loop, this)
}

/// Closes the descriptor and lets go of everything.
fn release(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    this.phase.set(Phase::Closed);
    let server = this.server.take();
    let waiter = this.empty_waiter.take();
    if let Some(room) = this.room_waiter.take()
        && let Err(raised) = future::cancel(&room, None)
    {
        raised.unraisable(this.as_object());
    }
    let closed = this.endpoint.close(this);
    this.part(event_loop, this.as_object());
    if let Some(server) = server {
        clients::detach(&server)?;
    }
    if let Some(waiter) = waiter
        && !waiter.method(&names().done, &[])?.truth()?
    {
        let error = names().connection_error.call(&[&*string("Connection is closed by peer")?])?;
        waiter.method(&names().set_exception, &[&error])?;
    }
    closed
}

/// The last reference is gone.
#[cold]
pub(super) fn abandoned(this: &Instance<StreamTransport>) {
    if !this.was_left_open(this.as_object()) {
        return;
    }
    let server = this.server.take();
    let detached =
        this.endpoint.close(this).and_then(|()| server.map_or(Ok(()), |server| clients::detach(&server)));
    if let Err(raised) = detached {
        raised.unraisable(this.as_object());
    }
}
