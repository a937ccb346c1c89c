//! What the program watches by an object, such as a socket: the object it gave for each registration.
//!
//! It is held as long as it is watched, as in asyncio, so a socket with no other reference goes on being
//! watched. And it is found again once it has been closed and has no number any more.

use std::cell::RefCell;
use std::os::fd::RawFd;

use saburo_core::Direction;

use crate::ffi::{Holds, Obj, Object, fields};

/// The objects of a loop's watches, by number: one for reading and one for writing. Each is here as long as
/// the engine has the handle that came with it.
pub(super) struct WatchedObjects {
    by_fd: RefCell<Vec<Objects>>,
}

type Objects = [Option<Obj>; 2];

impl WatchedObjects {
    pub(super) const fn new() -> WatchedObjects {
        WatchedObjects { by_fd: RefCell::new(Vec::new()) }
    }

    /// Enters an object for a new registration. That of the one before has left.
    pub(super) fn enter(&self, fd: RawFd, direction: Direction, object: Obj) {
        let mut by_fd = self.by_fd.borrow_mut();
        let Ok(place) = usize::try_from(fd) else { return };
        if place >= by_fd.len() {
            by_fd.resize_with(place + 1, || [None, None]);
        }
        by_fd[place][side(direction)] = Some(object);
    }

    /// Takes out the object of a registration that is over.
    #[must_use = "letting go of it may run code: choose the place"]
    pub(super) fn leave(&self, fd: RawFd, direction: Direction) -> Option<Obj> {
        self.by_fd.borrow_mut().get_mut(usize::try_from(fd).ok()?)?[side(direction)].take()
    }

    /// The descriptor that this object was given for.
    pub(super) fn find(&self, object: &Object) -> Option<RawFd> {
        let by_fd = self.by_fd.borrow();
        let mut objects = by_fd.iter().zip(0..);
        objects.find(|(given, _)| given.iter().flatten().any(|given| given.is(object))).map(|(_, fd)| fd)
    }

    /// Every object, for the code that takes the loop apart.
    pub(super) fn take(&self) -> Vec<Objects> {
        std::mem::take(&mut *self.by_fd.borrow_mut())
    }
}

impl Holds for WatchedObjects {
    fields! {
        part;
        objects { by_fd }
    }
}

fn side(direction: Direction) -> usize {
    usize::from(direction == Direction::Write)
}
