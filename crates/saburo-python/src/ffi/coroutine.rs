//! Driving a coroutine one step: send a value in, or throw an exception in.

use std::ptr;

use super::python as ffi;

use super::error::{Raised, Res};
use super::object::{Obj, Object};

/// What a step of a coroutine led to.
pub(crate) enum Sent {
    /// It waits for this.
    Yielded(Obj),
    /// It has returned this.
    Returned(Obj),
}

/// `coro.send(None)`, without a StopIteration where the coroutine knows how to do without.
#[inline]
pub(crate) fn send(coro: &Object) -> Res<Sent> {
    let mut result = ptr::null_mut();
    // SAFETY: a live iterator of any kind; `result` receives a new reference unless it fails.
    unsafe {
        match ffi::PyIter_Send(coro.as_ptr(), ffi::Py_None(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => Ok(Sent::Yielded(Obj::from_new(result)?)),
            ffi::PySendResult::PYGEN_RETURN => Ok(Sent::Returned(Obj::from_new(result)?)),
            ffi::PySendResult::PYGEN_ERROR => Err(Raised),
        }
    }
}

/// `coro.throw(exception)`; a StopIteration that comes out is the coroutine's return value.
pub(crate) fn throw(coro: &Object, throw_name: &Object, exception: &Object) -> Res<Sent> {
    match coro.method(throw_name, &[exception]) {
        Ok(yielded) => Ok(Sent::Yielded(yielded)),
        Err(raised) => match take_stop_iteration(raised) {
            Ok(value) => Ok(Sent::Returned(value)),
            Err(raised) => Err(raised),
        },
    }
}

/// The value of a StopIteration, if that is what was raised.
fn take_stop_iteration(raised: Raised) -> Res<Obj> {
    // SAFETY: the exception types are static objects.
    if !raised.matches_ptr(unsafe { ffi::PyExc_StopIteration }) {
        return Err(raised);
    }
    let stop = raised.take();
    // SAFETY: a live StopIteration has this attribute; new reference or null.
    unsafe { Obj::from_new(ffi::PyObject_GetAttrString(stop.as_ptr(), c"value".as_ptr())) }
}

/// Ends an iterator with a value: nothing for None, else a StopIteration that carries it whole.
///
/// The value is wrapped by hand, because raising `StopIteration` with a tuple would spread it over the
/// arguments, and with an exception would raise that instead.
pub(super) fn stop_iteration(value: Obj) -> Raised {
    if value.is_none() {
        return Raised;
    }
    // SAFETY: calls a static class with one argument; new reference or null.
    let stop = unsafe { Object::from_ptr(ffi::PyExc_StopIteration).call(&[&value]) };
    match stop {
        Ok(stop) => Raised::with(stop),
        Err(raised) => raised,
    }
}
