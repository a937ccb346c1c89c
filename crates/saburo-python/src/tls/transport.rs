//! TlsTransport: the application's view of a connection with TLS.
//!
//! It stores only its protocol and whether it was closed; the protocol below has all other state.

use std::cell::Cell;
use std::ffi::CStr;

use saburo_core::Marks;

use crate::ffi::{
    Args, Builder, Bytes, Class, Dict, Instance, Obj, Object, OneSlot, Own, Params, Res, Slot, Weak, builtin,
    fields, float, int, none, raise, raise_given, tuple, warn_resource,
};
use crate::names::{names, tls_names};
use crate::transport::any_marks;

use super::protocol::{self, TlsProtocol};
use super::{read, report, shutdown, write};

/// The application's transport.
pub(crate) struct TlsTransport {
    /// The protocol of the connection …
    protocol: Slot<Own<TlsProtocol>>,
    /// … and, after the second close(), a weak reference to the protocol: then a program that keeps its
    /// transports keeps nothing else alive. asyncio behaves the same.
    weak_protocol: Slot<Weak>,
    /// The transport was closed, or the connection is lost: no warning is needed.
    closed: Cell<bool>,
    finalized: Cell<bool>,
}

impl TlsTransport {
    pub(super) fn over(protocol: &Instance<TlsProtocol>) -> Res<Own<TlsTransport>> {
        Instance::alloc(TlsTransport {
            protocol: Slot::new(Some(protocol.to_own())),
            weak_protocol: Slot::empty(),
            closed: Cell::new(false),
            finalized: Cell::new(false),
        })
    }

    pub(super) fn mark_closed(&self) {
        self.closed.set(true);
    }

    #[inline]
    pub(super) fn protocol(&self) -> Res<Own<TlsProtocol>> {
        match self.protocol.get() {
            Some(protocol) => Ok(protocol),
            None => self.protocol_left(),
        }
    }

    /// The previous protocol, or if that is gone, one that never began, which answers like one that is over.
    #[cold]
    fn protocol_left(&self) -> Res<Own<TlsProtocol>> {
        let there = self.weak_protocol.get().and_then(|weak| weak.get());
        match there.and_then(|there| there.into_exact::<TlsProtocol>().ok()) {
            Some(protocol) => Ok(protocol),
            None => Instance::alloc(TlsProtocol::blank()),
        }
    }
}

fn write(this: &Instance<TlsTransport>, data: &Object) -> Res<()> {
    if let Some(bytes) = Bytes::exact(data) {
        if bytes.as_ref().is_empty() {
            return Ok(());
        }
    } else if !data.is_bytes_like() {
        let class = data.type_of().attr(&names().dunder_name)?.display()?;
        return raise(builtin::type_error(), &format!("data: expecting a bytes-like instance, got {class}"));
    } else if !data.truth()? {
        return Ok(());
    }
    write::write(&*this.protocol()?, data)
}

fn is_closing(this: &Instance<TlsTransport>) -> Res<bool> {
    if this.closed.get() {
        return Ok(true);
    }
    let protocol = this.protocol()?;
    let receiver = protocol.app_receiver.get();
    if receiver.drains_by_is_closing() {
        write::drain(this, || protocol.app.get().map_or(Ok(false), |app| receiver.has_unread(&app)))?;
    }
    match protocol.lower.get() {
        Some(lower) => lower.method(&names().is_closing, &[])?.truth(),
        None => Ok(false),
    }
}

fn close(this: &Instance<TlsTransport>) -> Res<()> {
    if !this.closed.replace(true) {
        return shutdown::begin(&*this.protocol()?);
    }
    if let Some(protocol) = this.protocol.get() {
        this.weak_protocol.set(Some(Weak::to(protocol.as_object())?));
        this.protocol.set(None);
    }
    Ok(())
}

fn abort(this: &Instance<TlsTransport>) -> Res<()> {
    force_close(this, &none())
}

