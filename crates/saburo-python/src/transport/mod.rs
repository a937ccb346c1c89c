//! Transports: bytes between a socket and a protocol, without Python in between.
//!
//! A transport's descriptor is watched by the loop with the transport itself as the handle; this file
//! sends its events to the class they are for. The rule all of them keep: what the kernel has said is
//! copied out and every borrow has ended before a protocol is called, since it may do anything.

mod address;
mod failure;
mod listener;
mod protocol;
mod stream;
mod table;

pub(crate) use listener::{Listener, listen};
pub(crate) use stream::{StreamTransport, accept_now, connected};
pub(crate) use table::Transports;

use crate::event_loop::Loop;
use crate::ffi::{Instance, Object, Res};

/// What has happened to a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Its descriptor is readable.
    Readable,
    /// Its descriptor is writable.
    Writable,
    /// It is time to tell the protocol that the connection is there.
    Opened,
    /// It is time to tell the protocol that the connection is gone.
    Lost,
}

/// Tells a transport. Whatever is raised, except what ends the run, has been reported.
#[inline]
pub(crate) fn tell(event_loop: &Instance<Loop>, transport: &Object, event: Event) -> Res<()> {
    let told = if let Some(stream) = transport.cast_exact::<StreamTransport>() {
        stream::tell(event_loop, stream, event)
    } else if let Some(listener) = transport.cast_exact::<Listener>() {
        listener::accept(event_loop, listener)
    } else {
        unreachable!("only transports are watched for as such")
    };
    told.or_else(|raised| failure::report_callback(event_loop, transport, raised))
}

/// Sends what a transport has gathered in this turn.
pub(crate) fn flush(event_loop: &Instance<Loop>, transport: &Object) -> Res<()> {
    let Some(stream) = transport.cast_exact::<StreamTransport>() else { return Ok(()) };
    stream::flush(event_loop, stream)
        .or_else(|raised| failure::report_callback(event_loop, transport, raised))
}

/// Has `close()` been called, or is the connection gone? Asked by whoever wants the descriptor.
pub(crate) fn is_closing(transport: &Object) -> bool {
    transport.cast_exact::<StreamTransport>().is_none_or(|stream| stream.is_closing())
}
