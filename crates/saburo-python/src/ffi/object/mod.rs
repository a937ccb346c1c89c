//! Python objects as Rust values: [`Obj`] owns a reference, [`Object`] is one that is lent.

mod containers;
mod exceptions;
mod numbers;
mod text;

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use super::python as ffi;

use super::error::{Raised, Res};

pub(super) use containers::dict;
pub(crate) use containers::{list, tuple};
pub(crate) use numbers::{float, int};
pub(crate) use text::{fs_decoded, intern, string};

/// A Python object, seen through a reference kept alive elsewhere.
///
/// Only ever used behind a reference, never by value; `&Object` has the layout of `*mut PyObject`.
#[repr(transparent)]
pub(crate) struct Object {
    // Reached from other code at any time, so nothing may be assumed about the bytes.
    head: std::cell::UnsafeCell<ffi::PyObject>,
    // Lives on attached threads only.
    _attached: PhantomData<*mut ()>,
}

/// One owned reference to a Python object. Dropping it may run any code.
#[repr(transparent)]
pub(crate) struct Obj(NonNull<Object>);

impl Obj {
    /// Takes over a new reference, or reports the exception that a null stands for.
    ///
    /// # Safety
    /// `ptr` is a new reference, or null with an exception set.
    #[inline]
    pub(super) unsafe fn from_new(ptr: *mut ffi::PyObject) -> Res<Obj> {
        match NonNull::new(ptr.cast::<Object>()) {
            Some(object) => Ok(Obj(object)),
            None => Err(Raised),
        }
    }

    /// Takes over a new reference that may be null without an exception.
    ///
    /// # Safety
    /// `ptr` is a new reference or null.
    #[inline]
    pub(super) unsafe fn from_new_or_null(ptr: *mut ffi::PyObject) -> Option<Obj> {
        NonNull::new(ptr.cast::<Object>()).map(Obj)
    }

    /// Gives the reference away; the receiver must release it.
    #[inline]
    pub(super) fn into_raw(self) -> *mut ffi::PyObject {
        ManuallyDrop::new(self).0.as_ptr().cast()
    }
}

impl Deref for Obj {
    type Target = Object;

    #[inline]
    fn deref(&self) -> &Object {
        // SAFETY: we own a reference, so the object outlives this borrow of ourselves.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Obj {
    #[inline]
    fn clone(&self) -> Obj {
        self.to_obj()
    }
}

impl Drop for Obj {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and an `Obj` lives on an attached thread.
        unsafe { ffi::Py_DECREF(self.0.as_ptr().cast()) }
    }
}

impl Object {
    /// # Safety
    /// `ptr` is a live object for the lifetime the caller chooses.
    #[inline]
    pub(super) unsafe fn from_ptr<'a>(ptr: *mut ffi::PyObject) -> &'a Object {
        // SAFETY: the caller's promise; the layout is PyObject's.
        unsafe { &*ptr.cast::<Object>() }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.head.get()
    }

    /// Asks the processor to have the object's first `bytes` at hand soon.
    #[inline]
    pub(crate) fn prefetch(&self, bytes: usize) {
        #[cfg(target_arch = "x86_64")]
        for line in (0..bytes).step_by(64) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint, whatever the address; and this one is within a live object.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.as_ptr().cast::<i8>().wrapping_add(line)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = bytes;
    }

    /// A reference of our own.
    #[inline]
    pub(crate) fn to_obj(&self) -> Obj {
        // SAFETY: the object is alive while lent to us, and the thread is attached.
        unsafe {
            ffi::Py_INCREF(self.as_ptr());
            Obj(NonNull::new_unchecked(self.as_ptr().cast()))
        }
    }

    /// True if `class` is the object's very type.
    #[inline]
    pub(crate) fn is_exactly(&self, class: &Object) -> bool {
        std::ptr::eq(self.type_ptr().cast(), class.as_ptr())
    }

    /// Python's `is`.
    #[inline]
    pub(crate) fn is(&self, other: &Object) -> bool {
        std::ptr::eq(self, other)
    }

