//! `readuntil(separator=b"\n")`

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use saburo_core::{Search, Sought};

use crate::ffi::{
    Args, Holds, Instance, Obj, Object, Params, Raised, Res, Slot, builtin, fields, lend, none, raise,
};
use crate::names::names;

use super::overrun::{NEWLINE, overrun, within_limit};
use super::{Look, Way, check_exception, incomplete, reader, start};
use crate::streams::reader::StreamReader;
use crate::streams::received;

struct Until {
    /// The separator or the separators. None for a newline.
    given: Slot,
    /// Copies of the separators, the shortest first, unless there is a single `bytes`.
    several: OnceCell<Box<[Vec<u8>]>>,
    search: Cell<Search>,
}

pub(in crate::streams) fn readuntil(this: &Instance<StreamReader>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<1> =
        Params { function: "StreamReader.readuntil", names: ["separator"], required: 0, positional: 1 };
    let [separator] = args.bind(&PARAMS)?;
    let given = Slot::new(separator.map(Object::to_obj));
    start(this, Until { given, several: OnceCell::new(), search: Cell::new(Search::new()) })
}

impl Way for Until {
    const QUALNAME: &'static str = "StreamReader.readuntil";

    fn waiting_function(&self) -> Res<Cow<'static, str>> {
        Ok("readuntil".into())
    }

    fn begin(&self, reader: &Instance<StreamReader>) -> Res<Option<Obj>> {
        if let Some(given) = self.given.get()
            && let Some(several) = separators(&given)?
        {
            // Unset until now: a body begins only once.
            let _ = self.several.set(several);
        }
        check_exception(reader)?;
        Ok(None)
    }

    fn look(&self, reader: &Instance<StreamReader>, _waited: bool) -> Res<Look> {
        let mut search = self.search.get();
        let given = self.given.get();
        let number = reader.limit.number();
        let limit = number.unwrap_or(isize::MAX);
        let begun = search.searched();
        // A single `bytes` cannot change, so the search uses it without a copy.
        let one = given.as_deref().and_then(Object::as_bytes);
        let sought = reader.received.look(|unread| match (self.several.get(), one) {
            (Some(several), _) => search.go_on(unread, several, limit),
            (None, Some(one)) => search.go_on(unread, &[one], limit),
            (None, None) => search.go_on(unread, NEWLINE, limit),
        })?;
        let sought = if number.is_some() { sought } else { within_limit(reader, sought, begun, &search)? };
        match sought {
            Sought::Found(separator) => {
                let piece = reader.received.take(separator.end)?;
                reader::resume_if_little(reader)?;
                Ok(Look::Took(piece))
            }
            Sought::Missing if reader.eof.get() => {
                let partial = reader.received.take(usize::MAX)?;
                incomplete(&partial, &none())
            }
            Sought::Missing => {
                self.search.set(search);
                Ok(Look::Wait(0))
            }
            too_far => Err(Raised::raising(&overrun(&too_far)?.0)),
        }
    }
}

impl Holds for Until {
    fields! {
        part;
        objects { given }
        plain { several, search }
    }
}

/// Copies of the separators, the shortest first; None for a single `bytes`.
fn separators(given: &Object) -> Res<Option<Box<[Vec<u8>]>>> {
    if let Some(one) = given.as_bytes() {
        return if one.is_empty() { no_separator() } else { Ok(None) };
    }
    let mut separators = Vec::new();
    if given.is_tuple() {
        let mut index = 0;
        while let Some(separator) = given.tuple_item(index) {
            separators.push(copied(&separator)?);
            index += 1;
        }
        if separators.is_empty() {
            return raise(builtin::value_error(), "Separator should contain at least one element");
        }
    } else {
        separators.push(copied(given)?);
    }
    separators.sort_by_key(Vec::len);
    if separators[0].is_empty() {
        return no_separator();
    }
    Ok(Some(separators.into_boxed_slice()))
}

fn no_separator<T>() -> Res<T> {
    raise(builtin::value_error(), "Separator should be at least one-byte string")
}

fn copied(separator: &Object) -> Res<Vec<u8>> {
    if separator.has_buffer() {
        return Ok(lend(separator, received::copy)??);
    }
    // asyncio asks for the length first.
    if separator.len()? == 0 {
        return Ok(Vec::new());
    }
    let class = separator.type_of().attr(&names().dunder_name)?.display()?;
    raise(builtin::type_error(), &format!("argument should be integer or bytes-like object, not '{class}'"))
}
