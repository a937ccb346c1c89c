//! What `instance.__class__` is: asyncio's class, for `isinstance(task, asyncio.Task)` asks that.
//!
//! Of a class derived from ours it is both that class and asyncio's: see `python/saburo/_derived_classes.py`.

use crate::ffi::{Class, Instance, Obj, Res};
use crate::names::stand_in_for;

/// `__class__` of an instance that `isinstance` is to take for one of `theirs`.
pub(crate) fn reported_class<T: Class>(this: &Instance<T>, theirs: &Obj) -> Res<Obj> {
    let this = this.as_object();
    if this.cast_exact::<T>().is_some() {
        return Ok(theirs.clone());
    }
    stand_in_for()?.call(&[&*this.type_of(), theirs])
}
