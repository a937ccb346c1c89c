//! Coroutines whose body is Rust: what `reader.readline()` and `loop.sock_recv()` return.
//!
//! To Python each is a `collections.abc.Coroutine`: it can be awaited, made a task of, timed out and closed.
//! The rule is Python's own: nothing runs before the first step, no step runs inside another, and one that
//! has ended cannot be resumed. What differs from one to the next is [`Coroutine::go_on`].

mod awaiting;
mod iterator;

use std::cell::Cell;

use crate::ffi::{
    Args, Builder, Class, Holds, Instance, Obj, Object, Raised, Res, Sent, Slot, Visit, builtin, none, raise,
    string, tuple,
};
use crate::names::names;
use crate::sock::SockCoroutine;
use crate::streams::{ReaderCoroutine, WriterCoroutine};
use crate::thrown::thrown;

pub(crate) use awaiting::Awaiting;
pub(crate) use iterator::CoroutineIter;

/// A class of coroutines. Its values hold what a Python coroutine has in its frame.
pub(crate) trait Coroutine: Class {
    fn life(&self) -> &Life;
    /// What the coroutine is called, such as `StreamReader.read`.
    fn qualname(&self) -> &'static str;
    /// Runs to the next suspension, or to the end.
    fn go_on(this: &Instance<Self>, resumed: Resumed) -> Res<Sent>;
}

/// Why a coroutine runs.
pub(crate) enum Resumed {
    /// For the first time.
    Started,
    /// What it waited for may be there.
    Woken,
    /// This is raised where it waits.
    Thrown(Obj),
}

/// What every coroutine has.
pub(crate) struct Life {
    phase: Cell<Phase>,
    finalized: Cell<bool>,
    /// Where it was made, in debug mode.
    origin: Slot,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Created,
    Suspended,
    Running,
    Ended,
}

impl Life {
    /// That of a coroutine that is made now; in debug mode it remembers by whom.
    #[inline]
    pub(crate) fn new(debug: bool) -> Res<Life> {
        let origin = Slot::new(if debug { origin()? } else { None });
        Ok(Life { phase: Cell::new(Phase::Created), finalized: Cell::new(false), origin })
    }

    /// That of one that `__new__` would make.
    pub(crate) fn blank() -> Life {
        Life { phase: Cell::new(Phase::Ended), finalized: Cell::new(false), origin: Slot::empty() }
    }

    #[inline]
    pub(crate) fn was_finalized(&self) -> bool {
        self.finalized.get()
    }

    /// Is there a complaint to make, or something to leave in order?
    #[inline]
    pub(crate) fn wants_finalizer(&self) -> bool {
        matches!(self.phase.get(), Phase::Created | Phase::Suspended)
    }

    /// Only one may wait for a coroutine.
    fn check_not_awaited(&self) -> Res<()> {
        if self.phase.get() == Phase::Suspended {
            return raise(builtin::runtime_error(), "coroutine is being awaited already");
        }
        Ok(())
    }

    /// There was no room for its first step. To Python that is a coroutine whose first step has raised, not
    /// one that was forgotten. What it holds goes when it goes.
    fn fail_to_begin(&self) {
        if self.phase.get() == Phase::Created {
            self.phase.set(Phase::Ended);
        }
    }
}

impl Holds for Life {
    fn visit(&self, visit: &mut Visit<'_>) {
        self.origin.visit(visit);
    }

    fn clear(&self) {
        // It holds names and numbers; `cr_origin` is there after the end, too.
    }
}

/// Is it a coroutine of one of these classes?
#[inline]
pub(crate) fn is_native(object: &Object) -> bool {
    life_of(object).is_some()
}

/// What a coroutine of one of these classes has in common with the others.
#[inline]
fn life_of(object: &Object) -> Option<&Life> {
    let reader = object.cast_exact::<ReaderCoroutine>().map(|this| this.life());
    reader
        .or_else(|| object.cast_exact::<WriterCoroutine>().map(|this| this.life()))
        .or_else(|| object.cast_exact::<SockCoroutine>().map(|this| this.life()))
}

/// One step.
#[inline]
fn resume<T: Coroutine>(this: &Instance<T>, resumed: Option<Obj>) -> Res<Sent> {
    let life = this.life();
    let resumed = match (life.phase.get(), resumed) {
        (Phase::Created, None) => Resumed::Started,
        (Phase::Suspended, None) => Resumed::Woken,
        (Phase::Suspended, Some(exception)) => Resumed::Thrown(exception),
        (Phase::Created, Some(exception)) => {
            end(this);
            return Err(Raised::with(exception));
        }
        (Phase::Running, _) => return raise(builtin::value_error(), "coroutine already executing"),
        (Phase::Ended, _) => {
            return raise(builtin::runtime_error(), "cannot reuse already awaited coroutine");
        }
    };
    life.phase.set(Phase::Running);
    let sent = T::go_on(this, resumed);
    match sent {
        Ok(Sent::Yielded(_)) => life.phase.set(Phase::Suspended),
        Ok(Sent::Returned(_)) => end(this),
        Err(_) => end(this),
    }
    sent.map_err(not_stop_iteration)
}

/// It holds nothing any more: a coroutine may be kept long after its end.
#[inline]
fn end<T: Coroutine>(this: &Instance<T>) {
    this.life().phase.set(Phase::Ended);
    this.clear();
}

/// A StopIteration on its way out would look like the coroutine's return.
#[inline]
fn not_stop_iteration(raised: Raised) -> Raised {
    if !raised.matches(builtin::stop_iteration()) {
        return raised;
    }
    let stop = raised.take();
    let replaced = || -> Res<Obj> {
        let error = builtin::runtime_error().call(&[&*string("coroutine raised StopIteration")?])?;
        error.set_attr(&names().dunder_cause, &stop)?;
        error.set_attr(&names().dunder_context, &stop)?;
        Ok(error)
    };
    match replaced() {
        Ok(error) => Raised::with(error),
        Err(raised) => raised,
    }
}

