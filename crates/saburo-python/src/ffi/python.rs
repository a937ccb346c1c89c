//! The calls of the C API that run Python, in a form that survives the end of the interpreter.
//!
//! Up to 3.13 an interpreter that goes down ends every other thread as it next comes to take the lock, by
//! `pthread_exit`. That unwinds the stack, also through the frames of ours that called Python; Rust allows no
//! unwinding but its own, and aborts the whole process. So a daemon thread that is inside a callback stops
//! right here instead, as 3.14 has every such thread do. pyo3-ffi does the same for `PyEval_RestoreThread`.
//!
//! The rule: no other file of this crate calls these five by pyo3-ffi's names, which say that they never unwind.

use std::mem::forget;

use pyo3_ffi::{PyObject, PySendResult};

/// Stops the thread for good when it is unwound. It has lost the interpreter by then, and must not drop
/// a single object.
struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

macro_rules! calls {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        mod raw {
            use super::{PyObject, PySendResult};

            unsafe extern "C-unwind" {
                $(pub(super) fn $name($($arg: $type),*) -> $answer;)*
            }
        }

        $(
            /// # Safety
            /// As CPython says of the function of this name.
            #[allow(non_snake_case)] // CPython's own names.
            #[inline]
            pub(super) unsafe fn $name($($arg: $type),*) -> $answer {
                // The innermost guard, so that nothing else is dropped before it.
                let stop = Stop;
                // SAFETY: the caller's promise.
                let answer = unsafe { raw::$name($($arg),*) };
                forget(stop);
                answer
            }
        )*
    };
}

calls! {
    fn PyIter_Send(iter: *mut PyObject, sent: *mut PyObject, result: *mut *mut PyObject) -> PySendResult;
    fn PyObject_Call(callable: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject;
    fn PyObject_CallNoArgs(callable: *mut PyObject) -> *mut PyObject;
    fn PyObject_Vectorcall(
        callable: *mut PyObject, args: *const *mut PyObject, count: usize, names: *mut PyObject
    ) -> *mut PyObject;
    fn PyObject_VectorcallMethod(
        name: *mut PyObject, args: *const *mut PyObject, count: usize, names: *mut PyObject
    ) -> *mut PyObject;
}