    /// True if the object is `None`.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        // SAFETY: Py_None is a static object.
        std::ptr::eq(self.as_ptr(), unsafe { ffi::Py_None() })
    }

    #[inline]
    pub(super) fn type_ptr(&self) -> *mut ffi::PyTypeObject {
        // SAFETY: a live object has a type.
        unsafe { ffi::Py_TYPE(self.as_ptr()) }
    }

    /// `type(self)`.
    pub(crate) fn type_of(&self) -> Obj {
        // SAFETY: a live object has a live type.
        unsafe { Object::from_ptr(self.type_ptr().cast()) }.to_obj()
    }

    /// `getattr(self, name)`.
    #[inline]
    pub(crate) fn attr(&self, name: &Object) -> Res<Obj> {
        // SAFETY: both are live; new reference or null with an exception.
        unsafe { Obj::from_new(ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) }
    }

    /// `getattr(self, name, None)` that tells absence from an attribute that is `None`.
    pub(crate) fn attr_opt(&self, name: &Object) -> Res<Option<Obj>> {
        match self.attr(name) {
            Ok(value) => Ok(Some(value)),
            // SAFETY: the exception types are static objects.
            Err(raised) if raised.matches_ptr(unsafe { ffi::PyExc_AttributeError }) => {
                raised.swallow();
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }

    /// `setattr(self, name, value)`.
    pub(crate) fn set_attr(&self, name: &Object, value: &Object) -> Res<()> {
        // SAFETY: all three are live.
        Raised::check(unsafe { ffi::PyObject_SetAttr(self.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// Python's truth of the object.
    pub(crate) fn truth(&self) -> Res<bool> {
        // SAFETY: live object; -1 means an exception.
        Raised::check_bool(unsafe { ffi::PyObject_IsTrue(self.as_ptr()) })
    }

    /// Python's `==`, which can run any code.
    pub(crate) fn equals(&self, other: &Object) -> Res<bool> {
        // SAFETY: both live; -1 means an exception.
        Raised::check_bool(unsafe {
            ffi::PyObject_RichCompareBool(self.as_ptr(), other.as_ptr(), ffi::Py_EQ)
        })
    }

    /// Python's `self <= other`, which can run any code.
    pub(crate) fn is_at_most(&self, other: &Object) -> Res<bool> {
        // SAFETY: as above.
        Raised::check_bool(unsafe {
            ffi::PyObject_RichCompareBool(self.as_ptr(), other.as_ptr(), ffi::Py_LE)
        })
    }

    /// Python's `self < other`, which can run any code.
    pub(crate) fn is_less_than(&self, other: &Object) -> Res<bool> {
        // SAFETY: as above.
        Raised::check_bool(unsafe {
            ffi::PyObject_RichCompareBool(self.as_ptr(), other.as_ptr(), ffi::Py_LT)
        })
    }

    /// Python's `self > other`, which can run any code.
    pub(crate) fn is_more_than(&self, other: &Object) -> Res<bool> {
        // SAFETY: as above.
        Raised::check_bool(unsafe {
            ffi::PyObject_RichCompareBool(self.as_ptr(), other.as_ptr(), ffi::Py_GT)
        })
    }

    /// How many references there are.
    pub(crate) fn references(&self) -> isize {
        // SAFETY: reads the count of a live object.
        unsafe { ffi::Py_REFCNT(self.as_ptr()) }
    }

    /// `hash(self)`.
    pub(crate) fn hash(&self) -> Res<isize> {
        // SAFETY: live object; -1 means an exception.
        match unsafe { ffi::PyObject_Hash(self.as_ptr()) } {
            -1 => Err(Raised),
            hash => Ok(hash),
        }
    }

    /// `callable(self)`.
    #[inline]
    pub(crate) fn is_callable(&self) -> bool {
        // SAFETY: live object, whose class lives with it. What `PyCallable_Check` does, without a call.
        unsafe { (*self.type_ptr()).tp_call.is_some() }
    }

    /// True if the object is exactly a `contextvars.Context`.
    pub(crate) fn is_context(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyContext_CheckExact(self.as_ptr()) != 0 }
    }

    /// `isinstance(self, class)`, which can run any code.
    pub(crate) fn is_instance(&self, class: &Object) -> Res<bool> {
        // SAFETY: both live; -1 means an exception.
        Raised::check_bool(unsafe { ffi::PyObject_IsInstance(self.as_ptr(), class.as_ptr()) })
    }

    /// Is it what calling an `async def` function gives?
    #[inline]
    pub(crate) fn is_exact_coroutine(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyCoro_CheckExact(self.as_ptr()) != 0 }
    }

    /// True if the object is a generator (and not a coroutine).
    pub(crate) fn is_generator(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyGen_CheckExact(self.as_ptr()) != 0 }
    }
}

/// `None`.
#[inline]
pub(crate) fn none() -> Obj {
    // SAFETY: a static object.
    unsafe { Object::from_ptr(ffi::Py_None()) }.to_obj()
}

/// A Python `bool`.
#[inline]
pub(crate) fn boolean(value: bool) -> Obj {
    // SAFETY: static objects.
    unsafe { Object::from_ptr(if value { ffi::Py_True() } else { ffi::Py_False() }) }.to_obj()
}

/// Imports `module` and reads `attribute` of it, or the module itself where that is empty.
pub(crate) fn import(module: &CStr, attribute: &CStr) -> Res<Obj> {
    // SAFETY: C strings; new references or null.
    unsafe {
        let module = Obj::from_new(ffi::PyImport_ImportModule(module.as_ptr()))?;
        if attribute.is_empty() {
            return Ok(module);
        }
        Obj::from_new(ffi::PyObject_GetAttrString(module.as_ptr(), attribute.as_ptr()))
    }
}
