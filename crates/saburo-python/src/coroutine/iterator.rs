//! The result of `coro.__await__()`: an iterator, as for every awaitable. `await coro` itself does not use
//! it.

use std::ffi::CStr;

use crate::ffi::{Args, Builder, Class, Instance, Obj, Object, Own, Res, Slot, builtin, fields, raise, send};
use crate::names::names;

/// The iterator. It drives its coroutine and has no other state.
pub(crate) struct CoroutineIter {
    coroutine: Slot,
}

/// `coro.__await__()`
pub(super) fn over(coroutine: &Object) -> Res<Obj> {
    Instance::alloc(CoroutineIter { coroutine: Slot::new(Some(coroutine.to_obj())) }).map(Own::into_obj)
}

/// `yield from coro` calls this. As with a coroutine of Python's, only a generator that `types.coroutine` has
/// marked can iterate over one of ours.
pub(super) fn check_iterable() -> Res<()> {
    const GENERATOR: i64 = 0x20;
    const ITERABLE_COROUTINE: i64 = 0x100;
    let names = names();
    let flags = names.get_frame.call0()?.attr(&names.f_code)?.attr(&names.co_flags)?.as_i64()?;
    if flags & ITERABLE_COROUTINE != 0 {
        return Ok(());
    }
    raise(
        builtin::type_error(),
        if flags & GENERATOR != 0 {
            "cannot 'yield from' a coroutine object in a non-coroutine generator"
        } else {
            "'coroutine' object is not iterable"
        },
    )
}

impl CoroutineIter {
    fn coroutine(&self) -> Res<Obj> {
        match self.coroutine.get() {
            Some(coroutine) => Ok(coroutine),
            // The collector has emptied the iterator.
            None => raise(builtin::runtime_error(), "cannot reuse already awaited coroutine"),
        }
    }
}

impl Class for CoroutineIter {
    fields! {
        class;
        objects { coroutine }
    }

    const NAME: &'static CStr = c"saburo.CoroutineIter";
    const DOC: &'static CStr = c"What coro.__await__() returns, of a coroutine of saburo's.";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;

    fn describe(builder: Builder<CoroutineIter>) -> Builder<CoroutineIter> {
        builder
            .iter(|this| Ok(this.as_object().to_obj()))
            .step(|this| send(&*this.coroutine()?))
            .one(
                c"send",
                |this, value| this.coroutine()?.method(&names().send, &[value]),
                c"send(value): runs the coroutine to the next suspension.",
            )
            .many(
                c"throw",
                |this, args: Args<'_>| this.coroutine()?.method(&names().throw, args.positional()),
                c"throw(typ, val=None, tb=None, /): raises an exception where the coroutine waits.",
            )
            .noargs(
                c"close",
                |this| this.coroutine()?.method(&names().close, &[]).map(drop),
                c"Raises GeneratorExit where the coroutine waits.",
            )
    }
}
