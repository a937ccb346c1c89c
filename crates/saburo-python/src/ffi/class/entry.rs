//! How Python comes in: what the C functions of all methods and slots have in common.

use std::ptr;

use crate::ffi::python as ffi;

use crate::ffi::error::{Res, guarded};
use crate::ffi::object::{Obj, boolean, none};

use super::{Class, Instance};

/// Every call of a method, a property or a slot of an instance begins here. This is the one place where a
/// build without the interpreter lock will check that the calling thread owns the instance, and refuse other
/// threads. Today it checks nothing and costs nothing.
///
/// The collector, and what frees an instance, do not come through here (see `life`): they run on any thread.
///
/// # Safety
/// `op` is a live instance of `T` or of a class derived from it.
#[inline(always)]
pub(super) unsafe fn enter<T: Class, R>(
    op: *mut ffi::PyObject,
    failed: R,
    body: impl FnOnce(&Instance<T>) -> Res<R>,
) -> R {
    // SAFETY: the caller's promise.
    guarded(failed, || body(unsafe { this(op) }))
}

/// The same for what answers with an object, or with null and an exception.
///
/// # Safety
/// As above.
#[inline(always)]
pub(super) unsafe fn enter_for_object<T: Class>(
    op: *mut ffi::PyObject,
    body: impl FnOnce(&Instance<T>) -> Res<Obj>,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise.
    unsafe { enter(op, ptr::null_mut(), |this| body(this).map(Obj::into_raw)) }
}

/// A slot that takes nothing but the instance.
pub(super) unsafe extern "C" fn unary<T: Class, F>(op: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: Fn(&Instance<T>) -> Res<Obj> + Copy + 'static,
{
    let function = zero_sized::<F>();
    // SAFETY: a slot is called with an instance of its class.
    unsafe { enter_for_object(op, |this: &Instance<T>| function(this)) }
}

/// The same for what is called without an instance: functions of the module, and `__new__`.
#[inline]
pub(in crate::ffi) fn answer(body: impl FnOnce() -> Res<Obj>) -> *mut ffi::PyObject {
    guarded(ptr::null_mut(), || body().map(Obj::into_raw))
}

/// What a method may return.
pub(crate) trait Answer {
    fn answer(self) -> Res<Obj>;
}

impl Answer for Obj {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(self)
    }
}

impl Answer for bool {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(boolean(self))
    }
}

impl Answer for () {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(none())
    }
}

impl Answer for Option<Obj> {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(self.unwrap_or_else(none))
    }
}

impl<A: Answer> Answer for Res<A> {
    #[inline]
    fn answer(self) -> Res<Obj> {
        self.and_then(Answer::answer)
    }
}

/// The function that a zero-sized `F` stands for.
#[inline]
pub(in crate::ffi) fn zero_sized<F: Copy + 'static>() -> F {
    const { assert!(size_of::<F>() == 0, "a method is a plain function, without captures") };
    // SAFETY: F has no bytes, and a value of it was given to the builder, so F has a value.
    unsafe { std::mem::zeroed() }
}

/// # Safety
/// `op` is a live instance of `T` or of a class derived from it.
#[inline]
pub(super) unsafe fn this<'a, T: Class>(op: *mut ffi::PyObject) -> &'a Instance<T> {
    // SAFETY: the caller's promise.
    unsafe { &*op.cast::<Instance<T>>() }
}
