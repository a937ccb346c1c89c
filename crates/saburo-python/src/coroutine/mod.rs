//! Coroutines whose body is Rust: what `reader.readline()` and `loop.sock_recv()` return.
//!
//! To Python each is a `collections.abc.Coroutine`: it can be awaited, made a task of, timed out and closed.
//! There is one class of them. What differs from one coroutine to the next is its [`Body`], which says what to
//! await and what to return; when it runs is decided in `drive`.

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

/// What a coroutine does, and what a coroutine of Python's has in its frame.
pub(crate) trait Body: Holds + 'static {
    /// What the coroutine is called, such as `StreamReader.read`.
    fn qualname(&self) -> &'static str;
    /// Runs up to the next `await`, or to the end. Then it is emptied, and never runs again.
    fn go_on(&self, resumed: Resumed) -> Res<Next>;
}

/// Why a body runs.
pub(crate) enum Resumed {
    /// For the first time.
    Started,
    /// What it awaited has come to this. An exception may also have been thrown into the coroutine.
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
    /// Where it was made, in debug mode.
    origin: Slot,
    awaiting: Awaiting,
    body: Inline<dyn Body, BODY_WORDS>,
}

/// Room for every body there is. With it an instance is of 128 bytes, the collector's head included.
const BODY_WORDS: usize = 7;

/// The coroutine of one call; in debug mode it remembers by whom it was made.
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

/// Is it a coroutine whose body is Rust?
#[inline]
pub(crate) fn is_native(object: &Object) -> bool {
    object.cast_exact::<Coroutine>().is_some()
}

/// A coroutine that the collector has emptied answers this, to a finalizer that resumes it.
#[cold]
pub(crate) fn emptied<T>() -> Res<T> {
    raise(builtin::runtime_error(), "cannot reuse already awaited coroutine")
}
