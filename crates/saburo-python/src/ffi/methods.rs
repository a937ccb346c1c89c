//! Methods written in C, given to a class that derives from theirs as its own.
//!
//! The interpreter calls such a method directly where it stands in the very class of the object. For one that
//! is inherited it tries that in vain each time, goes the general way, and walks through the bases until it
//! has found the class that the method was written for.

use super::python as ffi;

use super::class::Class;
use super::error::{Res, builtin, raise};
use super::object::{Obj, Object};

/// Gives `derived`, a class that derives from `T`, the methods of `T` that it inherits unchanged. Nothing
/// happens if it is `T` itself.
pub(crate) fn copy_inherited<T: Class>(derived: &Object) -> Res<()> {
    let class = T::cell().class();
    if derived.as_ptr().cast() == class {
        return Ok(());
    }
    // SAFETY: both are live; the first check makes the cast of the second right.
    let derives = unsafe {
        ffi::PyType_Check(derived.as_ptr()) != 0 && ffi::PyType_IsSubtype(derived.as_ptr().cast(), class) != 0
    };
    if !derives {
        return raise(builtin::type_error(), "what inherits methods is a class that derives from theirs");
    }
    // SAFETY: a class keeps its table of methods, which ends with one that has no name. The descriptor refers
    // to the entry, which is never freed, and looks at each object whether it is an instance of `derived`, as
    // are all that derive from it; so the function gets what it was written for. New references or null.
    unsafe {
        let class_object = Object::from_ptr(class.cast());
        let mut method = (*class).tp_methods;
        while !(*method).ml_name.is_null() {
            let name = Obj::from_new(ffi::PyUnicode_InternFromString((*method).ml_name))?;
            let is_plain = (*method).ml_flags & (ffi::METH_CLASS | ffi::METH_STATIC) == 0;
            // What stands in a class, not bound to it: one object, as long as nobody has put another before
            // it.
            if is_plain && derived.attr(&name)?.is(&*class_object.attr(&name)?) {
                let own = Obj::from_new(ffi::PyDescr_NewMethod(derived.as_ptr().cast(), method))?;
                derived.set_attr(&name, &own)?;
            }
            method = method.add(1);
        }
    }
    Ok(())
}
