//! The one door to CPython's C API: every call that can run Python, in a form that survives the interpreter's
//! end.
//!
//! Up to 3.13 an interpreter that is finalized ends every other thread that comes to take the lock, by
//! `pthread_exit`. That unwinds the stack, through the frames of ours as well that called Python. Rust allows
//! no unwinding but its own: the process aborts. So a daemon thread that was inside Python stops for good in
//! the frame that called it, before anything of ours is unwound; 3.14 has every such thread do so by itself.
//!
//! The rule: no other file of this crate names `pyo3_ffi` (`make lint` looks), whose declarations say that
//! nothing unwinds. A function is either in the list of calls, or among what is imported here because it
//! never runs Python and never takes the lock. Almost everything can: an attribute, a comparison, a
//! conversion, every decref by way of a finalizer, and up to 3.11 whatever makes an object that the collector
//! knows, since that may collect. When in doubt it is a call: one costs no instruction more, only a place in
//! the table of the unwinder.

// What only reads, or writes a field; and what is handed to the interpreter, which calls it:
// `Py_GenericAlias` and the two of `__dict__`. `PyEval_SaveThread` gives the lock away and does not wait for
// it.
//
// Nothing here may call one of the calls below, not even inline: the compiler would learn that it never
// unwinds.
#[cfg(all(Py_3_12, not(Py_3_14)))]
pub(super) use pyo3_ffi::Py_GetRecursionLimit;
#[cfg(Py_3_14)]
pub(super) use pyo3_ffi::PyBaseObject_Type;
#[cfg(not(Py_3_14))]
pub(super) use pyo3_ffi::PyExc_KeyError;
#[cfg(not(Py_3_13))]
pub(super) use pyo3_ffi::PyWeakref_GetObject;
pub(super) use pyo3_ffi::{
    METH_CLASS, METH_COEXIST, METH_FASTCALL, METH_KEYWORDS, METH_NOARGS, METH_O, METH_STATIC,
    PY_VECTORCALL_ARGUMENTS_OFFSET, Py_AtExit, Py_EQ, Py_False, Py_GT, Py_GenericAlias, Py_INCREF, Py_LE,
    Py_LT, Py_LeaveRecursiveCall, Py_None, Py_NotImplemented, Py_READONLY, Py_REFCNT, Py_SIZE, Py_T_PYSSIZET,
    Py_TPFLAGS_BASETYPE, Py_TPFLAGS_DEFAULT, Py_TPFLAGS_DISALLOW_INSTANTIATION, Py_TPFLAGS_HAVE_GC,
    Py_TPFLAGS_IMMUTABLETYPE, Py_TYPE, Py_True, Py_am_aiter, Py_am_anext, Py_am_await, Py_am_send,
    Py_bf_getbuffer, Py_bf_releasebuffer, Py_buffer, Py_hash_t, Py_mod_exec, Py_ssize_t, Py_tp_call,
    Py_tp_clear, Py_tp_dealloc, Py_tp_doc, Py_tp_finalize, Py_tp_getset, Py_tp_hash, Py_tp_init, Py_tp_iter,
    Py_tp_iternext, Py_tp_members, Py_tp_methods, Py_tp_new, Py_tp_repr, Py_tp_richcompare, Py_tp_traverse,
    PyBUF_SIMPLE, PyBUF_WRITABLE, PyByteArray_AsString, PyByteArray_Check, PyBytes_AsString, PyBytes_Check,
    PyBytes_CheckExact, PyBytes_Size, PyContext_CheckExact, PyCoro_CheckExact, PyDict_CheckExact,
    PyErr_Occurred, PyEval_SaveThread, PyExc_AssertionError, PyExc_AttributeError, PyExc_BlockingIOError,
    PyExc_BrokenPipeError, PyExc_ConnectionAbortedError, PyExc_ConnectionError, PyExc_ConnectionResetError,
    PyExc_DeprecationWarning, PyExc_Exception, PyExc_GeneratorExit, PyExc_ImportError,
    PyExc_InterruptedError, PyExc_KeyboardInterrupt, PyExc_MemoryError, PyExc_NotImplementedError,
    PyExc_OSError, PyExc_OverflowError, PyExc_RecursionError, PyExc_ResourceWarning, PyExc_RuntimeError,
    PyExc_StopAsyncIteration, PyExc_StopIteration, PyExc_SystemExit, PyExc_TimeoutError, PyExc_TypeError,
    PyExc_ValueError, PyException_GetTraceback, PyExceptionClass_Check, PyExceptionInstance_Check,
    PyFloat_AS_DOUBLE, PyFloat_CheckExact, PyGen_CheckExact, PyGetSetDef, PyInterpreterState_Get,
    PyInterpreterState_Main, PyList_Check, PyList_GET_ITEM, PyList_GET_SIZE, PyList_SET_ITEM, PyLong_Check,
    PyLong_CheckExact, PyMemberDef, PyMemoryView_Check, PyMethodDef, PyMethodDefPointer, PyModuleDef,
    PyModuleDef_HEAD_INIT, PyModuleDef_Init, PyModuleDef_Slot, PyObject, PyObject_CheckBuffer,
    PyObject_GC_Del, PyObject_GC_IsTracked, PyObject_GC_Track, PyObject_GC_UnTrack, PyObject_GenericGetDict,
    PyObject_GenericSetDict, PyObject_Init, PySendResult, PySet_CheckExact, PyThread_get_thread_ident,
    PyThreadState, PyThreadState_Get, PyTuple_Check, PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE,
    PyTuple_SET_ITEM, PyType_Check, PyType_IsSubtype, PyType_Slot, PyType_Spec, PyTypeObject,
    PyUnicode_CheckExact, visitproc,
};
#[cfg(Py_3_12)]
pub(super) use pyo3_ffi::{Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED, Py_mod_multiple_interpreters};

