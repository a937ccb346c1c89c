//! StreamTransport: one connection over TCP or a Unix socket.
//!
//! What is written in a turn of the loop leaves in one system call when the turn is over, or at once when
//! it is more than the high-water mark. Whoever could tell the difference, as `close()`, `abort()`,
//! `write_eof()` and `get_write_buffer_size()` can, sends it first. Reading is one call for each event.

mod end;
mod extra;
mod open;
mod read;
mod write;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::os::fd::{OwnedFd, RawFd};

use saburo_core::{Address, WriteQueue};

use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Builder, Class, Context, Instance, Obj, Object, OneSlot, Own, Res, Slot, TypeCell, Visit, int, raise,
    string, tuple,
};
use crate::names::names;

use super::protocol::{self, Kind};
use super::{Event, failure};

pub(in crate::transport) use open::accepted;
pub(crate) use open::{accept_now, connected};
pub(in crate::transport) use write::flush;

use write::Piece;

/// A connection.
pub(crate) struct StreamTransport {
    /// None once the connection is gone and told so.
    event_loop: Slot<Own<Loop>>,
    protocol: Slot,
    /// How the protocol takes bytes.
    kind: Cell<Kind>,
    /// The server it came in by; told when it is gone.
    server: Slot,
    phase: Cell<Phase>,

    fd: Cell<RawFd>,
    /// The descriptor while nobody in Python has it …
    descriptor: Cell<Option<OwnedFd>>,
    /// … and the `socket` that owns it, where there is one.
    socket: Slot,
    /// Answers of `get_extra_info`, as far as anybody has asked; a dict.
    extra: Slot,
    local: RefCell<Option<Address>>,
    peer: RefCell<Option<Address>>,

    /// What callbacks run in.
    context: Slot<Context>,
    /// Was the context given, for all callbacks? Else the last one runs in that of whoever ends the
    /// connection, as in asyncio.
    context_given: Cell<bool>,
    /// Whoever waits for the connection to be made: a future, or the listener that took it.
    waiter: Slot,
    /// What ended the connection, until it is told.
    cause: Slot,

    /// pause_reading() was called.
    paused: Cell<bool>,

    queue: RefCell<WriteQueue<Piece>>,
    /// It stands in the loop's list of those that have something to send when the turn is over.
    gathering: Cell<bool>,
    /// The kernel has no room: the loop tells when it has.
    waiting_for_room: Cell<bool>,
    /// write_eof() was called.
    eof: Cell<Eof>,
    high: Cell<usize>,
    low: Cell<usize>,
    /// pause_writing() was called, and resume_writing() was not.
    protocol_paused: Cell<bool>,
    /// Writes since the connection was gone.
    in_vain: Cell<u32>,
    /// A future done when all has been sent; while there is one, nothing may be written.
    empty_waiter: Slot,
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(super) enum Phase {
    Open,
    /// close() was called, and there are bytes to send yet.
    Closing,
    /// The protocol is about to be told that the connection is gone.
    Ending,
    /// It has been told, and the descriptor is closed.
    Closed,
}

/// What the peer knows about the end of what we send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Eof {
    None,
    /// To be sent after the last byte.
    Promised,
    Sent,
}

/// asyncio's marks: pause at 64 KiB, go on at a quarter of it.
const HIGH: usize = 64 * 1024;
const LOW: usize = HIGH / 4;

impl StreamTransport {
    pub(crate) fn is_closing(&self) -> bool {
        self.phase.get() != Phase::Open
    }

    fn is_reading(&self) -> bool {
        !self.is_closing() && !self.paused.get()
    }

    /// The loop, as long as the connection is not gone.
    fn open_loop(&self) -> Option<Own<Loop>> {
        self.event_loop.get()
    }
}

/// What has happened to it.
#[inline]
pub(super) fn tell(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, event: Event) -> Res<()> {
    match event {
        Event::Readable => read::readable(event_loop, this),
        Event::Writable => write::writable(event_loop, this),
        Event::Opened => open::opened(event_loop, this),
        Event::Lost => end::lost(event_loop, this),
    }
}

fn pause_reading(this: &Instance<StreamTransport>) -> Res<()> {
    if !this.is_reading() {
        return Ok(());
    }
    this.paused.set(true);
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    event_loop.unwatch_transport(this.fd.get(), Direction::Read);
    failure::debug(&event_loop, this.as_object(), "pauses reading")
}

fn resume_reading(this: &Instance<StreamTransport>) -> Res<()> {
    if this.is_closing() || !this.paused.get() {
        return Ok(());
    }
    this.paused.set(false);
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    start_reading(&event_loop, this)?;
    failure::debug(&event_loop, this.as_object(), "resumes reading")
}

