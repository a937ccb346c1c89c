//! `readline()`, and the lines of `async for`.

use std::borrow::Cow;
use std::cell::Cell;

use saburo_core::{Search, Sought};

use crate::ffi::{Holds, Instance, Obj, Raised, Res, builtin, fields, none};
use crate::names::names;

use super::overrun::{NEWLINE, overrun, within_limit};
use super::{Look, Way, check_exception, reader, start};
use crate::streams::reader::StreamReader;

/// A line; with `ITERATES`, the end of the stream ends the iteration.
struct Line<const ITERATES: bool> {
    search: Cell<Search>,
}

/// `readline()`
#[inline]
pub(in crate::streams) fn readline(this: &Instance<StreamReader>) -> Res<Obj> {
    start(this, Line::<false> { search: Cell::new(Search::new()) })
}

/// `__anext__()`
#[inline]
pub(in crate::streams) fn next_line(this: &Instance<StreamReader>) -> Res<Obj> {
    start(this, Line::<true> { search: Cell::new(Search::new()) })
}

impl<const ITERATES: bool> Way for Line<ITERATES> {
    const QUALNAME: &'static str = if ITERATES { "StreamReader.__anext__" } else { "StreamReader.readline" };

    fn waiting_function(&self) -> Res<Cow<'static, str>> {
        Ok("readuntil".into())
    }

    #[inline]
    fn begin(&self, reader: &Instance<StreamReader>) -> Res<Option<Obj>> {
        check_exception(reader)?;
        Ok(None)
    }

    #[inline]
    fn look(&self, reader: &Instance<StreamReader>, _waited: bool) -> Res<Look> {
        let mut search = self.search.get();
        let limit = reader.limit.number();
        let begun = search.searched();
        let sought =
            reader.received.look(|unread| search.go_on(unread, NEWLINE, limit.unwrap_or(isize::MAX)))?;
        let sought = if limit.is_some() { sought } else { within_limit(reader, sought, begun, &search)? };
        let line = match sought {
            Sought::Found(newline) => {
                let line = reader.received.take(newline.end)?;
                reader::resume_if_little(reader)?;
                line
            }
            Sought::Missing if reader.eof.get() => reader.received.take(usize::MAX)?,
            Sought::Missing => {
                self.search.set(search);
                return Ok(Look::Wait(0));
            }
            too_far => return line_too_long(reader, &too_far),
        };
        if ITERATES && line.as_bytes().is_some_and(<[u8]>::is_empty) {
            return raise_stop_async_iteration();
        }
        Ok(Look::Took(line))
    }
}

impl<const ITERATES: bool> Holds for Line<ITERATES> {
    fields! {
        part;
        objects {}
        plain { search }
    }
}

/// Drops the part of the line that has arrived: the next line may fit.
#[cold]
fn line_too_long(reader: &Instance<StreamReader>, too_far: &Sought) -> Res<Look> {
    let (error, consumed) = overrun(too_far)?;
    // As if raised, so that the error gets a context.
    let error = Raised::raising(&error).take();
    let ends_there = reader.received.look(|unread| unread.get(consumed) == Some(&b'\n'))?;
    reader.received.skip(if ends_there { consumed + 1 } else { usize::MAX })?;
    reader::resume_if_little(reader)?;
    let names = names();
    let message = error.attr(&names.args)?.tuple_item(0).unwrap_or_else(none);
    let replaced = builtin::value_error().call(&[&message])?;
    replaced.set_attr(&names.dunder_context, &error)?;
    Err(Raised::with(replaced))
}

#[cold]
fn raise_stop_async_iteration() -> Res<Look> {
    Err(Raised::raising(&*builtin::stop_async_iteration().call0()?))
}
