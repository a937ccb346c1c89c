//! From the list of a [`Builder`] to the class.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use crate::ffi::python as ffi;

use crate::ffi::error::{Raised, Res, builtin, raise};
use crate::ffi::object::{Obj, tuple};

use super::life::{clear, dealloc, finalize, new, traverse};
use super::{Builder, Class, DictField, Instance};

impl<T: Class> Builder<T> {
    /// Makes the class. The tables are leaked: the class points at them for the life of the process.
    /// `more` describes what other rooms give it beside its own.
    pub(in crate::ffi) fn build(
        module: *mut ffi::PyObject,
        more: impl FnOnce(Builder<T>) -> Builder<T>,
    ) -> Res<Obj> {
        let mut builder = more(T::describe(Builder {
            methods: Vec::new(),
            getset: Vec::new(),
            slots: Vec::new(),
            unlisted: Vec::new(),
            _class: PhantomData,
        }));
        let sample = T::blank();
        assert!(
            ptr::from_ref(sample.base()).cast::<u8>() == ptr::from_ref(&sample).cast::<u8>()
                && offset_of!(Instance<T>, value) == offset_of!(Instance<T::Base>, value),
            "{:?} must start with its base class's part",
            T::NAME
        );
        drop(sample);

        let offset = |name: &'static CStr, offset: usize| ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        };
        let mut members = vec![offset(c"__weaklistoffset__", offset_of!(Instance<T>, weakrefs))];
        if T::Dict::PRESENT {
            members.push(offset(c"__dictoffset__", offset_of!(Instance<T>, dict)));
            builder.getset.push(ffi::PyGetSetDef {
                name: c"__dict__".as_ptr(),
                get: Some(ffi::PyObject_GenericGetDict),
                set: Some(ffi::PyObject_GenericSetDict),
                doc: ptr::null(),
                closure: ptr::null_mut(),
            });
        }
        // SAFETY: all-zero entries end the C tables; every field is a nullable pointer or a number.
        unsafe {
            members.push(std::mem::zeroed());
            builder.methods.push(std::mem::zeroed());
            builder.getset.push(std::mem::zeroed());
        }

        builder = builder
            .slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void)
            .slot(ffi::Py_tp_traverse, traverse::<T> as *mut c_void)
            .slot(ffi::Py_tp_clear, clear::<T> as *mut c_void);
        if T::FINALIZES {
            builder = builder.slot(ffi::Py_tp_finalize, finalize::<T> as *mut c_void);
        }
        if T::CONSTRUCTIBLE {
            builder = builder.slot(ffi::Py_tp_new, new::<T> as *mut c_void);
        }
        let methods = builder.methods.leak().as_mut_ptr();
        let getset = builder.getset.leak().as_mut_ptr();
        let mut slots = builder.slots;
        for (slot, table) in [
            (ffi::Py_tp_doc, T::DOC.as_ptr().cast_mut().cast::<c_void>()),
            (ffi::Py_tp_methods, methods.cast()),
            (ffi::Py_tp_getset, getset.cast()),
            (ffi::Py_tp_members, members.leak().as_mut_ptr().cast()),
            (0, ptr::null_mut()),
        ] {
            slots.push(ffi::PyType_Slot { slot, pfunc: table });
        }

        let mut flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC;
        if T::SUBCLASSABLE {
            flags |= ffi::Py_TPFLAGS_BASETYPE;
        }
        if !T::CONSTRUCTIBLE {
            flags |= ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        }
        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr().cast::<c_char>(),
            basicsize: size_of::<Instance<T>>() as c_int,
            itemsize: 0,
            flags: flags as c_uint,
            slots: slots.leak().as_mut_ptr(),
        };
        let mut both = None;
        let base = match T::python_base() {
            Some(base) => {
                let fields = size_of::<ffi::PyObject>() + size_of::<T::BaseSlots>();
                // SAFETY: a live class; reads its size.
                let size = unsafe { (*base.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize };
                if size as usize != fields {
                    let what = format!(
                        "saburo does not know the layout of {} in this Python, please report it",
                        base.repr()?
                    );
                    return raise(builtin::runtime_error(), &what);
                }
                match T::python_mixin() {
                    Some(mixin) => both.insert(tuple([base, mixin].into_iter())?).as_ptr(),
                    None => base.as_ptr(),
                }
            }
            None => T::Base::cell().class.get().cast(),
        };
        // SAFETY: the spec and everything it points at is complete; a null base means `object`. The
        // fields of a base of Python's are where an Instance has room for them, as checked above.
        unsafe {
            let class = Obj::from_new(ffi::PyType_FromModuleAndSpec(module, &raw mut spec, base))?;
            let class_pointer: *mut ffi::PyTypeObject = class.as_ptr().cast();
            for name in builder.unlisted {
                // The dict of a class that no other code has seen yet.
                Raised::check(ffi::PyDict_DelItemString((*class_pointer).tp_dict, name.as_ptr()))?;
                ffi::PyType_Modified(class_pointer);
            }
            if T::REUSED {
                TRIMS.lock().unwrap_or_else(PoisonError::into_inner).push(Instance::<T>::trim);
            }
            // One reference is kept for good: instances and casts rely on the class being there.
            T::cell().class.set(class.clone().into_raw().cast());
            Ok(class)
        }
    }
}

/// For each class that keeps its dead instances, what frees most of them.
static TRIMS: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

/// Frees the dead instances of all classes until few are left.
pub(crate) fn trim_dead() {
    // None of them runs code.
    TRIMS.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|trim| trim());
}
