//! contextvars: copying the current context, and running inside one.

use super::python as ffi;

use super::error::{Raised, Res, builtin, raise};
use super::object::{Obj, Object, intern};

/// A `contextvars.Context`.
#[derive(Clone)]
pub(crate) struct Context(Obj);

impl Context {
    /// `contextvars.copy_context()`.
    #[inline]
    pub(crate) fn copy_current() -> Res<Context> {
        // SAFETY: new reference or null.
        Ok(Context(unsafe { Obj::from_new(ffi::PyContext_CopyCurrent())? }))
    }

    /// `self.copy()`.
    pub(crate) fn copied(&self) -> Res<Context> {
        // SAFETY: a live object, which the call checks to be a context; new reference or null.
        Ok(Context(unsafe { Obj::from_new(ffi::PyContext_Copy(self.0.as_ptr()))? }))
    }

    /// Takes an object that must be a context.
    pub(crate) fn checked(object: Obj) -> Res<Context> {
        if !object.is_context() {
            let class = object.type_of().attr(&*intern(c"__name__")?)?.display()?;
            return raise(builtin::type_error(), &format!("a contextvars.Context was expected, got {class}"));
        }
        Ok(Context(object))
    }

    /// Takes an object that should be a context; anything else is asyncio's own error at the first run.
    pub(crate) fn from_obj(object: Obj) -> Context {
        Context(object)
    }

    pub(crate) fn as_object(&self) -> &Object {
        &self.0
    }

    pub(crate) fn into_obj(self) -> Obj {
        self.0
    }
}

/// Runs `body` inside `context`; RuntimeError if it is entered already, TypeError if it is no context.
#[inline]
pub(crate) fn inside<R>(context: &Object, body: impl FnOnce() -> Res<R>) -> Res<R> {
    // SAFETY: PyContext_Enter checks the type itself.
    Raised::check(unsafe { ffi::PyContext_Enter(context.as_ptr()) })?;
    /// Leaves the context also when the body panics.
    struct Exit<'a>(&'a Object);
    impl Drop for Exit<'_> {
        #[inline]
        fn drop(&mut self) {
            // SAFETY: entered above on this thread. Leaving what was entered last cannot fail, and
            // does not touch the error indicator.
            unsafe { ffi::PyContext_Exit(self.0.as_ptr()) };
        }
    }
    let _exit = Exit(context);
    body()
}
