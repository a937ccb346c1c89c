//! What a future is queued for: news of a descriptor that it waits for, or what a worker thread has got.

use crate::event_loop::{Entry, Loop, Ready};
use crate::ffi::{In, Instance, Obj, Own, Res, none};
use crate::names::names;

use super::{Future, State, cancel, exception_instance, fail, resolve};

/// Its descriptor is ready.
struct Arrived;

/// A worker thread has left a result in it.
struct Returned;

/// The same with an exception.
struct Failed;

/// Finishes the future when its descriptor is ready; cancels it if that is not to be told any more.
#[inline]
pub(super) fn arrived(future: Own<Future>) -> Ready {
    Ready::role::<Arrived, Future>(future)
}

impl Entry for In<Arrived, Future> {
    fn run(&self, _event_loop: &Instance<Loop>) -> Res<()> {
        if self.is_done() { Ok(()) } else { resolve(self, none()) }
    }

    fn cancel(&self) -> Res<bool> {
        cancel(self, None)
    }
}

/// Lays what a worker thread has got into a pending future, for the loop to make known: from another thread
/// nothing else may be done to it. The future looks as pending as before.
pub(crate) fn returned(future: Own<Future>, value: Obj) -> Ready {
    Ready::role::<Returned, Future>(leave(future, value))
}

/// The same for an exception.
pub(crate) fn failed(future: Own<Future>, exception: Obj) -> Ready {
    Ready::role::<Failed, Future>(leave(future, exception))
}

fn leave(this: Own<Future>, outcome: Obj) -> Own<Future> {
    if !this.is_done() {
        this.outcome.set(Some(outcome));
    }
    this
}

impl Entry for In<Returned, Future> {
    fn run(&self, _event_loop: &Instance<Loop>) -> Res<()> {
        match take_left(self) {
            Some(value) => resolve(self, value),
            None => Ok(()),
        }
    }
}

impl Entry for In<Failed, Future> {
    fn run(&self, _event_loop: &Instance<Loop>) -> Res<()> {
        match take_left(self) {
            // The errors of concurrent.futures become asyncio's.
            Some(exception) => {
                let exception = names().convert_exception.call(&[&exception])?;
                fail(self, exception_instance(&exception)?)
            }
            None => Ok(()),
        }
    }
}

/// What was left, unless other code has finished the future since.
fn take_left(this: &Instance<Future>) -> Option<Obj> {
    match this.state.get() {
        State::Pending => this.outcome.take(),
        State::Cancelled => {
            drop(this.outcome.take());
            None
        }
        State::Returned | State::Failed => None,
    }
}
