//! Weak references: one finds the object as long as a strong reference keeps it.

use std::ptr;

use super::python as ffi;

use super::compat;
use super::error::Res;
use super::object::{Obj, Object};

/// A weak reference to an object.
#[derive(Clone)]
pub(crate) struct Weak(Obj);

impl Weak {
    /// TypeError if the object's class does not allow it.
    pub(crate) fn to(object: &Object) -> Res<Weak> {
        // SAFETY: a live object and no callback; new reference or null.
        Ok(Weak(unsafe { Obj::from_new(ffi::PyWeakref_NewRef(object.as_ptr(), ptr::null_mut()))? }))
    }

    /// The object, while it lives.
    #[inline]
    pub(crate) fn get(&self) -> Option<Obj> {
        compat::referent(&self.0)
    }

    pub(crate) fn into_obj(self) -> Obj {
        self.0
    }

    /// The weak reference itself.
    pub(crate) fn as_object(&self) -> &Object {
        &self.0
    }
}
