//! TlsProtocol: the protocol of the transport below, and the state of a connection.
//!
//! This file has the class and the state; each sibling file is one verb. A transport in Python calls the
//! methods, a native one calls the functions of the same names.

use std::cell::{Cell, OnceCell};
use std::ffi::CStr;

use saburo_core::{Clock, Marks, Pause};

use crate::event_loop::Loop;
use crate::ffi::{
    Builder, Bytes, Class, Instance, Obj, Object, Own, Params, Res, Slot, View, aside, builtin, fields, none,
    raise,
};
use crate::names::{names, tls_names};
use crate::transport::{PLAIN, Receiver, receiver_of};

use super::backlog::Backlog;
use super::engine::Engine;
use super::transport::TlsTransport;
use super::{handshake, read, report, shutdown, write};

/// TLS between a transport and an application's protocol.
pub(crate) struct TlsProtocol {
    pub(super) event_loop: Slot<Own<Loop>>,
    engine: OnceCell<Engine>,
    /// The application's protocol, until the connection is lost.
    pub(super) app: Slot,
    /// How the application's protocol takes the data that has arrived.
    pub(super) app_receiver: Cell<&'static dyn Receiver>,
    pub(super) app_phase: Cell<AppPhase>,
    /// The application's transport, until the connection is lost.
    pub(super) transport: Slot<Own<TlsTransport>>,
    /// The transport below, from connection_made to connection_lost.
    pub(super) lower: Slot,
    pub(super) phase: Cell<TlsState>,
    /// A future for the end of the handshake.
    waiter: Slot,
    /// The `ssl.SSLContext` of the connection.
    context: Slot,
    /// The peer's certificate as a dict, or None; set once the handshake is over.
    pub(super) peercert: Slot,
    /// The time limit of the handshake, later that of the shutdown.
    timer: Slot,
    /// In seconds, as the program gave them.
    pub(super) handshake_timeout: Slot,
    pub(super) shutdown_timeout: Slot,
    /// The peer is a client, which must send first, and has sent nothing yet.
    pub(super) silent: Cell<bool>,
    /// The loop's time when the handshake began, in debug mode.
    pub(super) began: Cell<f64>,
    /// The data that the application has written.
    pub(super) backlog: Backlog,
    /// When it is encrypted and sent.
    pub(super) waits_for: Cell<WaitsFor>,
    /// The application has paused reading.
    pub(super) reading_paused: Cell<bool>,
    /// The transport below has paused writing.
    pub(super) lower_full: Cell<bool>,
    /// Counts ciphertext that waits to be decrypted; while closed, the transport below does not read.
    pub(super) inbound: Marks<f64>,
    /// Counts bytes that wait to be sent; while closed, the application should not write.
    pub(super) outbound: Marks<f64>,
    /// The transport below has seen the end of the stream.
    pub(super) eof: Cell<bool>,
    /// The number of writes since the connection began to end.
    pub(super) lost_writes: Cell<u32>,
}

/// asyncio's states of the TLS connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TlsState {
    /// Not begun, or over.
    Unwrapped,
    Handshaking,
    Wrapped,
    /// To be shut down as soon as all data has been read and written.
    Flushing,
    /// `close_notify` was sent, or is about to be.
    ShuttingDown,
}

/// What data that the application has written waits for, in the backlog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WaitsFor {
    Nothing,
    /// The application is receiving data; its writes are sent when that call ends.
    EndOfRead,
    /// The protocol is in the loop's list; the writes are sent at the end of the turn.
    EndOfTurn,
}

/// Which callbacks the application's protocol has had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AppPhase {
    Waiting,
    /// connection_made
    Connected,
    /// eof_received
    Ended,
    /// connection_lost
    Lost,
}

impl TlsProtocol {
    pub(super) fn event_loop(&self) -> Res<Own<Loop>> {
        match self.event_loop.get() {
            Some(event_loop) => Ok(event_loop),
            None => not_begun(),
        }
    }

    pub(super) fn engine_opt(&self) -> Option<&Engine> {
        self.engine.get()
    }

    pub(super) fn engine(&self) -> Res<&Engine> {
        match self.engine.get() {
            Some(engine) => Ok(engine),
            None => not_begun(),
        }
    }

