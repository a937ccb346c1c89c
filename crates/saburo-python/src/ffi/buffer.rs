//! The bytes inside of Python's objects, lent to code that runs no Python meanwhile.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use super::python as ffi;

use super::error::{Raised, Res, builtin, raise};
use super::object::{Obj, Object};
use super::window::{Stretch, resized};

/// Exactly a `bytes`: it never changes, and letting go of it runs no code.
#[derive(Clone)]
pub(crate) struct Bytes(Obj);

impl Bytes {
    /// The object, if it is exactly a `bytes`.
    #[inline]
    pub(crate) fn exact(object: &Object) -> Option<Bytes> {
        // SAFETY: a live object.
        (unsafe { ffi::PyBytes_CheckExact(object.as_ptr()) } != 0).then(|| Bytes(object.to_obj()))
    }

    pub(crate) fn as_object(&self) -> &Object {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: exactly a bytes, alive as long as we are; its bytes never change or move.
        unsafe {
            let start = ffi::PyBytes_AsString(self.0.as_ptr()).cast::<u8>();
            std::slice::from_raw_parts(start, ffi::Py_SIZE(self.0.as_ptr()) as usize)
        }
    }
}

impl Object {
    /// What is in an object of exactly the class `bytes`.
    #[inline]
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: an exact bytes object holds as many bytes as its size says, where they are and as they
        // are for as long as it lives, and it is lent to us for that long.
        unsafe {
            let op = self.as_ptr();
            (ffi::PyBytes_CheckExact(op) != 0).then(|| {
                let start = ffi::PyBytes_AsString(op).cast::<u8>();
                std::slice::from_raw_parts(start, ffi::Py_SIZE(op) as usize)
            })
        }
    }

    /// True if the object has bytes to lend.
    pub(crate) fn has_buffer(&self) -> bool {
        // SAFETY: a live object; reads its type.
        unsafe { ffi::PyObject_CheckBuffer(self.as_ptr()) != 0 }
    }

    /// True if the object is a bytearray.
    pub(crate) fn is_bytearray(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::PyByteArray_Check(self.as_ptr()) != 0 }
    }

    /// `self[:] = data` of a bytearray; BufferError while its bytes are lent.
    pub(crate) fn set_bytearray(&self, data: &[u8]) -> Res<()> {
        debug_assert!(self.is_bytearray());
        // SAFETY: a live bytearray, which after the first call is as long as `data`. That is not in it: the
        // bytes of one are lent by `lend` only, to what calls nothing.
        unsafe {
            Raised::check(ffi::PyByteArray_Resize(self.as_ptr(), data.len() as ffi::Py_ssize_t))?;
            let start = ffi::PyByteArray_AsString(self.as_ptr()).cast::<u8>();
            start.copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
        Ok(())
    }

    /// True if the object is a `bytes`, a `bytearray` or a `memoryview`.
    #[inline]
    pub(crate) fn is_bytes_like(&self) -> bool {
        // SAFETY: a live object; the checks read its type.
        unsafe {
            ffi::PyBytes_Check(self.as_ptr()) != 0
                || ffi::PyByteArray_Check(self.as_ptr()) != 0
                || ffi::PyMemoryView_Check(self.as_ptr()) != 0
        }
    }
}

