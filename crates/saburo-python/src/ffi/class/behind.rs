//! Instances behind a trait: what can be held and called without knowing the class.

use std::marker::PhantomData;
use std::mem;
use std::ops::Deref;
use std::ptr::NonNull;

use super::super::object::{Obj, Object};
use super::{Class, Instance, Own, ffi};

/// An owned reference to an instance of which no more is known than that it has the trait `D`: two words.
pub(crate) struct Behind<D: ?Sized>(NonNull<D>);

impl<D: ?Sized> Behind<D> {
    /// `seen` shows the instance as what is known of it.
    #[inline]
    pub(crate) fn new<T: Class>(own: Own<T>, seen: impl FnOnce(&Instance<T>) -> &D) -> Behind<D> {
        let seen = NonNull::from(seen(&own));
        assert!(
            seen.cast().as_ptr() == own.as_object().as_ptr(),
            "an instance must be shown, and nothing else"
        );
        mem::forget(own);
        Behind(seen)
    }

    #[inline]
    pub(crate) fn as_object(&self) -> &Object {
        // SAFETY: it points at the instance that `new` was given, of which this owns a reference.
        unsafe { Object::from_ptr(self.0.as_ptr().cast::<ffi::PyObject>()) }
    }

    #[inline]
    pub(crate) fn into_obj(self) -> Obj {
        let object = self.0.as_ptr().cast::<ffi::PyObject>();
        mem::forget(self);
        // SAFETY: as above; the reference is passed on.
        unsafe { Obj::from_new_or_null(object) }.expect("made of what is not null")
    }
}

impl<D: ?Sized> Deref for Behind<D> {
    type Target = D;

    #[inline]
    fn deref(&self) -> &D {
        // SAFETY: the instance that `new` was given, alive as long as this owns a reference to it.
        unsafe { self.0.as_ref() }
    }
}

impl<D: ?Sized> Clone for Behind<D> {
    #[inline]
    fn clone(&self) -> Behind<D> {
        mem::forget(self.as_object().to_obj());
        Behind(self.0)
    }
}

impl<D: ?Sized> Drop for Behind<D> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and like any object it lives on an attached thread.
        unsafe { ffi::Py_DECREF(self.0.as_ptr().cast()) }
    }
}

/// An instance in one of several roles: it can have a trait more than once, each time with another `Role`.
#[repr(transparent)]
pub(crate) struct In<Role, T: Class>(Instance<T>, PhantomData<Role>);

impl<T: Class> Instance<T> {
    #[inline]
    pub(crate) fn in_role<Role>(&self) -> &In<Role, T> {
        // SAFETY: the same layout, and the role has none.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }
}

impl<Role, T: Class> Deref for In<Role, T> {
    type Target = Instance<T>;

    #[inline]
    fn deref(&self) -> &Instance<T> {
        &self.0
    }
}
