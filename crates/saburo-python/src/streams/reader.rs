//! StreamReader: the bytes that were received, and the coroutine that waits for more.
//!
//! A transport's protocol, or any code by hand, feeds the reader; one coroutine at a time waits for more.
//! Feeding wakes that coroutine through the ready queue, as any future does. Beyond twice the limit the
//! reader asks its transport to pause, and below the limit, or when a coroutine waits, to resume.

use std::cell::Cell;
use std::ffi::CStr;

use crate::ffi::{
    Args, Builder, Class, Dict, Instance, Obj, Object, Params, Res, Slot, builtin, bytes, fields, int, lend,
    none, raise, string,
};
use crate::names::names;

use super::limit::Limit;
use super::received::{self, Received};
use super::waiting::Waiting;
use super::{link, reading, waiter};

/// Bytes to be read.
pub(crate) struct StreamReader {
    event_loop: Slot,
    pub(super) received: Received,
    pub(super) waiting: Waiting,
    /// The exception that reading raises from now on.
    pub(super) exception: Slot,
    transport: Slot,
    source_traceback: Slot,
    pub(super) limit: Limit,
    pub(super) eof: Cell<bool>,
    /// The transport was asked to pause.
    paused: Cell<bool>,
}

const DEFAULT_LIMIT: i64 = 1 << 16;

impl StreamReader {
    /// True if the transport was asked to pause.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    #[inline]
    pub(super) fn event_loop(&self) -> Obj {
        self.event_loop.get().unwrap_or_else(none)
    }

    /// True if the reader was made in debug mode.
    #[inline]
    pub(super) fn debug(&self) -> bool {
        self.source_traceback.is_set()
    }

    #[inline]
    pub(crate) fn exception(&self) -> Option<Obj> {
        self.exception.get()
    }

    pub(super) fn source_traceback(&self) -> Option<Obj> {
        self.source_traceback.get()
    }
}

/// Adds received `data`.
#[inline]
pub(crate) fn feed(this: &Instance<StreamReader>, data: &[u8]) -> Res<()> {
    check_not_at_eof(this)?;
    if data.is_empty() {
        return Ok(());
    }
    match this.waiting.takes() {
        0 => this.received.extend(data)?,
        _ if !this.received.is_vacant()? => this.received.extend(data)?,
        most => {
            // The coroutine that waits gets this very object, unless more bytes come first.
            let (taken, rest) = data.split_at(data.len().min(most));
            this.received.keep(bytes(taken)?);
            if !rest.is_empty() {
                this.received.extend(rest)?;
            }
        }
    }
    wake(this)?;
    pause_if_too_much(this)
}

/// The stream has ended: no more bytes come.
#[inline]
pub(crate) fn feed_eof(this: &Instance<StreamReader>) -> Res<()> {
    this.eof.set(true);
    wake(this)
}

/// Makes reading raise `exception` from now on.
pub(crate) fn set_exception(this: &Instance<StreamReader>, exception: &Object) -> Res<()> {
    this.exception.set(link::some(exception));
    match this.waiting.take() {
        Some(waiter) if !waiter::is_cancelled(&waiter)? => waiter::fail(&waiter, exception),
        _ => Ok(()),
    }
}

/// Sets the transport that the reader pauses and resumes.
pub(super) fn set_transport(this: &Instance<StreamReader>, transport: &Object) -> Res<()> {
    if this.transport.is_set() {
        return raise(builtin::assertion_error(), "Transport already set");
    }
    this.transport.set(Some(transport.to_obj()));
    Ok(())
}

pub(super) fn replace_transport(this: &Instance<StreamReader>, transport: &Object) -> Res<()> {
    if !this.transport.is_set() {
        return raise(builtin::assertion_error(), "Transport not set");
    }
    this.transport.set(Some(transport.to_obj()));
    Ok(())
}

/// Resumes the transport, if it was paused and few enough bytes are left to read.
#[inline]
pub(super) fn resume_if_little(this: &Instance<StreamReader>) -> Res<()> {
    if this.paused.get() && this.limit.covers(this.received.len()?)? { resume(this) } else { Ok(()) }
}

/// A coroutine is going to wait for more, on behalf of `function`. Returns the future to await. RuntimeError
/// if another coroutine waits already.
#[inline]
pub(super) fn begin_to_wait(this: &Instance<StreamReader>, takes: usize, function: &str) -> Res<Obj> {
    if this.waiting.is_set() {
        return raise(
            builtin::runtime_error(),
            &format!("{function}() called while another coroutine is already waiting for incoming data"),
        );
    }
    if this.eof.get() {
        return raise(builtin::assertion_error(), "_wait_for_data after EOF");
    }
    if this.paused.get() {
        // While the transport is paused, no bytes would ever come.
        resume(this)?;
    }
    let future = waiter::make(&this.event_loop())?;
    this.waiting.begin(future.clone(), takes);
    Ok(future)
}

