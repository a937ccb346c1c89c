//! Coroutines whose body is Rust: what `reader.readline()` and `loop.sock_recv()` return.
//!
//! To Python each is a `collections.abc.Coroutine`: it can be awaited, made a task of, timed out and closed.
//! There is one class of them. Coroutines differ only in their [`Body`], which decides what to await and what
//! to return; `drive` decides when the body runs.

mod awaiting;
mod class;
mod drive;
mod iterator;
mod origin;

use std::cell::Cell;

use crate::ffi::{Holds, Inline, Instance, Obj, Object, Own, Res, Slot, Visit, builtin, raise};

use awaiting::Awaiting;
use drive::State;

pub(crate) use iterator::CoroutineIter;

/// The work of a coroutine, and the state that a coroutine of Python's has in its frame.
pub(crate) trait Body: Holds + 'static {
    /// The name of the coroutine, such as `StreamReader.read`.
    fn qualname(&self) -> &'static str;
    /// Runs up to the next `await`, or to the end. After the end the body is emptied, and never runs again.
    fn go_on(&self, resumed: Resumed) -> Res<Next>;
}

/// Why a body runs.
pub(crate) enum Resumed {
    /// The body runs for the first time.
    Started,
    /// The result of what the body awaited. An exception may also have been thrown into the coroutine.
    Awaited(Res<Obj>),
}

/// Why a body stops.
pub(crate) enum Next {
    /// `await` this.
    Await(Obj),
    /// A bare `yield`: a task goes on in the next turn.
    Yield,
    /// `return` this.
    Return(Obj),
}

/// A coroutine.
pub(crate) struct Coroutine {
    state: Cell<State>,
    was_finalized: Cell<bool>,
    /// Where the coroutine was made, in debug mode.
    origin: Slot,
    awaiting: Awaiting,
    body: Inline<dyn Body, BODY_WORDS>,
}

/// Enough room for every body. With it an instance has 128 bytes, including the collector's head.
const BODY_WORDS: usize = 7;

/// The coroutine of one call; in debug mode it remembers the code that made it.
#[inline]
pub(crate) fn start<B: Body>(body: B, debug: bool) -> Res<Obj> {
    let coroutine = Coroutine {
        state: Cell::new(State::Created),
        was_finalized: Cell::new(false),
        origin: Slot::new(if debug { origin::here()? } else { None }),
        awaiting: Awaiting::default(),
        body: inline(body),
    };
    Instance::alloc(coroutine).map(Own::into_obj)
}

#[inline]
fn inline<B: Body>(body: B) -> Inline<dyn Body, BODY_WORDS> {
    fn as_body<B: Body>(body: &B) -> &dyn Body {
        body
    }
    Inline::new(body, as_body::<B>)
}

impl Holds for Inline<dyn Body, BODY_WORDS> {
    fn visit(&self, visit: &mut Visit<'_>) {
        self.get().visit(visit);
    }

    #[inline]
    fn clear(&self) {
        self.get().clear();
    }
}

/// True for a coroutine whose body is Rust.
#[inline]
pub(crate) fn is_native(object: &Object) -> bool {
    object.cast_exact::<Coroutine>().is_some()
}

/// The error of a coroutine that the collector has emptied, for a finalizer that resumes it.
#[cold]
pub(crate) fn emptied<T>() -> Res<T> {
    raise(builtin::runtime_error(), "cannot reuse already awaited coroutine")
}