    /// True if the connection is ending or over.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase.get(), TlsState::Flushing | TlsState::ShuttingDown | TlsState::Unwrapped)
    }

    /// Replaces the application's protocol.
    pub(super) fn set_app(&self, app: &Object) -> Res<()> {
        self.app_receiver.set(receiver_of(app)?);
        self.app.set(Some(app.to_obj()));
        Ok(())
    }

    /// Tells the waiter for the handshake.
    pub(super) fn wake_waiter(&self, failure: Option<&Object>) -> Res<()> {
        let Some(waiter) = self.waiter.take() else { return Ok(()) };
        let names = names();
        if !waiter.method(&names.cancelled, &[])?.truth()? {
            match failure {
                Some(failure) => waiter.method(&names.set_exception, &[failure])?,
                None => waiter.method(&names.set_result, &[&*none()])?,
            };
        }
        Ok(())
    }

    pub(super) fn has_timer(&self) -> bool {
        self.timer.is_set()
    }

    pub(super) fn cancel_timer(&self) -> Res<()> {
        match self.timer.take() {
            Some(timer) => timer.method(&names().cancel, &[]).map(drop),
            None => Ok(()),
        }
    }
}

#[cold]
fn not_begun<T>() -> Res<T> {
    raise(builtin::runtime_error(), "SSLProtocol.__init__() was not called")
}

/// Makes the loop call the method `name` of the protocol after `seconds`, instead of an earlier timer.
pub(super) fn start_timer(this: &Instance<TlsProtocol>, seconds: &Slot, name: &Object) -> Res<()> {
    let seconds = seconds.get().unwrap_or_else(none);
    let callback = this.as_object().attr(name)?;
    let timer = this.event_loop()?.as_object().method(&names().call_later, &[&*seconds, &*callback])?;
    this.timer.set(Some(timer));
    Ok(())
}

/// Makes the loop call the method `name` of `object` in its next turn, with `args`.
pub(super) fn call_soon(
    this: &TlsProtocol,
    object: &Object,
    name: &Object,
    args: Option<&Object>,
) -> Res<()> {
    let callback = object.attr(name)?;
    let all: &[&Object] = match args {
        Some(argument) => &[&callback, argument],
        None => &[&callback],
    };
    this.event_loop()?.as_object().method(&names().call_soon, all).map(drop)
}

/// The transport below is connected: the handshake begins.
pub(crate) fn connection_made(this: &Instance<TlsProtocol>, lower: &Object) -> Res<()> {
    this.engine()?;
    this.lower.set(Some(lower.to_obj()));
    handshake::begin(this)
}

/// True if bytes that the transport below has received may be read in this turn.
#[inline]
pub(super) fn may_read(this: &TlsProtocol, event_loop: &Loop) -> bool {
    !this.silent.get() || event_loop.admission().may_answer(|| Clock::monotonic().now())
}

/// The transport below has received bytes.
pub(super) fn feed(this: &Instance<TlsProtocol>, ciphertext: &[u8]) -> Res<()> {
    match this.phase.get() {
        TlsState::Wrapped => read::pump(this, ciphertext),
        TlsState::Handshaking => {
            this.silent.set(false);
            this.engine()?.feed_all(ciphertext)?;
            handshake::go_on(this)
        }
        TlsState::Flushing => {
            this.engine()?.feed_all(ciphertext)?;
            shutdown::finish_writing(this)
        }
        TlsState::ShuttingDown => {
            this.engine()?.feed_all(ciphertext)?;
            shutdown::go_on(this)
        }
        TlsState::Unwrapped => Ok(()),
    }
}

/// The peer has closed its end of the transport below. Returns true to keep the transport open.
pub(crate) fn eof(this: &Instance<TlsProtocol>) -> Res<bool> {
    let ended = ended(this);
    if let Err(raised) = &ended
        && raised.matches(builtin::exception())
        && let Some(lower) = this.lower.get()
    {
        aside(|| lower.method(&names().close, &[]))?;
    }
    ended
}

fn ended(this: &Instance<TlsProtocol>) -> Res<bool> {
    this.eof.set(true);
    if this.event_loop()?.debug() {
        tls_names()?.log_eof.call(&[this.as_object()])?;
    }
    match this.phase.get() {
        TlsState::Handshaking => {
            let failure = builtin::connection_reset_error().call0()?;
            handshake::finish(this, Some(failure))?;
        }
        TlsState::Wrapped => {
            this.phase.set(TlsState::Flushing);
            if this.reading_paused.get() {
                return Ok(true);
            }
            shutdown::finish_writing(this)?;
        }
        TlsState::Flushing => {
            write::encrypt_and_send(this)?;
            shutdown::begin_closing(this)?;
        }
        TlsState::ShuttingDown => shutdown::go_on(this)?,
        TlsState::Unwrapped => {}
    }
    Ok(false)
}

