//! Text: what an object looks like, and `str` itself.

use std::ffi::CStr;

use crate::ffi::python as ffi;

use crate::ffi::error::Res;

use super::{Obj, Object};

impl Object {
    /// True if the object is exactly a `str`.
    pub(crate) fn is_exact_str(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyUnicode_CheckExact(self.as_ptr()) != 0 }
    }

    /// `str(self)` as UTF-8, for messages; lossy where the text has lone surrogates.
    pub(crate) fn display(&self) -> Res<String> {
        // SAFETY: live object; new reference or null.
        let text = unsafe { Obj::from_new(ffi::PyObject_Str(self.as_ptr()))? };
        text.utf8()
    }

    /// `repr(self)` as UTF-8.
    pub(crate) fn repr(&self) -> Res<String> {
        // SAFETY: live object; new reference or null.
        let text = unsafe { Obj::from_new(ffi::PyObject_Repr(self.as_ptr()))? };
        text.utf8()
    }

    fn utf8(&self) -> Res<String> {
        // SAFETY: a live str; the handler replaces what UTF-8 cannot hold. The bytes are copied
        // before the encoded object is released.
        unsafe {
            let encoded = Obj::from_new(ffi::PyUnicode_AsEncodedString(
                self.as_ptr(),
                c"utf-8".as_ptr(),
                c"backslashreplace".as_ptr(),
            ))?;
            let start = ffi::PyBytes_AsString(encoded.as_ptr()).cast::<u8>();
            let length = ffi::PyBytes_Size(encoded.as_ptr()) as usize;
            Ok(String::from_utf8_lossy(std::slice::from_raw_parts(start, length)).into_owned())
        }
    }
}

/// A Python `str`.
pub(crate) fn string(text: &str) -> Res<Obj> {
    // SAFETY: pointer and length describe `text`; new reference or null.
    unsafe {
        Obj::from_new(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as ffi::Py_ssize_t))
    }
}

/// An interned `str`: attribute names and dictionary keys that are looked up often.
pub(crate) fn intern(text: &CStr) -> Res<Obj> {
    // SAFETY: a C string; new reference or null.
    unsafe { Obj::from_new(ffi::PyUnicode_InternFromString(text.as_ptr())) }
}

/// `os.fsdecode(name)`.
pub(crate) fn fs_decoded(name: &[u8]) -> Res<Obj> {
    // SAFETY: pointer and length describe `name`; new reference or null.
    unsafe {
        let length = name.len() as ffi::Py_ssize_t;
        Obj::from_new(ffi::PyUnicode_DecodeFSDefaultAndSize(name.as_ptr().cast(), length))
    }
}
