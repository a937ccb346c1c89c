//! StreamTransport: one connection over TCP or a Unix socket.
//!
//! Data written in a turn of the loop is sent in one system call at the end of the turn. It is sent at once
//! if there is much of it: one write of more than the high-water mark, or several writes of more than that
//! together; of more than four times that, if the program has not set the mark and the kernel has room. Every
//! call that could notice the difference sends the data first: `drain()` of a stream, `close()`, `abort()`,
//! `write_eof()`, `get_write_buffer_size()`, the methods of the socket that `get_extra_info()` gives. Reading
//! is one system call for each event.

mod end;
mod open;
mod read;
mod receiver;
mod write;

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::ops::Deref;
use std::os::fd::RawFd;

use saburo_core::{Outgoing, WriteQueue};

use crate::event_loop::{Loop, Transport};
use crate::ffi::{Builder, Class, Dict, Instance, Obj, Object, OneSlot, Own, Res, Slot, fields, int, string};
use crate::future::Future;
use crate::names::names;

use super::describe::{self, Reads, Writes};
use super::ending;
use super::endpoint::Endpoint;
use super::failure;
use super::flow::Flow;
use super::life::{ConnectionState, Life, watched_word};
use super::piece::Piece;
use super::watcher::{Watcher, Watches};

pub(in crate::transport) use open::accepted;
pub(crate) use open::connected;
pub(crate) use read::Incoming;
pub(crate) use receiver::{PLAIN, Receiver, add_receivers, is_buffered, of as receiver_of};
pub(crate) use write::{drain, may_wait, send_drained, send_gathered, sends_at_once, write, writelines};

/// A connection.
pub(crate) struct StreamTransport {
    life: Life,
    endpoint: Endpoint,
    /// How the protocol receives bytes.
    receiver: Cell<&'static dyn Receiver>,
    /// The last receive brought so much that the next one goes directly into its final place.
    in_flood: Cell<bool>,
    /// The server that accepted the connection; told when the connection is gone.
    server: Slot,

    queue: RefCell<WriteQueue<Piece>>,
    flow: Flow,
    outgoing: Outgoing,
    /// write_eof() was called.
    eof: Cell<Eof>,
    /// A future done when all data has been sent; while it exists, nothing may be written.
    empty_waiter: Slot,
    /// The future that sendfile() waits for: room in the kernel.
    room_waiter: Slot<Own<Future>>,
}

impl Deref for StreamTransport {
    type Target = Life;

    #[inline]
    fn deref(&self) -> &Life {
        &self.life
    }
}

/// What the peer knows about the end of our data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Eof {
    None,
    /// To be sent after the last byte.
    Promised,
    Sent,
}

impl Watcher for StreamTransport {
    fn watches(this: &Instance<StreamTransport>) -> &Watches {
        &this.watches
    }

    #[inline]
    fn readable(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
        this.within(event_loop, this.as_object(), &names().read_ready, || read::readable(event_loop, this))
    }

    #[inline]
    fn writable(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
        this.within(event_loop, this.as_object(), &names().write_ready, || write::writable(event_loop, this))
    }

    fn opened(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
        this.opened(event_loop, this.as_object(), || {
            this.start_reading(event_loop, this, || this.descriptor(event_loop))
        })
    }

    fn lost(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
        this.within_last(event_loop, this.as_object(), || ending::lost(event_loop, this))
    }
}

impl Transport for Instance<StreamTransport> {
    fn is_closing(&self) -> bool {
        Life::is_closing(self)
    }

    fn has_descriptor(&self, event_loop: &Loop) -> bool {
        self.descriptor(event_loop) >= 0
    }

    fn forget_descriptor(&self) {
        self.endpoint.forget_descriptor(self);
    }

    fn leave_to_parent(&self) -> Res<()> {
        end::leave_to_parent(self)
    }
}

impl Reads for StreamTransport {
    #[inline]
    fn descriptor(event_loop: &Loop, this: &Instance<StreamTransport>) -> RawFd {
        this.descriptor(event_loop)
    }
}

