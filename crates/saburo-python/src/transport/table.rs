//! Which descriptor belongs to which transport.
//!
//! An open transport is here from its making until its descriptor is closed. So none vanishes because
//! nobody kept it, and nobody else watches its descriptor by mistake.

use std::cell::RefCell;
use std::os::fd::RawFd;

use crate::ffi::{Obj, Object, Visit};

use super::StreamTransport;

/// The open transports of a loop.
pub(crate) struct Transports {
    by_fd: RefCell<Vec<Option<Obj>>>,
}

impl Transports {
    pub(crate) const fn new() -> Transports {
        Transports { by_fd: RefCell::new(Vec::new()) }
    }

    /// Enters a transport; the one that was there had lost its descriptor without a word to us.
    pub(crate) fn enter(&self, fd: RawFd, transport: Obj) -> Option<Obj> {
        let mut by_fd = self.by_fd.borrow_mut();
        let place = usize::try_from(fd).ok()?;
        if place >= by_fd.len() {
            by_fd.resize_with(place + 1, || None);
        }
        by_fd[place].replace(transport)
    }

    /// Takes a transport out, if it is still this one.
    #[must_use = "letting go of it may run code: choose the place"]
    pub(crate) fn leave(&self, fd: RawFd, transport: &Object) -> Option<Obj> {
        let mut by_fd = self.by_fd.borrow_mut();
        let place = by_fd.get_mut(usize::try_from(fd).ok()?)?;
        if place.as_ref().is_some_and(|entered| entered.is(transport)) { place.take() } else { None }
    }

    /// The transport that has this descriptor.
    #[inline]
    pub(crate) fn of(&self, fd: RawFd) -> Option<Obj> {
        self.by_fd.borrow().get(usize::try_from(fd).ok()?)?.clone()
    }

    /// Those that came in by `server`.
    pub(crate) fn of_server(&self, server: &Object) -> Vec<Obj> {
        let by_fd = self.by_fd.borrow();
        let came_in = |transport: &&Obj| {
            transport.cast_exact::<StreamTransport>().is_some_and(|stream| stream.came_in_by(server))
        };
        by_fd.iter().flatten().filter(came_in).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_fd.borrow().iter().flatten().count()
    }

    /// Every transport, for whoever takes the loop apart.
    pub(crate) fn take(&self) -> Vec<Option<Obj>> {
        std::mem::take(&mut *self.by_fd.borrow_mut())
    }

    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        // Borrowed only between Python calls, and the collector runs inside one.
        if let Ok(by_fd) = self.by_fd.try_borrow() {
            by_fd.iter().flatten().for_each(|transport| visit.object(transport));
        }
    }
}
