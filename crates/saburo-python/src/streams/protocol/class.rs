//! StreamReaderProtocol as a class of Python's.

use std::ffi::CStr;

use crate::ffi::{Args, Builder, Class, Dict, Instance, Params, Res, Weak, fields, list};
use crate::names::names;
use crate::streams::{any_reader, draining, link};

use super::{
    StreamReaderProtocol, closed, connection_lost, connection_made, data_received, eof_received,
    pause_writing, replace_transport, resume_writing, server,
};

/// `StreamReaderProtocol(stream_reader, client_connected_cb=None, loop=None)`
fn init(this: &Instance<StreamReaderProtocol>, args: Args<'_>) -> Res<()> {
    const PARAMS: Params<3> = Params {
        function: "StreamReaderProtocol.__init__",
        names: ["stream_reader", "client_connected_cb", "loop"],
        required: 1,
        positional: 3,
    };
    let [reader, callback, event_loop] = args.bind(&PARAMS)?;
    let event_loop = link::event_loop_or_current(event_loop)?;
    let reader = reader.and_then(link::some);
    if let Some(reader) = &reader {
        this.reader.set(Some(Weak::to(reader)?));
        this.source_traceback.set(any_reader::source_traceback(reader)?);
    }
    let callback = callback.and_then(link::some);
    if callback.is_some() {
        this.strong_reader.set(reader);
    }
    this.connected_callback.set(callback);
    this.event_loop.set(Some(event_loop));
    Ok(())
}

impl Class for StreamReaderProtocol {
    fields! {
        class, dict Dict;
        objects {
            reader, event_loop, strong_reader, connected_callback, task, transport, accepted,
            source_traceback, drainers, end,
        }
        plain { is_encrypted }
    }

    const NAME: &'static CStr = c"saburo.StreamReaderProtocol";
    const DOC: &'static CStr = c"StreamReaderProtocol(stream_reader, client_connected_cb=None, loop=None)
--

The protocol behind a StreamReader and a StreamWriter.

For programs that make a connection by hand: a transport with this protocol feeds `stream_reader`, and a
StreamWriter that is given both can be drained. A server's protocol is made with `client_connected_cb`, which is
called with reader and writer. Belongs to its loop's thread. `isinstance(protocol, asyncio.StreamReaderProtocol)`
is true. Semantics: asyncio.StreamReaderProtocol of Python 3.14.

>>> import asyncio, saburo
>>> async def main():
...     reader = saburo.StreamReader()
...     protocol = saburo.StreamReaderProtocol(reader)
...     protocol.data_received(b'hello')
...     protocol.connection_lost(None)
...     return await reader.read()
>>> saburo.run(main())
b'hello'";

    fn describe(builder: Builder<StreamReaderProtocol>) -> Builder<StreamReaderProtocol> {
        let builder = builder
            .init(init)
            .many(
                c"connection_made",
                |this, args| {
                    connection_made(this, args.sole("StreamReaderProtocol.connection_made", "transport")?)
                },
                c"connection_made(transport): the connection is there.",
            )
            .many(
                c"data_received",
                |this, args| data_received(this, args.sole("StreamReaderProtocol.data_received", "data")?),
                c"data_received(data): these bytes have come.",
            )
            .noargs(c"eof_received", eof_received, c"The other side sends no more.")
            .many(
                c"connection_lost",
                |this, args| {
                    let error = args.sole("StreamReaderProtocol.connection_lost", "exc")?;
                    connection_lost(this, (!error.is_none()).then_some(error))
                },
                c"connection_lost(exc): the connection is no more.",
            )
            .noargs(c"pause_writing", pause_writing, c"The transport has too much to send.")
            .noargs(c"resume_writing", resume_writing, c"The transport has sent enough.");
        describe_internals(builder)
    }
}

/// Attributes that libraries and asyncio's own modules read.
fn describe_internals(builder: Builder<StreamReaderProtocol>) -> Builder<StreamReaderProtocol> {
    builder
        .reported_class(
            |_| &names().class_stream_reader_protocol,
            c"asyncio.StreamReaderProtocol, for isinstance; of a derived class that class.",
        )
        .noargs(
            c"_drain_helper",
            |this| draining::drain_helper(this, this.source_traceback.is_set()),
            c"Waits until the other side has caught up.",
        )
        .one(c"_get_close_waiter", |this, _stream| closed(this), c"Done when the connection is lost.")
        .one(c"_replace_transport", replace_transport, c"Another transport takes over.")
        .one(c"_handler_done", server::handler_done, c"The task of client_connected_cb has ended.")
        .getter(c"_stream_reader", |this| this.reader(), c"The reader, while it lives.")
        .getter(
            c"_stream_reader_wr",
            |this| this.reader.get().map(Weak::into_obj),
            c"A weak reference to it.",
        )
        .getter(
            c"_strong_reader",
            |this| this.strong_reader.get(),
            c"The reader, until the connection is made.",
        )
        .getter(c"_client_connected_cb", |this| this.connected_callback.get(), c"A server's callback.")
        .getter(c"_task", |this| this.task.get(), c"The task of that callback.")
        .getter(c"_closed", closed, c"Done when the connection is lost.")
        .getter(c"_connection_lost", |this| this.end.is_lost(), c"Is the connection lost?")
        .getter(c"_paused", |this| this.drainers.is_paused(), c"Has the transport asked for patience?")
        .getter(
            c"_drain_waiters",
            |this| list(this.drainers.all().into_iter()),
            c"The futures of those who drain.",
        )
        .getter(c"_source_traceback", |this| this.source_traceback.get(), c"Where the reader was made.")
        .getter(c"_loop", |this| this.event_loop.get(), c"The event loop.")
        .getter(c"_transport", |this| this.transport.get(), c"The transport.")
        .setter(|this, transport| {
            this.transport.set(link::some(transport));
            Ok(())
        })
        .getter(c"_over_ssl", |this| this.is_encrypted.get(), c"Is the connection encrypted?")
        .setter(|this, is_encrypted| {
            this.is_encrypted.set(is_encrypted.truth()?);
            Ok(())
        })
}
