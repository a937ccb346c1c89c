//! What a coroutine of ours waits for between two of its steps: `await` in Rust.
//!
//! A future of ours is yielded as it is, without an iterator. Anything else is driven through its own, as
//! the interpreter would: steps, exceptions and the end are passed on to it.

use crate::ffi::{Holds, Obj, Object, Raised, Res, Sent, Slot, builtin, deeper, fields, none, send, throw};
use crate::future::{self, Future};
use crate::names::names;

use super::Coroutine;

/// What is being awaited. Nothing during a bare `yield`.
#[derive(Default)]
pub(super) struct Awaiting {
    /// A future of ours, or the iterator of something else.
    inner: Slot,
}

impl Awaiting {
    /// `await awaitable`: it returns at once, or yields what the whole coroutine is to yield.
    #[inline]
    pub(super) fn begin(&self, awaitable: Obj) -> Res<Sent> {
        if awaitable.cast_exact::<Future>().is_some() {
            self.inner.set(Some(awaitable));
        } else {
            self.inner.set(Some(iterator_of(&awaitable)?));
        }
        self.step()
    }

    /// Goes on waiting, or returns what was awaited.
    #[inline]
    pub(super) fn step(&self) -> Res<Sent> {
        let Some(inner) = self.inner.get() else { return Ok(Sent::Returned(none())) };
        let sent = match inner.cast_exact::<Future>() {
            Some(future) => future::step(future),
            None => step(&inner),
        };
        self.kept_if_yielded(sent)
    }

    /// Raises an exception where it waits.
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

/// One step of what is awaited. It may be one of ours, which waits for another, and so on, without a frame of
/// Python's that would be counted.
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

/// What the interpreter resumes for `await awaitable`.
#[cold]
fn iterator_of(awaitable: &Object) -> Res<Obj> {
    if let Some(coroutine) = awaitable.cast_exact::<Coroutine>() {
        // Not by calling __await__: where calls are too deep for one more, that would leave a coroutine that
        // nobody has begun, and Python would complain of it.
        coroutine.check_not_awaited()?;
        return Ok(awaitable.to_obj());
    }
    if awaitable.is_exact_coroutine() {
        return Ok(awaitable.to_obj());
    }
    awaitable.method(&names().dunder_await, &[])
}

/// The end of a coroutine is the end of what it waits for; other exceptions it may answer.
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
