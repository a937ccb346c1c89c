//! StreamReaderProtocol: passes a transport's calls on to the reader and to the coroutines that drain.
//!
//! A native transport calls the functions in this file; the methods of the same names call them too. The
//! reader is held weakly, as in asyncio: a program that has dropped reader and writer has dropped the
//! connection. A reader that is not of our class, or of a class derived from ours, is fed by its methods.

mod class;
mod drainers;
mod end;
mod server;

use std::cell::Cell;

use crate::ffi::{Instance, Obj, Object, Res, Slot, Weak, builtin, raise, string};
use crate::names::names;

use super::{any_reader, link, waiter};

use drainers::Drainers;
use end::End;

/// The protocol of a stream.
pub(crate) struct StreamReaderProtocol {
    event_loop: Slot,
    reader: Slot<Weak>,
    /// The reader of a connection that a server has accepted, until the connection is made.
    strong_reader: Slot,
    /// Called with reader and writer once the connection is made. None on the client's side.
    connected_callback: Slot,
    /// The task of that callback, if it is a coroutine.
    task: Slot,
    transport: Slot,
    /// The transport to close if that task fails, even if another transport has taken over.
    accepted: Slot,
    source_traceback: Slot,
    drainers: Drainers,
    end: End,
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
}

/// The connection is made: the reader gets its transport, and a server's callback gets reader and writer.
pub(crate) fn connection_made(this: &Instance<StreamReaderProtocol>, transport: &Object) -> Res<()> {
    this.transport.set(Some(transport.to_obj()));
    let reader = this.reader();
    if let Some(reader) = &reader {
        any_reader::set_transport(reader, transport)?;
    }
    this.is_encrypted.set(link::is_encrypted(transport)?);
    let Some(callback) = this.connected_callback.get() else { return Ok(()) };
    let served = server::serve(this, transport, &callback, reader);
    match served {
        Err(raised) if raised.matches(builtin::exception()) => {
            server::report_unhandled(this, transport, &raised.take())?;
            link::close(transport)?;
        }
        served => served?,
    }
    this.strong_reader.set(None);
    Ok(())
}

/// Passes received bytes on to the reader.
#[inline]
pub(crate) fn feed(this: &Instance<StreamReaderProtocol>, data: &[u8]) -> Res<()> {
    this.reader().map_or(Ok(()), |reader| any_reader::feed(&reader, data))
}

/// `data_received(data)`
#[inline]
fn data_received(this: &Instance<StreamReaderProtocol>, data: &Object) -> Res<()> {
    this.reader().map_or(Ok(()), |reader| any_reader::feed_data(&reader, data))
}

/// The other side sends no more data. Returns true if the transport stays open for our data.
pub(crate) fn eof_received(this: &Instance<StreamReaderProtocol>) -> Res<bool> {
    if let Some(reader) = this.reader() {
        any_reader::feed_eof(&reader)?;
    }
    // TLS has no half-closed connections, and a transport that is told to stay open would warn.
    Ok(!this.is_encrypted.get())
}

/// The connection is lost; coroutines that read, drain or wait for its end are told.
pub(crate) fn connection_lost(this: &Instance<StreamReaderProtocol>, error: Option<&Object>) -> Res<()> {
    if let Some(reader) = this.reader() {
        match error {
            None => any_reader::feed_eof(&reader)?,
            Some(error) => any_reader::set_exception(&reader, error)?,
        }
    }
    this.end.lose(error)?;
    if this.drainers.is_paused() {
        this.drainers.wake(error)?;
    }
    this.reader.set(None);
    this.task.set(None);
    this.transport.set(None);
    Ok(())
}

/// The future that is done when the connection is lost.
pub(super) fn closed(this: &Instance<StreamReaderProtocol>) -> Res<Obj> {
    this.end.closed(&this.event_loop())
}

/// The transport has too much to send.
pub(crate) fn pause_writing(this: &Instance<StreamReaderProtocol>) -> Res<()> {
    this.drainers.pause()?;
    log(this, "%r pauses writing")
}

/// The transport has sent enough: the coroutines that drain continue.
pub(crate) fn resume_writing(this: &Instance<StreamReaderProtocol>) -> Res<()> {
    this.drainers.resume()?;
    log(this, "%r resumes writing")?;
    this.drainers.wake(None)
}

/// Logs `message` in debug mode.
fn log(this: &Instance<StreamReaderProtocol>, message: &str) -> Res<()> {
    if !link::is_in_debug_mode(&this.event_loop())? {
        return Ok(());
    }
    let names = names();
    names.logger.method(&names.debug, &[&*string(message)?, this.as_object()]).map(drop)
}

/// The future to wait for until the other side has caught up; None if it has. After the wait the caller calls
/// [`forget_drainer`].
#[inline]
pub(super) fn waiter_to_drain(this: &Instance<StreamReaderProtocol>) -> Res<Option<Obj>> {
    if this.end.is_lost() {
        return raise(builtin::connection_reset_error(), "Connection lost");
    }
    if !this.drainers.is_paused() {
        return Ok(None);
    }
    let waiter = waiter::make(&this.event_loop())?;
    this.drainers.add(waiter.clone());
    Ok(Some(waiter))
}

pub(super) fn forget_drainer(this: &Instance<StreamReaderProtocol>, waiter: &Object) {
    this.drainers.remove(waiter);
}

/// Another transport takes over the connection, which is encrypted from now on.
fn replace_transport(this: &Instance<StreamReaderProtocol>, transport: &Object) -> Res<()> {
    this.transport.set(Some(transport.to_obj()));
    this.is_encrypted.set(link::is_encrypted(transport)?);
    this.reader().map_or(Ok(()), |reader| any_reader::replace_transport(&reader, transport))
}