/// The transport below is gone.
pub(crate) fn lost(this: &Instance<TlsProtocol>, cause: &Object) -> Res<()> {
    this.backlog.clear();
    this.lost_writes.set(this.lost_writes.get() + 1);
    if let Some(transport) = this.transport.take() {
        transport.mark_closed();
    }
    let app = this.app.take();
    let was = this.phase.replace(TlsState::Unwrapped);
    let told = match app {
        Some(app)
            if was != TlsState::Handshaking
                && matches!(this.app_phase.get(), AppPhase::Connected | AppPhase::Ended) =>
        {
            this.app_phase.set(AppPhase::Lost);
            call_soon(this, &app, &names().connection_lost, Some(cause))
        }
        _ => Ok(()),
    };
    drop(this.lower.take());
    told?;
    this.wake_waiter(Some(cause).filter(|cause| !cause.is_none()))?;
    this.cancel_timer()
}

/// In a forked child the transport below belongs to the parent. Closing the child's copy must not tell the
/// peer that the connection ends.
pub(super) fn leave_to_parent(this: &Instance<TlsProtocol>) -> Res<()> {
    this.phase.set(TlsState::Unwrapped);
    this.backlog.clear();
    if let Some(transport) = this.transport.get() {
        transport.mark_closed();
    }
    match this.app.get() {
        Some(app) => this.app_receiver.get().leave_to_parent(&app),
        None => Ok(()),
    }
}

/// The transport below should get no more bytes for now.
pub(crate) fn pause_writing(this: &Instance<TlsProtocol>) {
    this.lower_full.set(true);
}

/// The transport below has room again.
pub(crate) fn resume_writing(this: &Instance<TlsProtocol>) -> Res<()> {
    this.lower_full.set(false);
    let written = write::encrypt_and_send(this);
    report::settle(this, written)
}

fn data_received(this: &Instance<TlsProtocol>, data: &Object) -> Res<()> {
    // A copy, if the data can change: the engine reads it without the interpreter lock.
    let data = match Bytes::exact(data) {
        Some(data) => data,
        None => View::of(data)?.stretch().to_bytes()?,
    };
    feed(this, data.as_ref())
}

/// `get_extra_info(name, default)`
pub(super) fn extra_info(this: &TlsProtocol, name: &Object, default: &Object) -> Res<Obj> {
    let names = names();
    if name.equals(&names.sslcontext)? {
        return Ok(this.context.get().unwrap_or_else(|| default.to_obj()));
    }
    if let Some(peercert) = this.peercert.get() {
        if name.equals(&names.peercert)? {
            return Ok(peercert);
        }
        if let Some(object) = this.engine()?.object() {
            if name.equals(&names.ssl_object)? {
                return Ok(object);
            }
            // The handshake has fixed these values.
            if name.equals(&names.cipher)? || name.equals(&names.compression)? {
                return object.method(name, &[]);
            }
        }
    }
    match this.lower.get() {
        Some(lower) => lower.method(&names.get_extra_info, &[name, default]),
        None => Ok(default.to_obj()),
    }
}

fn init(this: &Instance<TlsProtocol>, bound: [Option<&Object>; 9]) -> Res<()> {
    let [
        Some(event_loop),
        Some(app),
        Some(context),
        Some(waiter),
        Some(server_side),
        Some(server_hostname),
        Some(call_connection_made),
        Some(handshake_timeout),
        Some(shutdown_timeout),
    ] = bound
    else {
        unreachable!("bind() has checked what is required");
    };
    let Some(native) = event_loop.cast::<Loop>() else {
        return raise(builtin::type_error(), "a saburo.Loop was expected");
    };
    if this.engine.get().is_some() {
        return raise(builtin::runtime_error(), "SSLProtocol.__init__() was called twice");
    }
    let server_side = server_side.truth()?;
    let engine = Engine::new(context, server_side, server_hostname)?;
    this.silent.set(server_side);
    this.set_app(app)?;
    if !call_connection_made.truth()? {
        this.app_phase.set(AppPhase::Connected);
    }
    this.event_loop.set(Some(native.to_own()));
    this.waiter.set((!waiter.is_none()).then(|| waiter.to_obj()));
    this.context.set(Some(context.to_obj()));
    this.handshake_timeout.set(Some(handshake_timeout.to_obj()));
    this.shutdown_timeout.set(Some(shutdown_timeout.to_obj()));
    if this.engine.set(engine).is_err() {
        return raise(builtin::runtime_error(), "SSLProtocol.__init__() was called twice");
    }
    this.transport.set(Some(TlsTransport::over(this)?));
    Ok(())
}

