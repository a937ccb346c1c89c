//! `_wait_for_data(func_name)`: reads nothing, and waits until there are bytes.

use std::borrow::Cow;

use crate::ffi::{Holds, Instance, Obj, Object, Res, Slot, fields, none};

use super::{Look, Way, start};
use crate::streams::reader::StreamReader;

struct WaitForData {
    function: Slot,
}

pub(in crate::streams) fn wait_for_data(this: &Instance<StreamReader>, function: &Object) -> Res<Obj> {
    start(this, WaitForData { function: Slot::new(Some(function.to_obj())) })
}

impl Way for WaitForData {
    const QUALNAME: &'static str = "StreamReader._wait_for_data";

    fn waiting_function(&self) -> Res<Cow<'static, str>> {
        Ok(self.function.get().unwrap_or_else(none).display()?.into())
    }

    fn begin(&self, _reader: &Instance<StreamReader>) -> Res<Option<Obj>> {
        Ok(None)
    }

    fn look(&self, _reader: &Instance<StreamReader>, waited: bool) -> Res<Look> {
        Ok(if waited { Look::Took(none()) } else { Look::Wait(0) })
    }
}

impl Holds for WaitForData {
    fields! {
        part;
        objects { function }
    }
}