fn force_close(this: &Instance<TlsTransport>, cause: &Object) -> Res<()> {
    this.closed.set(true);
    let protocol = this.protocol()?;
    // As in asyncio, data that was written before has been sent.
    let written = write::encrypt_and_send(&protocol);
    report::settle(&protocol, written)?;
    report::abort(&protocol, cause)
}

/// Sets the marks of a buffer from `(high, low)`. The caller compares the buffer with them next.
fn set_marks(marks: &Marks<f64>, args: Args<'_>, function: &'static str, default: i64) -> Res<()> {
    let params = Params { function, names: ["high", "low"], required: 0, positional: 2 };
    let [high, low] = args.bind(&params)?;
    let (high, low) = any_marks(high, low, default)?;
    marks.set(high.as_f64()?, low.as_f64()?);
    Ok(())
}

/// `(low, high)`
fn limits(marks: &Marks<f64>) -> Res<Obj> {
    tuple([&*number(marks.low())?, &*number(marks.high())?].into_iter())
}

/// An int if the value is whole, else a float.
fn number(value: f64) -> Res<Obj> {
    if value.fract() == 0.0 && value.abs() < 1e15 { int(value as i64) } else { float(value) }
}

fn set_write_buffer_limits(this: &Instance<TlsTransport>, args: Args<'_>) -> Res<()> {
    let protocol = this.protocol()?;
    set_marks(&protocol.outbound, args, "_SSLProtocolTransport.set_write_buffer_limits", 512)?;
    write::control_writing(&protocol)
}

fn set_read_buffer_limits(this: &Instance<TlsTransport>, args: Args<'_>) -> Res<()> {
    let protocol = this.protocol()?;
    set_marks(&protocol.inbound, args, "_SSLProtocolTransport.set_read_buffer_limits", 256)?;
    read::control_reading(&protocol)
}

fn get_extra_info(this: &Instance<TlsTransport>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<2> = Params {
        function: "_SSLProtocolTransport.get_extra_info",
        names: ["name", "default"],
        required: 1,
        positional: 2,
    };
    let [name, default] = args.bind(&PARAMS)?;
    let name = name.expect("bind() has checked what is required");
    protocol::extra_info(&*this.protocol()?, name, default.unwrap_or(&none()))
}

impl Class for TlsTransport {
    fields! {
        class, dict Dict, inherits OneSlot;
        objects { protocol, weak_protocol }
        plain { closed: Cell::new(true), finalized }
    }

    const NAME: &'static CStr = c"saburo._saburo._SSLProtocolTransport";
    const DOC: &'static CStr = c"A transport that speaks TLS over another one.

What create_connection, create_server and start_tls give for connections with an ssl.SSLContext. Like
everything of a loop it belongs to the loop's thread. `isinstance(transport, asyncio.Transport)` is true.
Semantics: asyncio.Transport.";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const FINALIZES: bool = true;

