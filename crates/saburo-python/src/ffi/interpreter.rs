//! The interpreter as a whole: letting go of it, pending signals, values that live as long as it does.

use std::cell::UnsafeCell;

use super::python as ffi;

use super::compat;
use super::error::{Raised, Res};

/// Runs `blocking` with the interpreter released, so that other threads can run Python.
///
/// The closure is `Send`, so it can hold no Python object; that is what makes this safe.
#[inline]
pub(crate) fn detach<R>(blocking: impl FnOnce() -> R + Send) -> R {
    /// Attaches again also when the closure panics.
    struct Reattach(*mut ffi::PyThreadState);
    impl Drop for Reattach {
        fn drop(&mut self) {
            // SAFETY: the thread state that PyEval_SaveThread gave to this same thread.
            unsafe { ffi::PyEval_RestoreThread(self.0) }
        }
    }
    // SAFETY: the thread is attached (module rule 1), and no object crosses into the closure.
    let _reattach = Reattach(unsafe { ffi::PyEval_SaveThread() });
    blocking()
}

/// True if this is the interpreter that the process began with.
pub(super) fn in_main_interpreter() -> bool {
    // SAFETY: attached thread; the addresses are compared and not followed.
    unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
}

/// Runs Python's handlers of signals that have arrived; Ctrl-C shows up here as an exception.
#[inline]
pub(crate) fn check_signals() -> Res<()> {
    // SAFETY: attached thread.
    Raised::check(unsafe { ffi::PyErr_CheckSignals() })
}

/// Runs `body` one call deeper, as the interpreter counts; RecursionError where that is too deep.
#[inline]
pub(crate) fn deeper<R>(body: impl FnOnce() -> Res<R>) -> Res<R> {
    /// Comes back up also when the body panics.
    struct Up;
    impl Drop for Up {
        fn drop(&mut self) {
            compat::leave_call();
        }
    }
    if !compat::enter_call() {
        return Err(Raised);
    }
    let _up = Up;
    body()
}

/// The number `threading.get_ident()` gives for this thread.
#[inline]
pub(crate) fn attached_thread() -> u64 {
    // SAFETY: no preconditions.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

/// A value made once, when the module is first imported, and kept for the life of the process.
///
/// The module refuses sub-interpreters and free-threaded mode (see [`Module`](super::Module)), so the
/// interpreter lock orders every access.
pub(crate) struct Global<T>(UnsafeCell<Option<T>>);

// SAFETY: reached on attached threads only, which the interpreter lock orders; the lock is real, since
// the module does not declare itself free of it.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub(crate) const fn new() -> Global<T> {
        Global(UnsafeCell::new(None))
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&'static T>
    where
        T: 'static,
    {
        // SAFETY: set once and never replaced, so a reference to it stays valid.
        unsafe { (*self.0.get()).as_ref() }
    }

    /// Sets the value; only the first call counts.
    pub(crate) fn set(&self, value: T) {
        // SAFETY: nobody holds a reference yet, since `get` gave none.
        unsafe {
            let place = &mut *self.0.get();
            if place.is_none() {
                *place = Some(value);
            }
        }
    }
}
