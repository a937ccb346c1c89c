//! How much a reader keeps: below the limit its transport goes on, beyond twice the limit it pauses.
//!
//! The limit may be any object. If it is not an int, Rust compares with it through Python, as asyncio does.

use std::cell::Cell;

use crate::ffi::{Holds, Obj, Object, Res, Slot, fields, int, none};

#[derive(Default)]
pub(super) struct Limit {
    given: Slot,
    /// The limit as a number, if it is an int.
    number: Cell<Option<isize>>,
}

impl Limit {
    pub(super) fn set(&self, given: &Object) {
        self.number.set(given.is_int().then(|| given.clamped() as isize));
        self.given.set(Some(given.to_obj()));
    }

    /// The limit, of any type; None before it is set.
    pub(super) fn get(&self) -> Option<Obj> {
        self.given.get()
    }

    /// The limit as an object to compare with.
    pub(super) fn given(&self) -> Obj {
        self.get().unwrap_or_else(none)
    }

    /// The limit, if it is an int.
    #[inline]
    pub(super) fn number(&self) -> Option<isize> {
        self.number.get()
    }

    /// True if `length` is within the limit.
    pub(super) fn covers(&self, length: usize) -> Res<bool> {
        match self.number() {
            Some(limit) => Ok(length as isize <= limit),
            None => int(length as i64)?.is_at_most(&self.given()),
        }
    }

    /// True if `length` is more than twice the limit.
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
