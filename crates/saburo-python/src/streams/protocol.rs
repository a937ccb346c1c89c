//! StreamReaderProtocol: what a transport tells, passed on to the reader and to those who drain.
//!
//! The functions of a protocol stand here for a native transport to call; the methods of the same names call
//! them. The reader is held weakly, as by asyncio: who has let go of reader and writer has let go of the
//! connection. A reader that is not of ours, or of a class derived from ours, is fed by its methods.

use std::cell::Cell;
use std::ffi::CStr;

use crate::coroutine;
use crate::ffi::{
    Args, Builder, Class, Dict, Instance, Obj, Object, Params, Res, Slot, Weak, builtin, fields, list,
    mapping, raise, string,
};
use crate::future;
use crate::names::names;
use crate::reported_class::reported_class;
use crate::task::Task;

use super::reader::{self, StreamReader};
use super::{draining, link, waiter, writer};

/// The protocol of a stream.
pub(crate) struct StreamReaderProtocol {
    event_loop: Slot,
    reader: Slot<Weak>,
    /// The reader of a connection that a server has accepted, until it is made.
    strong_reader: Slot,
    /// Called with reader and writer once the connection is made. None on the client's side.
    connected_callback: Slot,
    /// The task of that callback, if it is a coroutine.
    task: Slot,
    transport: Slot,
    /// The transport that is closed should that task fail, even where another has taken over.
    accepted: Slot,
    source_traceback: Slot,
    /// Done when the connection is lost. Made when somebody asks for it.
    closed: Slot,
    /// What the connection was lost by.
    error: Slot,
    #[expect(clippy::box_collection, reason = "two words less in every connection; few drain at once")]
    drainers: Cell<Option<Box<Vec<Obj>>>>,
    /// The transport has asked for patience.
    paused: Cell<bool>,
    is_lost: Cell<bool>,
    is_encrypted: Cell<bool>,
}

impl StreamReaderProtocol {
    fn event_loop(&self) -> Obj {
        link::or_none(self.event_loop.get())
    }

    #[inline]
    fn reader(&self) -> Option<Obj> {
        self.reader.get().and_then(|reader| reader.get())
    }

    fn drainers<R>(&self, body: impl FnOnce(&mut Vec<Obj>) -> R) -> R {
        // The box is out of its field meanwhile; `body` must not call Python, and drops nothing.
        let mut drainers = self.drainers.take().unwrap_or_default();
        let result = body(&mut drainers);
        if !drainers.is_empty() {
            self.drainers.set(Some(drainers));
        }
        result
    }
}

/// The connection is there: the reader learns of its transport, and a server's callback of both ends.
pub(crate) fn connection_made(this: &Instance<StreamReaderProtocol>, transport: &Object) -> Res<()> {
    this.transport.set(Some(transport.to_obj()));
    let reader = this.reader();
    if let Some(reader) = &reader {
        match reader.cast_untouched::<StreamReader>() {
            Some(ours) => reader::set_transport(ours, transport)?,
            None => drop(reader.method(&names().set_transport, &[transport])?),
        }
    }
    this.is_encrypted.set(link::is_encrypted(transport)?);
    let Some(callback) = this.connected_callback.get() else { return Ok(()) };
    let served = serve(this, transport, &callback, reader);
    match served {
        Err(raised) if raised.matches(builtin::exception()) => {
            report_unhandled(this, transport, &raised.take())?;
            link::close(transport)?;
        }
        served => served?,
    }
    this.strong_reader.set(None);
    Ok(())
}

/// Calls a server's callback, and makes a task of its coroutine.
fn serve(
    this: &Instance<StreamReaderProtocol>,
    transport: &Object,
    callback: &Object,
    reader: Option<Obj>,
) -> Res<()> {
    let names = names();
    let event_loop = this.event_loop();
    let writer = writer::of(transport, this, reader.clone(), event_loop.clone())?;
    let answer = callback.call(&[&*link::or_none(reader), writer.as_object()])?;
    drop(writer);
    let is_coroutine = answer.is_exact_coroutine()
        || coroutine::is_native(&answer)
        || names.is_coroutine.call(&[&answer])?.truth()?;
    if !is_coroutine {
        return Ok(());
    }
    let task = event_loop.method(&names.create_task, &[&answer])?;
    this.task.set(Some(task.clone()));
    this.accepted.set(Some(transport.to_obj()));
    // The context that this runs in, which asyncio copies: every connection would have one more.
    let context = link::context(transport);
    if let (Some(ours), Some(context)) = (task.cast_exact::<Task>(), &context) {
        return future::add_handler_done(ours.upcast(), this.as_object().to_obj(), context.clone());
    }
    let done = this.as_object().attr(&names.handler_done)?;
    match &context {
        Some(context) => {
            let args: [&Object; 2] = [&done, context.as_object()];
            task.method_with_names(&names.add_done_callback, &args, Some(&names.kw_context)).map(drop)
        }
        None => task.method(&names.add_done_callback, &[&done]).map(drop),
    }
}

