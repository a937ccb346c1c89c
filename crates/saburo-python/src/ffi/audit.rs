//! Audit hooks (PEP 578). They are given the `socket` that something is done with, so where there is a hook,
//! what this crate does without one is left to Python's `socket`, which tells them.

use std::ffi::c_void;
use std::ptr;

use super::error::{Raised, builtin, raise};
use super::python as ffi;

/// Has anybody set an audit hook? That costs a call where there is none.
#[inline]
pub(crate) fn is_audited() -> bool {
    /// The interpreter asks for the arguments of an event only if there is a hook to tell it. Refused them,
    /// it tells no hook.
    unsafe extern "C" fn refuse(asked: *mut c_void) -> *mut ffi::PyObject {
        // SAFETY: the place that `is_audited` has handed over, which waits for the call to return.
        unsafe { *asked.cast::<bool>() = true };
        let _: Result<(), Raised> = raise(builtin::runtime_error(), "no event");
        ptr::null_mut()
    }
    let mut asked = false;
    // SAFETY: C strings; "O&" takes a function that makes an object, and what that function is given.
    let told = unsafe {
        ffi::PySys_Audit(
            c"saburo".as_ptr(),
            c"O&".as_ptr(),
            refuse as unsafe extern "C" fn(*mut c_void) -> *mut ffi::PyObject,
            (&raw mut asked).cast::<c_void>(),
        )
    };
    if told < 0 {
        Raised.swallow();
    }
    asked
}
