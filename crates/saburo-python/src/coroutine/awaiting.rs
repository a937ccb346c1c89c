//! The object that a coroutine of ours waits for between two of its steps: `await` in Rust.
//!
//! A future of ours is yielded directly, without an iterator. Any other object is driven through its own
//! iterator, as the interpreter does: steps, exceptions and the end are passed on to it.

use crate::ffi::{Holds, Obj, Object, Raised, Res, Sent, Slot, builtin, deeper, fields, none, send, throw};
use crate::future::{self, Future};
use crate::names::names;

use super::Coroutine;

/// The object being awaited. Empty during a bare `yield`.
#[derive(Default)]
pub(super) struct Awaiting {
    /// A future of ours, or the iterator of another object.
    inner: Slot,
}

impl Awaiting {
    /// `await awaitable`: returns at once, or yields the object that the whole coroutine is to yield.
    #[inline]
    pub(super) fn begin(&self, awaitable: Obj) -> Res<Sent> {
        if awaitable.cast_exact::<Future>().is_some() {
            self.inner.set(Some(awaitable));
        } else {
            self.inner.set(Some(iterator_of(&awaitable)?));
        }
        self.step()
    }

    /// Continues the wait, or returns the result.
    #[inline]
    pub(super) fn step(&self) -> Res<Sent> {
        let Some(inner) = self.inner.get() else { return Ok(Sent::Returned(none())) };
        let sent = match inner.cast_exact::<Future>() {
            Some(future) => future::step(future),
            None => step(&inner),
        };
        self.kept_if_yielded(sent)
    }

    /// Raises an exception inside the awaited object.
    #[cold]
    pub(super) fn throw(&self, exception: Obj) -> Res<Sent> {
        let Some(inner) = self.inner.get() else { return Err(Raised::with(exception)) };
        let sent = match inner.cast_exact::<Future>() {
            Some(_) => Err(Raised::with(exception)),
            None => throw_into(&inner, exception),
        };
        self.kept_if_yielded(sent)
    }

    #[inline]
    fn kept_if_yielded(&self, sent: Res<Sent>) -> Res<Sent> {
        if !matches!(sent, Ok(Sent::Yielded(_))) {
            self.inner.set(None);
        }
        sent
    }
}

impl Holds for Awaiting {
    fields! {
        part;
        objects { inner }
    }
}

/// One step of the awaited object. It may be a coroutine of ours, which waits for another, and so on, without
/// a Python frame that would be counted.
#[cold]
fn step(inner: &Object) -> Res<Sent> {
    if inner.is_exact_coroutine() {
        return send(inner);
    }
    let mut entered = false;
    let sent = deeper(|| {
        entered = true;
        send(inner)
    });
    if !entered && let Some(coroutine) = inner.cast_exact::<Coroutine>() {
        coroutine.fail_to_begin();
    }
    sent
}

/// The object that the interpreter resumes for `await awaitable`.
#[cold]
fn iterator_of(awaitable: &Object) -> Res<Obj> {
    if let Some(coroutine) = awaitable.cast_exact::<Coroutine>() {
        // `__await__` is not called: if the calls are too deep for one more, that would leave a coroutine
        // that was never started, and Python would warn.
        coroutine.check_not_awaited()?;
        return Ok(awaitable.to_obj());
    }
    if awaitable.is_exact_coroutine() {
        return Ok(awaitable.to_obj());
    }
    awaitable.method(&names().dunder_await, &[])
}

/// GeneratorExit closes the awaited object; other exceptions are thrown into it, and it may handle them.
#[cold]
fn throw_into(inner: &Object, exception: Obj) -> Res<Sent> {
    let names = names();
    if exception.is_instance(builtin::generator_exit())? {
        if let Some(close) = inner.attr_opt(&names.close)? {
            close.call0()?;
        }
        return Err(Raised::with(exception));
    }
    if inner.attr_opt(&names.throw)?.is_none() {
        return Err(Raised::with(exception));
    }
    throw(inner, &names.throw, &exception)
}
