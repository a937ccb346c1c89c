//! The end of a connection, which the protocol is told exactly once.

use saburo_core::net;

use crate::event_loop::{Direction, Loop};
use crate::ffi::{Instance, Object, Raised, Res, aside, none, string};
use crate::names::names;

use super::{Event, Phase, StreamTransport, failure, protocol, write};

pub(super) fn close(this: &Instance<StreamTransport>) -> Res<()> {
    if this.is_closing() {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    this.phase.set(Phase::Closing);
    event_loop.unwatch_transport(this.fd.get(), Direction::Read);
    if this.waiting_for_room.get() {
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

/// The same, but the socket is its owner's again, and stays open.
pub(super) fn leave_socket(this: &Instance<StreamTransport>) -> Res<()> {
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    abort(this)?;
    drop(event_loop.transports().leave(this.fd.replace(-1), this.as_object()));
    drop(this.socket.take());
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
    if failure::ends_the_run(&raised) {
        return Err(raised);
    }
    let exception = raised.take();
    let reported = failure::report(event_loop, this.as_object(), &exception, message);
    aside(|| force_close(event_loop, this, Some(&exception)))?;
    reported
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
    if this.waiting_for_room.replace(false) {
        event_loop.unwatch_transport(this.fd.get(), Direction::Write);
    }
    if this.phase.get() == Phase::Open {
        event_loop.unwatch_transport(this.fd.get(), Direction::Read);
    }
    schedule_lost(event_loop, this, cause)
}

/// The protocol will be told in the next turn.
pub(super) fn schedule_lost(
    event_loop: &Instance<Loop>,
    this: &Instance<StreamTransport>,
    cause: Option<&Object>,
) -> Res<()> {
    this.phase.set(Phase::Ending);
    this.cause.set(cause.map(Object::to_obj));
    if !this.context_given.get() {
        this.context.set(Some(event_loop.contexts().copy_current()?));
    }
    event_loop.tell_later(this.as_object(), Event::Lost)
}

/// Tells the protocol, and closes the descriptor.
pub(super) fn lost(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.phase.get() == Phase::Closed {
        return Ok(());
    }
    let told = match (this.protocol.get(), this.context.get()) {
        (Some(target), Some(context)) => {
            let cause = this.cause.take().unwrap_or_else(none);
            protocol::call(context.as_object(), &target, &names().connection_lost, &[&cause]).map(drop)
        }
        _ => Ok(()),
    };
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
    let closed = close_descriptor(this);
    drop(event_loop.transports().leave(this.fd.get(), this.as_object()));
    drop((this.protocol.take(), this.event_loop.take(), this.context.take(), this.waiter.take()));
    if let Some(server) = server {
        server.method(&names().detach, &[this.as_object()])?;
    }
    if let Some(waiter) = waiter
        && !waiter.method(&names().done, &[])?.truth()?
    {
        let error = names().connection_error.call(&[&*string("Connection is closed by peer")?])?;
        waiter.method(&names().set_exception, &[&error])?;
    }
    closed
}

/// Closed once, by whoever owns it. The loop has stopped watching it before.
fn close_descriptor(this: &StreamTransport) -> Res<()> {
    if this.local.borrow().is_none() {
        // Whoever asks later for the address of this end gets it as before.
        *this.local.borrow_mut() = net::local_address(this.fd.get()).ok().flatten();
    }
    drop(this.descriptor.take());
    match this.socket.take() {
        Some(socket) => socket.method(&names().close, &[]).map(drop),
        None => Ok(()),
    }
}

/// The last reference is gone, and nobody has closed it.
#[cold]
pub(super) fn abandoned(this: &Instance<StreamTransport>) {
    if this.phase.get() == Phase::Closed || this.fd.get() < 0 {
        return;
    }
    if let Err(raised) = warn_unclosed(this) {
        raised.unraisable(this.as_object());
    }
    this.phase.set(Phase::Closed);
    let server = this.server.take();
    let detached = close_descriptor(this)
        .and_then(|()| server.map(|server| server.method(&names().detach, &[this.as_object()])).transpose());
    if let Err(raised) = detached {
        raised.unraisable(this.as_object());
    }
}

fn warn_unclosed(this: &Instance<StreamTransport>) -> Res<()> {
    let names = names();
    let message = string(&format!("unclosed transport {}", this.as_object().repr()?))?;
    let args = [&*message, &*names.resource_warning, this.as_object()];
    names.warn.call_with_names(&args, Some(&names.kw_source)).map(drop)
}
