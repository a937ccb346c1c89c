//! What the program watches by an object, such as a socket: the object it gave for each descriptor.
//!
//! It is held as long as it is watched, as in asyncio, so a socket that nobody else keeps goes on being
//! watched. And it is found again once it has been closed and has no number any more.

use std::cell::RefCell;
use std::os::fd::RawFd;

use saburo_core::Registration;

use crate::ffi::{Holds, Obj, Object, Owns, Visit, fields};

/// The objects of a loop's watches, by number.
pub(super) struct Given {
    /// Each with the registration it was given for. Where that is over, which the program can cause without a
    /// word to us, the object means nothing any more.
    by_fd: RefCell<Vec<Option<(Registration, Obj)>>>,
}

impl Given {
    pub(super) const fn new() -> Given {
        Given { by_fd: RefCell::new(Vec::new()) }
    }

    /// Enters an object; the one that was there.
    #[must_use = "letting go of it may run code: choose the place"]
    pub(super) fn enter(&self, fd: RawFd, registration: Registration, object: Obj) -> Option<Obj> {
        let mut by_fd = self.by_fd.borrow_mut();
        let place = usize::try_from(fd).ok()?;
        if place >= by_fd.len() {
            by_fd.resize_with(place + 1, || None);
        }
        by_fd[place].replace((registration, object)).map(|(_, before)| before)
    }

    /// Takes out the object of a descriptor, if it was given for another registration than `current`.
    #[inline]
    #[must_use = "letting go of it may run code: choose the place"]
    pub(super) fn leave(&self, fd: RawFd, current: impl FnOnce() -> Option<Registration>) -> Option<Obj> {
        let mut by_fd = self.by_fd.borrow_mut();
        let place = by_fd.get_mut(usize::try_from(fd).ok()?)?;
        let registration = place.as_ref()?.0;
        if current() == Some(registration) { None } else { place.take().map(|(_, object)| object) }
    }

    /// The descriptor that this object was given for, and its registration.
    pub(super) fn find(&self, object: &Object) -> Option<(RawFd, Registration)> {
        let by_fd = self.by_fd.borrow();
        let entered = by_fd.iter().zip(0..);
        entered
            .filter_map(|(place, fd)| place.as_ref().map(|(registration, given)| (fd, registration, given)))
            .find(|(_, _, given)| given.is(object))
            .map(|(fd, registration, _)| (fd, *registration))
    }

    /// Every object, for whoever takes the loop apart.
    pub(super) fn take(&self) -> Vec<Option<(Registration, Obj)>> {
        std::mem::take(&mut *self.by_fd.borrow_mut())
    }
}

impl Holds for Given {
    fields! {
        part;
        objects { by_fd }
    }
}

impl Owns for (Registration, Obj) {
    fn show(&self, visit: &mut Visit<'_>) {
        self.1.show(visit);
    }
}
