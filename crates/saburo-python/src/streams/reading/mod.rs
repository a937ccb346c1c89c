//! Reading: the bodies of the coroutines of a StreamReader.
//!
//! Each coroutine looks at the received bytes, and takes its result or waits for more and looks again. A
//! coroutine that need not wait runs to its end in its first step. What each reads is a [`Way`] of reading.

mod count;
mod exactly;
mod line;
mod overrun;
mod read;
mod until;
mod wait_for_data;

use std::borrow::Cow;

use crate::coroutine::{self, Body, Next, Resumed, emptied};
use crate::ffi::{Holds, Instance, Obj, Object, Own, Raised, Res, Slot, fields, raise_given};
use crate::names::names;

use super::reader::{self, StreamReader};

pub(super) use exactly::readexactly;
pub(super) use line::{next_line, readline};
pub(super) use read::read;
pub(super) use until::readuntil;
pub(super) use wait_for_data::wait_for_data;

/// One way of reading: what a coroutine reads, and how far it is.
trait Way: Holds + 'static {
    /// The name of the coroutine.
    const QUALNAME: &'static str;

    /// The function that an error about waiting names.
    fn waiting_function(&self) -> Res<Cow<'static, str>>;
    /// Checks the arguments, and that nothing is read after an exception. A returned value ends the reading.
    fn begin(&self, reader: &Instance<StreamReader>) -> Res<Option<Obj>>;
    /// Takes the coroutine's result, if it is there. `waited` is true if the coroutine has waited since the
    /// last look.
    fn look(&self, reader: &Instance<StreamReader>, waited: bool) -> Res<Look>;
}

/// The result of looking at the buffer.
enum Look {
    Took(Obj),
    /// More must come. The reader hands over the first bytes as they are, at most this many; 0 if the
    /// coroutine needs to look at them.
    Wait(usize),
}

/// The body of a coroutine that reads.
struct Reading<W> {
    reader: Slot<Own<StreamReader>>,
    way: W,
}

/// The coroutine of one call.
#[inline]
fn start<W: Way>(reader: &Instance<StreamReader>, way: W) -> Res<Obj> {
    let body = Reading { reader: Slot::new(Some(reader.to_own())), way };
    coroutine::start(body, reader.debug())
}

impl<W: Way> Body for Reading<W> {
    fn qualname(&self) -> &'static str {
        W::QUALNAME
    }

    #[inline]
    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let Some(reader) = self.reader.get() else { return emptied() };
        let waited = match resumed {
            Resumed::Started => {
                if let Some(taken) = self.way.begin(&reader)? {
                    return Ok(Next::Return(taken));
                }
                false
            }
            Resumed::Awaited(outcome) => {
                // However the wait ended, no coroutine waits any more.
                reader.waiting.end();
                outcome?;
                true
            }
        };
        match self.way.look(&reader, waited)? {
            Look::Took(taken) => Ok(Next::Return(taken)),
            Look::Wait(takes) => {
                reader::begin_to_wait(&reader, takes, &self.way.waiting_function()?).map(Next::Await)
            }
        }
    }
}

impl<W: Way> Holds for Reading<W> {
    fields! {
        part;
        objects { reader, way }
    }
}

#[inline]
fn check_exception(reader: &Instance<StreamReader>) -> Res<()> {
    match reader.exception.get() {
        Some(exception) => raise_given(&exception),
        None => Ok(()),
    }
}

/// The stream has ended too early: IncompleteReadError, with the bytes that were there.
#[cold]
fn incomplete(partial: &Object, expected: &Object) -> Res<Look> {
    Err(Raised::raising(&*names().incomplete_read_error.call(&[partial, expected])?))
}
