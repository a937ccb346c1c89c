//! Python objects as Rust values: [`Obj`] owns a reference, [`Object`] is one that is lent.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use super::python as ffi;

use super::error::{Raised, Res, builtin, raise};

/// A Python object, seen through a reference somebody else keeps alive.
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

    /// Is `class` its very type?
    #[inline]
    pub(crate) fn is_exactly(&self, class: &Object) -> bool {
        std::ptr::eq(self.type_ptr().cast(), class.as_ptr())
    }

    /// Python's `is`.
    #[inline]
    pub(crate) fn is(&self, other: &Object) -> bool {
        std::ptr::eq(self, other)
    }

    /// Is it `None`?
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

    /// Is it exactly a `contextvars.Context`?
    pub(crate) fn is_context(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyContext_CheckExact(self.as_ptr()) != 0 }
    }

    /// `isinstance(self, class)`, which can run any code.
    pub(crate) fn is_instance(&self, class: &Object) -> Res<bool> {
        // SAFETY: both live; -1 means an exception.
        Raised::check_bool(unsafe { ffi::PyObject_IsInstance(self.as_ptr(), class.as_ptr()) })
    }

    /// Is it a class derived from `BaseException`, or an instance of one?
    pub(crate) fn is_exception_class(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyExceptionClass_Check(self.as_ptr()) != 0 }
    }

    /// Is it an instance of `BaseException`?
    pub(crate) fn is_exception(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyExceptionInstance_Check(self.as_ptr()) != 0 }
    }

    /// The traceback of an exception. Not as an attribute, which its class may refuse to change.
    pub(crate) fn traceback(&self) -> Option<Obj> {
        debug_assert!(self.is_exception());
        // SAFETY: a live exception; new reference, or null without an exception.
        unsafe { Obj::from_new_or_null(ffi::PyException_GetTraceback(self.as_ptr())) }
    }

    /// Sets the traceback of an exception; TypeError if it is none.
    pub(crate) fn set_traceback(&self, traceback: Option<&Object>) -> Res<()> {
        debug_assert!(self.is_exception());
        let none = none();
        let traceback = traceback.unwrap_or(&none);
        // SAFETY: a live exception; the call checks the other.
        Raised::check(unsafe { ffi::PyException_SetTraceback(self.as_ptr(), traceback.as_ptr()) })
    }

    /// The value as a C double, as `float(x)` would convert it.
    #[inline]
    pub(crate) fn as_f64(&self) -> Res<f64> {
        // SAFETY: a live object; an exact float is read in place.
        let value = unsafe {
            if ffi::PyFloat_CheckExact(self.as_ptr()) != 0 {
                return Ok(ffi::PyFloat_AS_DOUBLE(self.as_ptr()));
            }
            if ffi::PyLong_CheckExact(self.as_ptr()) != 0 {
                // The same without making a float.
                ffi::PyLong_AsDouble(self.as_ptr())
            } else {
                ffi::PyFloat_AsDouble(self.as_ptr())
            }
        };
        if value == -1.0 {
            Raised::if_occurred()?
        }
        Ok(value)
    }

    /// Is it exactly a `float`?
    #[inline]
    pub(crate) fn is_exact_float(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyFloat_CheckExact(self.as_ptr()) != 0 }
    }

    /// Python's `self + other`.
    pub(crate) fn plus(&self, other: &Object) -> Res<Obj> {
        // SAFETY: both live; new reference or null.
        unsafe { Obj::from_new(ffi::PyNumber_Add(self.as_ptr(), other.as_ptr())) }
    }

    /// Python's `self * other`.
    pub(crate) fn times(&self, other: &Object) -> Res<Obj> {
        // SAFETY: both live; new reference or null.
        unsafe { Obj::from_new(ffi::PyNumber_Multiply(self.as_ptr(), other.as_ptr())) }
    }

    /// The value as a signed 64-bit integer; OverflowError or TypeError otherwise.
    pub(crate) fn as_i64(&self) -> Res<i64> {
        // SAFETY: live object.
        let value = unsafe { ffi::PyLong_AsLongLong(self.as_ptr()) };
        if value == -1 {
            Raised::if_occurred()?
        }
        Ok(value)
    }

    /// `operator.index(self)`: an int, or TypeError.
    pub(crate) fn index(&self) -> Res<Obj> {
        // SAFETY: live object; new reference or null.
        unsafe { Obj::from_new(ffi::PyNumber_Index(self.as_ptr())) }
    }

    /// TypeError for what cannot be the end of a slice.
    pub(crate) fn check_slice_end(&self) -> Res<()> {
        if self.attr_opt(&*intern(c"__index__")?)?.is_none() {
            let message = "slice indices must be integers or None or have an __index__ method";
            return raise(builtin::type_error(), message);
        }
        self.index().map(drop)
    }

    /// Is it a tuple (or a subclass of it)?
    pub(crate) fn is_tuple(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// Is it what calling an `async def` function gives?
    #[inline]
    pub(crate) fn is_exact_coroutine(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyCoro_CheckExact(self.as_ptr()) != 0 }
    }

    /// Is it a generator (and not a coroutine)?
    pub(crate) fn is_generator(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyGen_CheckExact(self.as_ptr()) != 0 }
    }

    /// Is it exactly a `str`?
    pub(crate) fn is_exact_str(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyUnicode_CheckExact(self.as_ptr()) != 0 }
    }

    /// Is it an `int` (or a subclass of it)?
    pub(crate) fn is_int(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyLong_Check(self.as_ptr()) != 0 }
    }

    /// The value of an `int`; of one that is too large or too small, the next to it that 64 bits hold.
    pub(crate) fn clamped(&self) -> i64 {
        debug_assert!(self.is_int());
        let mut beyond = 0;
        // SAFETY: a live int, for which the call cannot fail; it tells which way the value is too far.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(self.as_ptr(), &raw mut beyond) };
        match beyond {
            0 => value,
            1.. => i64::MAX,
            _ => i64::MIN,
        }
    }

    /// `str(self)` as UTF-8, for messages; lossy where the text has lone surrogates.
    pub(crate) fn display(&self) -> Res<String> {
        // SAFETY: live object; new reference or null.
        let text = unsafe { Obj::from_new(ffi::PyObject_Str(self.as_ptr()))? };
        text.utf8()
    }

    /// `repr(self)` as UTF-8.
    pub(crate) fn repr(&self) -> Res<String> {
        // SAFETY: live object; new reference or null.
        let text = unsafe { Obj::from_new(ffi::PyObject_Repr(self.as_ptr()))? };
        text.utf8()
    }

    fn utf8(&self) -> Res<String> {
        // SAFETY: a live str; the handler replaces what UTF-8 cannot hold. The bytes are copied
        // before the encoded object is released.
        unsafe {
            let encoded = Obj::from_new(ffi::PyUnicode_AsEncodedString(
                self.as_ptr(),
                c"utf-8".as_ptr(),
                c"backslashreplace".as_ptr(),
            ))?;
            let start = ffi::PyBytes_AsString(encoded.as_ptr()).cast::<u8>();
            let length = ffi::PyBytes_Size(encoded.as_ptr()) as usize;
            Ok(String::from_utf8_lossy(std::slice::from_raw_parts(start, length)).into_owned())
        }
    }

    /// `len(self)`.
    pub(crate) fn len(&self) -> Res<usize> {
        // SAFETY: live object; -1 means an exception.
        let len = unsafe { ffi::PyObject_Size(self.as_ptr()) };
        usize::try_from(len).map_err(|_| Raised)
    }

    /// `list(self)`.
    pub(crate) fn to_list(&self) -> Res<Obj> {
        // SAFETY: live object; new reference or null.
        unsafe { Obj::from_new(ffi::PySequence_List(self.as_ptr())) }
    }

    /// Item `index` of a list, or `None` past its end.
    pub(crate) fn list_item(&self, index: usize) -> Option<Obj> {
        // SAFETY: the bounds are checked; the item is borrowed from the live list.
        unsafe {
            if ffi::PyList_Check(self.as_ptr()) == 0 || index >= ffi::PyList_GET_SIZE(self.as_ptr()) as usize
            {
                return None;
            }
            let item = ffi::PyList_GET_ITEM(self.as_ptr(), index as ffi::Py_ssize_t);
            Some(Object::from_ptr(item).to_obj())
        }
    }

    /// `key in self`, of a dict.
    pub(crate) fn contains(&self, key: &Object) -> Res<bool> {
        // SAFETY: both live; -1 means an exception.
        Raised::check_bool(unsafe { ffi::PyDict_Contains(self.as_ptr(), key.as_ptr()) })
    }

    /// Is it exactly a `tuple`?
    #[inline]
    pub(crate) fn is_exact_tuple(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyTuple_CheckExact(self.as_ptr()) != 0 }
    }

    /// Item `index` of a tuple, or `None` past its end.
    pub(crate) fn tuple_item(&self, index: usize) -> Option<Obj> {
        // SAFETY: the bounds are checked; items are borrowed from the live tuple.
        unsafe {
            if ffi::PyTuple_Check(self.as_ptr()) == 0
                || index >= ffi::PyTuple_GET_SIZE(self.as_ptr()) as usize
            {
                return None;
            }
            let item = ffi::PyTuple_GET_ITEM(self.as_ptr(), index as ffi::Py_ssize_t);
            Some(Object::from_ptr(item).to_obj())
        }
    }

    /// `self[key] = value` of a dict.
    #[inline]
    pub(crate) fn dict_set(&self, key: &Object, value: &Object) -> Res<()> {
        // SAFETY: all three are live.
        Raised::check(unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// `self.pop(key, None)` of a dict.
    #[cfg(not(Py_3_14))]
    pub(crate) fn dict_remove(&self, key: &Object) -> Res<()> {
        // SAFETY: both live; a missing key raises KeyError, which means there is nothing to remove.
        match Raised::check(unsafe { ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()) }) {
            // SAFETY: the exception types are static objects.
            Err(raised) if raised.matches_ptr(unsafe { ffi::PyExc_KeyError }) => {
                raised.swallow();
                Ok(())
            }
            other => other,
        }
    }

    /// Is it exactly a `set`?
    #[inline]
    pub(crate) fn is_exact_set(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PySet_CheckExact(self.as_ptr()) != 0 }
    }

    /// `self.add(item)` of a set.
    pub(crate) fn set_add(&self, item: &Object) -> Res<()> {
        // SAFETY: both live; the call checks that this is a set.
        Raised::check(unsafe { ffi::PySet_Add(self.as_ptr(), item.as_ptr()) })
    }

    /// `self.discard(item)` of a set.
    pub(crate) fn set_discard(&self, item: &Object) -> Res<()> {
        // SAFETY: both live; the call checks that this is a set. A missing item is no error.
        Raised::check_bool(unsafe { ffi::PySet_Discard(self.as_ptr(), item.as_ptr()) }).map(drop)
    }

    /// `self.get(key)` of a dict.
    pub(crate) fn dict_get(&self, key: &Object) -> Res<Option<Obj>> {
        // SAFETY: both live; a borrowed reference, or null with or without an exception.
        unsafe {
            let found = ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr());
            if found.is_null() {
                Raised::if_occurred()?;
                return Ok(None);
            }
            Ok(Some(Object::from_ptr(found).to_obj()))
        }
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

