//! Freeing long chains: no more than a few instances are freed inside one another.
//!
//! Freeing an instance lets go of what it holds, which may free the next. A chain of a hundred thousand
//! handles, each an argument of the next, would overflow the stack. Up to 3.13 each class must see to that,
//! as tuples and Python's own classes do; from 3.14 on the interpreter does, for all of them.

use crate::ffi::python::PyObject;

/// Frees a dead instance, now or when those outside of it have been freed.
///
/// # Safety
/// `free` may be called on `op`, once, and nobody else will.
#[cfg(Py_3_14)]
#[inline]
pub(in crate::ffi) unsafe fn free(op: *mut PyObject, free: unsafe fn(*mut PyObject)) {
    // SAFETY: the caller's promise.
    unsafe { free(op) }
}

#[cfg(not(Py_3_14))]
pub(in crate::ffi) use nested::free;

#[cfg(not(Py_3_14))]
mod nested {
    use std::cell::{Cell, UnsafeCell};

    use super::PyObject;

    type Free = unsafe fn(*mut PyObject);

    struct Trash {
        /// How many are being freed inside one another. Threads that take turns at the interpreter count
        /// together, which only makes some wait that need not.
        depth: Cell<usize>,
        /// Those that wait for it to become less deep. Not seen by the collector, nor by other code.
        waiting: UnsafeCell<Vec<(*mut PyObject, Free)>>,
        /// Somebody is freeing those.
        emptying: Cell<bool>,
    }

    // SAFETY: reached on attached threads only, in order of the interpreter lock.
    unsafe impl Sync for Trash {}

    static TRASH: Trash =
        Trash { depth: Cell::new(0), waiting: UnsafeCell::new(Vec::new()), emptying: Cell::new(false) };

    /// CPython's own number.
    const DEEP: usize = 50;

    #[inline]
    pub(in crate::ffi) unsafe fn free(op: *mut PyObject, free: Free) {
        let depth = TRASH.depth.get();
        if depth >= DEEP {
            // SAFETY: nothing runs while the list is borrowed.
            let waiting = unsafe { &mut *TRASH.waiting.get() };
            if waiting.try_reserve(1).is_ok() {
                waiting.push((op, free));
                return;
            }
            // There is no memory to wait in. The stack may hold out.
        }
        TRASH.depth.set(depth + 1);
        // SAFETY: the caller's promise.
        unsafe { free(op) };
        TRASH.depth.set(TRASH.depth.get() - 1);
        // SAFETY: nothing runs while the list is borrowed.
        if depth < DEEP / 2 && !unsafe { (*TRASH.waiting.get()).is_empty() } {
            empty();
        }
    }

    #[cold]
    fn empty() {
        if TRASH.emptying.replace(true) {
            return;
        }
        // SAFETY: the borrow ends before the next is freed, which may add others; each is on the list
        // because `free` was asked to free it, and comes off it once.
        while let Some((op, release)) = unsafe { (*TRASH.waiting.get()).pop() } {
            // SAFETY: see above.
            unsafe { free(op, release) };
        }
        TRASH.emptying.set(false);
    }
}
