//! The futures that readers and drainers wait for: native on a loop of ours, the loop's own on any other.

use crate::event_loop::Loop;
use crate::ffi::{Obj, Object, Own, Res, none};
use crate::future::{self, Future, State};
use crate::names::names;

/// `event_loop.create_future()`
#[inline]
pub(super) fn make(event_loop: &Object) -> Res<Obj> {
    match event_loop.cast::<Loop>() {
        Some(native) if native.has_native_tasks() => future::new_future(native).map(Own::into_obj),
        _ => event_loop.method(&names().create_future, &[]),
    }
}

/// True if the future is done, including cancelled.
#[inline]
pub(super) fn is_done(waiter: &Object) -> Res<bool> {
    match waiter.cast_exact::<Future>() {
        Some(future) => Ok(future.is_done()),
        None => waiter.method(&names().done, &[])?.truth(),
    }
}

#[inline]
pub(super) fn is_cancelled(waiter: &Object) -> Res<bool> {
    match waiter.cast_exact::<Future>() {
        Some(future) => Ok(future.state() == State::Cancelled),
        None => waiter.method(&names().cancelled, &[])?.truth(),
    }
}

/// `waiter.set_result(None)`
#[inline]
pub(super) fn wake(waiter: &Object) -> Res<()> {
    match waiter.cast_exact::<Future>() {
        Some(future) => future::resolve(future, none()),
        None => waiter.method(&names().set_result, &[&*none()]).map(drop),
    }
}

/// `waiter.set_exception(exception)`
pub(super) fn fail(waiter: &Object, exception: &Object) -> Res<()> {
    match waiter.cast_exact::<Future>() {
        Some(future) => future::set_exception(future, exception),
        None => waiter.method(&names().set_exception, &[exception]).map(drop),
    }
}

/// Marks the future's exception as retrieved, if it has one, so that it is not logged.
pub(super) fn notice(waiter: &Object) -> Res<()> {
    match waiter.cast_exact::<Future>() {
        Some(future) => {
            future.notice();
            Ok(())
        }
        None => waiter.method(&names().exception, &[]).map(drop),
    }
}
