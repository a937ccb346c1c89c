//! The running task of a thread, which asyncio keeps in the thread's state from Python 3.14 on.
//!
//! Only a private function sets it, and calling that costs as much as a third of a step. So the field is
//! looked for by experiment, once, when the module is imported: the private function sets sentinels, and
//! the one word of the thread state that follows them is the field. If there is not exactly one, it is
//! not found, and the function goes on being called.

use std::ffi::c_void;

use super::python as ffi;

use super::error::Res;
use super::object::{Obj, Object};

/// Where the field is, the same in every thread state of this interpreter.
pub(crate) struct RunningTask {
    /// In words from the start of the thread state.
    index: usize,
}

/// How far to look, in words: the field is at 109 in 3.14 and at 129 in 3.15.
const WORDS: usize = 160;

impl RunningTask {
    /// Finds the field. `set` sets it to an object or to nothing, by whatever way there is; `event_loop` is
    /// the thread's running loop, which stands right before it.
    ///
    /// To be called on the main thread only: its state lies inside the interpreter's, so looking past its
    /// end reads nothing that is not there.
    pub(crate) fn find(
        event_loop: &Object,
        set: impl Fn(Option<&Object>) -> Res<()>,
    ) -> Res<Option<RunningTask>> {
        let (one, two) = (sentinel()?, sentinel()?);
        let mut candidates: Vec<usize> = (1..WORDS).collect();
        for expected in [Some(&*one), None, Some(&*two), None] {
            set(expected)?;
            let expected = expected.map_or(0, |object| object.as_ptr() as usize);
            candidates.retain(|&index| word(index) == expected);
        }
        candidates.retain(|&index| word(index - 1) == event_loop.as_ptr() as usize);
        Ok(match candidates[..] {
            [index] => Some(RunningTask { index }),
            _ => None,
        })
    }

    /// Sets the running task of this thread; the one before.
    #[inline]
    pub(crate) fn replace(&self, task: Option<Obj>) -> Option<Obj> {
        let task = task.map_or(std::ptr::null_mut(), Obj::into_raw);
        // SAFETY: the field holds a reference of its own or null (`find` has seen the interpreter put its
        // objects there and take them away), only this thread uses it, and the reference moves in and out.
        unsafe {
            let field = ffi::PyThreadState_Get().cast::<*mut ffi::PyObject>().add(self.index);
            Obj::from_new_or_null(std::ptr::replace(field, task))
        }
    }
}

/// A word of this thread's state.
fn word(index: usize) -> usize {
    debug_assert!(index < WORDS);
    // SAFETY: aligned, and inside the interpreter's state that the main thread's is a part of.
    unsafe { ffi::PyThreadState_Get().cast::<usize>().add(index).read() }
}

/// An object with no other reference.
fn sentinel() -> Res<Obj> {
    // SAFETY: makes a plain `object()`; new reference or null.
    unsafe {
        Obj::from_new(ffi::PyObject_CallNoArgs((&raw mut ffi::PyBaseObject_Type).cast::<c_void>().cast()))
    }
}
