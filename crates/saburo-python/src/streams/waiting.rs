//! The one coroutine that waits until a reader has more.

use std::cell::Cell;

use crate::ffi::{Holds, Obj, Object, Slot, fields};

#[derive(Default)]
pub(super) struct Waiting {
    /// What it awaits. None if no coroutine waits.
    future: Slot,
    /// It takes what comes first as it is, at most so many bytes; 0 if it needs to look at it.
    takes: Cell<usize>,
}

impl Waiting {
    #[inline]
    pub(super) fn begin(&self, future: Obj, takes: usize) {
        self.takes.set(takes);
        self.future.set(Some(future));
    }

    /// It has been woken, or it waits no more.
    #[inline]
    pub(super) fn end(&self) {
        drop(self.take());
    }

    /// Ends the wait: what is to be woken.
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

    /// A program has put another future in its place.
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
