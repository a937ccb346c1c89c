//! `read(n=-1)`: the bytes that are there, at most `n`; or all up to the end of the stream.

use std::borrow::Cow;
use std::cell::Cell;
use std::num::NonZeroUsize;

use crate::ffi::{
    Args, Holds, Instance, Obj, Object, Params, Res, Slot, Visit, builtin, bytes, fields, int, raise,
};

use super::count::Count;
use super::{Look, Way, check_exception, reader, start};
use crate::streams::reader::StreamReader;

struct Read {
    given: Slot,
    /// The count as a number, which is read when the reading begins. None for all.
    count: Cell<Option<NonZeroUsize>>,
    collected: Collected,
}

/// The bytes read so far, up to the end of the stream.
#[derive(Default)]
struct Collected(Cell<Vec<u8>>);

#[inline]
pub(in crate::streams) fn read(this: &Instance<StreamReader>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<1> =
        Params { function: "StreamReader.read", names: ["n"], required: 0, positional: 1 };
    let given = match (args.positional(), args.names()) {
        (&[count], None) => Some(count),
        _ => args.bind(&PARAMS)?[0],
    };
    let given = Slot::new(given.map(Object::to_obj));
    start(this, Read { given, count: Cell::new(None), collected: Collected::default() })
}

impl Way for Read {
    const QUALNAME: &'static str = "StreamReader.read";

    fn waiting_function(&self) -> Res<Cow<'static, str>> {
        Ok("read".into())
    }

    #[inline]
    fn begin(&self, reader: &Instance<StreamReader>) -> Res<Option<Obj>> {
        check_exception(reader)?;
        match self.given.get().map_or(Ok(Count::All), |count| Count::of(&count))? {
            Count::Exactly(0) => return bytes(b"").map(Some),
            Count::Exactly(count) => self.count.set(NonZeroUsize::new(count)),
            Count::All => {}
        }
        Ok(None)
    }

    #[inline]
    fn look(&self, reader: &Instance<StreamReader>, waited: bool) -> Res<Look> {
        match self.count.get() {
            Some(count) => read_some(reader, count.get(), waited),
            None => self.collected.read_all(reader, waited),
        }
    }
}

impl Holds for Read {
    fields! {
        part;
        objects { given, collected }
        plain { count }
    }
}

/// After a wait an empty result is allowed, as in asyncio: other code may have read the bytes first.
#[inline]
fn read_some(reader: &Instance<StreamReader>, count: usize, waited: bool) -> Res<Look> {
    let taken = reader.received.take(count)?;
    if taken.as_bytes().is_some_and(<[u8]>::is_empty) && !reader.eof.get() && !waited {
        return Ok(Look::Wait(count));
    }
    reader::resume_if_little(reader)?;
    Ok(Look::Took(taken))
}

impl Collected {
    /// Reads up to the end of the stream, as if in reads of as many bytes as the limit allows.
    fn read_all(&self, reader: &Instance<StreamReader>, mut waited: bool) -> Res<Look> {
        loop {
            if !waited {
                check_exception(reader)?;
                if reader.limit.number().is_none_or(|limit| limit <= 0) && reads_nothing(reader)? {
                    return self.all();
                }
            }
            let unread = reader.received.len()?;
            if unread == 0 && !reader.eof.get() && !waited {
                return Ok(Look::Wait(0));
            }
            if reader.limit.number().is_none() {
                // A limit that cannot be a place in the buffer is an error here.
                reader.limit.given().check_slice_end()?;
            }
            if unread == 0 {
                reader::resume_if_little(reader)?;
                return self.all();
            }
            waited = false;
            let count = match reader.limit.number() {
                // When an exception ends the reading, the rest of the bytes stays in the buffer.
                Some(limit) if limit > 0 && reader.exception.is_set() => limit as usize,
                // Resuming the transport may bring such an exception.
                Some(limit) if limit > 0 && reader.is_paused() => {
                    let limit = limit as usize;
                    unread.saturating_sub(limit).div_ceil(limit).max(1).saturating_mul(limit)
                }
                _ => unread,
            };
            // Taken out of its cell meanwhile: resuming the transport runs any code.
            let mut collected = self.0.take();
            let poured = reader.received.pour(count, &mut collected);
            self.0.set(collected);
            poured?;
            reader::resume_if_little(reader)?;
        }
    }

    fn all(&self) -> Res<Look> {
        bytes(&self.0.take()).map(Look::Took)
    }
}

impl Holds for Collected {
    fn visit(&self, _: &mut Visit<'_>) {
        // No Python objects, but the bytes are dropped like these when the coroutine ends.
    }

    fn clear(&self) {
        drop(self.0.take());
    }
}

/// True for a limit by which each read is empty. A limit below zero reads up to the end of the stream, and so
/// on.
#[cold]
fn reads_nothing(reader: &Instance<StreamReader>) -> Res<bool> {
    let (limit, zero) = (reader.limit.given(), int(0)?);
    if limit.equals(&zero)? {
        return Ok(true);
    }
    if limit.is_less_than(&zero)? {
        return raise(builtin::recursion_error(), "maximum recursion depth exceeded");
    }
    Ok(false)
}
