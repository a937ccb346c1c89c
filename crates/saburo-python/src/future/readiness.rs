//! Futures that wait for a descriptor.
//!
//! The first callback of such a future ends the watch, so a wait that is cancelled leaves nothing behind, and
//! has read nothing.

use std::cell::Cell;
use std::os::fd::RawFd;

use crate::event_loop::{self, Direction, Loop};
use crate::ffi::{Instance, Object, Own, Res};

use super::{Callback, Future, arrived, new_future};

/// A future done when the descriptor is ready.
pub(crate) fn wait_for(this: &Instance<Loop>, direction: Direction, fd: &Object) -> Res<Own<Future>> {
    this.check_usable()?;
    wait_on(this, direction, || event_loop::free_number(this, fd))
}

/// The same for a descriptor that is asked for last: making the future may run Python.
pub(crate) fn wait_on(
    this: &Instance<Loop>,
    direction: Direction,
    descriptor: impl FnOnce() -> Res<RawFd>,
) -> Res<Own<Future>> {
    let future = new_future(this)?;
    let fd = descriptor()?;
    let token = Cell::new(None);
    let ready = arrived(future.clone());
    this.watch_once(fd, direction, ready, |registration| token.set(Some(registration)))?;
    if let Some(registration) = token.get() {
        // The first of a new future, which has room for it.
        future.callbacks().push(Callback::Unwatch(registration))?;
    }
    Ok(future)
}