fn start_reading(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    event_loop.watch_transport(this.fd.get(), Direction::Read, this.as_object())
}

fn set_protocol(this: &Instance<StreamTransport>, protocol: &Object) -> Res<()> {
    this.kind.set(protocol::kind(protocol)?);
    this.protocol.set(Some(protocol.to_obj()));
    Ok(())
}

fn set_write_buffer_limits(
    this: &Instance<StreamTransport>,
    high: Option<&Object>,
    low: Option<&Object>,
) -> Res<()> {
    let given = |limit: Option<&Object>| {
        limit.filter(|limit| !limit.is_none()).map(|limit| limit.as_i64()).transpose()
    };
    let (given_high, given_low) = (given(high)?, given(low)?);
    let high = given_high.unwrap_or_else(|| given_low.map_or(HIGH as i64, |low| low.saturating_mul(4)));
    let low = given_low.unwrap_or(high.div_euclid(4));
    if !(high >= low && low >= 0) {
        let message = format!("high ({high}) must be >= low ({low}) must be >= 0");
        return raise(crate::ffi::builtin::value_error(), &message);
    }
    this.high.set(high as usize);
    this.low.set(low as usize);
    match this.open_loop() {
        Some(event_loop) => write::pause_if_full(&event_loop, this),
        None => Ok(()),
    }
}

fn repr(this: &Instance<StreamTransport>) -> Res<Obj> {
    let mut words = vec![this.as_object().type_of().attr(&names().dunder_name)?.display()?];
    match this.phase.get() {
        Phase::Open => {}
        Phase::Closed => words.push("closed".to_owned()),
        _ => words.push("closing".to_owned()),
    }
    words.push(format!("fd={}", this.fd.get()));
    if let Some(event_loop) = this.open_loop().filter(|event_loop| !event_loop.is_closed()) {
        let state = |polling| if polling { "polling" } else { "idle" };
        let (reading, writing) = event_loop.watched(this.fd.get());
        let waiting = this.queue.borrow().len();
        words.push(format!("read={}", state(reading)));
        words.push(format!("write=<{}, bufsize={waiting}>", state(writing)));
    }
    string(&format!("<{}>", words.join(" ")))
}

static STREAM_TRANSPORT: TypeCell = TypeCell::new();

impl Class for StreamTransport {
    type Base = StreamTransport;
    type Dict = ();
    type Inherited = OneSlot;

    const NAME: &'static CStr = c"saburo._saburo.StreamTransport";
    const DOC: &'static CStr = c"One connection over TCP or a Unix socket, as loops make them.

An asyncio.Transport. What is written during a turn of the loop leaves in one system call when the turn
is over, or at once when it is more than the high-water mark. All methods are for the loop's thread.

>>> import asyncio, saburo
>>> issubclass(saburo._saburo.StreamTransport, asyncio.Transport)
True";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const FINALIZES: bool = true;