/// A Python `float`.
#[inline]
pub(crate) fn float(value: f64) -> Res<Obj> {
    // SAFETY: new reference or null.
    unsafe { Obj::from_new(ffi::PyFloat_FromDouble(value)) }
}

/// A Python `int`.
pub(crate) fn int(value: i64) -> Res<Obj> {
    // SAFETY: new reference or null.
    unsafe { Obj::from_new(ffi::PyLong_FromLongLong(value)) }
}

/// A Python `str`.
pub(crate) fn string(text: &str) -> Res<Obj> {
    // SAFETY: pointer and length describe `text`; new reference or null.
    unsafe {
        Obj::from_new(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as ffi::Py_ssize_t))
    }
}

/// An interned `str`: attribute names and dictionary keys that are looked up often.
pub(crate) fn intern(text: &CStr) -> Res<Obj> {
    // SAFETY: a C string; new reference or null.
    unsafe { Obj::from_new(ffi::PyUnicode_InternFromString(text.as_ptr())) }
}

/// `os.fsdecode(name)`.
pub(crate) fn fs_decoded(name: &[u8]) -> Res<Obj> {
    // SAFETY: pointer and length describe `name`; new reference or null.
    unsafe {
        let length = name.len() as ffi::Py_ssize_t;
        Obj::from_new(ffi::PyUnicode_DecodeFSDefaultAndSize(name.as_ptr().cast(), length))
    }
}

