//! Draining and closing: the bodies of the coroutines of a StreamWriter, and of the protocol behind it.

use std::cell::Cell;

use crate::coroutine::{self, Body, Next, Resumed, emptied};
use crate::ffi::{Holds, Instance, Obj, Object, Own, Res, Slot, fields, none, raise_given};
use crate::names::names;

use super::protocol::{self, StreamReaderProtocol};
use super::reader::StreamReader;
use super::writer::StreamWriter;
use super::{any_reader, link};

/// `StreamWriter.drain()`
#[inline]
pub(super) fn drain(this: &Instance<StreamWriter>) -> Res<Obj> {
    let writer = Slot::new(Some(this.to_own()));
    coroutine::start(Drain { writer, place: Place::default(), yielded: Cell::new(false) }, is_debugged(this))
}

/// `StreamWriter.wait_closed()`
pub(super) fn wait_closed(this: &Instance<StreamWriter>) -> Res<Obj> {
    coroutine::start(WaitClosed { writer: Slot::new(Some(this.to_own())) }, false)
}

/// `StreamReaderProtocol._drain_helper()`
pub(super) fn drain_helper(this: &Instance<StreamReaderProtocol>, debug: bool) -> Res<Obj> {
    let protocol = Slot::new(Some(this.to_own()));
    coroutine::start(DrainHelper { protocol, place: Place::default() }, debug)
}

/// True if the connection was made in debug mode.
#[inline]
fn is_debugged(writer: &Instance<StreamWriter>) -> bool {
    let reader = writer.reader.get();
    reader.as_deref().and_then(Object::cast::<StreamReader>).is_some_and(|reader| reader.debug())
}

/// Waits until the other side has caught up.
struct Drain {
    writer: Slot<Own<StreamWriter>>,
    place: Place,
    /// The coroutine has let the loop turn once, so that a closing connection can report how it ended.
    yielded: Cell<bool>,
}

impl Body for Drain {
    fn qualname(&self) -> &'static str {
        "StreamWriter.drain"
    }

    #[inline]
    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let Some(writer) = self.writer.get() else { return emptied() };
        match resumed {
            Resumed::Started => {
                if send_what_waits(&writer)? {
                    // Without this, a program that writes and drains in a loop would never hear that the
                    // connection is gone.
                    self.yielded.set(true);
                    return Ok(Next::Yield);
                }
            }
            Resumed::Awaited(outcome) if self.yielded.replace(false) => drop(outcome?),
            Resumed::Awaited(outcome) => return self.place.leave(outcome),
        }
        let protocol = writer.protocol();
        match protocol.cast_untouched::<StreamReaderProtocol>() {
            Some(ours) => self.place.take(ours),
            None => protocol.method(&names().drain_helper, &[]).map(Next::Await),
        }
    }
}

impl Holds for Drain {
    fields! {
        part;
        objects { writer, place }
        plain { yielded }
    }
}

/// Gives waiting bytes to the kernel, and raises the exception that reading would raise. Returns true if the
/// connection is closing.
#[inline]
fn send_what_waits(writer: &Instance<StreamWriter>) -> Res<bool> {
    let (transport, reader) = (writer.transport(), writer.reader.get());
    link::drain(&transport, || reader.as_deref().map_or(Ok(false), any_reader::has_unread))?;
    if let Some(reader) = reader
        && let Some(exception) = any_reader::exception(&reader)?
    {
        return raise_given(&exception);
    }
    link::is_closing(&transport)
}

/// The same for a foreign writer, which has checked its transport itself.
struct DrainHelper {
    protocol: Slot<Own<StreamReaderProtocol>>,
    place: Place,
}

impl Body for DrainHelper {
    fn qualname(&self) -> &'static str {
        "FlowControlMixin._drain_helper"
    }

    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let Some(protocol) = self.protocol.get() else { return emptied() };
        match resumed {
            Resumed::Started => self.place.take(&protocol),
            Resumed::Awaited(outcome) => self.place.leave(outcome),
        }
    }
}

impl Holds for DrainHelper {
    fields! {
        part;
        objects { protocol, place }
    }
}

/// A place among the coroutines that drain.
#[derive(Default)]
struct Place {
    protocol: Slot<Own<StreamReaderProtocol>>,
    waiter: Slot,
}

impl Place {
    /// Waits in that place, unless the other side has caught up.
    #[inline]
    fn take(&self, protocol: &Instance<StreamReaderProtocol>) -> Res<Next> {
        let Some(waiter) = protocol::waiter_to_drain(protocol)? else { return Ok(Next::Return(none())) };
        self.protocol.set(Some(protocol.to_own()));
        self.waiter.set(Some(waiter.clone()));
        Ok(Next::Await(waiter))
    }

    /// Gives up the place, however the wait has ended. The result of the wait is dropped.
    fn leave(&self, outcome: Res<Obj>) -> Res<Next> {
        if let (Some(protocol), Some(waiter)) = (self.protocol.take(), self.waiter.take()) {
            protocol::forget_drainer(&protocol, &waiter);
        }
        outcome?;
        Ok(Next::Return(none()))
    }
}

impl Holds for Place {
    fields! {
        part;
        objects { protocol, waiter }
    }
}

/// Waits until the connection is lost, and raises the exception it was lost with.
struct WaitClosed {
    writer: Slot<Own<StreamWriter>>,
}

impl Body for WaitClosed {
    fn qualname(&self) -> &'static str {
        "StreamWriter.wait_closed"
    }

    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let Some(writer) = self.writer.get() else { return emptied() };
        if let Resumed::Awaited(outcome) = resumed {
            outcome?;
            return Ok(Next::Return(none()));
        }
        let protocol = writer.protocol();
        match protocol.cast_untouched::<StreamReaderProtocol>() {
            Some(ours) => protocol::closed(ours),
            None => protocol.method(&names().get_close_waiter, &[writer.as_object()]),
        }
        .map(Next::Await)
    }
}

impl Holds for WaitClosed {
    fields! {
        part;
        objects { writer }
    }
}
