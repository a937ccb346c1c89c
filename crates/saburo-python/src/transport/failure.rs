//! Errors of a connection, and where they are reported.

use crate::event_loop::Loop;
use crate::ffi::{Context, Instance, Object, Raised, Res, aside, string};
use crate::handle::{self, Arguments};
use crate::names::names;

/// Reports an exception from a protocol or the kernel: a debug message for an OSError, else the exception
/// handler.
#[cold]
pub(super) fn report(
    event_loop: &Instance<Loop>,
    transport: &Object,
    exception: &Object,
    message: &str,
) -> Res<()> {
    event_loop
        .as_object()
        .method(&names().report_transport, &[transport, exception, &*string(message)?])
        .map(drop)
}

/// A fatal error: it is reported as `message`, and then `end` ends the transport.
#[cold]
pub(super) fn fatal(
    event_loop: &Instance<Loop>,
    transport: &Object,
    raised: Raised,
    message: &str,
    end: impl FnOnce(&Object) -> Res<()>,
) -> Res<()> {
    if raised.ends_the_run() {
        return Err(raised);
    }
    let exception = raised.take();
    let reported = report(event_loop, transport, &exception, message);
    let ended = aside(|| end(&exception));
    reported.and(ended)
}

/// Reports an exception that the method `name` of a transport or protocol has raised, called with `args` in
/// `context`, as an exception of any callback of the loop is reported. An exception that ends the run is
/// passed on.
///
/// The report enters the context again, so the caller must have left it.
#[cold]
pub(crate) fn report_callback(
    event_loop: &Instance<Loop>,
    raised: Raised,
    object: &Object,
    name: &Object,
    args: &[&Object],
    context: Context,
) -> Res<()> {
    if raised.ends_the_run() {
        return Err(raised);
    }
    let callback = aside(|| object.attr(name))?;
    handle::report_call(event_loop, raised, &callback, &Arguments::from_slice(args)?, context)
}

/// Reports that reading from a pipe has failed.
#[cold]
pub(super) fn report_read_pipe(
    event_loop: &Instance<Loop>,
    transport: &Object,
    exception: &Object,
) -> Res<()> {
    event_loop.as_object().method(&names().report_read_pipe, &[transport, exception]).map(drop)
}

/// In debug mode, logs as asyncio does that the other end of a pipe was closed.
pub(super) fn closed_by_peer(event_loop: &Instance<Loop>, transport: &Object) -> Res<()> {
    if !event_loop.debug() {
        return Ok(());
    }
    event_loop.as_object().method(&names().log_closed_by_peer, &[transport]).map(drop)
}

/// In debug mode, logs `words` about the transport as asyncio does.
#[inline]
pub(super) fn debug(event_loop: &Instance<Loop>, transport: &Object, words: &str) -> Res<()> {
    if !event_loop.debug() {
        return Ok(());
    }
    event_loop.as_object().method(&names().debug_transport, &[transport, &*string(words)?]).map(drop)
}
