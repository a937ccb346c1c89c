//! How a transport ends: its watches end, unsent bytes are dropped, its protocol is told in the next turn,
//! and its descriptor is closed.

use std::ops::Deref;

use crate::event_loop::Loop;
use crate::ffi::{Instance, Object, Raised, Res, aside};

use super::failure;
use super::life::{ConnectionState, Life};
use super::watcher::Watcher;

/// The steps that differ between the classes of transports.
pub(super) trait Ending: Watcher + Deref<Target = Life> {
    /// Ends the watches of a transport that ends at once.
    fn stop_watching(event_loop: &Instance<Loop>, this: &Instance<Self>);

    /// Drops unsent bytes. That may run Python code, which finds the transport closing.
    fn drop_unsent(_this: &Instance<Self>) {}

    /// Closes the descriptor, once.
    fn close_descriptor(this: &Instance<Self>) -> Res<()>;

    /// Closes the descriptor and drops all references.
    fn release(event_loop: &Instance<Loop>, this: &Instance<Self>) -> Res<()> {
        this.phase.set(ConnectionState::Closed);
        let closed = Self::close_descriptor(this);
        this.part(event_loop, this.as_object());
        closed
    }

    /// The last reference to an open transport is gone.
    fn abandon(this: &Instance<Self>) -> Res<()> {
        Self::close_descriptor(this)
    }
}

/// `abort()`: ends the transport without waiting.
pub(super) fn abort<T: Ending>(this: &Instance<T>) -> Res<()> {
    match this.open_loop() {
        Some(event_loop) => force_close(&event_loop, this, None),
        None => Ok(()),
    }
}

/// `_force_close(exception)`: `abort()` because of an exception.
pub(super) fn force_close_with<T: Ending>(this: &Instance<T>, exception: &Object) -> Res<()> {
    match this.open_loop() {
        Some(event_loop) => force_close(&event_loop, this, Some(exception).filter(|cause| !cause.is_none())),
        None => Ok(()),
    }
}

/// Ends the transport without waiting. Unsent bytes are lost.
pub(super) fn force_close<T: Ending>(
    event_loop: &Instance<Loop>,
    this: &Instance<T>,
    cause: Option<&Object>,
) -> Res<()> {
    if this.phase.get() >= ConnectionState::Ending {
        return Ok(());
    }
    T::stop_watching(event_loop, this);
    let scheduled = this.schedule_lost(event_loop, this, cause);
    aside(|| T::drop_unsent(this));
    scheduled
}

/// A fatal error: it is reported, and the transport ends.
#[cold]
pub(super) fn fatal<T: Ending>(
    event_loop: &Instance<Loop>,
    this: &Instance<T>,
    raised: Raised,
    message: &str,
) -> Res<()> {
    failure::fatal(event_loop, this.as_object(), raised, message, |exception| {
        force_close(event_loop, this, Some(exception))
    })
}

/// Tells the protocol, and closes the descriptor.
pub(super) fn lost<T: Ending>(event_loop: &Instance<Loop>, this: &Instance<T>) -> Res<()> {
    if this.phase.get() == ConnectionState::Closed {
        return Ok(());
    }
    let told = this.tell_lost();
    let closed = aside(|| T::release(event_loop, this));
    told.and(closed)
}

/// The last reference is gone.
#[cold]
pub(super) fn abandoned<T: Ending>(this: &Instance<T>) {
    if this.was_left_open(this.as_object())
        && let Err(raised) = T::abandon(this)
    {
        raised.unraisable(this.as_object());
    }
}
