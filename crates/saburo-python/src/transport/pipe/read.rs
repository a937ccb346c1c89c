//! ReadPipeTransport: the reading end of a pipe. One system call for each event.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::os::fd::RawFd;

use saburo_core::pipe;

use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Args, Builder, Class, Dict, Instance, Obj, Object, OneSlot, Owner, Raised, Res, Slot, aside, bytes,
    fields, int,
};
use crate::names::names;

use super::super::describe::{self, Reads};
use super::super::ending::{self, Ending, force_close};
use super::super::life::Life;
use super::super::watcher::{self, Ended, Opened, Watcher, Watches};
use super::super::{failure, protocol};
use super::PipeArgs;

/// The reading end of a pipe.
pub(crate) struct ReadPipeTransport {
    life: Life,
    /// The Python object of the pipe.
    pipe: Slot<Owner>,
    /// How many bytes have arrived through the pipe.
    received: Cell<usize>,
}

impl Deref for ReadPipeTransport {
    type Target = Life;

    #[inline]
    fn deref(&self) -> &Life {
        &self.life
    }
}

/// `_make_read_pipe_transport(pipe, protocol, waiter=None, extra=None)`
pub(crate) fn reading(event_loop: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    let args = PipeArgs::bind(args, "_make_read_pipe_transport")?;
    event_loop.check_usable()?;
    let (owner, fd, _) = args.open("Pipe transport is for pipes/sockets only.")?;
    let transport = Instance::alloc(ReadPipeTransport::blank())?;
    transport.as_object().set_attr(&names().extra, &*args.extra()?)?;
    transport.begin(event_loop, args.protocol, args.waiter)?;
    transport.pipe.set(Some(owner));
    // From here on the transport owns the pipe.
    transport.number.set(fd);
    watcher::tell_later::<Opened, _>(event_loop, &*transport)?;
    Ok(transport.into_obj())
}

impl Watcher for ReadPipeTransport {
    fn watches(this: &Instance<ReadPipeTransport>) -> &Watches {
        &this.watches
    }

    #[inline]
    fn readable(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) -> Res<()> {
        this.within(event_loop, this.as_object(), &names().read_ready, || readable(event_loop, this))
    }

    fn opened(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) -> Res<()> {
        this.opened(event_loop, this.as_object(), || {
            this.start_reading(event_loop, this, || this.descriptor(event_loop))
        })
    }

    fn ended(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) -> Res<()> {
        tell_ended(event_loop, this)
    }

    fn lost(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) -> Res<()> {
        this.within_last(event_loop, this.as_object(), || ending::lost(event_loop, this))
    }
}

impl Instance<ReadPipeTransport> {
    #[inline]
    fn descriptor(&self, event_loop: &Loop) -> RawFd {
        super::descriptor(self, &self.pipe, event_loop, self.as_object())
    }
}

fn readable(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) -> Res<()> {
    // Paused or closed since the event came.
    if !this.is_reading() {
        return Ok(());
    }
    let Some(target) = this.protocol.get() else { return Ok(()) };
    let mut buffer = event_loop.take_buffer()?;
    let read = pipe::read(this.descriptor(event_loop), &mut buffer);
    let data = read.map(|count| (count, bytes(&buffer[..count])));
    event_loop.put_buffer(buffer);
    match data {
        Ok((0, _)) => ended(event_loop, this),
        Ok((count, data)) => {
            this.received.set(this.received.get().saturating_add(count));
            target.method(&names().data_received, &[&*data?]).map(drop)
        }
        Err(error) => failed(event_loop, this, &error),
    }
}

/// The pipe has no writer any more: the protocol is told that in the next turn, and then that the pipe is
/// closed.
#[cold]
fn ended(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) -> Res<()> {
    failure::closed_by_peer(event_loop, this.as_object())?;
    this.watches.end(event_loop, Direction::Read);
    event_loop.expect_as_much(this.received.get());
    // Queued first, so that both calls find the same context.
    watcher::tell_later::<Ended, _>(event_loop, this)?;
    this.schedule_lost(event_loop, this, None)
}

fn tell_ended(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) -> Res<()> {
    let (Some(target), Some(context)) = (this.protocol.get(), this.context.get()) else { return Ok(()) };
    // Context variables set there stay there, as in a callback with its own context.
    let own = context.copied()?;
    let name = &names().eof_received;
    match protocol::call(own.as_object(), &target, name, &[]) {
        Ok(_) => Ok(()),
        Err(raised) => failure::report_callback(event_loop, raised, &target, name, &[], own),
    }
}

#[cold]
fn failed(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>, error: &io::Error) -> Res<()> {
    if error.kind() == ErrorKind::WouldBlock {
        return Ok(());
    }
    let raised = Raised::os(error);
    let exception = raised.take();
    let reported = failure::report_read_pipe(event_loop, this.as_object(), &exception);
    let ended = aside(|| force_close(event_loop, this, Some(&exception)));
    reported.and(ended)
}

fn close(this: &Instance<ReadPipeTransport>) -> Res<()> {
    match this.open_loop() {
        Some(event_loop) if !this.is_closing() => force_close(&event_loop, this, None),
        _ => Ok(()),
    }
}

impl Ending for ReadPipeTransport {
    fn stop_watching(event_loop: &Instance<Loop>, this: &Instance<ReadPipeTransport>) {
        this.watches.end(event_loop, Direction::Read);
    }

    fn close_descriptor(this: &Instance<ReadPipeTransport>) -> Res<()> {
        super::close(&this.pipe)
    }
}

impl Reads for ReadPipeTransport {
    #[inline]
    fn descriptor(event_loop: &Loop, this: &Instance<ReadPipeTransport>) -> RawFd {
        this.descriptor(event_loop)
    }
}

impl Class for ReadPipeTransport {
    fields! {
        class, dict Dict, inherits OneSlot;
        objects { life: Life::new(), pipe }
        plain { received }
    }

    const NAME: &'static CStr = c"saburo._saburo._UnixReadPipeTransport";
    const DOC: &'static CStr = c"The reading end of a pipe, as loops make them.

An asyncio.ReadTransport. All methods are for the loop's thread.

>>> import asyncio, saburo
>>> issubclass(saburo._saburo._UnixReadPipeTransport, asyncio.ReadTransport)
True";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const FINALIZES: bool = true;

    fn python_base() -> Option<&'static Object> {
        Some(&names().class_read_transport)
    }

    fn wants_finalizer(&self) -> bool {
        self.is_open()
    }

    fn finalize(this: &Instance<ReadPipeTransport>) {
        ending::abandoned(this);
    }

    fn describe(builder: Builder<ReadPipeTransport>) -> Builder<ReadPipeTransport> {
        describe::life(describe::reading(builder))
            .noargs(c"close", close, c"Closes the pipe.")
            .noargs(c"is_closing", |this| this.is_closing(), c"Is it closing, or closed?")
            .many(
                c"set_protocol",
                |this, args| {
                    args.sole("_UnixReadPipeTransport.set_protocol", "protocol")
                        .map(|protocol| this.set_protocol(protocol))
                },
                c"set_protocol(protocol): sets the protocol that is called from now on.",
            )
            .getter(
                c"_pipe",
                |this| this.pipe.get().map(Owner::into_object),
                c"The pipe, None once it is closed.",
            )
            .getter(c"_fileno", |this| int(i64::from(this.number.get())), c"The descriptor.")
            .getter(c"_paused", |this| this.paused.get(), c"Was pause_reading() called?")
            .repr(|this| super::repr(this, this.as_object(), |(reading, _)| reading, None))
    }
}
