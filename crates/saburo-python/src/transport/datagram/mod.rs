//! DatagramTransport: messages over UDP, a Unix socket, or another socket that keeps message borders.
//!
//! A datagram is sent when `sendto()` is called, since each needs its own system call; datagrams that the
//! kernel has no room for wait in a queue. If we can read the address ourselves, no Python code runs on the
//! way. Python's `socket` handles all other addresses, sockets of other families, and sockets of derived
//! classes.

mod correspondent;
mod end;
mod open;
mod receive;
mod send;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::ops::Deref;
use std::os::fd::RawFd;

use saburo_core::Outgoing;

use crate::event_loop::{Loop, Transport};
use crate::ffi::{Builder, Class, Dict, Instance, Obj, Object, OneSlot, Res, Slot, fields, int, string};
use crate::names::names;

use super::address::Family;
use super::describe::{self, Reads, Writes};
use super::ending;
use super::endpoint::{Endpoint, Peer};
use super::flow::Flow;
use super::life::{Life, watched_word};
use super::watcher::{Watcher, Watches};

pub(crate) use open::endpoint;

use correspondent::Correspondent;
use send::Datagram;

/// One end of an exchange of datagrams.
pub(crate) struct DatagramTransport {
    life: Life,
    endpoint: Endpoint,
    /// The family of the socket's addresses; None if only Python's `socket` can write them.
    family: Cell<Option<Family>>,
    /// The destination of every datagram, which `sendto()` may also name.
    address: Slot,
    /// The destination of a datagram without an address, as the kernel knows it.
    peer: Cell<Peer>,
    /// The sender of the last datagram.
    sender: Correspondent,
    /// The datagrams that the kernel had no room for yet, in order.
    queue: RefCell<VecDeque<Datagram>>,
    /// The bytes of the queue, each datagram's header included.
    queued: Cell<usize>,
    flow: Flow,
    outgoing: Outgoing,
    /// How often in a row the kernel has reported room when there was none; see `send::wait_longer`.
    false_room_events: Cell<u8>,
    /// For how many more events not to ask for a second datagram.
    single_events_left: Cell<u8>,
}

/// How many bytes each datagram counts in the queue in addition to its own; asyncio's number.
const HEADER: usize = 8;

impl Deref for DatagramTransport {
    type Target = Life;

    #[inline]
    fn deref(&self) -> &Life {
        &self.life
    }
}

impl Watcher for DatagramTransport {
    fn watches(this: &Instance<DatagramTransport>) -> &Watches {
        &this.watches
    }

    #[inline]
    fn readable(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
        this.within(event_loop, this.as_object(), &names().read_ready, || receive::readable(event_loop, this))
    }

    fn writable(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
        this.within_writer(event_loop, this.as_object(), || send::writable(event_loop, this))
    }

    fn opened(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
        this.opened(event_loop, this.as_object(), || {
            this.start_reading(event_loop, this, || this.descriptor(event_loop))
        })
    }

    fn lost(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
        this.within_last(event_loop, this.as_object(), || ending::lost(event_loop, this))
    }
}

impl Transport for Instance<DatagramTransport> {
    fn is_closing(&self) -> bool {
        Life::is_closing(self)
    }

    fn has_descriptor(&self, event_loop: &Loop) -> bool {
        self.descriptor(event_loop) >= 0
    }

    fn leave_to_parent(&self) -> Res<()> {
        Life::leave_to_parent(self);
        Ok(())
    }
}

impl Reads for DatagramTransport {
    #[inline]
    fn descriptor(event_loop: &Loop, this: &Instance<DatagramTransport>) -> RawFd {
        this.descriptor(event_loop)
    }
}

impl Writes for DatagramTransport {
    fn flow(this: &Instance<DatagramTransport>) -> &Flow {
        &this.flow
    }

    fn pause_if_full(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
        send::pause_if_full(event_loop, this)
    }
}

impl Instance<DatagramTransport> {
    /// The descriptor. Ask for it right before each use; -1 once the number may belong to another file.
    #[inline]
    pub(in crate::transport) fn descriptor(&self, event_loop: &Loop) -> RawFd {
        self.endpoint.descriptor(self, event_loop, self.as_object())
    }
}

