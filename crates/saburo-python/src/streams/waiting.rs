//! The one coroutine that waits until a reader has more.

use std::cell::Cell;

use crate::ffi::{Holds, Obj, Object, Slot, fields};

#[derive(Default)]
pub(super) struct Waiting {
    /// The future that the coroutine awaits. None if no coroutine waits.
    future: Slot,
    /// The coroutine takes the first bytes as they are, at most this many; 0 if it needs to look at them.
    takes: Cell<usize>,
}

impl Waiting {
    #[inline]
    pub(super) fn begin(&self, future: Obj, takes: usize) {
        self.takes.set(takes);
        self.future.set(Some(future));
    }

    /// The coroutine has been woken, or waits no more.
    #[inline]
    pub(super) fn end(&self) {
        drop(self.take());
    }

    /// Ends the wait, and returns the future to wake.
    #[inline]
    pub(super) fn take(&self) -> Option<Obj> {
        self.takes.set(0);
        self.future.take()
    }

    #[inline]
    pub(super) fn takes(&self) -> usize {
        self.takes.get()
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.future.is_set()
    }

    pub(super) fn get(&self) -> Option<Obj> {
        self.future.get()
    }

    /// A program has set another future instead.
    pub(super) fn replace(&self, future: Option<&Object>) {
        self.takes.set(0);
        self.future.set(future.map(Object::to_obj));
    }
}

impl Holds for Waiting {
    fields! {
        part;
        objects { future }
        plain { takes }
    }
}