    fn python_base() -> Option<&'static Object> {
        Some(&names().class_transport)
    }

    fn cell() -> &'static TypeCell {
        &STREAM_TRANSPORT
    }

    fn create() -> StreamTransport {
        StreamTransport {
            event_loop: Slot::empty(),
            protocol: Slot::empty(),
            kind: Cell::new(Kind::Plain),
            server: Slot::empty(),
            phase: Cell::new(Phase::Open),
            fd: Cell::new(-1),
            descriptor: Cell::new(None),
            socket: Slot::empty(),
            extra: Slot::empty(),
            local: RefCell::new(None),
            peer: RefCell::new(None),
            context: Slot::empty(),
            context_given: Cell::new(false),
            waiter: Slot::empty(),
            cause: Slot::empty(),
            paused: Cell::new(false),
            queue: RefCell::new(WriteQueue::new()),
            gathering: Cell::new(false),
            waiting_for_room: Cell::new(false),
            eof: Cell::new(Eof::None),
            high: Cell::new(HIGH),
            low: Cell::new(LOW),
            protocol_paused: Cell::new(false),
            in_vain: Cell::new(0),
            empty_waiter: Slot::empty(),
        }
    }

    fn base(&self) -> &StreamTransport {
        self
    }

    fn traverse(&self, visit: &mut Visit<'_>) {
        self.event_loop.visit(visit);
        self.context.visit(visit);
        // The queue holds bytes, which hold nothing.
        for slot in self.slots() {
            slot.visit(visit);
        }
    }

    fn clear(&self) {
        drop((self.event_loop.take(), self.context.take()));
        for slot in self.slots() {
            drop(slot.take());
        }
    }

    fn wants_finalizer(&self) -> bool {
        self.phase.get() != Phase::Closed
    }

    fn finalize(this: &Instance<StreamTransport>) {
        end::abandoned(this);
    }

    fn describe(builder: Builder<StreamTransport>) -> Builder<StreamTransport> {
        let builder = builder
            .one(
                c"write",
                write::write,
                c"write(data): sends bytes, without blocking; those of one turn together.",
            )
            .one(c"writelines", write::writelines, c"writelines(list_of_data): sends several pieces in one go.")
            .noargs(c"write_eof", write::write_eof, c"Sends an end of stream after what was written.")
            .noargs(c"can_write_eof", |_| true, c"True: either direction of a connection can end by itself.")
            .noargs(c"close", end::close, c"Closes the connection once everything written has been sent.")
            .noargs(c"abort", end::abort, c"Closes the connection at once.")
            .noargs(c"is_closing", |this| this.is_closing(), c"Is it closing, or closed?")
            .noargs(c"is_reading", |this| this.is_reading(), c"Does the protocol get what arrives?")
            .noargs(c"pause_reading", pause_reading, c"Lets what arrives wait, until resume_reading().")
            .noargs(c"resume_reading", resume_reading, c"Goes on giving the protocol what arrives.")
            .one(c"set_protocol", set_protocol, c"Sets the protocol that is called from now on.")
            .noargs(c"get_protocol", |this| this.protocol.get(), c"The protocol.")
            .many(
                c"get_extra_info",
                extra::get_extra_info,
                c"get_extra_info(name, default=None): 'socket', 'sockname', 'peername', and what it was made with.",
            )
            .many(
                c"set_write_buffer_limits",
                |this, args| {
                    const PARAMS: crate::ffi::Params<2> = crate::ffi::Params {
                        function: "set_write_buffer_limits",
                        names: ["high", "low"],
                        required: 0,
                        positional: 2,
                    };
                    let [high, low] = args.bind(&PARAMS)?;
                    set_write_buffer_limits(this, high, low)
                },
                c"set_write_buffer_limits(high=None, low=None): when to pause and resume the protocol, in bytes.",
            )
            .noargs(
                c"get_write_buffer_limits",
                |this| tuple([&*int(this.low.get() as i64)?, &*int(this.high.get() as i64)?].into_iter()),
                c"(low, high), in bytes.",
            )
            .noargs(
                c"get_write_buffer_size",
                write::buffer_size,
                c"How many bytes the kernel has not taken yet.",
            )
            .repr(repr);
        describe_private(builder)
    }
}

/// What asyncio's own parts and some libraries use of its transports.
fn describe_private(builder: Builder<StreamTransport>) -> Builder<StreamTransport> {
    builder
        .noargs(c"_make_empty_waiter", write::make_empty_waiter, c"A future done when all has been sent.")
        .noargs(c"_reset_empty_waiter", |this| this.empty_waiter.set(None), c"Lets the protocol write again.")
        .noargs(c"_leave_socket", end::leave_socket, c"Ends the connection; its socket stays its owner's.")
        .one(c"_force_close", end::force_close_with, c"Ends the connection at once, because of an exception.")
        .getter(c"_extra", extra::whole, c"All that get_extra_info() knows.")
        .getter(c"_sock", extra::python_socket, c"The socket, None once it is closed.")
        .getter(c"_sock_fd", |this| int(i64::from(this.fd.get())), c"The descriptor.")
        .getter(c"_loop", |this| this.event_loop.get().map(Own::into_obj), c"The loop, None once closed.")
        .getter(c"_protocol", |this| this.protocol.get(), c"The protocol, None once closed.")
        .getter(c"_server", |this| this.server.get(), c"The server it came in by.")
        .getter(c"_closing", |this| this.is_closing(), c"Is it closing, or closed?")
        .getter(
            c"_paused",
            |this| this.paused.get(),
            c"Was pause_reading() called, and not resume_reading()?",
        )
        .getter(
            c"_protocol_paused",
            |this| this.protocol_paused.get(),
            c"Was the protocol told to pause writing, and not to resume since?",
        )
        .getter(c"_start_tls_compatible", |_| true, c"It can be given to start_tls().")
        .getter(
            c"_sendfile_compatible",
            |_| names().sendfile_mode.attr(&names().try_native),
            c"sendfile() may use the system call.",
        )
}

impl StreamTransport {
    fn slots(&self) -> [&Slot; 7] {
        [
            &self.protocol,
            &self.server,
            &self.socket,
            &self.extra,
            &self.waiter,
            &self.cause,
            &self.empty_waiter,
        ]
    }
}
