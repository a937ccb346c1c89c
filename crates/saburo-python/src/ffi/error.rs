//! Exceptions: [`Raised`] says that one is set in the interpreter, the way its C API tells it.

use std::any::Any;
use std::collections::TryReserveError;
use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::python as ffi;

use super::compat;
use super::interpreter::Global;
use super::object::{Obj, Object, string};

/// A Python exception is set on this thread. Pass it up, or [`take`](Raised::take) it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Raised;

/// A result whose error is the exception set in the interpreter.
pub(crate) type Res<T> = Result<T, Raised>;

/// `saburo.InternalError`, once the module has made it.
pub(super) static INTERNAL_ERROR: Global<Obj> = Global::new();

impl Raised {
    /// Turns the C API's 0 / -1 into a result.
    #[inline]
    pub(super) fn check(code: c_int) -> Res<()> {
        if code < 0 { Err(Raised) } else { Ok(()) }
    }

    /// Turns the C API's 1 / 0 / -1 into a result.
    #[inline]
    pub(super) fn check_bool(code: c_int) -> Res<bool> {
        if code < 0 { Err(Raised) } else { Ok(code > 0) }
    }

    /// True if an exception is set. For calls whose error value is also a valid answer.
    #[inline]
    pub(super) fn if_occurred() -> Res<()> {
        // SAFETY: reads the thread's error indicator.
        if unsafe { ffi::PyErr_Occurred() }.is_null() { Ok(()) } else { Err(Raised) }
    }

    /// Takes the exception out of the interpreter, as an instance.
    #[inline]
    pub(crate) fn take(self) -> Obj {
        compat::take_raised()
    }

    /// Puts an exception instance back as the one being raised, and changes nothing about it.
    #[inline]
    pub(crate) fn with(exception: Obj) -> Raised {
        compat::set_raised(exception);
        Raised
    }

    /// Raises an exception instance as `raise exception` does: what is being handled is its context.
    #[cold]
    pub(crate) fn raising(exception: &Object) -> Raised {
        // SAFETY: a live exception and its class.
        unsafe { ffi::PyErr_SetObject(exception.type_ptr().cast(), exception.as_ptr()) };
        Raised
    }

    /// Forgets the exception.
    pub(crate) fn swallow(self) {
        // SAFETY: clears the thread's error indicator.
        unsafe { ffi::PyErr_Clear() }
    }

    /// Is it an instance of `class`? Runs no Python code for exception classes.
    #[inline]
    pub(crate) fn matches(&self, class: &Object) -> bool {
        self.matches_ptr(class.as_ptr())
    }

    /// True for KeyboardInterrupt and SystemExit: they must reach the code that runs the loop, and no handler
    /// before.
    #[inline]
    pub(crate) fn ends_the_run(&self) -> bool {
        self.matches(builtin::keyboard_interrupt()) || self.matches(builtin::system_exit())
    }

    #[inline]
    pub(super) fn matches_ptr(&self, class: *mut ffi::PyObject) -> bool {
        // SAFETY: an exception is set, and the class is alive.
        unsafe { ffi::PyErr_ExceptionMatches(class) != 0 }
    }

    /// Reports the exception as one that no caller can be told about: `sys.unraisablehook`.
    pub(crate) fn unraisable(self, about: &Object) {
        // SAFETY: an exception is set; `about` is alive.
        unsafe { ffi::PyErr_WriteUnraisable(about.as_ptr()) }
    }
}

/// Runs `body` with the exception that may be pending set aside, and puts it back afterwards. Whatever
/// calls Python on the way out of an error needs this: Python must not be called with an exception set.
pub(crate) fn aside<R>(body: impl FnOnce() -> R) -> R {
    let pending = Raised::if_occurred().err().map(Raised::take);
    let result = body();
    if let Some(pending) = pending {
        // Raised again, and told by whoever was told before.
        let _ = Raised::with(pending);
    }
    result
}

/// Sets an exception of this class with this message.
#[cold]
pub(crate) fn raise<T>(class: &Object, message: &str) -> Res<T> {
    let text = string(message)?;
    // SAFETY: both live.
    unsafe { ffi::PyErr_SetObject(class.as_ptr(), text.as_ptr()) };
    Err(Raised)
}

/// Raises MemoryError.
#[cold]
pub(crate) fn no_memory<T>() -> Res<T> {
    // SAFETY: attached thread; sets the exception and answers null.
    unsafe { ffi::PyErr_NoMemory() };
    Err(Raised)
}