    fn python_base() -> Option<&'static Object> {
        Some(&names().class_transport)
    }

    fn was_finalized(&self) -> bool {
        self.finalized.get()
    }

    fn wants_finalizer(&self) -> bool {
        !self.closed.get()
    }

    fn finalize(this: &Instance<TlsTransport>) {
        this.finalized.set(true);
        if this.closed.replace(true) {
            return;
        }
        if let Err(raised) = warn_resource(c"unclosed transport <asyncio._SSLProtocolTransport object>") {
            raised.unraisable(this.as_object());
        }
    }

    fn describe(builder: Builder<TlsTransport>) -> Builder<TlsTransport> {
        let builder = builder
            .many(c"write", |this, args| write(this, args.sole("_SSLProtocolTransport.write", "data")?), c"write(data): sends `data`, which is bytes-like, encrypted; does not wait.")
            .many(
                c"writelines",
                |this, args| {
                    let lines = args.sole("_SSLProtocolTransport.writelines", "list_of_data")?;
                    write::write_lines(&*this.protocol()?, lines)
                },
                c"writelines(list_of_data): sends all of an iterable of bytes-like objects.",
            )
            .noargs(
                c"write_eof",
                |_| -> Res<()> { raise_given(builtin::not_implemented_error()) },
                c"Raises NotImplementedError: TLS ends in both directions at once.",
            )
            .noargs(c"can_write_eof", |_| false, c"False.")
            .noargs(c"close", close, c"Sends what was written, says goodbye to the peer, and closes.")
            .noargs(c"abort", abort, c"Closes at once; what was written may be lost.")
            .noargs(c"is_closing", is_closing, c"Is it closed, or about to be?")
            .noargs(
                c"is_reading",
                |this| Ok(!this.protocol()?.reading_paused.get()) as Res<bool>,
                c"Is what arrives handed to the protocol?",
            )
            .noargs(
                c"pause_reading",
                |this| -> Res<()> {
                    this.protocol()?.reading_paused.set(true);
                    Ok(())
                },
                c"Hands nothing to the protocol until resume_reading().",
            )
            .noargs(
                c"resume_reading",
                |this| read::resume_reading(&*this.protocol()?),
                c"Hands what arrives to the protocol again, from the next turn on.",
            )
            .many(
                c"set_protocol",
                |this, args| {
                    let protocol = args.sole("_SSLProtocolTransport.set_protocol", "protocol")?;
                    this.protocol()?.set_app(protocol)
                },
                c"set_protocol(protocol): hands what arrives to another protocol from now on.",
            )
            .noargs(c"get_protocol", |this| Ok(this.protocol()?.app.get()) as Res<_>, c"The protocol.")
            .many(
                c"get_extra_info",
                get_extra_info,
                c"get_extra_info(name, default=None): what TLS (sslcontext, ssl_object, peercert, cipher, compression) \
                  or the transport below (socket, peername, ...) knows.",
            );
        describe_flow(builder)
    }
}

fn describe_flow(builder: Builder<TlsTransport>) -> Builder<TlsTransport> {
    builder
        .many(
            c"set_write_buffer_limits",
            set_write_buffer_limits,
            c"set_write_buffer_limits(high=None, low=None): when the protocol is to pause writing and go on, in bytes.",
        )
        .noargs(
            c"get_write_buffer_limits",
            |this| limits(&this.protocol()?.outbound),
            c"(low, high) of the write buffer, in bytes.",
        )
        .noargs(
            c"get_write_buffer_size",
            |this| int(write::size_after_send(&*this.protocol()?)? as i64),
            c"How much waits here to be sent, in bytes.",
        )
        .many(
            c"set_read_buffer_limits",
            set_read_buffer_limits,
            c"set_read_buffer_limits(high=None, low=None): when the transport below is to pause reading and go on, in bytes.",
        )
        .noargs(
            c"get_read_buffer_limits",
            |this| limits(&this.protocol()?.inbound),
            c"(low, high) of the read buffer, in bytes.",
        )
        .noargs(
            c"get_read_buffer_size",
            |this| int(read::buffer_size(&*this.protocol()?) as i64),
            c"How much has arrived and waits here to be decrypted, in bytes.",
        )
        .one(c"_force_close", force_close, c"abort(), with what the protocol is to be told.")
        .one(
            c"_test__append_write_backlog",
            |this, data| write::append(&*this.protocol()?, data),
            c"For asyncio's tests.",
        )
        .getter(
            c"_protocol_paused",
            |this| Ok(this.protocol()?.outbound.is_paused()) as Res<bool>,
            c"Was the protocol asked to pause writing? sendfile() looks here.",
        )
        .getter(c"_start_tls_compatible", |_| true, c"TLS in TLS works.")
        .getter(
            c"_sendfile_compatible",
            |_| -> Res<Obj> { Ok(tls_names()?.sendfile_fallback.clone()) },
            c"sendfile() has to read and write.",
        )
        .getter(
            c"_ssl_protocol",
            |this| this.protocol.get().map(Own::into_obj),
            c"The protocol of the transport below.",
        )
        .getter(
            c"_loop",
            |this| Ok(this.protocol()?.event_loop.get().map(Own::into_obj)) as Res<_>,
            c"The loop.",
        )
}
