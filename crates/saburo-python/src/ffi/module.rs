//! The extension module: its table of contents is [`crate::populate`], its C shell is here.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::python as ffi;

use super::args::Args;
use super::class::{Answer, Builder, Class, answer, zero_sized};
use super::error::{INTERNAL_ERROR, Raised, Res, builtin, guarded, new_exception, raise};
use super::interpreter::in_main_interpreter;
use super::methods::copy_inherited;
use super::object::{Obj, Object, string};

/// The module `saburo._saburo` while it is being filled.
///
/// That happens again where a program forgets the module and imports it anew, as tools do that keep tests
/// apart, or reloads it. There is one set of classes per process, which stays as it is: each module gets the
/// same.
pub(crate) struct Module(Obj);

impl Module {
    /// Makes class `T`, if it is not there yet, and adds it under the last part of its name. What it inherits
    /// it also has as its own.
    pub(crate) fn class<T: Class>(&self) -> Res<()> {
        self.class_with::<T>(|builder| builder)
    }

    /// The same with methods and properties that rooms above the class's own describe.
    pub(crate) fn class_with<T: Class>(&self, more: impl FnOnce(Builder<T>) -> Builder<T>) -> Res<()> {
        let class = match T::cell().made() {
            Some(class) => class,
            None => Builder::<T>::build(self.0.as_ptr(), more)?,
        };
        copy_inherited::<T::Base>(&class)?;
        let name = T::NAME.to_bytes_with_nul();
        let last = name.iter().rposition(|&byte| byte == b'.').map_or(0, |dot| dot + 1);
        let name = CStr::from_bytes_with_nul(&name[last..]).expect("the end of a C string is one");
        self.add(name, &class)
    }

    /// Adds `saburo.InternalError`, and makes it what panics turn into.
    pub(crate) fn internal_error(&self, doc: &CStr) -> Res<()> {
        if INTERNAL_ERROR.get().is_none() {
            INTERNAL_ERROR.set(new_exception(c"saburo.InternalError", doc, builtin::runtime_error())?);
        }
        self.add(c"InternalError", INTERNAL_ERROR.get().expect("set just now"))
    }

    /// Adds a function: a plain `fn` item or a closure without captures.
    pub(crate) fn function<F, A>(&self, name: &'static CStr, _function: F, doc: &'static CStr) -> Res<()>
    where
        F: Fn(Args<'_>) -> A + Copy + 'static,
        A: Answer,
    {
        unsafe extern "C" fn entry<F, A>(
            _module: *mut ffi::PyObject,
            args: *const *mut ffi::PyObject,
            count: ffi::Py_ssize_t,
            names: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject
        where
            F: Fn(Args<'_>) -> A + Copy + 'static,
            A: Answer,
        {
            let function = zero_sized::<F>();
            // SAFETY: the caller keeps the arguments alive, and they are laid out as METH_FASTCALL with
            // METH_KEYWORDS says.
            answer(|| function(unsafe { Args::new(args, count as usize, names) }).answer())
        }
        let table = Box::leak(Box::new([
            ffi::PyMethodDef {
                ml_name: name.as_ptr(),
                ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry::<F, A> },
                ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
                ml_doc: doc.as_ptr(),
            },
            ffi::PyMethodDef::zeroed(),
        ]));
        // SAFETY: a live module, and a table that is complete and never freed.
        Raised::check(unsafe { ffi::PyModule_AddFunctions(self.0.as_ptr(), table.as_mut_ptr()) })
    }

    /// Adds a string constant.
    pub(crate) fn text(&self, name: &CStr, value: &str) -> Res<()> {
        self.add(name, &*string(value)?)
    }

    fn add(&self, name: &CStr, value: &Object) -> Res<()> {
        // SAFETY: a live module, a C string and a live value.
        Raised::check(unsafe { ffi::PyModule_AddObjectRef(self.0.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }
}

/// ImportError in any interpreter but the one that has the classes: the process's first, until it ends.
fn check_interpreter() -> Res<()> {
    static ENDED: AtomicBool = AtomicBool::new(false);
    static LISTENS: Once = Once::new();

    extern "C" fn ended() {
        ENDED.store(true, Ordering::Relaxed);
    }
    if ENDED.load(Ordering::Relaxed) {
        // A program that embeds Python has ended it and begun anew.
        let words = "saburo cannot be imported again after the interpreter has been finalized";
        return raise(builtin::import_error(), words);
    }
    if !in_main_interpreter() {
        // CPython's own words, where it knows: from 3.12 on, and of isolated interpreters only.
        let words = "module saburo._saburo does not support loading in subinterpreters";
        return raise(builtin::import_error(), words);
    }
    LISTENS.call_once(|| {
        // SAFETY: a function that may be called at any time. There is no harm if there is no room for one
        // more.
        let _ = unsafe { ffi::Py_AtExit(Some(ended)) };
    });
    Ok(())
}

/// Called by `import saburo._saburo`.
#[allow(non_snake_case, unreachable_pub)] // The import machinery looks for this very symbol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__saburo() -> *mut ffi::PyObject {
    unsafe extern "C" fn exec(module: *mut ffi::PyObject) -> c_int {
        guarded(-1, || {
            check_interpreter()?;
            // SAFETY: the import machinery hands us the live module.
            let module = Module(unsafe { Object::from_ptr(module) }.to_obj());
            crate::populate(&module).map(|()| 0)
        })
    }
    let slots = Box::leak(Box::new([
        ffi::PyModuleDef_Slot { slot: ffi::Py_mod_exec, value: exec as *mut c_void },
        // Classes, free lists and interned names are one set per process.
        #[cfg(Py_3_12)]
        ffi::PyModuleDef_Slot {
            slot: ffi::Py_mod_multiple_interpreters,
            value: ffi::Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED,
        },
        ffi::PyModuleDef_Slot::default(),
    ]));
    let definition = Box::leak(Box::new(ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: c"_saburo".as_ptr(),
        m_doc: c"The native half of saburo: the event loop, its tasks and futures.".as_ptr(),
        m_size: 0,
        m_methods: ptr::null_mut(),
        m_slots: slots.as_mut_ptr(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    }));
    // SAFETY: a complete definition that is never freed.
    unsafe { ffi::PyModuleDef_Init(definition) }
}
