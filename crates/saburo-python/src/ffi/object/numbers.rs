//! Numbers.

use crate::ffi::python as ffi;

use crate::ffi::error::{Raised, Res, builtin, raise};

use super::{Obj, Object, intern};

impl Object {
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

    /// True if the object is exactly a `float`.
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

    /// True if the object is an `int` (or a subclass of it).
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