impl Class for TlsProtocol {
    fields! {
        class;
        objects {
            event_loop, engine, app, transport, lower, waiter, context, peercert, timer, handshake_timeout,
            shutdown_timeout,
        }
        // The backlog's `bytes` hold no references.
        unseen { backlog: Backlog::new() }
        plain {
            app_receiver: Cell::new(PLAIN), app_phase: Cell::new(AppPhase::Waiting),
            phase: Cell::new(TlsState::Unwrapped), silent, began, waits_for: Cell::new(WaitsFor::Nothing),
            reading_paused, lower_full, inbound: marks_at_kib(256), outbound: marks_at_kib(512), eof,
            lost_writes,
        }
    }

    const NAME: &'static CStr = c"saburo._saburo.SSLProtocol";
    const DOC: &'static CStr =
        c"TLS between a transport, whose protocol it is, and an application's protocol.

Made by saburo.Loop for every connection with TLS. Semantics: asyncio.sslproto.SSLProtocol.";
    const SUBCLASSABLE: bool = false;

    fn describe(builder: Builder<TlsProtocol>) -> Builder<TlsProtocol> {
        let builder = builder
            .init(|this, args| {
                const PARAMS: Params<9> = Params {
                    function: "SSLProtocol.__init__",
                    names: [
                        "loop",
                        "protocol",
                        "sslcontext",
                        "waiter",
                        "server_side",
                        "server_hostname",
                        "call_connection_made",
                        "ssl_handshake_timeout",
                        "ssl_shutdown_timeout",
                    ],
                    required: 9,
                    positional: 9,
                };
                init(this, args.bind(&PARAMS)?)
            })
            .one(
                c"connection_made",
                connection_made,
                c"connection_made(transport): the transport below is connected: the handshake begins.",
            )
            .one(
                c"data_received",
                data_received,
                c"data_received(data): the transport below has received `data`, which is ciphertext.",
            )
            .noargs(
                c"eof_received",
                eof,
                c"The peer has closed its end; True if the transport is to stay open.",
            )
            .one(
                c"connection_lost",
                lost,
                c"connection_lost(exc): the transport below is gone, by `exc` or regularly (None).",
            )
            .noargs(c"pause_writing", pause_writing, c"The transport below should get no more for now.")
            .noargs(c"resume_writing", resume_writing, c"The transport below has room again.");
        describe_inside(builder)
    }
}

/// Attributes for the loop and its timers, and for asyncio's tests and debuggers.
fn describe_inside(builder: Builder<TlsProtocol>) -> Builder<TlsProtocol> {
    builder
        .one(
            c"_feed_early",
            |this, data| {
                let ciphertext = View::of(data)?.stretch().to_bytes()?;
                this.silent.set(this.silent.get() && ciphertext.as_ref().is_empty());
                this.engine()?.feed_all(ciphertext.as_ref())
            },
            c"Ciphertext that had been received before there was TLS.",
        )
        .noargs(c"_check_handshake_timeout", handshake::time_is_up, c"The time limit of the handshake.")
        .noargs(c"_check_shutdown_timeout", shutdown::time_is_up, c"The time limit of the shutdown.")
        .noargs(c"_do_read", |this| read::pump(this, &[]), c"Goes on where a full buffer was in the way.")
        .noargs(c"_resume", read::resume, c"The application reads again.")
        .many(
            c"_get_extra_info",
            |this, args| {
                const PARAMS: Params<2> = Params {
                    function: "_get_extra_info",
                    names: ["name", "default"],
                    required: 1,
                    positional: 2,
                };
                let [name, default] = args.bind(&PARAMS)?;
                let name = name.expect("bind() has checked what is required");
                extra_info(this, name, default.unwrap_or(&none()))
            },
            c"What TLS or the transport below knows under `name`.",
        )
        .getter(
            c"_app_transport",
            |this| this.transport.get().map(Own::into_obj),
            c"The application's transport, None once the connection is lost.",
        )
        .getter(c"_sslcontext", |this| this.context.get(), c"The settings.")
        .getter(c"_app_protocol", |this| this.app.get(), c"The application's protocol.")
        // Servers that stop reading during a request read this attribute by its asyncio name.
        .getter(
            c"_app_reading_paused",
            |this| this.reading_paused.get(),
            c"Has the application paused reading?",
        )
        .getter(c"_transport", |this| this.lower.get(), c"The transport below.")
        .getter(c"_loop", |this| this.event_loop.get().map(Own::into_obj), c"The loop.")
        .getter(c"__class__", |_| names().class_protocol.clone(), c"asyncio.Protocol, for isinstance.")
}

/// asyncio's marks of a buffer: pause at `high` KiB, resume at a quarter of that.
fn marks_at_kib(high: u32) -> Marks<f64> {
    let high = f64::from(high) * 1024.0;
    Marks::new(high, high / 4.0, Pause::At)
}
