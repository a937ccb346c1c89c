//! The number of bytes that a caller asks for.

use crate::ffi::{Object, Res, int};

pub(super) enum Count {
    Exactly(usize),
    /// A negative number.
    All,
}

impl Count {
    pub(super) fn of(given: &Object) -> Res<Count> {
        if !given.is_int() {
            let zero = int(0)?;
            if given.is_less_than(&zero)? {
                return Ok(Count::All);
            }
            return Count::of(&*given.index()?);
        }
        match given.as_i64() {
            Ok(count) => Ok(usize::try_from(count).map_or(Count::All, Count::Exactly)),
            Err(raised) => {
                // A number too large for any size, or a negative one.
                raised.swallow();
                let is_negative = given.is_less_than(&*int(0)?)?;
                Ok(if is_negative { Count::All } else { Count::Exactly(usize::MAX) })
            }
        }
    }
}