#[inline]
fn check_not_at_eof(this: &Instance<StreamReader>) -> Res<()> {
    if this.eof.get() {
        return raise(builtin::assertion_error(), "feed_data after feed_eof");
    }
    Ok(())
}

#[inline]
fn wake(this: &Instance<StreamReader>) -> Res<()> {
    match this.waiting.take() {
        Some(waiter) if !waiter::is_cancelled(&waiter)? => waiter::wake(&waiter),
        _ => Ok(()),
    }
}

#[inline]
fn pause_if_too_much(this: &Instance<StreamReader>) -> Res<()> {
    if this.paused.get() || !this.transport.is_set() || !this.limit.is_doubled_by(this.received.len()?)? {
        return Ok(());
    }
    pause(this)
}

#[cold]
fn pause(this: &Instance<StreamReader>) -> Res<()> {
    let Some(transport) = this.transport.get() else { return Ok(()) };
    match link::pause_reading(&transport) {
        Ok(()) => this.paused.set(true),
        Err(raised) if raised.matches(builtin::not_implemented_error()) => {
            // A transport that cannot pause is not asked again: everything is buffered.
            raised.swallow();
            this.transport.set(None);
        }
        Err(raised) => return Err(raised),
    }
    Ok(())
}

#[cold]
fn resume(this: &Instance<StreamReader>) -> Res<()> {
    this.paused.set(false);
    let transport = this.transport.get().unwrap_or_else(none);
    link::resume_reading(&transport)
}

/// `feed_data(data)`
pub(super) fn feed_data(this: &Instance<StreamReader>, data: &Object) -> Res<()> {
    if let Some(bytes) = data.as_bytes() {
        if bytes.is_empty() || bytes.len() > this.waiting.takes() || !this.received.is_vacant()? {
            return feed(this, bytes);
        }
        check_not_at_eof(this)?;
        this.received.keep(data.to_obj());
        wake(this)?;
        return pause_if_too_much(this);
    }
    feed_other(this, data)
}

/// Feeds any other object that can extend a bytearray.
#[cold]
fn feed_other(this: &Instance<StreamReader>, data: &Object) -> Res<()> {
    check_not_at_eof(this)?;
    if !data.truth()? {
        return Ok(());
    }
    let copy = names().bytearray_class.call0()?;
    copy.method(&names().extend, &[data])?;
    feed(this, &lend(&copy, received::copy)??)
}

/// `StreamReader(limit=65536, loop=None)`
fn init(this: &Instance<StreamReader>, args: Args<'_>) -> Res<()> {
    const PARAMS: Params<2> =
        Params { function: "StreamReader.__init__", names: ["limit", "loop"], required: 0, positional: 2 };
    let [limit, event_loop] = args.bind(&PARAMS)?;
    let limit = limit.map_or_else(|| int(DEFAULT_LIMIT), |limit| Ok(limit.to_obj()))?;
    if limit.is_at_most(&*int(0)?)? {
        return raise(builtin::value_error(), "Limit cannot be <= 0");
    }
    this.limit.set(&limit);
    let event_loop = link::event_loop_or_current(event_loop)?;
    if link::is_in_debug_mode(&event_loop)? {
        this.source_traceback.set(Some(names().extract_stack.call0()?));
    }
    this.event_loop.set(Some(event_loop));
    Ok(())
}

fn repr(this: &Instance<StreamReader>) -> Res<Obj> {
    let mut text = "<StreamReader".to_owned();
    let length = this.received.len()?;
    if length > 0 {
        text += &format!(" {length} bytes");
    }
    if this.eof.get() {
        text += " eof";
    }
    if let Some(limit) = this.limit.get()
        && !limit.equals(&*int(DEFAULT_LIMIT)?)?
    {
        text += &format!(" limit={}", limit.display()?);
    }
    let waiter = this.waiting.get();
    for (name, object) in
        [("waiter", waiter), ("exception", this.exception.get()), ("transport", this.transport.get())]
    {
        if let Some(object) = object
            && object.truth()?
        {
            text += &format!(" {name}={}", object.repr()?);
        }
    }
    if this.paused.get() {
        text += " paused";
    }
    string(&(text + ">"))
}

impl Class for StreamReader {
    fields! {
        class, dict Dict;
        objects {
            event_loop, received: Received::new(), waiting, exception, transport, source_traceback, limit,
        }
        plain { eof, paused }
    }

    const NAME: &'static CStr = c"saburo.StreamReader";
    const DOC: &'static CStr = c"StreamReader(limit=65536, loop=None)
--

The receiving end of a stream of bytes.

`open_connection` and `start_server` make one for each connection; one that is made by hand is fed by
`feed_data` and `feed_eof`. One coroutine at a time may wait in it. `limit` is what `readline` and `readuntil`
return at most, in bytes, and beyond twice as many the sender is slowed down. Belongs to its loop's thread.
`isinstance(reader, asyncio.StreamReader)` is true. Semantics: asyncio.StreamReader of Python 3.14.

>>> import asyncio, saburo
>>> async def main():
...     reader = saburo.StreamReader()
...     reader.feed_data(b'first\\nsec')
...     asyncio.get_running_loop().call_soon(reader.feed_data, b'ond\\n')
...     asyncio.get_running_loop().call_soon(reader.feed_eof)
...     return [line async for line in reader]
>>> saburo.run(main())
[b'first\\n', b'second\\n']";

