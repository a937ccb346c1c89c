//! How a protocol is called: by name each time, so that a method that was replaced takes effect.

use crate::event_loop::Loop;
use crate::ffi::{Instance, Object, Res, inside};
use crate::names::names;

/// Calls a method of the protocol in the transport's context.
#[inline]
pub(super) fn call(
    context: &Object,
    protocol: &Object,
    method: &Object,
    args: &[&Object],
) -> Res<crate::ffi::Obj> {
    inside(context, || protocol.method(method, args))
}

/// Asks the protocol to stop or resume writing. An exception from it is reported and has no other effect.
#[cold]
pub(super) fn throttle(
    event_loop: &Instance<Loop>,
    transport: &Object,
    protocol: &Object,
    pause: bool,
) -> Res<()> {
    let names = names();
    let method = if pause { &names.pause_writing } else { &names.resume_writing };
    let Err(raised) = protocol.method(method, &[]) else { return Ok(()) };
    if raised.ends_the_run() {
        return Err(raised);
    }
    let exception = raised.take();
    event_loop
        .as_object()
        .method(&names.report_throttle, &[transport, protocol, &*exception, method])
        .map(drop)
}
