//! The class: the methods that make an object a coroutine to Python.

use std::cell::Cell;
use std::ffi::CStr;

use crate::ffi::{Builder, Class, Holds, Instance, Obj, Res, Visit, fields, none, string};
use crate::names::names;

use super::drive::{self, State};
use super::{Body, Coroutine, Next, Resumed, emptied, inline, iterator};

/// `await coroutine` drives the coroutine itself.
#[inline]
fn await_(this: &Instance<Coroutine>) -> Res<Obj> {
    this.check_not_awaited()?;
    Ok(this.as_object().to_obj())
}

/// The body of a coroutine that `__new__` would make.
struct Nothing;

impl Body for Nothing {
    fn qualname(&self) -> &'static str {
        "coroutine"
    }

    fn go_on(&self, _: Resumed) -> Res<Next> {
        emptied()
    }
}

impl Holds for Nothing {
    fn visit(&self, _: &mut Visit<'_>) {}
    fn clear(&self) {}
}

impl Class for Coroutine {
    fields! {
        class;
        objects { origin, awaiting, body: inline(Nothing) }
        plain { state: Cell::new(State::Ended), was_finalized }
    }

    const NAME: &'static CStr = c"saburo.Coroutine";
    const DOC: &'static CStr = c"What coroutine functions of saburo's return, to be awaited.";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const REUSED: bool = true;
    const FINALIZES: bool = true;

    #[inline]
    fn was_finalized(&self) -> bool {
        self.was_finalized.get()
    }

    /// True if there is a warning to give, or something to close.
    #[inline]
    fn wants_finalizer(&self) -> bool {
        matches!(self.state.get(), State::Created | State::Suspended)
    }

    fn finalize(this: &Instance<Coroutine>) {
        drive::finalize(this);
    }

    fn describe(builder: Builder<Coroutine>) -> Builder<Coroutine> {
        builder
            // The interpreter awaits the coroutine itself; a program that calls __await__() gets an iterator.
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
            .step(drive::step)
            // Only for the interpreter: a coroutine is no iterator.
            .unlisted(c"__iter__")
            .unlisted(c"__next__")
            .one(c"send", drive::send, c"send(value): runs to the next suspension.")
            .many(
                c"throw",
                drive::throw,
                c"throw(typ, val=None, tb=None, /): raises an exception where the coroutine waits.",
            )
            .noargs(c"close", drive::close, c"Raises GeneratorExit where the coroutine waits.")
            .repr(|this| string(&format!("<coroutine object {} at {:p}>", this.qualname(), this.as_object())))
            .getter(
                c"__class__",
                |_| names().class_coroutine.clone(),
                c"types.CoroutineType, for isinstance.",
            )
            .getter(
                c"__name__",
                |this| string(this.qualname().rsplit('.').next().unwrap_or_default()),
                c"The name of the method it is of.",
            )
            .getter(c"__qualname__", |this| string(this.qualname()), c"That name, behind its class's.")
            .getter(c"cr_running", |this| this.state.get() == State::Running, c"Does it run?")
            .getter(c"cr_suspended", |this| this.state.get() == State::Suspended, c"Does it wait?")
            .getter(
                c"cr_state",
                |this| {
                    string(match this.state.get() {
                        State::Created => "CORO_CREATED",
                        State::Suspended => "CORO_SUSPENDED",
                        State::Running => "CORO_RUNNING",
                        State::Ended => "CORO_CLOSED",
                    })
                },
                c"What inspect.getcoroutinestate() says of it.",
            )
            // The coroutine has no Python frame. There is no cr_await either: code that finds it (asyncio's
            // call graphs do) expects a frame.
            .getter(c"cr_frame", |_| none(), c"None.")
            .getter(c"cr_code", |_| none(), c"None.")
            .getter(c"cr_origin", |this| this.origin.get(), c"Where it was made, in debug mode.")
    }
}

impl Coroutine {
    fn qualname(&self) -> &'static str {
        self.body.get().qualname()
    }
}
