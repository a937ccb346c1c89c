//! WritePipeTransport: the writing end of a pipe.
//!
//! A pipe or socket becomes readable when its reader has closed it; that is why the writing end is watched
//! for reading.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::os::fd::RawFd;

use saburo_core::pipe::Kind;
use saburo_core::{Outgoing, WriteQueue, pipe};

use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Args, Builder, Bytes, Class, Dict, Instance, Obj, Object, OneSlot, Owner, Raised, Res, Slot, builtin,
    fields, int, lend_ready, raise,
};
use crate::names::names;

use super::super::describe::{self, Writes, told_by_name};
use super::super::ending::{self, Ending, force_close};
use super::super::failure;
use super::super::flow::Flow;
use super::super::life::{ConnectionState, Life};
use super::super::piece::{self, Piece};
use super::super::watcher::{self, Opened, Watcher, Watches};
use super::PipeArgs;

/// The writing end of a pipe.
pub(crate) struct WritePipeTransport {
    life: Life,
    /// The Python object of the pipe.
    pipe: Slot<Owner>,
    kind: Cell<Kind>,
    /// The data that the pipe had no room for yet.
    queue: RefCell<WriteQueue<Piece>>,
    flow: Flow,
    outgoing: Outgoing,
    /// Writing has failed.
    broken: Cell<bool>,
}

impl Deref for WritePipeTransport {
    type Target = Life;

    #[inline]
    fn deref(&self) -> &Life {
        &self.life
    }
}

/// `_make_write_pipe_transport(pipe, protocol, waiter=None, extra=None)`
pub(crate) fn writing(event_loop: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    let args = PipeArgs::bind(args, "_make_write_pipe_transport")?;
    event_loop.check_usable()?;
    let (owner, fd, kind) = args.open("Pipe transport is only for pipes, sockets and character devices")?;
    let transport = Instance::alloc(WritePipeTransport::blank())?;
    transport.as_object().set_attr(&names().extra, &*args.extra()?)?;
    transport.begin(event_loop, args.protocol, args.waiter)?;
    transport.kind.set(kind);
    transport.pipe.set(Some(owner));
    // From here on the transport owns the pipe.
    transport.number.set(fd);
    watcher::tell_later::<Opened, _>(event_loop, &*transport)?;
    Ok(transport.into_obj())
}

impl Watcher for WritePipeTransport {
    fn watches(this: &Instance<WritePipeTransport>) -> &Watches {
        &this.watches
    }

    fn readable(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
        this.within(event_loop, this.as_object(), &names().read_ready, || reader_has_gone(event_loop, this))
    }

    fn writable(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
        this.within_writer(event_loop, this.as_object(), || writable(event_loop, this))
    }

    fn opened(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
        this.opened(event_loop, this.as_object(), || watch_reader(event_loop, this))
    }

    fn lost(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
        this.within_last(event_loop, this.as_object(), || ending::lost(event_loop, this))
    }
}

impl Instance<WritePipeTransport> {
    #[inline]
    fn descriptor(&self, event_loop: &Loop) -> RawFd {
        super::descriptor(self, &self.pipe, event_loop, self.as_object())
    }
}

fn watch_reader(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
    if this.phase.get() >= ConnectionState::Ending || !this.kind.get().tells_of_reader() {
        return Ok(());
    }
    watcher::watch(event_loop, this.descriptor(event_loop), Direction::Read, this)
}

/// Data that is not written yet is lost. A socket may also have received data: asyncio ends it as well.
fn reader_has_gone(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
    if this.phase.get() >= ConnectionState::Ending {
        return Ok(());
    }
    failure::closed_by_peer(event_loop, this.as_object())?;
    if this.queue.borrow().is_empty() {
        return force_close(event_loop, this, None);
    }
    let broken = builtin::broken_pipe_error().call0()?;
    force_close(event_loop, this, Some(&broken))
}

