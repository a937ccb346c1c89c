//! A piece that is longer than the reader's limit.

use saburo_core::{Search, Sought};

use crate::ffi::{Instance, Obj, Res, int, string};
use crate::names::names;

use crate::streams::reader::StreamReader;

pub(super) const NEWLINE: &[&[u8]] = &[b"\n"];

/// Applies a limit that is not an int to the result of a search without a limit, which had begun at `begun`.
#[cold]
pub(super) fn within_limit(
    reader: &Instance<StreamReader>,
    sought: Sought,
    begun: usize,
    search: &Search,
) -> Res<Sought> {
    let is_too_far = |place: usize| int(place as i64)?.is_more_than(&reader.limit.given());
    Ok(match sought {
        Sought::Found(separator) if is_too_far(separator.start)? => Sought::FoundTooFar(separator.start),
        Sought::Missing if search.searched() > begun && is_too_far(search.searched())? => {
            Sought::MissingTooFar(search.searched())
        }
        within => within,
    })
}

/// The LimitOverrunError, and the number of bytes that it reports as no separator.
#[cold]
pub(super) fn overrun(too_far: &Sought) -> Res<(Obj, usize)> {
    let (message, consumed) = match *too_far {
        Sought::FoundTooFar(start) => ("Separator is found, but chunk is longer than limit", start),
        Sought::MissingTooFar(searched) => ("Separator is not found, and chunk exceed the limit", searched),
        Sought::Found(_) | Sought::Missing => unreachable!("{too_far:?} is within the limit"),
    };
    let error = names().limit_overrun_error.call(&[&*string(message)?, &*int(consumed as i64)?])?;
    Ok((error, consumed))
}
