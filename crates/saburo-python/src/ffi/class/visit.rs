//! What the collector sees of an instance: every object that its fields hold.
//!
//! A field [`Holds`] objects, or it is inside of a `Cell` or a `RefCell` and [`Owns`] them. Which fields do
//! is listed with [`fields!`](super::fields).

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use crate::ffi::python as ffi;

use crate::ffi::context::Context;
use crate::ffi::object::{Obj, Object};

use super::{Behind, Class, Own};

/// A field with objects of Python's, or a part of a class that has such fields.
pub(crate) trait Holds {
    /// Shows the collector every object held.
    fn visit(&self, visit: &mut Visit<'_>);
    /// Lets go of every object held, so that a cycle comes apart.
    fn clear(&self);
}

/// A value with objects of Python's that is the content of a cell.
pub(crate) trait Owns {
    /// Shows the collector every object in it, and does nothing else: the cell is being looked at.
    fn show(&self, visit: &mut Visit<'_>);
}

/// The collector's visitor.
pub(crate) struct Visit<'a> {
    pub(super) visit: ffi::visitproc,
    pub(super) arg: *mut c_void,
    pub(super) stopped: c_int,
    pub(super) _collecting: PhantomData<&'a ()>,
}

impl Visit<'_> {
    #[inline]
    pub(crate) fn object(&mut self, object: &Object) {
        if self.stopped == 0 {
            // SAFETY: the collector's own function, with its own argument, on a live object.
            self.stopped = unsafe { (self.visit)(object.as_ptr(), self.arg) };
        }
    }
}

impl<T: Holds> Holds for Box<T> {
    fn visit(&self, visit: &mut Visit<'_>) {
        T::visit(self, visit);
    }

    fn clear(&self) {
        T::clear(self);
    }
}

impl<T: Holds> Holds for OnceCell<T> {
    fn visit(&self, visit: &mut Visit<'_>) {
        if let Some(inside) = self.get() {
            inside.visit(visit);
        }
    }

    fn clear(&self) {
        if let Some(inside) = self.get() {
            inside.clear();
        }
    }
}

impl<T: Owns + Default> Holds for Cell<T> {
    fn visit(&self, visit: &mut Visit<'_>) {
        // SAFETY: whoever has a Visit is called by the collector, on its thread, and the collector runs no
        // code while it traverses: no code sets the cell meanwhile. Nor does `show`, as `Owns` says.
        unsafe { &*self.as_ptr() }.show(visit);
    }

    #[inline]
    fn clear(&self) {
        drop(self.take());
    }
}

impl<T: Owns + Default> Holds for RefCell<T> {
    fn visit(&self, visit: &mut Visit<'_>) {
        // Borrowed only between Python calls, and the collector runs inside one.
        if let Ok(inside) = self.try_borrow() {
            inside.show(visit);
        }
    }

    #[inline]
    fn clear(&self) {
        // Out of the field first: letting go of it may run code that looks here.
        drop(self.take());
    }
}

impl Owns for Obj {
    #[inline]
    fn show(&self, visit: &mut Visit<'_>) {
        visit.object(self);
    }
}

impl<T: Class> Owns for Own<T> {
    #[inline]
    fn show(&self, visit: &mut Visit<'_>) {
        visit.object(self.as_object());
    }
}

impl<D: ?Sized> Owns for Behind<D> {
    #[inline]
    fn show(&self, visit: &mut Visit<'_>) {
        visit.object(self.as_object());
    }
}

impl Owns for Context {
    #[inline]
    fn show(&self, visit: &mut Visit<'_>) {
        visit.object(self.as_object());
    }
}

impl<T: Owns> Owns for Box<T> {
    fn show(&self, visit: &mut Visit<'_>) {
        T::show(self, visit);
    }
}

impl<T: Owns> Owns for Option<T> {
    fn show(&self, visit: &mut Visit<'_>) {
        self.iter().for_each(|inside| inside.show(visit));
    }
}

impl<T: Owns, const N: usize> Owns for [T; N] {
    fn show(&self, visit: &mut Visit<'_>) {
        self.iter().for_each(|item| item.show(visit));
    }
}

impl<T: Owns> Owns for Vec<T> {
    fn show(&self, visit: &mut Visit<'_>) {
        self.iter().for_each(|item| item.show(visit));
    }
}

impl<T: Owns> Owns for VecDeque<T> {
    fn show(&self, visit: &mut Visit<'_>) {
        self.iter().for_each(|item| item.show(visit));
    }
}