fn write(this: &Instance<WritePipeTransport>, data: &Object) -> Res<()> {
    let exact = Bytes::exact(data);
    if exact.is_none() && !data.is_bytes_like() {
        return raise(builtin::assertion_error(), &data.repr()?);
    }
    if exact.as_ref().is_some_and(|bytes| bytes.as_ref().is_empty()) || (exact.is_none() && !data.truth()?) {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop().filter(|_| !this.is_closing()) else {
        let losses = u32::from(this.broken.get());
        return this
            .count_lost_write(losses, "pipe closed by peer or os.write(pipe, data) raised exception.");
    };
    let written = match exact {
        Some(bytes) => write_bytes(&event_loop, this, bytes),
        None => write_copy(&event_loop, this, data),
    };
    if let Err(raised) = written {
        return failed(&event_loop, this, raised);
    }
    let waiting = this.queue.borrow().len();
    if waiting == 0 {
        return Ok(());
    }
    if !this.outgoing.is_blocked() {
        this.wait_for_room(&event_loop, this, || this.descriptor(&event_loop))?;
        this.outgoing.block();
    }
    this.flow.pause_if_full(&event_loop, this.as_object(), &this.protocol, waiting)
}

/// Writes as much as the pipe has room for, unless other data waits already; the rest is queued.
#[inline]
fn write_bytes(event_loop: &Loop, this: &Instance<WritePipeTransport>, bytes: Bytes) -> Res<()> {
    let fd = this.descriptor(event_loop);
    let mut queue = this.queue.borrow_mut();
    let is_first = queue.is_empty();
    let queued = piece::push(&mut queue, bytes);
    if !is_first || queued.is_err() {
        drop(queue);
        return Ok(queued?);
    }
    // This drops `bytes`, which runs no code.
    let sent = queue.flush_pipe(fd, drop);
    drop(queue);
    Ok(sent?)
}

/// The same for data that the program may change later: only the rest is copied.
fn write_copy(event_loop: &Loop, this: &Instance<WritePipeTransport>, data: &Object) -> Res<()> {
    let ready = || this.descriptor(event_loop);
    let written = lend_ready(data, ready, |fd, bytes| {
        let mut queue = this.queue.borrow_mut();
        let written = if queue.is_empty() { pipe::write(fd, bytes) } else { Ok(0) };
        let written = match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result?,
        };
        if written < bytes.len() {
            piece::copy(&mut queue, &bytes[written..])?;
        }
        io::Result::Ok(())
    })?;
    Ok(written?)
}

#[cold]
fn failed(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>, raised: Raised) -> Res<()> {
    if raised.ends_the_run() {
        return Err(raised);
    }
    this.broken.set(true);
    failure::fatal(event_loop, this.as_object(), raised, "Fatal write error on pipe transport", |exception| {
        force_close(event_loop, this, Some(exception))
    })
}

/// The pipe has room again.
fn writable(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
    if !this.outgoing.is_blocked() || this.phase.get() >= ConnectionState::Ending {
        return Ok(());
    }
    let fd = this.descriptor(event_loop);
    let sent = this.queue.borrow_mut().flush_pipe(fd, drop);
    if let Err(error) = sent {
        return failed(event_loop, this, Raised::os(&error));
    }
    if !this.queue.borrow().is_empty() {
        return Ok(());
    }
    stop_writing(event_loop, this);
    // Not before all data is written, as in asyncio. The protocol may write more, or close the transport.
    this.flow.resume_if_drained(event_loop, this.as_object(), &this.protocol, 0)?;
    if this.phase.get() == ConnectionState::Closing && this.queue.borrow().is_empty() {
        this.watches.end(event_loop, Direction::Read);
        this.phase.set(ConnectionState::Ending);
        return ending::lost(event_loop, this);
    }
    Ok(())
}

/// Closes the pipe after the written data; close() does the same.
fn write_eof(this: &Instance<WritePipeTransport>) -> Res<()> {
    let Some(event_loop) = this.open_loop().filter(|_| !this.is_closing()) else { return Ok(()) };
    this.phase.set(ConnectionState::Closing);
    if this.queue.borrow().is_empty() { force_close(&event_loop, this, None) } else { Ok(()) }
}