fn repr(this: &Instance<DatagramTransport>) -> Res<Obj> {
    let mut words = this.words(this.as_object())?;
    if let Some(event_loop) = this.open_loop().filter(|event_loop| !event_loop.is_closed()) {
        let (reading, writing) = event_loop.watched(this.number.get());
        words.push(format!("read={}", watched_word(reading)));
        words.push(format!("write=<{}, bufsize={}>", watched_word(writing), this.queued.get()));
    }
    string(&format!("<{}>", words.join(" ")))
}

impl Class for DatagramTransport {
    fields! {
        class, dict Dict, inherits OneSlot;
        objects {
            life: Life::new(), endpoint: Endpoint::new(), address, sender: Correspondent::nobody(), queue,
        }
        plain {
            family, peer: Cell::new(Peer::None), queued, flow: Flow::new(), outgoing: Outgoing::at_once(),
            false_room_events, single_events_left,
        }
    }

    const NAME: &'static CStr = c"saburo._saburo._SelectorDatagramTransport";
    const DOC: &'static CStr = c"One end of a conversation in datagrams, as loops make them.

An asyncio.DatagramTransport. A datagram is sent, or refused, when sendto() is called; what the kernel has
no room for waits. All methods are for the loop's thread.

>>> import asyncio, saburo
>>> issubclass(saburo._saburo._SelectorDatagramTransport, asyncio.DatagramTransport)
True";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const FINALIZES: bool = true;

    fn python_base() -> Option<&'static Object> {
        Some(&names().class_transport)
    }

    fn python_mixin() -> Option<&'static Object> {
        Some(&names().class_datagram_transport)
    }

    fn wants_finalizer(&self) -> bool {
        self.is_open()
    }

    fn finalize(this: &Instance<DatagramTransport>) {
        ending::abandoned(this);
    }

    fn describe(builder: Builder<DatagramTransport>) -> Builder<DatagramTransport> {
        let builder = builder
            .many(
                c"sendto",
                send::sendto,
                c"sendto(data, addr=None): sends a datagram, without blocking; an empty one, too.",
            )
            .noargs(c"close", end::close, c"Closes the socket once everything has been sent.")
            .noargs(c"abort", ending::abort, c"Closes the socket at once.")
            .noargs(c"is_closing", |this| this.is_closing(), c"Is it closing, or closed?")
            .many(
                c"set_protocol",
                |this, args| args.sole("_SelectorTransport.set_protocol", "protocol").map(|protocol| this.set_protocol(protocol)),
                c"set_protocol(protocol): sets the protocol that is called from now on.",
            )
            .many(
                c"get_extra_info",
                |this, args| this.endpoint.get_extra_info(this, this.as_object(), args),
                c"get_extra_info(name, default=None): 'socket', 'sockname', 'peername', and what it was made with.",
            )
            .noargs(
                c"get_write_buffer_size",
                |this| int(this.queued.get() as i64),
                c"How many bytes wait to be sent, and eight for each datagram.",
            )
            .repr(repr);
        describe_private(describe::life(describe::reading(describe::writing(builder))))
    }
}

/// Attributes that asyncio's own modules and some libraries use.
fn describe_private(builder: Builder<DatagramTransport>) -> Builder<DatagramTransport> {
    builder
        .one(
            c"_force_close",
            ending::force_close_with,
            c"Ends the transport at once, because of an exception.",
        )
        .noargs(c"_retry", send::retry, c"Sends again, after the receiver had no room.")
        .getter(
            c"_extra",
            |this| this.endpoint.whole(this, this.as_object()),
            c"All that get_extra_info() knows.",
        )
        .getter(c"_sock", |this| this.endpoint.python_socket(this), c"The socket, None once it is closed.")
        .getter(c"_sock_fd", |this| int(i64::from(this.number.get())), c"The descriptor.")
        .getter(c"_address", |this| this.address.get(), c"Where every datagram goes; None if each says.")
        .getter(c"_header_size", |_| int(HEADER as i64), c"What each datagram counts beside its bytes.")
}
