//! Exceptions as objects.

use crate::ffi::python as ffi;

use crate::ffi::error::{Raised, Res};

use super::{Obj, Object, none};

impl Object {
    /// Is it a class derived from `BaseException`, or an instance of one?
    pub(crate) fn is_exception_class(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyExceptionClass_Check(self.as_ptr()) != 0 }
    }

    /// True if the object is an instance of `BaseException`.
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
}