impl Ending for WritePipeTransport {
    fn stop_watching(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) {
        stop_writing(event_loop, this);
        if this.kind.get().tells_of_reader() {
            this.watches.end(event_loop, Direction::Read);
        }
    }

    fn drop_unsent(this: &Instance<WritePipeTransport>) {
        let unsent = this.queue.borrow_mut().take();
        drop(unsent);
    }

    fn close_descriptor(this: &Instance<WritePipeTransport>) -> Res<()> {
        super::close(&this.pipe)
    }
}

impl Writes for WritePipeTransport {
    fn flow(this: &Instance<WritePipeTransport>) -> &Flow {
        &this.flow
    }

    fn pause_if_full(event_loop: &Instance<Loop>, this: &Instance<WritePipeTransport>) -> Res<()> {
        let waiting = this.queue.borrow().len();
        this.flow.pause_if_full(event_loop, this.as_object(), &this.protocol, waiting)
    }
}

fn stop_writing(event_loop: &Loop, this: &Instance<WritePipeTransport>) {
    if this.outgoing.unblock() {
        this.watches.end(event_loop, Direction::Write);
    }
}

impl Class for WritePipeTransport {
    fields! {
        class, dict Dict, inherits OneSlot;
        objects { life: Life::new(), pipe }
        // The queue's `bytes` hold no references.
        unseen { queue: RefCell::new(WriteQueue::new()) }
        plain { kind: Cell::new(Kind::Other), flow: Flow::new(), outgoing: Outgoing::at_once(), broken }
    }

    const NAME: &'static CStr = c"saburo._saburo._UnixWritePipeTransport";
    const DOC: &'static CStr = c"The writing end of a pipe, as loops make them.

An asyncio.WriteTransport, and, as asyncio's own, an asyncio.Transport. All methods are for the loop's thread.

>>> import asyncio, saburo
>>> issubclass(saburo._saburo._UnixWritePipeTransport, asyncio.WriteTransport)
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

    fn finalize(this: &Instance<WritePipeTransport>) {
        ending::abandoned(this);
    }

    fn describe(builder: Builder<WritePipeTransport>) -> Builder<WritePipeTransport> {
        describe::life(describe::writing(builder))
            .many(
                c"write",
                |this, args| write(this, args.sole("_UnixWritePipeTransport.write", "data")?),
                c"write(data): writes bytes, without blocking.",
            )
            .noargs(c"write_eof", write_eof, c"Closes the pipe after what was written.")
            .noargs(c"can_write_eof", |_| true, c"True.")
            .noargs(c"close", write_eof, c"Closes the pipe once everything has been written.")
            .noargs(c"abort", ending::abort, c"Closes the pipe at once.")
            .noargs(c"is_closing", |this| this.is_closing(), c"Is it closing, or closed?")
            .many(
                c"set_protocol",
                |this, args| {
                    args.sole("_UnixWritePipeTransport.set_protocol", "protocol")
                        .map(|protocol| this.set_protocol(protocol))
                },
                c"set_protocol(protocol): sets the protocol that is called from now on.",
            )
            .noargs(
                c"get_write_buffer_size",
                |this| {
                    let waiting = this.queue.borrow().len();
                    int(waiting as i64)
                },
                c"How many bytes wait to be written.",
            )
            .noargs(c"_read_ready", |this| told_by_name(this, Watcher::readable), c"The reader has gone.")
            .getter(
                c"_pipe",
                |this| this.pipe.get().map(Owner::into_object),
                c"The pipe, None once it is closed.",
            )
            .getter(c"_fileno", |this| int(i64::from(this.number.get())), c"The descriptor.")
            .repr(|this| {
                let size = format!("bufsize={}", this.queue.borrow().len());
                super::repr(this, this.as_object(), |(_, writing)| writing, Some(size))
            })
    }
}
