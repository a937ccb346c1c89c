//! A field that holds a Python object, or nothing.
//!
//! The rule: what is inside is copied out or taken out, never lent. Setting a slot first puts the
//! new value in and only then lets the old one go, because letting go can run code that looks here.

use std::cell::UnsafeCell;

use super::class::{Behind, Class, Holds, Own, Visit};
use super::context::Context;
use super::object::{Obj, Object};
use super::weak::Weak;

/// An optional reference in a field that any Python code may read or change at any time.
pub(crate) struct Slot<T: Held = Obj>(UnsafeCell<Option<T>>);

/// A reference that a [`Slot`] can hold.
///
/// # Safety
/// `Clone` does nothing but count one reference more, and `object` nothing at all.
pub(crate) unsafe trait Held: Clone {
    fn object(&self) -> &Object;
}

// SAFETY: cloning an Obj is an incref.
unsafe impl Held for Obj {
    #[inline]
    fn object(&self) -> &Object {
        self
    }
}

// SAFETY: cloning an Own is an incref.
unsafe impl<T: Class> Held for Own<T> {
    #[inline]
    fn object(&self) -> &Object {
        self.as_object()
    }
}

// SAFETY: cloning a Context is an incref.
unsafe impl Held for Context {
    #[inline]
    fn object(&self) -> &Object {
        self.as_object()
    }
}

// SAFETY: cloning a Weak is an incref of the weak reference.
unsafe impl Held for Weak {
    #[inline]
    fn object(&self) -> &Object {
        self.as_object()
    }
}

// SAFETY: cloning one is an incref.
unsafe impl<D: ?Sized> Held for Behind<D> {
    #[inline]
    fn object(&self) -> &Object {
        self.as_object()
    }
}

impl<T: Held> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot::empty()
    }
}

impl<T: Held> Slot<T> {
    pub(crate) const fn empty() -> Slot<T> {
        Slot(UnsafeCell::new(None))
    }

    #[inline]
    pub(crate) const fn new(value: Option<T>) -> Slot<T> {
        Slot(UnsafeCell::new(value))
    }

    /// A new reference to what is inside.
    #[inline]
    pub(crate) fn get(&self) -> Option<T> {
        // SAFETY: nothing runs between the read and the incref, so the reference inside is alive.
        unsafe { (*self.0.get()).clone() }
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // SAFETY: a plain read; nothing else runs meanwhile.
        unsafe { (*self.0.get()).is_some() }
    }

    /// True if this very object is inside.
    #[inline]
    pub(crate) fn holds(&self, object: &Object) -> bool {
        // SAFETY: a plain read; nothing else runs meanwhile.
        unsafe { (*self.0.get()).as_ref().is_some_and(|inside| inside.object().is(object)) }
    }

    /// Shows what is inside to `look`, which must run no Python.
    #[inline]
    pub(super) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: no Python runs meanwhile, so nobody changes the slot.
        unsafe { (*self.0.get()).as_ref() }.map(look)
    }

    /// Empties the slot.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        self.replace(None)
    }

    /// Puts `value` in and gives back what was there.
    #[inline]
    pub(crate) fn replace(&self, value: Option<T>) -> Option<T> {
        // SAFETY: a plain move; nothing else runs meanwhile.
        unsafe { std::mem::replace(&mut *self.0.get(), value) }
    }

    /// Puts `value` in and lets go of what was there, in this order.
    #[inline]
    pub(crate) fn set(&self, value: Option<T>) {
        drop(self.replace(value));
    }
}

impl<T: Held> Holds for Slot<T> {
    fn visit(&self, visit: &mut Visit<'_>) {
        // SAFETY: the collector runs no code while it traverses.
        if let Some(inside) = unsafe { &*self.0.get() } {
            visit.object(inside.object());
        }
    }

    #[inline]
    fn clear(&self) {
        self.set(None);
    }
}