impl Writes for StreamTransport {
    fn flow(this: &Instance<StreamTransport>) -> &Flow {
        &this.flow
    }

    fn pause_if_full(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
        // On asyncio this data would have been sent by the call that wrote it, and would not cause a pause.
        write::send_gathered(event_loop, this)?;
        write::pause_if_full(event_loop, this)
    }
}

pub(crate) fn pause_reading(this: &Instance<StreamTransport>) -> Res<()> {
    describe::pause_reading(this)
}

pub(crate) fn resume_reading(this: &Instance<StreamTransport>) -> Res<()> {
    describe::resume_reading(this)
}

impl Instance<StreamTransport> {
    /// The descriptor. Ask for it right before each use; -1 once the number may belong to another file.
    #[inline]
    pub(in crate::transport) fn descriptor(&self, event_loop: &Loop) -> RawFd {
        self.endpoint.descriptor(self, event_loop, self.as_object())
    }
}

/// The open connections that `server` accepted.
pub(super) fn of_server(event_loop: &Loop, server: &Object) -> Vec<Obj> {
    event_loop.transports().matching(|transport| {
        transport.cast_exact::<StreamTransport>().is_some_and(|stream| stream.server.holds(server))
    })
}

fn set_protocol(this: &Instance<StreamTransport>, protocol: &Object) -> Res<()> {
    let receiver = receiver::of(protocol)?;
    if let Some(event_loop) = this.open_loop() {
        // Effects of this send belong to the protocol that wrote the data.
        write::send_gathered(&event_loop, this)?;
    }
    this.receiver.set(receiver);
    this.protocol.set(Some(protocol.to_obj()));
    Ok(())
}

/// `is_closing()`: asyncio's StreamWriter calls it when it drains.
fn is_closing(this: &Instance<StreamTransport>) -> Res<bool> {
    let receiver = this.receiver.get();
    if receiver.drains_by_is_closing() {
        drain(this, || this.protocol.get().map_or(Ok(false), |target| receiver.has_unread(&target)))?;
    }
    Ok(this.is_closing())
}

fn repr(this: &Instance<StreamTransport>) -> Res<Obj> {
    let mut words = this.words(this.as_object())?;
    if let Some(event_loop) = this.open_loop().filter(|event_loop| !event_loop.is_closed()) {
        let (reading, writing) = event_loop.watched(this.number.get());
        let waiting = this.queue.borrow().len();
        words.push(format!("read={}", watched_word(reading)));
        words.push(format!("write=<{}, bufsize={waiting}>", watched_word(writing)));
    }
    string(&format!("<{}>", words.join(" ")))
}

impl Class for StreamTransport {
    fields! {
        class, dict Dict, inherits OneSlot;
        objects { life: Life::new(), endpoint: Endpoint::new(), server, empty_waiter, room_waiter }
        // The queue's `bytes` hold no references.
        unseen { queue: RefCell::new(WriteQueue::new()) }
        plain {
            receiver: Cell::new(PLAIN), in_flood, flow: Flow::new(),
            outgoing: Outgoing::at_end_of_turn(), eof: Cell::new(Eof::None),
        }
    }

    const NAME: &'static CStr = c"saburo._saburo._SelectorSocketTransport";
    const DOC: &'static CStr = c"One connection over TCP or a Unix socket, as loops make them.

An asyncio.Transport. What is written during a turn of the loop leaves in one system call when the turn
is over, or at once when it is much: one write of more than the high-water mark, or several of more than
that together; of 256 KiB, if nobody has set the mark and the kernel has room for them. All methods are
for the loop's thread.

>>> import asyncio, saburo
>>> issubclass(saburo._saburo._SelectorSocketTransport, asyncio.Transport)
True";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const FINALIZES: bool = true;

