//! Running a program's file, as the command `saburo run` does.
//!
//! By the interpreter's own function for a C file: it reads source differently from `compile()`, to which NUL
//! bytes and bytes of another encoding come as something else, and says so in words that people know.

use std::ffi::{CString, c_int};

use super::args::{Args, Params};
use super::error::{Res, builtin, raise};
use super::object::Obj;
use super::python as ffi;

/// What a module is compiled as; CPython's `Py_file_input`.
const FILE_INPUT: c_int = 257;

/// `run_file(fd, name, names)`: runs the source that `fd` reads, with `names` as its globals. `fd` is
/// closed once the source is read; 0 stays open.
pub(crate) fn run_file(args: Args<'_>) -> Res<()> {
    const PARAMS: Params<3> =
        Params { function: "run_file", names: ["fd", "name", "names"], required: 3, positional: 3 };
    let [Some(fd), Some(name), Some(names)] = args.bind(&PARAMS)? else {
        unreachable!("bind() has checked what is required");
    };
    let Some(Ok(name)) = name.as_bytes().map(CString::new) else {
        return raise(builtin::type_error(), "name must be bytes");
    };
    // SAFETY: a live object.
    if unsafe { ffi::PyDict_CheckExact(names.as_ptr()) } == 0 {
        return raise(builtin::type_error(), "names must be a dict");
    }
    let fd = c_int::try_from(fd.as_i64()?).unwrap_or(-1);
    // The interpreter asserts that a program without a file of its own is read from C's own stream.
    let is_stdin = fd == 0;
    // SAFETY: a C string; the stream, if there is one, is closed by the next call, which owns it. `stdin` is
    // set before the process begins, and nobody here changes it.
    let stream = unsafe { if is_stdin { ffi::stdin } else { ffi::fdopen(fd, c"rb".as_ptr()) } };
    if stream.is_null() {
        return raise(builtin::os_error(), "the program's file cannot be read");
    }
    // SAFETY: an open stream, closed once its source is read unless it is `stdin`, a C string, and a live
    // dict, which `args` keeps; no flags but the interpreter's. New reference or null.
    let done = unsafe {
        let names = names.as_ptr();
        Obj::from_new(ffi::PyRun_FileExFlags(
            stream,
            name.as_ptr(),
            FILE_INPUT,
            names,
            names,
            c_int::from(!is_stdin),
            std::ptr::null_mut(),
        ))
    };
    done.map(drop)
}
