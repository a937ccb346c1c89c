//! StreamWriter: the sending end of a stream, a thin layer over its transport.

use std::ffi::CStr;

use crate::event_loop::Loop;
use crate::ffi::{
    Args, Builder, Class, Dict, Instance, Obj, Object, Own, Params, Res, Slot, builtin, fields, none, string,
};
use crate::names::{self, names};

use super::protocol::StreamReaderProtocol;
use super::{draining, link};

/// The sending end of a stream.
pub(crate) struct StreamWriter {
    pub(super) transport: Slot,
    /// The object that knows whether writing is paused: a StreamReaderProtocol, ours or a foreign one.
    pub(super) protocol: Slot,
    /// `drain()` raises the reader's exception. None if there is no reader.
    pub(super) reader: Slot,
    pub(super) event_loop: Slot,
}

/// The writer of a connection that has just been made.
pub(super) fn of(
    transport: &Object,
    protocol: &Instance<StreamReaderProtocol>,
    reader: Option<Obj>,
    event_loop: Obj,
) -> Res<Own<StreamWriter>> {
    Instance::alloc(StreamWriter {
        transport: Slot::new(Some(transport.to_obj())),
        protocol: Slot::new(Some(protocol.as_object().to_obj())),
        reader: Slot::new(reader),
        event_loop: Slot::new(Some(event_loop)),
    })
}

impl StreamWriter {
    #[inline]
    pub(super) fn transport(&self) -> Obj {
        link::or_none(self.transport.get())
    }

    #[inline]
    pub(super) fn protocol(&self) -> Obj {
        link::or_none(self.protocol.get())
    }
}

/// `StreamWriter(transport, protocol, reader, loop)`
fn init(this: &Instance<StreamWriter>, args: Args<'_>) -> Res<()> {
    const PARAMS: Params<4> = Params {
        function: "StreamWriter.__init__",
        names: ["transport", "protocol", "reader", "loop"],
        required: 4,
        positional: 4,
    };
    let [transport, protocol, reader, event_loop] = args.bind(&PARAMS)?;
    this.transport.set(transport.map(Object::to_obj));
    this.protocol.set(protocol.and_then(link::some));
    let reader = reader.and_then(link::some);
    if let Some(reader) = &reader
        && !reader.is_instance(&names().class_stream_reader)?
    {
        return link::refuse();
    }
    this.reader.set(reader);
    this.event_loop.set(event_loop.map(Object::to_obj));
    Ok(())
}

/// `start_tls(sslcontext, *, server_hostname=None, ...)`: seldom called, and so written in Python.
fn start_tls(this: &Instance<StreamWriter>, args: Args<'_>) -> Res<Obj> {
    let all: Vec<&Object> = [this.as_object()].into_iter().chain(args.all().iter().copied()).collect();
    names::start_tls()?.call_with_names(&all, args.names())
}

fn get_extra_info(this: &Instance<StreamWriter>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<2> = Params {
        function: "StreamWriter.get_extra_info",
        names: ["name", "default"],
        required: 1,
        positional: 2,
    };
    let [name, default] = args.bind(&PARAMS)?;
    let name = name.expect("bind() has checked what is required");
    this.transport().method(&names().get_extra_info, &[name, default.unwrap_or(&none())])
}

fn repr(this: &Instance<StreamWriter>) -> Res<Obj> {
    let class = this.as_object().type_of().attr(&names().dunder_name)?.display()?;
    let mut text = format!("<{class} transport={}", this.transport().repr()?);
    if let Some(reader) = this.reader.get() {
        text += &format!(" reader={}", reader.repr()?);
    }
    string(&(text + ">"))
}

/// Closes a writer that was dropped without being closed, and warns.
#[cold]
fn complain(this: &Instance<StreamWriter>) -> Res<()> {
    let transport = this.transport();
    if link::is_closing(&transport)? {
        return Ok(());
    }
    let event_loop = link::or_none(this.event_loop.get());
    let is_closed = match event_loop.cast::<Loop>() {
        Some(native) => native.is_closed(),
        None => event_loop.method(&names().is_closed, &[])?.truth()?,
    };
    if is_closed {
        return warn("loop is closed");
    }
    this.as_object().method(&names().close, &[])?;
    warn(&format!("unclosed {}", this.as_object().repr()?))
}