/// A tuple of these items.
pub(crate) fn tuple<'a>(items: impl ExactSizeIterator<Item = &'a Object>) -> Res<Obj> {
    // SAFETY: a fresh tuple is filled slot by slot, each slot taking over a reference of its own.
    unsafe {
        let made = Obj::from_new(ffi::PyTuple_New(items.len() as ffi::Py_ssize_t))?;
        for (index, item) in items.enumerate() {
            let index = index as ffi::Py_ssize_t;
            ffi::PyTuple_SET_ITEM(made.as_ptr(), index, item.to_obj().into_raw());
        }
        Ok(made)
    }
}

/// A list of these items.
pub(crate) fn list(items: impl ExactSizeIterator<Item = Obj>) -> Res<Obj> {
    // SAFETY: a fresh list is filled slot by slot, each slot taking over a reference.
    unsafe {
        let made = Obj::from_new(ffi::PyList_New(items.len() as ffi::Py_ssize_t))?;
        for (index, item) in items.enumerate() {
            ffi::PyList_SET_ITEM(made.as_ptr(), index as ffi::Py_ssize_t, item.into_raw());
        }
        Ok(made)
    }
}

/// A new `dict` with these entries.
pub(super) fn dict<'a>(entries: impl Iterator<Item = (&'a Object, &'a Object)>) -> Res<Obj> {
    // SAFETY: new reference or null.
    let made = unsafe { Obj::from_new(ffi::PyDict_New())? };
    for (key, value) in entries {
        made.dict_set(key, value)?;
    }
    Ok(made)
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