    fn python_base() -> Option<&'static Object> {
        Some(&names().class_transport)
    }

    fn wants_finalizer(&self) -> bool {
        self.is_open()
    }

    fn finalize(this: &Instance<StreamTransport>) {
        ending::abandoned(this);
    }

    fn describe(builder: Builder<StreamTransport>) -> Builder<StreamTransport> {
        let builder = builder
            .many(
                c"write",
                |this, args| write::write(this, args.sole("_SelectorSocketTransport.write", "data")?),
                c"write(data): sends bytes, without blocking; those of one turn together.",
            )
            .many(
                c"writelines",
                |this, args| {
                    write::writelines(this, args.sole("_SelectorSocketTransport.writelines", "list_of_data")?)
                },
                c"writelines(list_of_data): sends several pieces in one go.",
            )
            .noargs(c"write_eof", write::write_eof, c"Sends an end of stream after what was written.")
            .noargs(c"can_write_eof", |_| true, c"True: either direction of a connection can end by itself.")
            .noargs(c"close", end::close, c"Closes the connection once everything written has been sent.")
            .noargs(c"abort", end::abort, c"Closes the connection at once.")
            .noargs(c"is_closing", is_closing, c"Is it closing, or closed?")
            .many(
                c"set_protocol",
                |this, args| set_protocol(this, args.sole("_SelectorSocketTransport.set_protocol", "protocol")?),
                c"set_protocol(protocol): sets the protocol that is called from now on.",
            )
            .many(
                c"get_extra_info",
                |this, args| this.endpoint.get_extra_info(this, this.as_object(), args),
                c"get_extra_info(name, default=None): 'socket', 'sockname', 'peername', and what it was made with.",
            )
            .noargs(
                c"get_write_buffer_size",
                write::buffer_size,
                c"How many bytes the kernel has not taken yet.",
            )
            .repr(repr);
        describe_private(describe::life(describe::reading(describe::writing(builder))))
    }
}

/// Attributes that asyncio's own modules and some libraries use.
fn describe_private(builder: Builder<StreamTransport>) -> Builder<StreamTransport> {
    builder
        .noargs(c"_make_empty_waiter", write::make_empty_waiter, c"A future done when all has been sent.")
        .noargs(c"_reset_empty_waiter", |this| this.empty_waiter.set(None), c"Lets the protocol write again.")
        .noargs(
            c"_wait_for_room",
            write::wait_for_room,
            c"A future done when the kernel has room, cancelled when the connection ends before.",
        )
        .one(c"_force_close", end::force_close_with, c"Ends the connection at once, because of an exception.")
        .noargs(c"_send_gathered", write::send_all, c"Sends now what was written in this turn.")
        .noargs(
            c"_stop_gathering",
            write::stop_gathering,
            c"Sends what was written, and from now on each write at once: somebody has the descriptor.",
        )
        .getter(
            c"_extra",
            |this| this.endpoint.whole(this, this.as_object()),
            c"All that get_extra_info() knows.",
        )
        .getter(
            c"_sock",
            |this| {
                write::stop_gathering(this)?;
                this.endpoint.python_socket(this)
            },
            c"The socket, None once it is closed.",
        )
        .getter(
            c"_lent_sock",
            |this| this.endpoint.python_socket(this),
            c"The same for sendfile(), which keeps the order itself.",
        )
        .getter(
            c"_sock_fd",
            |this| {
                write::stop_gathering(this)?;
                int(i64::from(this.number.get()))
            },
            c"The descriptor.",
        )
        .getter(c"_server", |this| this.server.get(), c"The server it came in by.")
        .getter(
            c"_paused",
            |this| this.paused.get(),
            c"Was pause_reading() called, and not resume_reading()?",
        )
        .getter(
            c"_protocol_paused",
            |this| this.flow.is_paused(),
            c"Was the protocol told to pause writing, and not to resume since?",
        )
        .getter(c"_start_tls_compatible", |_| true, c"It can be given to start_tls().")
        .getter(
            c"_sendfile_compatible",
            |_| names().sendfile_mode.attr(&names().try_native),
            c"sendfile() may use the system call.",
        )
}
