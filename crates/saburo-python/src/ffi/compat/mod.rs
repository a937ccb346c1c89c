//! Where CPython's versions differ: one small function each, so that nobody else asks for a version.

pub(super) mod trash;

use super::python as ffi;

#[cfg(Py_3_13)]
use super::error::Raised;
use super::object::Obj;
use super::object::Object;

/// Takes the exception that is set, as an instance.
///
/// # Panics
/// If no exception is set: a call that reports failure without one is a bug in the callee.
#[cfg(Py_3_12)]
#[inline]
pub(super) fn take_raised() -> Obj {
    // SAFETY: gives a new reference, or null when nothing is set.
    unsafe { Obj::from_new_or_null(ffi::PyErr_GetRaisedException()) }
        .expect("an error was reported without an exception")
}

/// Before 3.12 an exception was three loose parts: join them into an instance.
#[cfg(not(Py_3_12))]
pub(super) fn take_raised() -> Obj {
    use std::ptr::null_mut;
    let (mut class, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
    // SAFETY: each out-pointer receives a new reference or null; all of them are released or kept.
    unsafe {
        ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
        ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
        if !traceback.is_null() && !value.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
        }
        drop(Obj::from_new_or_null(class));
        drop(Obj::from_new_or_null(traceback));
        Obj::from_new_or_null(value).expect("an error was reported without an exception")
    }
}

/// Makes an exception instance the one being raised.
#[cfg(Py_3_12)]
#[inline]
pub(super) fn set_raised(exception: Obj) {
    // SAFETY: takes over our reference.
    unsafe { ffi::PyErr_SetRaisedException(exception.into_raw()) }
}

/// Before 3.12 the class and the traceback travel beside the instance.
#[cfg(not(Py_3_12))]
pub(super) fn set_raised(exception: Obj) {
    // SAFETY: PyErr_Restore takes over all three references; the traceback may be null.
    unsafe {
        let class = exception.type_of().into_raw();
        let traceback = ffi::PyException_GetTraceback(exception.as_ptr());
        ffi::PyErr_Restore(class, exception.into_raw(), traceback);
    }
}

/// What a weak reference refers to, while it lives.
#[cfg(Py_3_13)]
#[inline]
pub(super) fn referent(reference: &Object) -> Option<Obj> {
    let mut object = std::ptr::null_mut();
    // SAFETY: a live weak reference; `object` receives a new reference or null. It fails for what is no weak
    // reference only.
    unsafe {
        if ffi::PyWeakref_GetRef(reference.as_ptr(), &raw mut object) < 0 {
            Raised.swallow();
            return None;
        }
        Obj::from_new_or_null(object)
    }
}

/// Before 3.13 it is lent, and None once it is gone.
#[cfg(not(Py_3_13))]
#[inline]
pub(super) fn referent(reference: &Object) -> Option<Obj> {
    // SAFETY: a live weak reference lends a live object, None included; nothing runs before it is ours.
    let object = unsafe { Object::from_ptr(ffi::PyWeakref_GetObject(reference.as_ptr())) };
    (!object.is_none()).then(|| object.to_obj())
}

/// Counts one call; false, with an exception set, where that is one too many.
#[cfg(any(not(Py_3_12), Py_3_14))]
#[inline]
pub(super) fn enter_call() -> bool {
    // SAFETY: attached thread; a C string that the message ends in. Anything but 0 is the error.
    unsafe { ffi::Py_EnterRecursiveCall(c" while calling a Python object".as_ptr()) == 0 }
}

/// The call is over.
#[cfg(any(not(Py_3_12), Py_3_14))]
#[inline]
pub(super) fn leave_call() {
    // SAFETY: attached thread, and one level was entered.
    unsafe { ffi::Py_LeaveRecursiveCall() }
}

#[cfg(all(Py_3_12, not(Py_3_14)))]
mod calls {
    use std::cell::Cell;

    use crate::ffi::python as ffi;

    thread_local! {
        /// How deep our own calls are. These versions let C go down ten thousand calls, which is too many for
        /// the stack of most threads. Later ones look at the stack, earlier ones have one limit for all
        /// calls.
        static DEPTH: Cell<i64> = const { Cell::new(0) };
    }

    pub(in crate::ffi) fn enter_call() -> bool {
        let depth = DEPTH.get() + 1;
        // SAFETY: attached thread; C strings, of which the first is the whole message and the second its end.
        unsafe {
            if depth > i64::from(ffi::Py_GetRecursionLimit()) {
                let message = c"maximum recursion depth exceeded while calling a Python object";
                ffi::PyErr_SetString(ffi::PyExc_RecursionError, message.as_ptr());
                return false;
            }
            if ffi::Py_EnterRecursiveCall(c" while calling a Python object".as_ptr()) != 0 {
                return false;
            }
        }
        DEPTH.set(depth);
        true
    }

    pub(in crate::ffi) fn leave_call() {
        DEPTH.set(DEPTH.get() - 1);
        // SAFETY: attached thread, and one level was entered.
        unsafe { ffi::Py_LeaveRecursiveCall() }
    }
}
#[cfg(all(Py_3_12, not(Py_3_14)))]
pub(super) use calls::{enter_call, leave_call};
