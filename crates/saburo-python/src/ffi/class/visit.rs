//! What the collector sees of an instance.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use crate::ffi::python as ffi;

use crate::ffi::object::Object;

/// The collector's visitor.
pub(crate) struct Visit<'a> {
    pub(super) visit: ffi::visitproc,
    pub(super) arg: *mut c_void,
    pub(super) stopped: c_int,
    pub(super) _collecting: PhantomData<&'a ()>,
}

impl Visit<'_> {
    /// Lends what is in a cell to `look`, which shows the objects in there to the collector and does nothing
    /// else; least of all does it set the cell.
    #[inline]
    pub(crate) fn cell<T>(&mut self, cell: &Cell<T>, look: impl FnOnce(&mut Self, &T)) {
        // SAFETY: whoever has a Visit is called by the collector, on its thread, and the collector runs no
        // code while it traverses: nobody sets the cell meanwhile, `look` included, as said above.
        look(self, unsafe { &*cell.as_ptr() });
    }

    #[inline]
    pub(crate) fn object(&mut self, object: &Object) {
        if self.stopped == 0 {
            // SAFETY: the collector's own function, with its own argument, on a live object.
            self.stopped = unsafe { (self.visit)(object.as_ptr(), self.arg) };
        }
    }
}
