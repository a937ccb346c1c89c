//! Docstrings of methods, from which CPython reads their signatures as well.
//!
//! `inspect.signature`, `help` and `mock.create_autospec` know what a method in C takes if its docstring
//! begins with `name($self, a, b=None)`, a line `--` and an empty one. Ours begin with `name(a, b=None): `
//! and are rewritten once, when their class is made.

use std::ffi::{CStr, CString, c_char};

pub(super) enum Takes {
    Nothing,
    /// One argument, which has no name for callers.
    One,
    Many,
}

/// A docstring that lasts as long as the process, as the methods of a class do.
pub(super) fn docstring(name: &CStr, takes: &Takes, doc: &'static CStr) -> *const c_char {
    let (Ok(name), Ok(text)) = (name.to_str(), doc.to_str()) else { return doc.as_ptr() };
    let given = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')?.split_once("): "));
    let (parameters, text) = match (takes, given) {
        (Takes::Nothing, None) => (", /".to_owned(), text),
        (Takes::Nothing, Some((_, text))) => (", /".to_owned(), text),
        (Takes::One, Some((parameter, text))) => (format!(", {parameter}, /"), text),
        (Takes::Many, Some((parameters, text))) => (format!(", {parameters}"), text),
        // A method of our own, whose parameters nobody asks for.
        (Takes::One | Takes::Many, None) => return doc.as_ptr(),
    };
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    CString::new(format!("{name}($self{parameters})\n--\n\n{text}"))
        .map_or(doc.as_ptr(), |whole| whole.into_raw().cast_const())
}