/// The task of a server's callback has ended.
fn handler_done(this: &Instance<StreamReaderProtocol>, task: &Object) -> Res<()> {
    let names = names();
    let transport = link::or_none(this.accepted.take());
    if task.method(&names.cancelled, &[])?.truth()? {
        return link::close(&transport).map(drop);
    }
    let exception = task.method(&names.exception, &[])?;
    if exception.is_none() {
        return Ok(());
    }
    report_unhandled(this, &transport, &exception)?;
    link::close(&transport).map(drop)
}

#[cold]
fn report_unhandled(
    this: &Instance<StreamReaderProtocol>,
    transport: &Object,
    exception: &Object,
) -> Res<()> {
    let names = names();
    let message = string("Unhandled exception in client_connected_cb")?;
    let context =
        mapping(&[(&names.message, &message), (&names.exception, exception), (&names.transport, transport)])?;
    this.event_loop().method(&names.call_exception_handler, &[&context]).map(drop)
}

/// These bytes have come.
#[inline]
pub(crate) fn feed(this: &Instance<StreamReaderProtocol>, data: &[u8]) -> Res<()> {
    let Some(reader) = this.reader() else { return Ok(()) };
    match reader.cast_untouched::<StreamReader>() {
        Some(ours) => reader::feed(ours, data),
        None => feed_by_method(&reader, &*crate::ffi::bytes(data)?),
    }
}

/// `data_received(data)`
#[inline]
fn data_received(this: &Instance<StreamReaderProtocol>, data: &Object) -> Res<()> {
    let Some(reader) = this.reader() else { return Ok(()) };
    match reader.cast_untouched::<StreamReader>() {
        Some(ours) => reader::feed_data(ours, data),
        None => feed_by_method(&reader, data),
    }
}

#[cold]
fn feed_by_method(reader: &Object, data: &Object) -> Res<()> {
    reader.method(&names().feed_data, &[data]).map(drop)
}

/// The other side sends no more. Does the transport stay open for what we send?
pub(crate) fn eof_received(this: &Instance<StreamReaderProtocol>) -> Res<bool> {
    if let Some(reader) = this.reader() {
        feed_eof(&reader)?;
    }
    // TLS knows no half of a connection, and a transport that is told to stay open would warn.
    Ok(!this.is_encrypted.get())
}

fn feed_eof(reader: &Object) -> Res<()> {
    match reader.cast_untouched::<StreamReader>() {
        Some(ours) => reader::feed_eof(ours),
        None => reader.method(&names().feed_eof, &[]).map(drop),
    }
}

/// The connection is no more; whoever reads, drains or waits for its end is told.
pub(crate) fn connection_lost(this: &Instance<StreamReaderProtocol>, error: Option<&Object>) -> Res<()> {
    if let Some(reader) = this.reader() {
        match error {
            None => feed_eof(&reader)?,
            Some(error) => match reader.cast_untouched::<StreamReader>() {
                Some(ours) => reader::set_exception(ours, error)?,
                None => drop(reader.method(&names().set_exception, &[error])?),
            },
        }
    }
    if !this.is_lost.get()
        && let Some(error) = error
        && !error.is_exception()
        && !error.is_exception_class()
    {
        // As the future says that asyncio makes in advance, and we only for whoever waits.
        return raise(builtin::type_error(), "invalid exception object");
    }
    if !this.is_lost.replace(true) {
        this.error.set(error.map(Object::to_obj));
        if let Some(closed) = this.closed.get()
            && !waiter::is_done(&closed)?
        {
            settle(&closed, error)?;
        }
    }
    if this.paused.get() {
        for drainer in this.drainers(|drainers| drainers.clone()) {
            if !waiter::is_done(&drainer)? {
                match error {
                    None => waiter::wake(&drainer)?,
                    Some(error) => waiter::fail(&drainer, error)?,
                }
            }
        }
    }
    this.reader.set(None);
    this.task.set(None);
    this.transport.set(None);
    Ok(())
}

