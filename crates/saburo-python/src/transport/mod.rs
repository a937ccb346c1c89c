//! Transports: bytes between a socket or a pipe and a protocol, without Python in between.
//!
//! The loop watches a transport's descriptor, and tells the transport through the trait `Watcher`. All
//! transports keep one rule: before a protocol is called, the kernel's answer is copied out and every borrow
//! has ended, since the protocol may run any code.

mod address;
mod clients;
mod datagram;
mod describe;
mod dial;
mod ending;
mod endpoint;
mod failure;
mod flow;
mod life;
mod listener;
mod piece;
mod pipe;
mod protocol;
pub(crate) mod stream;
mod watcher;

pub(crate) use clients::Clients;
pub(crate) use datagram::DatagramTransport;
pub(crate) use dial::Dial;
pub(crate) use failure::report_callback;
pub(crate) use flow::any_marks;
pub(crate) use listener::Listener;
pub(crate) use pipe::{ReadPipeTransport, WritePipeTransport};
pub(crate) use stream::{
    Incoming, PLAIN, Receiver, StreamTransport, add_receivers, is_buffered, receiver_of, write,
};

use crate::event_loop::Loop;
use crate::ffi::{Builder, Context, Instance, Object, Res, float, list};
use crate::names::names;

/// The context of a connection's callbacks, if the transport is one of ours.
pub(crate) fn context_of(transport: &Object) -> Option<Context> {
    transport.cast_exact::<StreamTransport>().and_then(|stream| stream.context())
}

/// Calls the transport's `_retry()` after `seconds`. Until then the events of its descriptor are of no use.
#[cold]
fn retry_later(event_loop: &Instance<Loop>, transport: &Object, seconds: f64) -> Res<()> {
    let names = names();
    let retry = transport.attr(&names.retry)?;
    event_loop.as_object().method(&names.call_later, &[&*float(seconds)?, &retry]).map(drop)
}

/// The loop's methods for transports.
pub(crate) fn describe_loop(builder: Builder<Loop>) -> Builder<Loop> {
    builder
        .many(
            c"_make_socket_transport",
            stream::connected,
            c"A transport for a connected socket, which it owns from now on.",
        )
        .many(c"_dial", dial::dial, c"_dial(v6, address): begins to connect a TCP socket, if it can.")
        .many(
            c"_make_datagram_transport",
            datagram::endpoint,
            c"A transport for a datagram socket, which it owns from now on.",
        )
        .many(
            c"_make_read_pipe_transport",
            pipe::reading,
            c"A transport that reads from a pipe, which it owns from now on.",
        )
        .many(
            c"_make_write_pipe_transport",
            pipe::writing,
            c"A transport that writes to a pipe, which it owns from now on.",
        )
        .many(c"_listen", listener::listen, c"Takes the connections of a listening socket.")
        .one(c"_unlisten", listener::unlisten, c"Takes no more connections of a listening socket.")
        .one(
            c"_transports_of",
            |this, server| list(stream::of_server(this, server).into_iter()),
            c"The open transports that came in by a server, a list.",
        )
}
