//! `readexactly(n)`

use std::borrow::Cow;
use std::cell::Cell;

use crate::ffi::{
    Args, Holds, Instance, Obj, Object, Params, Res, Slot, builtin, bytes, fields, none, raise,
};

use super::count::Count;
use super::{Look, Way, check_exception, incomplete, reader, start};
use crate::streams::reader::StreamReader;

struct Exactly {
    given: Slot,
    /// The count as a number, which is read when the reading begins.
    count: Cell<usize>,
}

#[inline]
pub(in crate::streams) fn readexactly(this: &Instance<StreamReader>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<1> =
        Params { function: "StreamReader.readexactly", names: ["n"], required: 1, positional: 1 };
    let given = match (args.positional(), args.names()) {
        (&[count], None) => Some(count),
        _ => args.bind(&PARAMS)?[0],
    };
    start(this, Exactly { given: Slot::new(given.map(Object::to_obj)), count: Cell::new(0) })
}

impl Exactly {
    fn given(&self) -> Obj {
        self.given.get().unwrap_or_else(none)
    }
}

impl Way for Exactly {
    const QUALNAME: &'static str = "StreamReader.readexactly";

    fn waiting_function(&self) -> Res<Cow<'static, str>> {
        Ok("readexactly".into())
    }

    #[inline]
    fn begin(&self, reader: &Instance<StreamReader>) -> Res<Option<Obj>> {
        let Count::Exactly(count) = Count::of(&self.given())? else {
            return raise(builtin::value_error(), "readexactly size can not be less than zero");
        };
        check_exception(reader)?;
        if count == 0 {
            return bytes(b"").map(Some);
        }
        self.count.set(count);
        Ok(None)
    }

    #[inline]
    fn look(&self, reader: &Instance<StreamReader>, _waited: bool) -> Res<Look> {
        let count = self.count.get();
        if reader.received.len()? < count {
            if reader.eof.get() {
                let partial = reader.received.take(usize::MAX)?;
                return incomplete(&partial, &self.given());
            }
            return Ok(Look::Wait(0));
        }
        let taken = reader.received.take(count)?;
        reader::resume_if_little(reader)?;
        Ok(Look::Took(taken))
    }
}

impl Holds for Exactly {
    fields! {
        part;
        objects { given }
        plain { count }
    }
}
