//! Classes that `isinstance` takes for asyncio's: `isinstance(task, asyncio.Task)` asks `task.__class__`.

use std::ffi::CStr;

use crate::ffi::error::Res;
use crate::ffi::interpreter::Global;
use crate::ffi::object::{Obj, import};

use super::{Builder, Class, Instance};

impl<T: Class> Builder<T> {
    /// `__class__`: the class that `theirs` gives, which an instance is to be taken for. Of a class derived from
    /// ours it is both that class and theirs: see `python/saburo/_derived_classes.py`.
    pub(crate) fn reported_class<F>(self, theirs: F, doc: &'static CStr) -> Self
    where
        F: Fn(&Instance<T>) -> &'static Obj + Copy + 'static,
    {
        self.getter(c"__class__", move |this| reported_class(this, theirs(this)), doc)
    }
}

fn reported_class<T: Class>(this: &Instance<T>, theirs: &Obj) -> Res<Obj> {
    let this = this.as_object();
    if this.cast_exact::<T>().is_some() {
        return Ok(theirs.clone());
    }
    stand_in_for()?.call(&[&*this.type_of(), theirs])
}

/// Imported when the first instance of a derived class is asked for its class.
fn stand_in_for() -> Res<&'static Obj> {
    static FOUND: Global<Obj> = Global::new();
    if FOUND.get().is_none() {
        FOUND.set(import(c"saburo._derived_classes", c"stand_in_for")?);
    }
    Ok(FOUND.get().expect("set just now"))
}