fn warn(message: &str) -> Res<()> {
    let names = names();
    names.warn.call(&[&*string(message)?, builtin::resource_warning()]).map(drop)
}

impl Class for StreamWriter {
    fields! {
        class, dict Dict;
        objects { transport, protocol, reader, event_loop }
    }

    const NAME: &'static CStr = c"saburo.StreamWriter";
    const DOC: &'static CStr = c"StreamWriter(transport, protocol, reader, loop)
--

The sending end of a stream of bytes.

`open_connection` and `start_server` make one for each connection. `write` never waits: who sends much calls
`await writer.drain()` now and then, which waits while the other side is behind. Close it, then
`await writer.wait_closed()`; one that is let go of unclosed is closed with a ResourceWarning. Belongs to its
loop's thread. `isinstance(writer, asyncio.StreamWriter)` is true. Semantics: asyncio.StreamWriter of Python 3.14.

>>> import saburo, socket
>>> async def main():
...     here, there = socket.socketpair()
...     reader, writer = await saburo.open_connection(sock=here)
...     writer.write(b'hello')
...     await writer.drain()
...     writer.close()
...     await writer.wait_closed()
...     with there:
...         return there.recv(100)
>>> saburo.run(main())
b'hello'";
    const FINALIZES: bool = true;

    fn wants_finalizer(&self) -> bool {
        self.event_loop.is_set()
    }

    fn finalize(this: &Instance<StreamWriter>) {
        if this.wants_finalizer()
            && let Err(raised) = complain(this)
        {
            raised.unraisable(this.as_object());
        }
    }

    fn describe(builder: Builder<StreamWriter>) -> Builder<StreamWriter> {
        let builder = builder
            .init(init)
            .repr(repr)
            .many(
                c"write",
                |this, args| link::write(&this.transport(), args.sole("StreamWriter.write", "data")?),
                c"write(data): sends bytes, as soon as it can.",
            )
            .many(
                c"writelines",
                |this, args| link::writelines(&this.transport(), args.sole("StreamWriter.writelines", "data")?),
                c"writelines(data): sends each of several.",
            )
            .noargs(
                c"write_eof",
                |this| this.transport().method(&names().write_eof, &[]),
                c"Ends the sending half of the connection, behind what was written.",
            )
            .noargs(
                c"can_write_eof",
                |this| this.transport().method(&names().can_write_eof, &[]),
                c"Can that half be ended alone?",
            )
            .noargs(c"close", |this| link::close(&this.transport()), c"Closes the connection, once all is sent.")
            .noargs(
                c"is_closing",
                |this| this.transport().method(&names().is_closing, &[]),
                c"Is it closed, or being closed?",
            )
            .noargs(
                c"wait_closed",
                draining::wait_closed,
                c"Waits until it is closed; raises what it was lost by.",
            )
            .noargs(
                c"drain",
                draining::drain,
                c"Waits until the other side has caught up; raises what the connection was lost by.",
            )
            .many(
                c"start_tls",
                start_tls,
                c"start_tls(sslcontext, *, server_hostname=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None): encrypts the connection from here on.",
            )
            .many(
                c"get_extra_info",
                get_extra_info,
                c"get_extra_info(name, default=None): what the transport says of itself.",
            )
            .getter(c"transport", |this| this.transport.get(), c"The transport.");
        describe_internals(builder)
    }
}

/// Attributes that libraries read.
fn describe_internals(builder: Builder<StreamWriter>) -> Builder<StreamWriter> {
    builder
        .reported_class(
            |_| &names().class_stream_writer,
            c"asyncio.StreamWriter, for isinstance; of a derived class that class.",
        )
        .getter(c"_transport", |this| this.transport.get(), c"The transport.")
        .setter(|this, transport| {
            this.transport.set(link::some(transport));
            Ok(())
        })
        .getter(c"_protocol", |this| this.protocol.get(), c"Whoever knows whether writing is paused.")
        .setter(|this, protocol| {
            this.protocol.set(link::some(protocol));
            Ok(())
        })
        .getter(c"_reader", |this| this.reader.get(), c"The reader of the same connection.")
        .setter(|this, reader| {
            this.reader.set(link::some(reader));
            Ok(())
        })
        .getter(c"_loop", |this| this.event_loop.get(), c"The event loop.")
        .setter(|this, event_loop| {
            this.event_loop.set(link::some(event_loop));
            Ok(())
        })
}
