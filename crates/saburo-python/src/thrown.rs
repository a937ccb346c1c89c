//! The arguments of an awaitable's `throw()`.

use crate::ffi::{Args, Obj, Res, builtin, raise, warn_deprecated};
use crate::names::names;

/// The exception in the arguments of `throw(type_or_exception[, value[, traceback]])`.
pub(crate) fn thrown(args: Args<'_>) -> Res<Obj> {
    let &[class_or_instance, ref rest @ ..] = args.positional() else {
        return raise(builtin::type_error(), "throw() needs an exception");
    };
    if !rest.is_empty() && cfg!(Py_3_12) {
        // As every generator of these versions does.
        warn_deprecated(
            c"the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.",
        )?;
    }
    let value = rest.first().filter(|value| !value.is_none());
    let traceback = rest.get(1).filter(|traceback| !traceback.is_none());
    let exception = if class_or_instance.is_exception_class() {
        match value {
            Some(value) if value.is_instance(class_or_instance)? => value.to_obj(),
            Some(value) => class_or_instance.call(&[value])?,
            None => class_or_instance.call0()?,
        }
    } else if class_or_instance.is_exception() {
        if value.is_some() {
            return raise(builtin::type_error(), "instance exception may not have a separate value");
        }
        class_or_instance.to_obj()
    } else {
        return raise(
            builtin::type_error(),
            "exceptions must be classes deriving BaseException or instances of such a class",
        );
    };
    if let Some(traceback) = traceback {
        if !traceback.is_instance(&names().traceback_class)? {
            return raise(builtin::type_error(), "throw() third argument must be a traceback");
        }
        exception.set_traceback(Some(traceback))?;
    }
    Ok(exception)
}
