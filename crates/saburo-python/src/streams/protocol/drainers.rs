//! The coroutines that drain: they wait while the transport has too much to send.

use std::cell::Cell;

use crate::ffi::{Holds, Obj, Object, Res, fields};

use crate::streams::{link, waiter};

#[derive(Default)]
pub(super) struct Drainers {
    /// The futures that these coroutines await.
    #[expect(clippy::box_collection, reason = "two words less in every connection; few drain at once")]
    waiters: Cell<Option<Box<Vec<Obj>>>>,
    /// The transport has too much to send.
    paused: Cell<bool>,
}

impl Drainers {
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// The transport has too much to send from now on.
    pub(super) fn pause(&self) -> Res<()> {
        if self.paused.replace(true) { link::refuse() } else { Ok(()) }
    }

    /// The transport has sent enough.
    pub(super) fn resume(&self) -> Res<()> {
        if self.paused.replace(false) { Ok(()) } else { link::refuse() }
    }

    /// Wakes each coroutine, or raises an exception in each.
    pub(super) fn wake(&self, error: Option<&Object>) -> Res<()> {
        for waiter in self.all() {
            if !waiter::is_done(&waiter)? {
                match error {
                    None => waiter::wake(&waiter)?,
                    Some(error) => waiter::fail(&waiter, error)?,
                }
            }
        }
        Ok(())
    }

    pub(super) fn add(&self, waiter: Obj) {
        self.borrowed(|waiters| waiters.push(waiter));
    }

    pub(super) fn remove(&self, waiter: &Object) {
        let removed = self.borrowed(|waiters| {
            let found = waiters.iter().position(|other| other.is(waiter));
            found.map(|index| waiters.remove(index))
        });
        drop(removed);
    }

    pub(super) fn all(&self) -> Vec<Obj> {
        self.borrowed(|waiters| waiters.clone())
    }

    fn borrowed<R>(&self, body: impl FnOnce(&mut Vec<Obj>) -> R) -> R {
        // The box is not in its field meanwhile; `body` must not call Python, and drops nothing.
        let mut waiters = self.waiters.take().unwrap_or_default();
        let result = body(&mut waiters);
        if !waiters.is_empty() {
            self.waiters.set(Some(waiters));
        }
        result
    }
}

impl Holds for Drainers {
    fields! {
        part;
        objects { waiters }
        plain { paused }
    }
}
