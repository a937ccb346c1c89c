//! Draining and closing: the coroutines of a StreamWriter, and of the protocol behind it.

use std::cell::Cell;

use crate::coroutine::{self, Body, Next, Resumed, emptied};
use crate::ffi::{Holds, Instance, Obj, Object, Res, Slot, fields, none, raise_given};
use crate::names::names;

use super::protocol::{self, StreamReaderProtocol};
use super::reader::StreamReader;
use super::writer::StreamWriter;
use super::{link, receiver};

/// What a coroutine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `StreamWriter.drain`
    Drain,
    /// `StreamWriter.wait_closed`
    WaitClosed,
    /// `StreamReaderProtocol._drain_helper`
    DrainHelper,
}

/// The body of a coroutine that waits for the other side, or for the end.
struct Wait {
    kind: Kind,
    /// The writer or the protocol; let go of when the coroutine ends.
    owner: Slot,
    /// Where it waits among those who drain.
    queued: Slot,
    /// It has let the loop turn once, so that a connection that is closing can say how it ended.
    yielded: Cell<bool>,
}

/// The coroutine of one call.
#[inline]
pub(super) fn start(owner: &Object, kind: Kind, debug: bool) -> Res<Obj> {
    let body = Wait {
        kind,
        owner: Slot::new(Some(owner.to_obj())),
        queued: Slot::empty(),
        yielded: Cell::new(false),
    };
    coroutine::start(body, debug)
}

/// `drain()`
#[inline]
pub(super) fn drain(this: &Instance<StreamWriter>) -> Res<Obj> {
    start(this.as_object(), Kind::Drain, is_debugged(this))
}

/// Was the connection made in debug mode?
#[inline]
fn is_debugged(writer: &Instance<StreamWriter>) -> bool {
    let reader = writer.reader.get();
    reader.as_deref().and_then(Object::cast::<StreamReader>).is_some_and(|reader| reader.debug())
}

impl Body for Wait {
    fn qualname(&self) -> &'static str {
        match self.kind {
            Kind::Drain => "StreamWriter.drain",
            Kind::WaitClosed => "StreamWriter.wait_closed",
            Kind::DrainHelper => "FlowControlMixin._drain_helper",
        }
    }

    #[inline]
    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let Some(owner) = self.owner.get() else { return emptied() };
        match resumed {
            Resumed::Started => match self.kind {
                Kind::Drain => begin_to_drain(self, &owner),
                Kind::WaitClosed => wait_closed(&owner),
                Kind::DrainHelper => match owner.cast::<StreamReaderProtocol>() {
                    Some(protocol) => wait_in(self, protocol),
                    None => Ok(Next::Return(none())),
                },
            },
            Resumed::Awaited(outcome) if self.yielded.replace(false) => {
                outcome?;
                wait_until_drained(self, &protocol_of(&owner))
            }
            Resumed::Awaited(outcome) => {
                forget(self, &owner);
                outcome?;
                // What was awaited gives nothing to whoever awaits this.
                Ok(Next::Return(none()))
            }
        }
    }
}

impl Holds for Wait {
    fields! {
        part;
        objects { owner, queued }
        plain { kind, yielded }
    }
}

fn begin_to_drain(this: &Wait, owner: &Object) -> Res<Next> {
    let Some(writer) = owner.cast::<StreamWriter>() else { return Ok(Next::Return(none())) };
    let (transport, reader) = (writer.transport(), writer.reader.get());
    link::drain(&transport, || reader.as_deref().map_or(Ok(false), receiver::has_unread))?;
    if let Some(reader) = reader {
        let exception = match reader.cast_untouched::<StreamReader>() {
            Some(reader) => reader.exception(),
            None => link::some(&*reader.method(&names().exception, &[])?),
        };
        if let Some(exception) = exception {
            return raise_given(&exception);
        }
    }
    if link::is_closing(&transport)? {
        // Without this, who writes and drains in a circle would never hear that the connection is gone.
        this.yielded.set(true);
        return Ok(Next::Yield);
    }
    wait_until_drained(this, &writer.protocol())
}

/// `await protocol._drain_helper()`
fn wait_until_drained(this: &Wait, protocol: &Object) -> Res<Next> {
    match protocol.cast_untouched::<StreamReaderProtocol>() {
        Some(ours) => wait_in(this, ours),
        None => protocol.method(&names().drain_helper, &[]).map(Next::Await),
    }
}

fn wait_in(this: &Wait, protocol: &Instance<StreamReaderProtocol>) -> Res<Next> {
    let Some(waiter) = protocol::waiter_to_drain(protocol)? else { return Ok(Next::Return(none())) };
    this.queued.set(Some(waiter.clone()));
    Ok(Next::Await(waiter))
}

/// However the wait for the other side ended, it does not stand among those who drain any more.
fn forget(this: &Wait, owner: &Object) {
    if let Some(waiter) = this.queued.take()
        && let Some(protocol) = protocol_of(owner).cast::<StreamReaderProtocol>()
    {
        protocol::forget_drainer(protocol, &waiter);
    }
}

fn wait_closed(owner: &Object) -> Res<Next> {
    let protocol = protocol_of(owner);
    let closed = match protocol.cast_untouched::<StreamReaderProtocol>() {
        Some(ours) => protocol::closed(ours)?,
        None => protocol.method(&names().get_close_waiter, &[owner])?,
    };
    Ok(Next::Await(closed))
}

/// The protocol, where the owner is a writer.
fn protocol_of(owner: &Object) -> Obj {
    match owner.cast::<StreamWriter>() {
        Some(writer) => writer.protocol(),
        None => owner.to_obj(),
    }
}
