//! Bytes: looking at those an object holds, and making objects of some.

use std::mem::MaybeUninit;
use std::slice;

use pyo3_ffi as ffi;

use super::error::{Raised, Res};
use super::object::{Obj, Object};

impl Object {
    /// What is in an object of exactly the class `bytes`, which nobody can change.
    #[inline]
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: an exact bytes object holds as many bytes as its size says, as long as it lives, and
        // is lent to us for that long.
        unsafe {
            let op = self.as_ptr();
            (ffi::PyBytes_CheckExact(op) != 0).then(|| {
                let size = ffi::Py_SIZE(op) as usize;
                slice::from_raw_parts(ffi::PyBytes_AS_STRING(op).cast::<u8>(), size)
            })
        }
    }

    /// Lends `look` the bytes of anything that has a buffer; None if it has none, an error if it refuses.
    ///
    /// `look` calls nothing of Python: that could change the bytes while they are lent.
    pub(crate) fn with_buffer<R>(&self, look: impl FnOnce(&[u8]) -> R) -> Res<Option<R>> {
        /// Gives the buffer back also when `look` panics.
        struct Lent(ffi::Py_buffer);
        impl Drop for Lent {
            fn drop(&mut self) {
                // SAFETY: filled in below, and released once.
                unsafe { ffi::PyBuffer_Release(&raw mut self.0) }
            }
        }
        // SAFETY: a live object; the view is filled in before it is read, and describes memory that its
        // owner keeps where it is until the view is released. Nobody writes to it meanwhile, as said above.
        unsafe {
            if ffi::PyObject_CheckBuffer(self.as_ptr()) == 0 {
                return Ok(None);
            }
            let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
            Raised::check(ffi::PyObject_GetBuffer(self.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_SIMPLE))?;
            let lent = Lent(view.assume_init());
            let bytes = match lent.0.len as usize {
                0 => &[],
                length => slice::from_raw_parts(lent.0.buf.cast::<u8>(), length),
            };
            Ok(Some(look(bytes)))
        }
    }

    /// `self[:] = data` of a bytearray; BufferError while somebody looks at its bytes.
    pub(crate) fn set_bytearray(&self, data: &[u8]) -> Res<()> {
        debug_assert!(self.is_bytearray());
        // SAFETY: a live bytearray, which after the call is as long as `data`; `data` is not in it, because
        // a borrow of Rust's never points into a bytearray while anything is called.
        unsafe {
            Raised::check(ffi::PyByteArray_Resize(self.as_ptr(), data.len() as ffi::Py_ssize_t))?;
            let start = ffi::PyByteArray_AsString(self.as_ptr()).cast::<u8>();
            start.copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
        Ok(())
    }

    /// Is it a bytearray?
    pub(crate) fn is_bytearray(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyByteArray_Check(self.as_ptr()) != 0 }
    }
}

/// A Python `bytes`.
#[inline]
pub(crate) fn bytes(data: &[u8]) -> Res<Obj> {
    // SAFETY: pointer and length describe `data`; new reference or null.
    unsafe {
        Obj::from_new(ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as ffi::Py_ssize_t))
    }
}

/// A Python `bytearray`.
pub(crate) fn bytearray(data: &[u8]) -> Res<Obj> {
    // SAFETY: as above.
    unsafe {
        Obj::from_new(ffi::PyByteArray_FromStringAndSize(data.as_ptr().cast(), data.len() as ffi::Py_ssize_t))
    }
}