use std::ffi::{c_char, c_double, c_int, c_longlong, c_void};
use std::mem::forget;

/// Stops the thread for good when it is unwound. It has lost the interpreter by then, and must not drop
/// a single object.
struct Stop;

impl Drop for Stop {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

macro_rules! calls {
    ($($(#[$when:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        mod raw {
            #[allow(clippy::wildcard_imports)] // The types of whatever is declared.
            use super::*;

            unsafe extern "C-unwind" {
                $($(#[$when])* pub(super) fn $name($($arg: $type),*) -> $answer;)*
            }
        }

        $(
            /// # Safety
            /// As CPython says of the function of this name.
            #[allow(non_snake_case)] // CPython's own names.
            #[inline]
            $(#[$when])*
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
    // Calling.
    fn PyIter_Send(iter: *mut PyObject, sent: *mut PyObject, result: *mut *mut PyObject) -> PySendResult;
    fn PyObject_Call(callable: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject;
    fn PyObject_CallNoArgs(callable: *mut PyObject) -> *mut PyObject;
    fn PyObject_Vectorcall(
        callable: *mut PyObject, args: *const *mut PyObject, count: usize, names: *mut PyObject
    ) -> *mut PyObject;
    fn PyObject_VectorcallMethod(
        name: *mut PyObject, args: *const *mut PyObject, count: usize, names: *mut PyObject
    ) -> *mut PyObject;
    fn Py_EnterRecursiveCall(place: *const c_char) -> c_int;
    fn PyRun_FileExFlags(
        file: *mut c_void, name: *const c_char, start: c_int, globals: *mut PyObject, locals: *mut PyObject,
        close: c_int, flags: *mut c_void
    ) -> *mut PyObject;

    // What any object can be asked.
    fn PyObject_GetAttr(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject;
    fn PyObject_GetAttrString(object: *mut PyObject, name: *const c_char) -> *mut PyObject;
    fn PyObject_Hash(object: *mut PyObject) -> Py_hash_t;
    fn PyObject_IsInstance(object: *mut PyObject, class: *mut PyObject) -> c_int;
    fn PyObject_IsTrue(object: *mut PyObject) -> c_int;
    fn PyObject_Repr(object: *mut PyObject) -> *mut PyObject;
    fn PyObject_RichCompareBool(left: *mut PyObject, right: *mut PyObject, operator: c_int) -> c_int;
    fn PyObject_SetAttr(object: *mut PyObject, name: *mut PyObject, value: *mut PyObject) -> c_int;
    fn PyObject_Size(object: *mut PyObject) -> Py_ssize_t;
    fn PyObject_Str(object: *mut PyObject) -> *mut PyObject;
    fn PySequence_List(object: *mut PyObject) -> *mut PyObject;

    // Numbers.
    fn PyFloat_AsDouble(object: *mut PyObject) -> c_double;
    fn PyFloat_FromDouble(value: c_double) -> *mut PyObject;
    fn PyLong_AsDouble(object: *mut PyObject) -> c_double;
    fn PyLong_AsLongLong(object: *mut PyObject) -> c_longlong;
    fn PyLong_AsLongLongAndOverflow(object: *mut PyObject, overflow: *mut c_int) -> c_longlong;
    fn PyLong_FromLongLong(value: c_longlong) -> *mut PyObject;
    fn PyNumber_Add(left: *mut PyObject, right: *mut PyObject) -> *mut PyObject;
    fn PyNumber_Multiply(left: *mut PyObject, right: *mut PyObject) -> *mut PyObject;
    fn PyNumber_Index(object: *mut PyObject) -> *mut PyObject;

    // Text and bytes.
    fn PyByteArray_FromStringAndSize(data: *const c_char, size: Py_ssize_t) -> *mut PyObject;
    fn PyByteArray_Resize(bytearray: *mut PyObject, size: Py_ssize_t) -> c_int;
    fn PyBytes_FromStringAndSize(data: *const c_char, size: Py_ssize_t) -> *mut PyObject;
    fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
    fn PyUnicode_AsEncodedString(
        text: *mut PyObject, encoding: *const c_char, errors: *const c_char
    ) -> *mut PyObject;
    fn PyUnicode_AsUTF8AndSize(text: *mut PyObject, size: *mut Py_ssize_t) -> *const c_char;
    fn PyUnicode_DecodeFSDefaultAndSize(data: *const c_char, size: Py_ssize_t) -> *mut PyObject;
    fn PyUnicode_FromStringAndSize(data: *const c_char, size: Py_ssize_t) -> *mut PyObject;
    fn PyUnicode_InternFromString(data: *const c_char) -> *mut PyObject;

    // Buffers: from 3.12 on, a class of Python's can lend one.
    fn PyBuffer_FillInfo(
        view: *mut Py_buffer, owner: *mut PyObject, start: *mut c_void, size: Py_ssize_t, readonly: c_int,
        flags: c_int
    ) -> c_int;
    fn PyBuffer_Release(view: *mut Py_buffer) -> ();
    fn PyObject_GetBuffer(object: *mut PyObject, view: *mut Py_buffer, flags: c_int) -> c_int;

    // Containers: they hash and compare what they are given, and let go of what they lose.
    fn PyDict_Contains(dict: *mut PyObject, key: *mut PyObject) -> c_int;
    #[cfg(not(Py_3_14))]
    fn PyDict_DelItem(dict: *mut PyObject, key: *mut PyObject) -> c_int;
    fn PyDict_DelItemString(dict: *mut PyObject, key: *const c_char) -> c_int;
    fn PyDict_GetItemWithError(dict: *mut PyObject, key: *mut PyObject) -> *mut PyObject;
    fn PyDict_Keys(dict: *mut PyObject) -> *mut PyObject;
    fn PyDict_New() -> *mut PyObject;
    fn PyDict_SetItem(dict: *mut PyObject, key: *mut PyObject, value: *mut PyObject) -> c_int;
    fn PyDict_Values(dict: *mut PyObject) -> *mut PyObject;
    fn PyList_AsTuple(list: *mut PyObject) -> *mut PyObject;
    fn PyList_New(size: Py_ssize_t) -> *mut PyObject;
    fn PySet_Add(set: *mut PyObject, item: *mut PyObject) -> c_int;
    fn PySet_Discard(set: *mut PyObject, item: *mut PyObject) -> c_int;
    fn PyTuple_New(size: Py_ssize_t) -> *mut PyObject;

    // Contexts: leaving one may let go of it, and of the variables in it.
    fn PyContext_Copy(context: *mut PyObject) -> *mut PyObject;
    fn PyContext_CopyCurrent() -> *mut PyObject;
    fn PyContext_Enter(context: *mut PyObject) -> c_int;
    fn PyContext_Exit(context: *mut PyObject) -> c_int;
    fn PyContextVar_New(name: *const c_char, default: *mut PyObject) -> *mut PyObject;
    fn PyContextVar_Set(variable: *mut PyObject, value: *mut PyObject) -> *mut PyObject;

    // Exceptions: they are objects, made and let go of like others.
    fn PyErr_CheckSignals() -> c_int;
    fn PyErr_Clear() -> ();
    fn PyErr_ExceptionMatches(class: *mut PyObject) -> c_int;
    #[cfg(not(Py_3_12))]
    fn PyErr_Fetch(class: *mut *mut PyObject, value: *mut *mut PyObject, traceback: *mut *mut PyObject) -> ();
    fn PyErr_NoMemory() -> *mut PyObject;
    #[cfg(Py_3_12)]
    fn PyErr_GetRaisedException() -> *mut PyObject;
    fn PyErr_NewExceptionWithDoc(
        name: *const c_char, doc: *const c_char, base: *mut PyObject, dict: *mut PyObject
    ) -> *mut PyObject;
    #[cfg(not(Py_3_12))]
    fn PyErr_NormalizeException(
        class: *mut *mut PyObject, value: *mut *mut PyObject, traceback: *mut *mut PyObject
    ) -> ();
    #[cfg(not(Py_3_12))]
    fn PyErr_Restore(class: *mut PyObject, value: *mut PyObject, traceback: *mut PyObject) -> ();
    fn PyErr_SetObject(class: *mut PyObject, value: *mut PyObject) -> ();
    #[cfg(Py_3_12)]
    fn PyErr_SetRaisedException(exception: *mut PyObject) -> ();
    #[cfg(all(Py_3_12, not(Py_3_14)))]
    fn PyErr_SetString(class: *mut PyObject, message: *const c_char) -> ();
    fn PyErr_WarnEx(category: *mut PyObject, message: *const c_char, level: Py_ssize_t) -> c_int;
    fn PyErr_WriteUnraisable(place: *mut PyObject) -> ();
    fn PyException_SetTraceback(exception: *mut PyObject, traceback: *mut PyObject) -> c_int;

    // Making and letting go.
    fn _PyObject_GC_New(class: *mut PyTypeObject) -> *mut PyObject;
    fn _PyObject_New(class: *mut PyTypeObject) -> *mut PyObject;
    fn PyObject_CallFinalizerFromDealloc(object: *mut PyObject) -> c_int;
    fn PyObject_ClearWeakRefs(object: *mut PyObject) -> ();
    fn PyType_GenericAlloc(class: *mut PyTypeObject, items: Py_ssize_t) -> *mut PyObject;
    fn PyWeakref_NewRef(object: *mut PyObject, callback: *mut PyObject) -> *mut PyObject;
    #[cfg(Py_3_13)]
    fn PyWeakref_GetRef(reference: *mut PyObject, object: *mut *mut PyObject) -> c_int;
    #[cfg(not(any(Py_GIL_DISABLED, py_sys_config = "Py_REF_DEBUG", target_pointer_width = "32")))]
    fn _Py_Dealloc(object: *mut PyObject) -> ();
    #[cfg(any(Py_GIL_DISABLED, py_sys_config = "Py_REF_DEBUG", target_pointer_width = "32"))]
    fn _Py_DecRef(object: *mut PyObject) -> ();

    // Modules and classes.
    fn PyDescr_NewMethod(class: *mut PyTypeObject, method: *mut PyMethodDef) -> *mut PyObject;
    fn PyImport_ImportModule(name: *const c_char) -> *mut PyObject;
    fn PyModule_AddFunctions(module: *mut PyObject, functions: *mut PyMethodDef) -> c_int;
    fn PyModule_AddObjectRef(module: *mut PyObject, name: *const c_char, value: *mut PyObject) -> c_int;
    fn PyType_FromModuleAndSpec(
        module: *mut PyObject, spec: *mut PyType_Spec, bases: *mut PyObject
    ) -> *mut PyObject;
    fn PyType_FromSpec(spec: *mut PyType_Spec) -> *mut PyObject;
    fn PyType_Modified(class: *mut PyTypeObject) -> ();

    // The lock.
    fn PyEval_RestoreThread(state: *mut PyThreadState) -> ();
}

unsafe extern "C-unwind" {
    /// Of any number of arguments, so not in the list of calls: asked by `is_audited` only, in a way that
    /// runs no hook.
    pub(super) fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

// The C library's, which know nothing of Python: streams that `PyRun_FileExFlags` takes.
unsafe extern "C" {
    /// One that reads a descriptor, and owns it; null if there is no memory.
    pub(super) fn fdopen(fd: c_int, mode: *const c_char) -> *mut c_void;

    /// That of descriptor 0.
    #[cfg_attr(target_os = "macos", link_name = "__stdinp")]
    pub(super) static stdin: *mut c_void;
}

/// Lets go of a reference. Written here, because that of pyo3-ffi frees an object by a call that never
/// unwinds.
///
/// # Safety
/// The object is alive, and the reference ours.
#[allow(non_snake_case)] // CPython's own name.
#[inline(always)]
pub(super) unsafe fn Py_DECREF(object: *mut PyObject) {
    // SAFETY: the caller's promise. An object that lives for ever has a negative count, seen as 32 bits.
    unsafe {
        #[cfg(any(Py_GIL_DISABLED, py_sys_config = "Py_REF_DEBUG", target_pointer_width = "32"))]
        _Py_DecRef(object);

        #[cfg(not(any(Py_GIL_DISABLED, py_sys_config = "Py_REF_DEBUG", target_pointer_width = "32")))]
        {
            #[cfg(Py_3_12)]
            let count = {
                let count = &raw mut (*object).ob_refcnt.ob_refcnt;
                if (*count as i32) < 0 {
                    return;
                }
                count
            };
            #[cfg(not(Py_3_12))]
            let count = &raw mut (*object).ob_refcnt;
            *count -= 1;
            if *count == 0 {
                free(object);
            }
        }
    }
}

/// Frees an object. A call of its own, because the guard at each place that lets go of a reference is large enough to
/// keep its caller from being inlined: 12 of a callback's 1,800 instructions on 2026-12-01. Not `extern "C"`, whatever
/// it saves: a thread that is ended inside would abort the process.
///
/// # Safety
/// The last reference to the object is gone.
#[cfg(not(any(Py_GIL_DISABLED, py_sys_config = "Py_REF_DEBUG", target_pointer_width = "32")))]
#[inline(never)]
unsafe fn free(object: *mut PyObject) {
    // SAFETY: the caller's promise.
    unsafe { _Py_Dealloc(object) }
}
