//! How a protocol is called: by name each time, so that whoever replaces a method is heard.

use crate::event_loop::Loop;
use crate::ffi::{Instance, Object, Res, inside};
use crate::names::names;
use crate::streams::{self, StreamReaderProtocol};
use crate::tls::TlsProtocol;

use super::failure;

/// How a protocol takes what has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `data_received(bytes)`
    Plain,
    /// `get_buffer(sizehint)` and `buffer_updated(count)`
    Buffered,
    /// TLS of ours, which takes what is in the loop's buffer
    Tls,
    /// A stream's, of exactly our class: without a `bytes` in between.
    Stream,
    /// A stream's of asyncio's: `data_received(bytes)`, and its writer asks `is_closing()` as it drains
    AsyncioStream,
}

pub(super) fn kind(protocol: &Object) -> Res<Kind> {
    if protocol.cast_exact::<TlsProtocol>().is_some() {
        return Ok(Kind::Tls);
    }
    if protocol.cast_exact::<StreamReaderProtocol>().is_some() {
        return Ok(Kind::Stream);
    }
    if protocol.is_instance(&names().class_buffered_protocol)? {
        return Ok(Kind::Buffered);
    }
    Ok(if streams::is_asyncios(protocol)? { Kind::AsyncioStream } else { Kind::Plain })
}

/// Calls one of its methods in the transport's context.
#[inline]
pub(super) fn call(
    context: &Object,
    protocol: &Object,
    method: &Object,
    args: &[&Object],
) -> Res<crate::ffi::Obj> {
    inside(context, || protocol.method(method, args))
}

/// Asks the protocol to stop or go on writing. What it raises is reported and does no harm.
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
    if failure::ends_the_run(&raised) {
        return Err(raised);
    }
    let exception = raised.take();
    event_loop
        .as_object()
        .method(&names.report_throttle, &[transport, protocol, &*exception, method])
        .map(drop)
}