/// A Python `bytes` that is filled in its place: `fill` gets room for `most`, which holds nothing yet, writes
/// from its start on and says how many; the rest is given back. It must run no Python.
pub(crate) fn bytes_made<E>(
    most: usize,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<usize, E>,
) -> Res<Result<Obj, E>> {
    // Never 0: the empty bytes are one object, shared by all.
    let size = most.max(1) as ffi::Py_ssize_t;
    // SAFETY: a null source leaves the bytes as they are; new reference or null. Nobody else knows the
    // object, which has room for `most`.
    let (made, filled) = unsafe {
        let made = Obj::from_new(ffi::PyBytes_FromStringAndSize(std::ptr::null(), size))?;
        let start = ffi::PyBytes_AsString(made.as_ptr()).cast::<MaybeUninit<u8>>();
        (made, fill(std::slice::from_raw_parts_mut(start, most)))
    };
    match filled {
        Ok(count) => resized(made, count.min(most)).map(Ok),
        Err(error) => Ok(Err(error)),
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

/// Lends the bytes of an object to `look`, which must run no Python. BufferError or TypeError for one that
/// has none, or not in a row.
pub(crate) fn lend<R>(object: &Object, look: impl FnOnce(&[u8]) -> R) -> Res<R> {
    lend_ready(object, || (), |(), bytes| look(bytes))
}

/// The same, after `prepare`, which may run Python: an object of somebody's own runs some as it is asked for
/// its bytes, and what was true before need not be after that.
pub(crate) fn lend_ready<A, R>(
    object: &Object,
    prepare: impl FnOnce() -> A,
    look: impl FnOnce(A, &[u8]) -> R,
) -> Res<R> {
    let mut place = MaybeUninit::zeroed();
    let loan = Loan::of(&mut place, object, ffi::PyBUF_SIMPLE)?;
    let prepared = prepare();
    // SAFETY: the loan describes this many bytes; while it is held they stay where they are, and nobody
    // writes to them, as no Python runs.
    Ok(look(prepared, unsafe { std::slice::from_raw_parts(start(loan.0), loan.0.len as usize) }))
}

/// What Python's `socket` says of a buffer that cannot be filled begins with.
pub(crate) const RECV_INTO: &str = "recv_into() argument 1";

/// Lends them to be written to. TypeError for what has none, not in a row, or must not be changed, in the
/// words of a function of Python's that does so with its `argument`. Only `prepare` may run Python, as above.
pub(crate) fn lend_mut<A, R>(
    object: &Object,
    argument: &str,
    prepare: impl FnOnce() -> A,
    fill: impl FnOnce(A, &mut [u8]) -> R,
) -> Res<R> {
    let mut place = MaybeUninit::zeroed();
    let loan = match Loan::of(&mut place, object, ffi::PyBUF_WRITABLE) {
        Ok(loan) => loan,
        Err(raised) => {
            raised.swallow();
            let class = class_name(object);
            let message = format!("{argument} must be read-write bytes-like object, not {class}");
            return raise(builtin::type_error(), &message);
        }
    };
    let prepared = prepare();
    // SAFETY: as above, and writable; `fill` is the only code that runs, so it has the only access.
    Ok(fill(prepared, unsafe { std::slice::from_raw_parts_mut(start(loan.0), loan.0.len as usize) }))
}

/// The name of an object's class as the interpreter's own errors tell it: with its module if it is written in
/// C.
fn class_name(object: &Object) -> String {
    if object.is_none() {
        return "None".to_owned();
    }
    // SAFETY: a live object; the name of its type is a C string that lives as long as the type.
    unsafe { CStr::from_ptr((*object.type_ptr()).tp_name) }.to_string_lossy().into_owned()
}

/// Lends the text of an exact `str` to `look`, which must run no Python; None for anything else, and for text
/// that UTF-8 cannot hold.
pub(crate) fn lend_text<R>(object: &Object, look: impl FnOnce(&str) -> R) -> Option<R> {
    if !object.is_exact_str() {
        return None;
    }
    let mut length = 0;
    // SAFETY: a live str, which keeps its UTF-8 form inside and never changes; it is ASCII's own bytes, or
    // made once. Lone surrogates are an error, which is cleared.
    unsafe {
        let text = ffi::PyUnicode_AsUTF8AndSize(object.as_ptr(), &raw mut length);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let text = std::slice::from_raw_parts(text.cast::<u8>(), length as usize);
        Some(look(std::str::from_utf8_unchecked(text)))
    }
}

/// A buffer of Python's for the length of a call.
struct Loan<'a>(&'a mut ffi::Py_buffer);

impl<'a> Loan<'a> {
    fn of(
        place: &'a mut MaybeUninit<ffi::Py_buffer>,
        object: &Object,
        flags: std::ffi::c_int,
    ) -> Res<Loan<'a>> {
        // SAFETY: a live object, and room for the view, which is filled where the answer is 0. It stays at
        // its place until it is released, because it is borrowed and some exporters point into it.
        unsafe {
            Raised::check(ffi::PyObject_GetBuffer(object.as_ptr(), place.as_mut_ptr(), flags))?;
            Ok(Loan(place.assume_init_mut()))
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        // SAFETY: filled by PyObject_GetBuffer, and released once.
        unsafe { ffi::PyBuffer_Release(self.0) }
    }
}

/// Where it begins; never null, as slices ask for.
fn start(view: &ffi::Py_buffer) -> *mut u8 {
    if view.buf.is_null() { std::ptr::NonNull::dangling().as_ptr() } else { view.buf.cast() }
}

/// A buffer of Python's while we hold it: it cannot be resized.
pub(crate) struct View(Box<ffi::Py_buffer>);

impl View {
    /// BufferError or TypeError for an object that has none, or not in a row.
    pub(crate) fn of(object: &Object) -> Res<View> {
        View::with(object, ffi::PyBUF_SIMPLE)
    }

    /// The same, and BufferError for what must not be changed.
    pub(crate) fn writable(object: &Object) -> Res<View> {
        View::with(object, ffi::PyBUF_WRITABLE)
    }

    /// Its bytes, for what runs without the interpreter.
    pub(crate) fn stretch(&self) -> Stretch<'_> {
        // SAFETY: the view describes this many bytes, which stay where they are while it is held.
        unsafe { Stretch::new(start(&self.0), self.0.len as usize, self.0.readonly == 0) }
    }

    fn with(object: &Object, flags: std::ffi::c_int) -> Res<View> {
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::zeroed());
        // SAFETY: a live object, and room for the view, which is filled where the answer is 0. It stays at
        // its place until it is released, because some exporters point into it.
        unsafe {
            Raised::check(ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), flags))?;
            Ok(View(Box::from_raw(Box::into_raw(view).cast())))
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: filled by PyObject_GetBuffer, and released once.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.0) }
    }
}