/// There is no memory for a list of ours to grow: `try_reserve(…)?` raises MemoryError.
impl From<TryReserveError> for Raised {
    #[cold]
    fn from(_: TryReserveError) -> Raised {
        match no_memory() {
            Err(raised) => raised,
            Ok(never) => never,
        }
    }
}

/// What `raise given` does: with an exception, with a class of them, and with what is neither.
#[cold]
pub(crate) fn raise_given<T>(given: &Object) -> Res<T> {
    let exception = if given.is_exception_class() { given.call0()? } else { given.to_obj() };
    if !exception.is_exception() {
        return raise(builtin::type_error(), "exceptions must derive from BaseException");
    }
    Err(Raised::raising(&exception))
}

/// Warns of something that was not closed; an error where the filters make it one.
#[cold]
pub(crate) fn warn_resource(message: &CStr) -> Res<()> {
    // SAFETY: a static class and a C string.
    Raised::check(unsafe { ffi::PyErr_WarnEx(ffi::PyExc_ResourceWarning, message.as_ptr(), 1) })
}

/// Warns the caller of something deprecated; an error where the filters make it one.
#[cold]
pub(crate) fn warn_deprecated(message: &CStr) -> Res<()> {
    // SAFETY: a static class and a C string.
    Raised::check(unsafe { ffi::PyErr_WarnEx(ffi::PyExc_DeprecationWarning, message.as_ptr(), 1) })
}

/// The interpreter's own exception classes.
pub(crate) mod builtin {
    use super::{Object, ffi};

    macro_rules! classes {
        ($($name:ident = $symbol:ident;)*) => {$(
            pub(crate) fn $name<'a>() -> &'a Object {
                // SAFETY: exception classes live as long as the interpreter.
                unsafe { Object::from_ptr(ffi::$symbol) }
            }
        )*};
    }

    classes! {
        assertion_error = PyExc_AssertionError;
        attribute_error = PyExc_AttributeError;
        blocking_io_error = PyExc_BlockingIOError;
        broken_pipe_error = PyExc_BrokenPipeError;
        connection_aborted_error = PyExc_ConnectionAbortedError;
        connection_error = PyExc_ConnectionError;
        connection_reset_error = PyExc_ConnectionResetError;
        exception = PyExc_Exception;
        generator_exit = PyExc_GeneratorExit;
        import_error = PyExc_ImportError;
        interrupted_error = PyExc_InterruptedError;
        keyboard_interrupt = PyExc_KeyboardInterrupt;
        memory_error = PyExc_MemoryError;
        not_implemented_error = PyExc_NotImplementedError;
        os_error = PyExc_OSError;
        overflow_error = PyExc_OverflowError;
        recursion_error = PyExc_RecursionError;
        resource_warning = PyExc_ResourceWarning;
        runtime_error = PyExc_RuntimeError;
        stop_async_iteration = PyExc_StopAsyncIteration;
        stop_iteration = PyExc_StopIteration;
        system_exit = PyExc_SystemExit;
        timeout_error = PyExc_TimeoutError;
        type_error = PyExc_TypeError;
        value_error = PyExc_ValueError;
    }
}

/// Runs `body` as the interpreter's callee: a panic becomes `saburo.InternalError`.
#[inline]
pub(super) fn guarded<R>(failed: R, body: impl FnOnce() -> Res<R>) -> R {
    // Unwind safety: fields are Cells and Slots, each of which is whole between any two statements.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(Raised)) => failed,
        Err(panic) => {
            report_panic(&*panic);
            failed
        }
    }
}

/// Runs `body` where no exception can be raised: a panic is printed, and a pending exception survives.
#[inline]
pub(super) fn shielded(body: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
        report_panic(&*panic);
        // SAFETY: report_panic has just set an exception.
        unsafe { ffi::PyErr_WriteUnraisable(std::ptr::null_mut()) };
    }
}

#[cold]
fn report_panic(panic: &(dyn Any + Send)) {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    let message = format!("saburo met a bug of its own, please report it: {said}");
    // A null class would leave no exception set; RuntimeError stands in before the module is made.
    let raised: Res<()> = match INTERNAL_ERROR.get() {
        Some(class) => raise(class, &message),
        None => raise(builtin::runtime_error(), &message),
    };
    drop(raised);
}

/// Makes an exception class `name` below `base`.
pub(super) fn new_exception(name: &CStr, doc: &CStr, base: &Object) -> Res<Obj> {
    // SAFETY: C strings and a live class; new reference or null.
    unsafe {
        Obj::from_new(ffi::PyErr_NewExceptionWithDoc(
            name.as_ptr(),
            doc.as_ptr(),
            base.as_ptr(),
            std::ptr::null_mut(),
        ))
    }
}
