//! What `await future` runs: an iterator that yields the future once, then gives its result.
//!
//! It is an object of its own, as in asyncio: a future that were its own iterator would pass for a
//! coroutine or an iterator where it must not.

use std::ffi::CStr;

use crate::ffi::{
    Args, Builder, Class, Instance, Obj, Own, Raised, Res, Sent, Slot, TypeCell, Visit, builtin, none, raise,
    warn_deprecated,
};

use super::Future;

/// The iterator behind `await future`.
pub(crate) struct FutureIter {
    /// Let go of when the iterator is done.
    future: Slot<Own<Future>>,
}

#[inline]
pub(super) fn await_(this: &Instance<Future>) -> Res<Obj> {
    this.check_initialized()?;
    Instance::alloc(FutureIter { future: Slot::new(Some(this.to_own())) }).map(Own::into_obj)
}

#[inline]
fn step(this: &Instance<FutureIter>) -> Res<Sent> {
    let Some(future) = this.future.get() else {
        // Used up, thrown into or closed: it ends at once, as an exhausted iterator does.
        return Ok(Sent::Returned(none()));
    };
    if !future.is_done() {
        if !future.blocking().get() {
            future.blocking().set(true);
            return Ok(Sent::Yielded(future.into_obj()));
        }
        return raise(builtin::runtime_error(), "await wasn't used with future");
    }
    this.future.set(None);
    future.result().map(Sent::Returned)
}

/// `throw(type[, value[, traceback]])`: ends the iterator with that exception.
fn throw(this: &Instance<FutureIter>, args: Args<'_>) -> Res<Obj> {
    let &[class_or_instance, ref rest @ ..] = args.positional() else {
        return raise(builtin::type_error(), "throw() needs an exception");
    };
    if !rest.is_empty() && cfg!(Py_3_12) {
        // As every generator of these versions does.
        warn_deprecated(
            c"the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.",
        )?;
    }
    let value = rest.first().filter(|value| !value.is_none());
    let traceback = rest.get(1).filter(|traceback| !traceback.is_none());
    let exception = if class_or_instance.is_exception_class() {
        match value {
            Some(value) if value.is_instance(class_or_instance)? => value.to_obj(),
            Some(value) => class_or_instance.call(&[value])?,
            None => class_or_instance.call0()?,
        }
    } else if class_or_instance.is_exception() {
        if value.is_some() {
            return raise(builtin::type_error(), "instance exception may not have a separate value");
        }
        class_or_instance.to_obj()
    } else {
        return raise(
            builtin::type_error(),
            "exceptions must be classes deriving BaseException or instances of such a class",
        );
    };
    if let Some(traceback) = traceback {
        if !traceback.is_instance(&crate::names::names().traceback_class)? {
            return raise(builtin::type_error(), "throw() third argument must be a traceback");
        }
        exception.set_traceback(Some(traceback))?;
    }
    this.future.set(None);
    Err(Raised::with(exception))
}

static FUTURE_ITER: TypeCell = TypeCell::new();

impl Class for FutureIter {
    type Base = FutureIter;
    type Dict = ();
    type Inherited = ();

    const NAME: &'static CStr = c"saburo.FutureIter";
    const DOC: &'static CStr = c"The iterator behind `await future`.";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const REUSED: bool = true;

    fn cell() -> &'static TypeCell {
        &FUTURE_ITER
    }

    fn create() -> FutureIter {
        FutureIter { future: Slot::empty() }
    }

    fn base(&self) -> &FutureIter {
        self
    }

    fn traverse(&self, visit: &mut Visit<'_>) {
        self.future.visit(visit);
    }

    fn clear(&self) {
        drop(self.future.take());
    }

    fn describe(builder: Builder<FutureIter>) -> Builder<FutureIter> {
        builder
            .iter(|this| Ok(this.as_object().to_obj()))
            .step(step)
            .one(
                c"send",
                |this, _value| match step(this)? {
                    Sent::Yielded(future) => Ok(future),
                    Sent::Returned(value) => {
                        let stop = builtin::stop_iteration().call(&[&value])?;
                        Err(Raised::with(stop))
                    }
                },
                c"Resumes; what is sent is ignored.",
            )
            .many(c"throw", throw, c"Ends the await with an exception.")
            .noargs(
                c"close",
                |this| {
                    this.future.set(None);
                },
                c"Ends the await.",
            )
    }
}