fn send<T: Coroutine>(this: &Instance<T>, value: &Object) -> Res<Obj> {
    if this.life().phase.get() == Phase::Created && !value.is_none() {
        return raise(builtin::type_error(), "can't send non-None value to a just-started coroutine");
    }
    yielded(resume(this, None)?)
}

fn throw<T: Coroutine>(this: &Instance<T>, args: Args<'_>) -> Res<Obj> {
    yielded(resume(this, Some(thrown(args)?))?)
}

/// A method says by StopIteration that the coroutine has returned.
fn yielded(sent: Sent) -> Res<Obj> {
    match sent {
        Sent::Yielded(value) => Ok(value),
        Sent::Returned(value) => Err(Raised::with(builtin::stop_iteration().call(&[&value])?)),
    }
}

fn close<T: Coroutine>(this: &Instance<T>) -> Res<()> {
    match this.life().phase.get() {
        Phase::Ended => return Ok(()),
        Phase::Created => {
            end(this);
            return Ok(());
        }
        Phase::Suspended | Phase::Running => {}
    }
    match resume(this, Some(builtin::generator_exit().call0()?)) {
        Ok(Sent::Yielded(_)) => raise(builtin::runtime_error(), "coroutine ignored GeneratorExit"),
        Ok(Sent::Returned(_)) => Ok(()),
        Err(raised) if raised.matches(builtin::generator_exit()) => {
            raised.swallow();
            Ok(())
        }
        Err(raised) => Err(raised),
    }
}

#[inline]
fn await_<T: Coroutine>(this: &Instance<T>) -> Res<Obj> {
    this.life().check_not_awaited()?;
    Ok(this.as_object().to_obj())
}

/// What a class of coroutines does before an instance goes: one that never ran is complained of, one that
/// waits is closed.
#[cold]
pub(crate) fn finalize<T: Coroutine>(this: &Instance<T>) {
    let life = this.life();
    life.finalized.set(true);
    let done = match life.phase.get() {
        Phase::Created => names().warn_unawaited_coroutine.call(&[this.as_object()]).map(drop),
        _ => close(this),
    };
    if let Err(raised) = done {
        raised.unraisable(this.as_object());
    }
}

/// The methods and properties that make an object a coroutine.
pub(crate) fn describe<T: Coroutine>(builder: Builder<T>) -> Builder<T> {
    builder
        // The interpreter awaits the coroutine itself; whoever calls __await__() gets an iterator.
        .awaits(await_)
        .noargs_beside_slot(
            c"__await__",
            |this| iterator::over(this.as_object()),
            c"An iterator that runs the coroutine.",
        )
        .iter(|this| {
            iterator::check_iterable()?;
            await_(this)
        })
        .step(|this| resume(this, None))
        // For the interpreter only: a coroutine is no iterator.
        .unlisted(c"__iter__")
        .unlisted(c"__next__")
        .one(c"send", send, c"send(value): runs to the next suspension.")
        .many(
            c"throw",
            throw,
            c"throw(typ, val=None, tb=None, /): raises an exception where the coroutine waits.",
        )
        .noargs(c"close", close, c"Raises GeneratorExit where the coroutine waits.")
        .repr(|this| string(&format!("<coroutine object {} at {:p}>", this.qualname(), this.as_object())))
        .getter(c"__class__", |_| names().class_coroutine.clone(), c"types.CoroutineType, for isinstance.")
        .getter(
            c"__name__",
            |this| string(this.qualname().rsplit('.').next().unwrap_or_default()),
            c"The name of the method it is of.",
        )
        .getter(c"__qualname__", |this| string(this.qualname()), c"That name, behind its class's.")
        .getter(c"cr_running", |this| this.life().phase.get() == Phase::Running, c"Does it run?")
        .getter(c"cr_suspended", |this| this.life().phase.get() == Phase::Suspended, c"Does it wait?")
        .getter(
            c"cr_state",
            |this| {
                string(match this.life().phase.get() {
                    Phase::Created => "CORO_CREATED",
                    Phase::Suspended => "CORO_SUSPENDED",
                    Phase::Running => "CORO_RUNNING",
                    Phase::Ended => "CORO_CLOSED",
                })
            },
            c"What inspect.getcoroutinestate() says of it.",
        )
        // There is no Python in it. Nor is there cr_await: who finds that (asyncio's call graphs do) takes
        // the frame for one.
        .getter(c"cr_frame", |_| none(), c"None.")
        .getter(c"cr_code", |_| none(), c"None.")
        .getter(c"cr_origin", |this| this.life().origin.get(), c"Where it was made, in debug mode.")
}

/// Who makes a coroutine now, as (file, line, function), the innermost first, as far as the interpreter
/// is told to track.
#[cold]
fn origin() -> Res<Option<Obj>> {
    let names = names();
    let depth = names.origin_tracking_depth.call0()?.as_i64()?;
    if depth <= 0 {
        return Ok(None);
    }
    let mut places = Vec::new();
    let mut frame = names.get_frame.call0()?;
    for _ in 0..depth {
        if frame.is_none() {
            break;
        }
        let code = frame.attr(&names.f_code)?;
        let line = frame.attr(&names.f_lineno)?;
        places.push(tuple(
            [&*code.attr(&names.co_filename)?, &*line, &*code.attr(&names.co_name)?].into_iter(),
        )?);
        frame = frame.attr(&names.f_back)?;
    }
    tuple(places.iter().map(|place| &**place)).map(Some)
}
