//! What `await future` runs: an iterator that yields the future once, then gives its result.
//!
//! It is an object of its own, as in asyncio: a future that were its own iterator would pass for a
//! coroutine or an iterator where it must not.

use std::ffi::CStr;

use crate::ffi::{
    Args, Builder, Class, Instance, Obj, Own, Raised, Res, Sent, Slot, builtin, fields, none, raise,
};
use crate::thrown::thrown;

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
    let pending = !future.is_done();
    let sent = step_of(&future);
    if !pending {
        this.future.set(None);
    }
    sent
}

/// One step of waiting for a future: it is yielded once, then gives its result.
#[inline]
pub(crate) fn step_of(future: &Instance<Future>) -> Res<Sent> {
    if future.is_done() {
        return future.result().map(Sent::Returned);
    }
    if future.blocking().replace(true) {
        return raise(builtin::runtime_error(), "await wasn't used with future");
    }
    Ok(Sent::Yielded(future.as_object().to_obj()))
}

/// `throw(type[, value[, traceback]])`: ends the iterator with that exception.
fn throw(this: &Instance<FutureIter>, args: Args<'_>) -> Res<Obj> {
    let exception = thrown(args)?;
    this.future.set(None);
    Err(Raised::with(exception))
}

impl Class for FutureIter {
    fields! {
        class;
        objects { future }
    }

    const NAME: &'static CStr = c"saburo.FutureIter";
    const DOC: &'static CStr = c"The iterator behind `await future`.";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;
    const REUSED: bool = true;

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
                c"send(value): resumes; what is sent is ignored.",
            )
            .many(c"throw", throw, c"throw(typ, val=None, tb=None, /): ends the await with an exception.")
            .noargs(
                c"close",
                |this| {
                    this.future.set(None);
                },
                c"Ends the await.",
            )
    }
}