    fn describe(builder: Builder<StreamReader>) -> Builder<StreamReader> {
        let builder = builder
            .init(init)
            .repr(repr)
            .many(
                c"read",
                reading::read,
                c"read(n=-1): at most n bytes, at least one unless the stream has ended; with n < 0 all up to the end.",
            )
            .noargs(
                c"readline",
                reading::readline,
                c"A line with its newline; without one where the stream ends. ValueError if it is longer than the limit.",
            )
            .many(
                c"readuntil",
                reading::readuntil,
                c"readuntil(separator=b'\\n'): up to the separator, or the first of a tuple of them, and with it.

Raises IncompleteReadError where the stream ends before, LimitOverrunError where it is farther than the limit.",
            )
            .many(
                c"readexactly",
                reading::readexactly,
                c"readexactly(n): exactly n bytes; IncompleteReadError, which has those there are, where the stream ends before.",
            )
            .async_iter(|this| Ok(this.as_object().to_obj()))
            .async_next(reading::next_line)
            .many(c"feed_data", |this, args| feed_data(this, args.sole("StreamReader.feed_data", "data")?), c"feed_data(data): has been received.")
            .noargs(c"feed_eof", feed_eof, c"Nothing more comes.")
            .noargs(
                c"at_eof",
                |this| Ok::<_, crate::ffi::Raised>(this.eof.get() && this.received.is_empty()?),
                c"Has everything been read, and will nothing more come?",
            )
            .noargs(c"exception", |this| this.exception.get(), c"What reading raises, None for nothing.")
            .many(c"set_exception", |this, args| set_exception(this, args.sole("StreamReader.set_exception", "exc")?), c"set_exception(exc): reading raises it from now on.")
            .many(c"set_transport", |this, args| set_transport(this, args.sole("StreamReader.set_transport", "transport")?), c"set_transport(transport): what is paused and resumed.");
        describe_internals(builder)
    }
}

/// Attributes that libraries and asyncio's own modules read.
fn describe_internals(builder: Builder<StreamReader>) -> Builder<StreamReader> {
    builder
        .reported_class(
            |_| &names().class_stream_reader,
            c"asyncio.StreamReader, for isinstance; of a derived class that class.",
        )
        .one(
            c"_wait_for_data",
            reading::wait_for_data,
            c"Waits until something comes, on behalf of this function.",
        )
        .noargs(c"_wakeup_waiter", wake, c"Wakes whoever waits.")
        .noargs(c"_maybe_resume_transport", resume_if_little, c"Resumes the transport if little is left.")
        .one(c"_replace_transport", replace_transport, c"Another transport takes over.")
        .getter(c"_buffer", |this| this.received.lend(), c"What has been received, as a bytearray.")
        .setter(|this, buffer| {
            if !buffer.is_bytearray() {
                return raise(builtin::type_error(), "_buffer must be a bytearray");
            }
            this.received.replace(buffer);
            Ok(())
        })
        .getter(c"_eof", |this| this.eof.get(), c"Will nothing more come?")
        .setter(|this, eof| {
            this.eof.set(eof.truth()?);
            Ok(())
        })
        .getter(c"_exception", |this| this.exception.get(), c"What reading raises.")
        .setter(|this, exception| {
            this.exception.set(link::some(exception));
            Ok(())
        })
        .getter(c"_limit", |this| this.limit.get(), c"The limit.")
        .setter(|this, limit| {
            this.limit.set(limit);
            Ok(())
        })
        .getter(c"_loop", |this| this.event_loop.get(), c"The event loop.")
        .setter(|this, event_loop| {
            this.event_loop.set(Some(event_loop.to_obj()));
            Ok(())
        })
        .getter(c"_paused", |this| this.paused.get(), c"Was the transport asked to pause?")
        .setter(|this, paused| {
            this.paused.set(paused.truth()?);
            Ok(())
        })
        .getter(
            c"_source_traceback",
            |this| this.source_traceback.get(),
            c"Where it was made, in debug mode.",
        )
        .getter(c"_transport", |this| this.transport.get(), c"What is paused and resumed.")
        .setter(|this, transport| {
            this.transport.set(link::some(transport));
            Ok(())
        })
        .getter(c"_waiter", |this| this.waiting.get(), c"The future that somebody waits for.")
        .setter(|this, waiter| {
            this.waiting.replace((!waiter.is_none()).then_some(waiter));
            Ok(())
        })
}