/// The future that is done when the connection is lost.
pub(super) fn closed(this: &Instance<StreamReaderProtocol>) -> Res<Obj> {
    if let Some(closed) = this.closed.get() {
        return Ok(closed);
    }
    let closed = waiter::make(&this.event_loop())?;
    if this.is_lost.get() {
        settle(&closed, this.error.get().as_deref())?;
    }
    this.closed.set(Some(closed.clone()));
    Ok(closed)
}

fn settle(closed: &Object, error: Option<&Object>) -> Res<()> {
    match error {
        None => waiter::wake(closed),
        Some(error) => {
            waiter::fail(closed, error)?;
            // Many never ask for it.
            waiter::notice(closed)
        }
    }
}

/// The transport has too much to send.
pub(crate) fn pause_writing(this: &Instance<StreamReaderProtocol>) -> Res<()> {
    if this.paused.replace(true) {
        return link::refuse();
    }
    log(this, "%r pauses writing")
}

/// The transport has sent enough: whoever drains goes on.
pub(crate) fn resume_writing(this: &Instance<StreamReaderProtocol>) -> Res<()> {
    if !this.paused.replace(false) {
        return link::refuse();
    }
    log(this, "%r resumes writing")?;
    for drainer in this.drainers(|drainers| drainers.clone()) {
        if !waiter::is_done(&drainer)? {
            waiter::wake(&drainer)?;
        }
    }
    Ok(())
}

/// In debug mode.
fn log(this: &Instance<StreamReaderProtocol>, message: &str) -> Res<()> {
    if !link::is_in_debug_mode(&this.event_loop())? {
        return Ok(());
    }
    let names = names();
    names.logger.method(&names.debug, &[&*string(message)?, this.as_object()]).map(drop)
}

/// What to wait for until the other side has caught up; None if it has. Whoever has waited says so by
/// [`forget_drainer`].
#[inline]
pub(super) fn waiter_to_drain(this: &Instance<StreamReaderProtocol>) -> Res<Option<Obj>> {
    if this.is_lost.get() {
        return raise(builtin::connection_reset_error(), "Connection lost");
    }
    if !this.paused.get() {
        return Ok(None);
    }
    let waiter = waiter::make(&this.event_loop())?;
    this.drainers(|drainers| drainers.push(waiter.clone()));
    Ok(Some(waiter))
}

pub(super) fn forget_drainer(this: &Instance<StreamReaderProtocol>, waiter: &Object) {
    let forgotten = this.drainers(|drainers| {
        let found = drainers.iter().position(|drainer| drainer.is(waiter));
        found.map(|index| drainers.remove(index))
    });
    drop(forgotten);
}

/// Another transport takes over the connection: it is encrypted from now on.
fn replace_transport(this: &Instance<StreamReaderProtocol>, transport: &Object) -> Res<()> {
    this.transport.set(Some(transport.to_obj()));
    this.is_encrypted.set(link::is_encrypted(transport)?);
    let Some(reader) = this.reader() else { return Ok(()) };
    match reader.cast_untouched::<StreamReader>() {
        Some(ours) => reader::replace_transport(ours, transport),
        None => reader.method(&names().replace_transport, &[transport]).map(drop),
    }
}

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
        this.source_traceback.set(match reader.cast_untouched::<StreamReader>() {
            Some(ours) => ours.source_traceback(),
            None => link::some(&*reader.attr(&names().private_source_traceback)?),
        });
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
            source_traceback, closed, error, drainers,
        }
        plain { paused, is_lost, is_encrypted }
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

/// What libraries and asyncio's own modules look at.
fn describe_internals(builder: Builder<StreamReaderProtocol>) -> Builder<StreamReaderProtocol> {
    builder
        .getter(
            c"__class__",
            |this| reported_class(this, &names().class_stream_reader_protocol),
            c"asyncio.StreamReaderProtocol, for isinstance; of a derived class that class.",
        )
        .noargs(
            c"_drain_helper",
            |this| draining::drain_helper(this, this.source_traceback.is_set()),
            c"Waits until the other side has caught up.",
        )
        .one(c"_get_close_waiter", |this, _stream| closed(this), c"Done when the connection is lost.")
        .one(c"_replace_transport", replace_transport, c"Another transport takes over.")
        .one(c"_handler_done", handler_done, c"The task of client_connected_cb has ended.")
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
        .getter(c"_connection_lost", |this| this.is_lost.get(), c"Is the connection lost?")
        .getter(c"_paused", |this| this.paused.get(), c"Has the transport asked for patience?")
        .getter(
            c"_drain_waiters",
            |this| list(this.drainers(|drainers| drainers.clone()).into_iter()),
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
