//! How much a reader keeps: below the limit its transport goes on, beyond twice the limit it pauses.
//!
//! It is any object, and where it is no int it is asked for its opinion by comparing, as asyncio does.

use std::cell::Cell;

use crate::ffi::{Holds, Obj, Object, Res, Slot, fields, int, none};

#[derive(Default)]
pub(super) struct Limit {
    given: Slot,
    /// The same as a number, if it is an int.
    number: Cell<Option<isize>>,
}

impl Limit {
    pub(super) fn set(&self, given: &Object) {
        self.number.set(given.is_int().then(|| given.clamped() as isize));
        self.given.set(Some(given.to_obj()));
    }

    /// The limit, whatever it is; None before there is one.
    pub(super) fn get(&self) -> Option<Obj> {
        self.given.get()
    }

    /// The same to compare with.
    pub(super) fn given(&self) -> Obj {
        self.get().unwrap_or_else(none)
    }

    /// The limit, if it is an int.
    #[inline]
    pub(super) fn number(&self) -> Option<isize> {
        self.number.get()
    }

    /// Are so many bytes within the limit?
    pub(super) fn covers(&self, length: usize) -> Res<bool> {
        match self.number() {
            Some(limit) => Ok(length as isize <= limit),
            None => int(length as i64)?.is_at_most(&self.given()),
        }
    }

    /// Are so many bytes more than twice the limit?
    #[inline]
    pub(super) fn is_doubled_by(&self, length: usize) -> Res<bool> {
        match self.number() {
            Some(limit) => Ok(length as isize > limit.saturating_mul(2)),
            None => int(length as i64)?.is_more_than(&*int(2)?.times(&self.given())?),
        }
    }
}

impl Holds for Limit {
    fields! {
        part;
        objects { given }
        plain { number }
    }
}
