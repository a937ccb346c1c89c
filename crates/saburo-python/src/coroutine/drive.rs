//! When a coroutine runs. The rule is Python's own: nothing runs before the first step, no step runs inside of
//! another, and one that has ended cannot be resumed.

use crate::ffi::{Args, Holds, Instance, Obj, Object, Raised, Res, Sent, builtin, none, raise, string};
use crate::names::names;
use crate::thrown::thrown;

use super::{Coroutine, Next, Resumed, emptied};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Created,
    Suspended,
    Running,
    Ended,
}

impl Coroutine {
    /// Only one may wait for a coroutine.
    pub(super) fn check_not_awaited(&self) -> Res<()> {
        if self.state.get() == State::Suspended {
            return raise(builtin::runtime_error(), "coroutine is being awaited already");
        }
        Ok(())
    }

    /// There was no room for its first step. To Python that is a coroutine whose first step has raised, not
    /// one that was forgotten. What it holds goes when it goes.
    pub(super) fn fail_to_begin(&self) {
        if self.state.get() == State::Created {
            self.state.set(State::Ended);
        }
    }

    /// It holds nothing any more: a coroutine may be kept long after its end.
    #[inline]
    fn end(&self) {
        self.state.set(State::Ended);
        self.awaiting.clear();
        self.body.get().clear();
    }
}

/// One step: goes on, or raises this exception where the coroutine waits.
#[inline]
pub(super) fn resume(this: &Instance<Coroutine>, exception: Option<Obj>) -> Res<Sent> {
    let before = this.state.get();
    match before {
        State::Created | State::Suspended => this.state.set(State::Running),
        State::Running => return raise(builtin::value_error(), "coroutine already executing"),
        State::Ended => return emptied(),
    }
    let sent = match (before, exception) {
        (State::Suspended, exception) => match this.awaiting.go_on(exception) {
            Ok(Sent::Yielded(value)) => Ok(Sent::Yielded(value)),
            Ok(Sent::Returned(value)) => run(this, Resumed::Awaited(Ok(value))),
            Err(raised) => run(this, Resumed::Awaited(Err(raised))),
        },
        (_, None) => run(this, Resumed::Started),
        (_, Some(exception)) => {
            this.end();
            return Err(Raised::with(exception));
        }
    };
    match sent {
        Ok(Sent::Yielded(_)) => this.state.set(State::Suspended),
        Ok(Sent::Returned(_)) | Err(_) => this.end(),
    }
    sent.map_err(not_stop_iteration)
}

/// Runs the body until it waits for something that is not there yet, or to its end.
#[inline]
fn run(this: &Instance<Coroutine>, mut resumed: Resumed) -> Res<Sent> {
    let body = this.body.get();
    loop {
        resumed = match body.go_on(resumed)? {
            Next::Return(value) => return Ok(Sent::Returned(value)),
            Next::Yield => return Ok(Sent::Yielded(none())),
            Next::Await(awaitable) => match this.awaiting.begin(awaitable) {
                Ok(Sent::Yielded(value)) => return Ok(Sent::Yielded(value)),
                Ok(Sent::Returned(value)) => Resumed::Awaited(Ok(value)),
                Err(raised) => Resumed::Awaited(Err(raised)),
            },
        };
    }
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

/// `send(value)`
pub(super) fn send(this: &Instance<Coroutine>, value: &Object) -> Res<Obj> {
    if this.state.get() == State::Created && !value.is_none() {
        return raise(builtin::type_error(), "can't send non-None value to a just-started coroutine");
    }
    yielded(resume(this, None)?)
}

/// `throw(type[, value[, traceback]])`
pub(super) fn throw(this: &Instance<Coroutine>, args: Args<'_>) -> Res<Obj> {
    yielded(resume(this, Some(thrown(args)?))?)
}

/// A method says by StopIteration that the coroutine has returned.
fn yielded(sent: Sent) -> Res<Obj> {
    match sent {
        Sent::Yielded(value) => Ok(value),
        Sent::Returned(value) => Err(Raised::with(builtin::stop_iteration().call(&[&value])?)),
    }
}

/// `close()`
pub(super) fn close(this: &Instance<Coroutine>) -> Res<()> {
    match this.state.get() {
        State::Ended => return Ok(()),
        State::Created => {
            this.end();
            return Ok(());
        }
        State::Suspended | State::Running => {}
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

/// Before a coroutine goes: one that never ran is complained of, one that waits is closed.
#[cold]
pub(super) fn finalize(this: &Instance<Coroutine>) {
    this.was_finalized.set(true);
    let done = match this.state.get() {
        State::Created => names().warn_unawaited_coroutine.call(&[this.as_object()]).map(drop),
        _ => close(this),
    };
    if let Err(raised) = done {
        raised.unraisable(this.as_object());
    }
}
