//! Draining and closing: the coroutines of a StreamWriter, and of the protocol behind it.

use std::cell::Cell;
use std::ffi::CStr;

use crate::coroutine::{self, Awaiting, Coroutine, Life, Resumed};
use crate::ffi::{
    Builder, Class, Instance, Obj, Object, Own, Raised, Res, Sent, Slot, builtin, fields, none, raise,
    raise_given,
};
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

/// A coroutine that waits for the other side, or for the end.
pub(crate) struct WriterCoroutine {
    life: Life,
    kind: Kind,
    /// The writer or the protocol; let go of when the coroutine ends.
    owner: Slot,
    /// Where it waits among those who drain.
    queued: Slot,
    awaiting: Awaiting,
    /// It has let the loop turn once, so that a connection that is closing can say how it ended.
    yielded: Cell<bool>,
}

/// The coroutine of one call.
#[inline]
pub(super) fn start(owner: &Object, kind: Kind, debug: bool) -> Res<Obj> {
    let coroutine = WriterCoroutine {
        life: Life::new(debug)?,
        kind,
        owner: Slot::new(Some(owner.to_obj())),
        queued: Slot::empty(),
        awaiting: Awaiting::nothing(),
        yielded: Cell::new(false),
    };
    Instance::alloc(coroutine).map(Own::into_obj)
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

impl Coroutine for WriterCoroutine {
    #[inline]
    fn life(&self) -> &Life {
        &self.life
    }

    fn qualname(&self) -> &'static str {
        match self.kind {
            Kind::Drain => "StreamWriter.drain",
            Kind::WaitClosed => "StreamWriter.wait_closed",
            Kind::DrainHelper => "FlowControlMixin._drain_helper",
        }
    }

    #[inline]
    fn go_on(this: &Instance<WriterCoroutine>, resumed: Resumed) -> Res<Sent> {
        let Some(owner) = this.owner.get() else {
            // The collector has emptied it.
            return raise(builtin::runtime_error(), "cannot reuse already awaited coroutine");
        };
        match resumed {
            Resumed::Started => match this.kind {
                Kind::Drain => begin_to_drain(this, &owner),
                Kind::WaitClosed => wait_closed(this, &owner),
                Kind::DrainHelper => match owner.cast::<StreamReaderProtocol>() {
                    Some(protocol) => wait_in(this, protocol),
                    None => Ok(Sent::Returned(none())),
                },
            },
            resumed if this.yielded.replace(false) => match resumed {
                Resumed::Thrown(exception) => Err(Raised::with(exception)),
                _ => wait_until_drained(this, &protocol_of(&owner)),
            },
            resumed => {
                let sent = this.awaiting.go_on(resumed);
                done_if_over(this, &owner, sent)
            }
        }
    }
}

fn begin_to_drain(this: &Instance<WriterCoroutine>, owner: &Object) -> Res<Sent> {
    let Some(writer) = owner.cast::<StreamWriter>() else { return Ok(Sent::Returned(none())) };
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
        return Ok(Sent::Yielded(none()));
    }
    wait_until_drained(this, &writer.protocol())
}

/// `await protocol._drain_helper()`
fn wait_until_drained(this: &Instance<WriterCoroutine>, protocol: &Object) -> Res<Sent> {
    match protocol.cast_untouched::<StreamReaderProtocol>() {
        Some(ours) => wait_in(this, ours),
        None => this.awaiting.begin(protocol.method(&names().drain_helper, &[])?),
    }
}

fn wait_in(this: &Instance<WriterCoroutine>, protocol: &Instance<StreamReaderProtocol>) -> Res<Sent> {
    let Some(waiter) = protocol::waiter_to_drain(protocol)? else { return Ok(Sent::Returned(none())) };
    this.queued.set(Some(waiter.clone()));
    let sent = this.awaiting.begin(waiter);
    done_if_over(this, protocol.as_object(), sent)
}

/// However the wait for the other side ended, it does not stand among those who drain any more.
fn done_if_over(this: &Instance<WriterCoroutine>, owner: &Object, sent: Res<Sent>) -> Res<Sent> {
    if !matches!(sent, Ok(Sent::Yielded(_)))
        && let Some(waiter) = this.queued.take()
        && let Some(protocol) = protocol_of(owner).cast::<StreamReaderProtocol>()
    {
        protocol::forget_drainer(protocol, &waiter);
    }
    // What was awaited gives nothing to whoever awaits this.
    sent.map(|sent| match sent {
        Sent::Yielded(awaited) => Sent::Yielded(awaited),
        Sent::Returned(_) => Sent::Returned(none()),
    })
}

fn wait_closed(this: &Instance<WriterCoroutine>, owner: &Object) -> Res<Sent> {
    let protocol = protocol_of(owner);
    let waiter = match protocol.cast_untouched::<StreamReaderProtocol>() {
        Some(ours) => protocol::closed(ours)?,
        None => protocol.method(&names().get_close_waiter, &[owner])?,
    };
    let sent = this.awaiting.begin(waiter);
    done_if_over(this, owner, sent)
}

/// The protocol, where the owner is a writer.
fn protocol_of(owner: &Object) -> Obj {
    match owner.cast::<StreamWriter>() {
        Some(writer) => writer.protocol(),
        None => owner.to_obj(),
    }
}

impl Class for WriterCoroutine {
    fields! {
        class;
        objects { life: Life::blank(), owner, queued, awaiting: Awaiting::nothing() }
        plain { kind: Kind::Drain, yielded }
    }

    const NAME: &'static CStr = c"saburo.WriterCoroutine";
    const DOC: &'static CStr = c"What the methods of a StreamWriter return, to be awaited.";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const REUSED: bool = true;
    const FINALIZES: bool = true;

    #[inline]
    fn was_finalized(&self) -> bool {
        self.life.was_finalized()
    }

    #[inline]
    fn wants_finalizer(&self) -> bool {
        self.life.wants_finalizer()
    }

    fn finalize(this: &Instance<WriterCoroutine>) {
        coroutine::finalize(this);
    }

    fn describe(builder: Builder<WriterCoroutine>) -> Builder<WriterCoroutine> {
        coroutine::describe(builder)
    }
}
