//! Which descriptor belongs to which transport, and which listeners there are.
//!
//! An open transport is here from its making until its descriptor is closed. So none vanishes because
//! nobody kept it, and nobody else watches its descriptor by mistake.

use std::cell::RefCell;
use std::os::fd::RawFd;

use crate::ffi::{Behind, Holds, Obj, Object, Res, fields};

use super::Loop;

/// What the loop asks of a transport that has a descriptor.
pub(crate) trait Transport {
    /// True if `close()` was called or the connection is gone. Then others may have the descriptor.
    fn is_closing(&self) -> bool;
    /// Has it still got the descriptor by which the loop knows it? Asked when another file has that number.
    fn has_descriptor(&self, event_loop: &Loop) -> bool;
    /// The number of its descriptor was given to another file.
    fn forget_descriptor(&self) {}
    /// In a forked child, whose parent has the connection: here it is over, without a word to the protocol or
    /// the peer.
    fn leave_to_parent(&self) -> Res<()>;
}

/// The open transports of a loop.
pub(crate) struct Transports {
    by_fd: RefCell<Vec<Option<Behind<dyn Transport>>>>,
}

impl Transports {
    pub(crate) const fn new() -> Transports {
        Transports { by_fd: RefCell::new(Vec::new()) }
    }

    /// Enters a transport. One that was there had lost its descriptor without a word to us.
    pub(crate) fn enter(&self, fd: RawFd, transport: Behind<dyn Transport>) {
        let Ok(place) = usize::try_from(fd) else { return };
        let before = {
            let mut by_fd = self.by_fd.borrow_mut();
            if place >= by_fd.len() {
                by_fd.resize_with(place + 1, || None);
            }
            by_fd[place].replace(transport)
        };
        if let Some(before) = before {
            before.forget_descriptor();
        }
    }

    /// Takes a transport out, if it is still this one.
    #[must_use = "letting go of it may run code: choose the place"]
    pub(crate) fn leave(&self, fd: RawFd, transport: &Object) -> Option<Obj> {
        let mut by_fd = self.by_fd.borrow_mut();
        let place = by_fd.get_mut(usize::try_from(fd).ok()?)?;
        let is_there = place.as_ref().is_some_and(|entered| entered.as_object().is(transport));
        if is_there { place.take().map(Behind::into_obj) } else { None }
    }

    /// The transport that has this descriptor.
    #[inline]
    pub(crate) fn of(&self, fd: RawFd) -> Option<Behind<dyn Transport>> {
        self.by_fd.borrow().get(usize::try_from(fd).ok()?)?.clone()
    }

    /// Those that are wanted. `is_wanted` runs no Python.
    pub(crate) fn matching(&self, is_wanted: impl Fn(&Object) -> bool) -> Vec<Obj> {
        let by_fd = self.by_fd.borrow();
        let all = by_fd.iter().flatten().map(Behind::as_object);
        all.filter(|transport| is_wanted(transport)).map(Object::to_obj).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_fd.borrow().iter().flatten().count()
    }

    /// Every transport, for the code that takes the loop apart.
    pub(crate) fn take(&self) -> Vec<Option<Behind<dyn Transport>>> {
        std::mem::take(&mut *self.by_fd.borrow_mut())
    }
}

impl Holds for Transports {
    fields! {
        part;
        objects { by_fd }
    }
}

/// Whom a loop takes connections for, as long as they listen.
pub(crate) struct Listeners {
    list: RefCell<Vec<Obj>>,
}

impl Listeners {
    pub(super) const fn new() -> Listeners {
        Listeners { list: RefCell::new(Vec::new()) }
    }

    pub(crate) fn enter(&self, listener: Obj) {
        self.list.borrow_mut().push(listener);
    }

    /// Takes one out, if it is there.
    #[must_use = "letting go of it may run code: choose the place"]
    pub(crate) fn leave(&self, listener: &Object) -> Option<Obj> {
        let mut list = self.list.borrow_mut();
        let place = list.iter().position(|entered| entered.is(listener))?;
        Some(list.remove(place))
    }

    /// All there are.
    pub(crate) fn all(&self) -> Vec<Obj> {
        self.list.borrow().clone()
    }

    /// Every listener, for the code that takes the loop apart.
    pub(super) fn take(&self) -> Vec<Obj> {
        std::mem::take(&mut *self.list.borrow_mut())
    }
}

impl Holds for Listeners {
    fields! {
        part;
        objects { list }
    }
}
