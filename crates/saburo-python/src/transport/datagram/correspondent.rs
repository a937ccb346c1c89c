//! Who sent the last datagram, in the kernel's words and in Python's.
//!
//! Most programs answer whoever has just written, with the very tuple that they were given, and most clients
//! write more than once: then nothing is put into words again, in either direction.

use std::cell::RefCell;

use saburo_core::Address;

use crate::ffi::{Holds, Obj, Object, Res, Slot, fields};

use super::super::address;

pub(super) struct Correspondent {
    address: RefCell<Option<Address>>,
    /// The same as Python writes it. Tuples, names and numbers do not change.
    words: Slot,
}

impl Correspondent {
    pub(super) fn nobody() -> Correspondent {
        Correspondent { address: RefCell::new(None), words: Slot::empty() }
    }

    /// Python's words for a sender, who is the last one from now on.
    #[inline]
    pub(super) fn describe(&self, sender: Address) -> Res<Obj> {
        if self.address.borrow().as_ref() == Some(&sender)
            && let Some(words) = self.words.get()
        {
            return Ok(words);
        }
        let words = address::to_python(&sender)?;
        // Let go of only once both are new.
        let before = (self.address.replace(Some(sender)), self.words.replace(Some(words.clone())));
        drop(before);
        Ok(words)
    }

    /// The last sender's address, if these are the words it was described with.
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
