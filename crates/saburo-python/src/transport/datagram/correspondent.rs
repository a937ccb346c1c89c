//! The sender of the last datagram, as the kernel and as Python write its address.
//!
//! Most programs answer the last sender, with the same tuple that they were given, and most clients write
//! more than once: then no address is converted again, in either direction.

use std::cell::RefCell;

use saburo_core::Address;

use crate::ffi::{Holds, Obj, Object, Res, Slot, fields};

use super::super::address;

pub(super) struct Correspondent {
    address: RefCell<Option<Address>>,
    /// The address as Python writes it. Tuples, names and numbers do not change.
    words: Slot,
}

impl Correspondent {
    pub(super) fn nobody() -> Correspondent {
        Correspondent { address: RefCell::new(None), words: Slot::empty() }
    }

    /// The address of a sender as Python writes it. This sender is the last one from now on.
    #[inline]
    pub(super) fn describe(&self, sender: Address) -> Res<Obj> {
        if self.address.borrow().as_ref() == Some(&sender)
            && let Some(words) = self.words.get()
        {
            return Ok(words);
        }
        let words = address::to_python(&sender)?;
        // Dropped only after both fields are new.
        let before = (self.address.replace(Some(sender)), self.words.replace(Some(words.clone())));
        drop(before);
        Ok(words)
    }

    /// The last sender's address, if `words` is the object that described it.
    #[inline]
    pub(super) fn meant_by(&self, words: &Object) -> Option<Address> {
        if self.words.holds(words) { self.address.borrow().clone() } else { None }
    }
}

impl Holds for Correspondent {
    fields! {
        part;
        objects { words }
        plain { address }
    }
}
