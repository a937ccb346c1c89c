//! Transports: bytes between a socket or a pipe and a protocol, without Python in between.
//!
//! A transport's descriptor is watched by the loop with the transport itself as the handle; this file
//! sends its events to the class they are for. The rule all of them keep: what the kernel has said is
//! copied out and every borrow has ended before a protocol is called, since it may do anything.

mod address;
mod clients;
mod datagram;
mod dial;
mod endpoint;
mod failure;
mod flow;
mod life;
mod listener;
mod piece;
mod pipe;
mod protocol;
mod receiver;
pub(crate) mod stream;
mod table;

pub(crate) use clients::Clients;
pub(crate) use datagram::{DatagramTransport, endpoint};
pub(crate) use dial::{Dial, dial};
pub(crate) use listener::{Listener, listen};
pub(crate) use pipe::{ReadPipeTransport, WritePipeTransport, reading, writing};
pub(crate) use receiver::{PLAIN, Receiver, add_receivers, is_buffered, of as receiver_of};
pub(crate) use stream::{Incoming, StreamTransport, accept_now, connected, write};
pub(crate) use table::Transports;

use std::os::fd::RawFd;

use crate::event_loop::{Direction, Loop};
use crate::ffi::{Context, Instance, Object, Res, aside, float};
use crate::names::names;
use crate::tls::{self, TlsProtocol};

/// What has happened to a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Its descriptor is readable.
    Readable,
    /// Its descriptor is writable.
    Writable,
    /// It is time to tell the protocol that the connection is there.
    Opened,
    /// It is time to tell the protocol that the other end of a pipe was closed.
    Ended,
    /// It is time to tell the protocol that the connection is gone.
    Lost,
}

/// Tells a transport. Whatever is raised, except what ends the run, has been reported.
#[inline]
pub(crate) fn tell(event_loop: &Instance<Loop>, transport: &Object, event: Event) -> Res<()> {
    if let Some(stream) = transport.cast_exact::<StreamTransport>() {
        stream::tell(event_loop, stream, event)
    } else if let Some(datagrams) = transport.cast_exact::<DatagramTransport>() {
        datagram::tell(event_loop, datagrams, event)
    } else if let Some(pipe) = transport.cast_exact::<ReadPipeTransport>() {
        pipe::tell_reader(event_loop, pipe, event)
    } else if let Some(pipe) = transport.cast_exact::<WritePipeTransport>() {
        pipe::tell_writer(event_loop, pipe, event)
    } else if let Some(listener) = transport.cast_exact::<Listener>() {
        listener::accept(event_loop, listener)
    } else {
        unreachable!("only transports are watched for as such")
    }
}

/// Sends what a transport has gathered in this turn. Whatever is raised, except what ends the run, has been
/// reported.
pub(crate) fn flush(event_loop: &Instance<Loop>, transport: &Object) -> Res<()> {
    if let Some(stream) = transport.cast_exact::<StreamTransport>() {
        return stream::turn_is_over(event_loop, stream);
    } else if let Some(protocol) = transport.cast_exact::<TlsProtocol>() {
        // What it has encrypted goes to a transport, which has its turn after this.
        return tls::turn_is_over(protocol).or_else(|raised| {
            let context = aside(Context::copy_current)?;
            failure::report_callback(event_loop, raised, transport, &names().resume_writing, &[], context)
        });
    }
    Ok(())
}

/// What callbacks of a connection run in, if the transport is one of ours.
pub(crate) fn context_of(transport: &Object) -> Option<Context> {
    transport.cast_exact::<StreamTransport>().and_then(|stream| stream.context())
}

/// In a forked child, whose parent has the connection: here it is over, without a word to the protocol or the
/// peer.
pub(crate) fn leave_to_parent(transport: &Object) -> Res<()> {
    if let Some(stream) = transport.cast_exact::<StreamTransport>() {
        return stream::leave_to_parent(stream);
    }
    if let Some(datagrams) = transport.cast_exact::<DatagramTransport>() {
        datagrams.leave_to_parent();
    }
    Ok(())
}

/// Has `close()` been called, or is the connection gone? Asked by whoever wants the descriptor.
pub(crate) fn is_closing(transport: &Object) -> bool {
    if let Some(stream) = transport.cast_exact::<StreamTransport>() {
        return stream.is_closing();
    }
    transport.cast_exact::<DatagramTransport>().is_none_or(|datagrams| datagrams.is_closing())
}

/// Has a transport still got the descriptor by which the loop knows it? Asked by whoever has been given that
/// number.
pub(crate) fn owns_descriptor(event_loop: &Loop, transport: &Object) -> bool {
    if let Some(stream) = transport.cast_exact::<StreamTransport>() {
        return stream.descriptor(event_loop) >= 0;
    }
    transport.cast_exact::<DatagramTransport>().is_some_and(|datagrams| datagrams.descriptor(event_loop) >= 0)
}

/// The number of a transport's descriptor was given to another file.
#[cold]
fn forget_descriptor(transport: &Object) {
    if let Some(stream) = transport.cast_exact::<StreamTransport>() {
        stream.forget_descriptor();
    }
}

/// Stops watching a descriptor whose news are of no use now, and calls the transport's `_retry()` after so
/// many seconds.
#[cold]
fn rest(
    event_loop: &Instance<Loop>,
    fd: RawFd,
    direction: Direction,
    transport: &Object,
    seconds: f64,
) -> Res<()> {
    event_loop.unwatch_transport(fd, direction, transport);
    let names = names();
    let retry = transport.attr(&names.retry)?;
    event_loop.as_object().method(&names.call_later, &[&*float(seconds)?, &retry]).map(drop)
}
