//! Builder: the methods, properties and slots of a class, listed.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use crate::ffi::python as ffi;

use crate::ffi::args::Args;
use crate::ffi::coroutine::{Sent, stop_iteration};
use crate::ffi::docstring::{Takes, docstring};
use crate::ffi::error::{Res, raise};
use crate::ffi::object::{Obj, Object, boolean};

use super::entry::{Answer, enter, enter_for_object, unary, zero_sized};
use super::{Class, Instance};

/// Lists a class's methods, properties and slots, then makes the class.
///
/// Functions are taken as values of zero size (plain `fn` items or closures without captures), so the C
/// function made for each calls it directly.
pub(crate) struct Builder<T: Class> {
    pub(super) methods: Vec<ffi::PyMethodDef>,
    pub(super) getset: Vec<ffi::PyGetSetDef>,
    pub(super) slots: Vec<ffi::PyType_Slot>,
    /// Names of slots that the class does not show.
    pub(super) unlisted: Vec<&'static CStr>,
    pub(super) _class: PhantomData<T>,
}

impl<T: Class> Builder<T> {
    /// A method without arguments.
    pub(crate) fn noargs<F, A>(mut self, name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: Fn(&Instance<T>) -> A + Copy + 'static,
        A: Answer,
    {
        unsafe extern "C" fn entry<T: Class, F, A>(
            op: *mut ffi::PyObject,
            _: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject
        where
            F: Fn(&Instance<T>) -> A + Copy + 'static,
            A: Answer,
        {
            let function = zero_sized::<F>();
            // SAFETY: CPython checks that a method's self is of the method's class.
            unsafe { enter_for_object(op, |this: &Instance<T>| function(this).answer()) }
        }
        self.methods.push(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: entry::<T, F, A> },
            ml_flags: ffi::METH_NOARGS,
            ml_doc: docstring(name, &Takes::Nothing, doc),
        });
        self
    }

    /// A method without arguments that the class has under the name of a slot, and that does something else:
    /// the interpreter calls the slot.
    pub(crate) fn noargs_beside_slot<F, A>(self, name: &'static CStr, function: F, doc: &'static CStr) -> Self
    where
        F: Fn(&Instance<T>) -> A + Copy + 'static,
        A: Answer,
    {
        let mut this = self.noargs(name, function, doc);
        if let Some(method) = this.methods.last_mut() {
            method.ml_flags |= ffi::METH_COEXIST;
        }
        this
    }

    /// A slot that the class does not show under this name: only the interpreter knows it.
    pub(crate) fn unlisted(mut self, name: &'static CStr) -> Self {
        self.unlisted.push(name);
        self
    }

    /// A method with exactly one positional argument.
    pub(crate) fn one<F, A>(mut self, name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: Fn(&Instance<T>, &Object) -> A + Copy + 'static,
        A: Answer,
    {
        unsafe extern "C" fn entry<T: Class, F, A>(
            op: *mut ffi::PyObject,
            arg: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject
        where
            F: Fn(&Instance<T>, &Object) -> A + Copy + 'static,
            A: Answer,
        {
            let function = zero_sized::<F>();
            // SAFETY: CPython checks self's class, and the caller keeps the argument alive.
            unsafe {
                enter_for_object(op, |this: &Instance<T>| function(this, Object::from_ptr(arg)).answer())
            }
        }
        self.methods.push(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: entry::<T, F, A> },
            ml_flags: ffi::METH_O,
            ml_doc: docstring(name, &Takes::One, doc),
        });
        self
    }

    /// A method with any arguments.
    pub(crate) fn many<F, A>(mut self, name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: Fn(&Instance<T>, Args<'_>) -> A + Copy + 'static,
        A: Answer,
    {
        unsafe extern "C" fn entry<T: Class, F, A>(
            op: *mut ffi::PyObject,
            args: *const *mut ffi::PyObject,
            count: ffi::Py_ssize_t,
            names: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject
        where
            F: Fn(&Instance<T>, Args<'_>) -> A + Copy + 'static,
            A: Answer,
        {
            let function = zero_sized::<F>();
            // SAFETY: CPython checks self's class; the caller keeps the arguments alive, and they are
            // laid out as METH_FASTCALL with METH_KEYWORDS says.
            unsafe {
                enter_for_object(op, |this: &Instance<T>| {
                    function(this, Args::new(args, count as usize, names)).answer()
                })
            }
        }
        self.methods.push(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry::<T, F, A> },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: docstring(name, &Takes::Many, doc),
        });
        self
    }

    /// A read-only property.
    pub(crate) fn getter<F, A>(mut self, name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: Fn(&Instance<T>) -> A + Copy + 'static,
        A: Answer,
    {
        unsafe extern "C" fn entry<T: Class, F, A>(
            op: *mut ffi::PyObject,
            _: *mut c_void,
        ) -> *mut ffi::PyObject
        where
            F: Fn(&Instance<T>) -> A + Copy + 'static,
            A: Answer,
        {
            let function = zero_sized::<F>();
            // SAFETY: CPython checks that a property's owner is of its class.
            unsafe { enter_for_object(op, |this: &Instance<T>| function(this).answer()) }
        }
        self.getset.push(ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(entry::<T, F, A>),
            set: None,
            doc: doc.as_ptr(),
            closure: ptr::null_mut(),
        });
        self
    }

    /// Makes the property just listed writable; deleting it is an AttributeError as usual.
    pub(crate) fn setter<F>(mut self, _function: F) -> Self
    where
        F: Fn(&Instance<T>, &Object) -> Res<()> + Copy + 'static,
    {
        unsafe extern "C" fn entry<T: Class, F>(
            op: *mut ffi::PyObject,
            value: *mut ffi::PyObject,
            _: *mut c_void,
        ) -> c_int
        where
            F: Fn(&Instance<T>, &Object) -> Res<()> + Copy + 'static,
        {
            let function = zero_sized::<F>();
            // SAFETY: CPython checks the owner's class, and the caller keeps the value alive; the exception
            // types are static objects.
            unsafe {
                enter(op, -1, |this: &Instance<T>| {
                    if value.is_null() {
                        let class = Object::from_ptr(ffi::PyExc_AttributeError);
                        return raise(class, "cannot delete attribute");
                    }
                    function(this, Object::from_ptr(value)).map(|()| 0)
                })
            }
        }
        let property = self.getset.last_mut().expect("a setter follows its getter");
        property.set = Some(entry::<T, F>);
        self
    }

    /// `__init__`.
    pub(crate) fn init<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>, Args<'_>) -> Res<()> + Copy + 'static,
    {
        unsafe extern "C" fn entry<T: Class, F>(
            op: *mut ffi::PyObject,
            args: *mut ffi::PyObject,
            kwargs: *mut ffi::PyObject,
        ) -> c_int
        where
            F: Fn(&Instance<T>, Args<'_>) -> Res<()> + Copy + 'static,
        {
            let function = zero_sized::<F>();
            // SAFETY: an instance, a live tuple and a live dict or null. The names and values are copied out
            // of the dict first (`names` and `values` own them), since the body may change it.
            unsafe {
                enter(op, -1, |this: &Instance<T>| {
                    let mut all = Vec::new();
                    let count = ffi::PyTuple_GET_SIZE(args);
                    all.extend((0..count).map(|index| ffi::PyTuple_GET_ITEM(args, index)));
                    if kwargs.is_null() {
                        let args = Args::new(all.as_ptr(), all.len(), ptr::null_mut());
                        return function(this, args).map(|()| 0);
                    }
                    let keys = Obj::from_new(ffi::PyDict_Keys(kwargs))?;
                    let names = Obj::from_new(ffi::PyList_AsTuple(keys.as_ptr()))?;
                    let values = Obj::from_new(ffi::PyDict_Values(kwargs))?;
                    let named = ffi::PyList_GET_SIZE(values.as_ptr());
                    all.extend((0..named).map(|index| ffi::PyList_GET_ITEM(values.as_ptr(), index)));
                    let args = Args::new(all.as_ptr(), count as usize, names.as_ptr());
                    function(this, args).map(|()| 0)
                })
            }
        }
        self.slot(ffi::Py_tp_init, entry::<T, F> as *mut c_void)
    }

    /// `__repr__`.
    pub(crate) fn repr<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>) -> Res<Obj> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_repr, unary::<T, F> as *mut c_void)
    }

    /// `__await__`.
    pub(crate) fn awaits<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>) -> Res<Obj> + Copy + 'static,
    {
        self.slot(ffi::Py_am_await, unary::<T, F> as *mut c_void)
    }

    /// `__iter__`.
    pub(crate) fn iter<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>) -> Res<Obj> + Copy + 'static,
    {
        self.slot(ffi::Py_tp_iter, unary::<T, F> as *mut c_void)
    }

    /// `__aiter__`.
    pub(crate) fn async_iter<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>) -> Res<Obj> + Copy + 'static,
    {
        self.slot(ffi::Py_am_aiter, unary::<T, F> as *mut c_void)
    }

    /// `__anext__`.
    pub(crate) fn async_next<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>) -> Res<Obj> + Copy + 'static,
    {
        self.slot(ffi::Py_am_anext, unary::<T, F> as *mut c_void)
    }

    /// `__hash__`.
    pub(crate) fn hash<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>) -> Res<isize> + Copy + 'static,
    {
        unsafe extern "C" fn entry<T: Class, F>(op: *mut ffi::PyObject) -> ffi::Py_hash_t
        where
            F: Fn(&Instance<T>) -> Res<isize> + Copy + 'static,
        {
            let function = zero_sized::<F>();
            // SAFETY: a slot is called with an instance of its class.
            unsafe {
                enter(op, -1, |this: &Instance<T>| {
                    function(this).map(|hash| if hash == -1 { -2 } else { hash })
                })
            }
        }
        self.slot(ffi::Py_tp_hash, entry::<T, F> as *mut c_void)
    }

    /// The six comparisons, as one function of the other operand and the operator's name.
    pub(crate) fn compare<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>, &Object, &'static str) -> Res<Option<bool>> + Copy + 'static,
    {
        unsafe extern "C" fn entry<T: Class, F>(
            op: *mut ffi::PyObject,
            other: *mut ffi::PyObject,
            operator: c_int,
        ) -> *mut ffi::PyObject
        where
            F: Fn(&Instance<T>, &Object, &'static str) -> Res<Option<bool>> + Copy + 'static,
        {
            let function = zero_sized::<F>();
            // SAFETY: a slot is called with an instance of its class and a live operand, and NotImplemented
            // is a static object.
            unsafe {
                enter_for_object(op, |this: &Instance<T>| {
                    let operator = ["<", "<=", "==", "!=", ">", ">="][operator as usize];
                    Ok(match function(this, Object::from_ptr(other), operator)? {
                        Some(truth) => boolean(truth),
                        None => Object::from_ptr(ffi::Py_NotImplemented()).to_obj(),
                    })
                })
            }
        }
        self.slot(ffi::Py_tp_richcompare, entry::<T, F> as *mut c_void)
    }

    /// Calling an instance.
    pub(crate) fn called<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>, &Object) -> Res<Obj> + Copy + 'static,
    {
        unsafe extern "C" fn entry<T: Class, F>(
            op: *mut ffi::PyObject,
            args: *mut ffi::PyObject,
            _kwargs: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject
        where
            F: Fn(&Instance<T>, &Object) -> Res<Obj> + Copy + 'static,
        {
            let function = zero_sized::<F>();
            // SAFETY: a slot is called with an instance of its class and a live tuple.
            unsafe { enter_for_object(op, |this: &Instance<T>| function(this, Object::from_ptr(args))) }
        }
        self.slot(ffi::Py_tp_call, entry::<T, F> as *mut c_void)
    }

    /// One step of an awaitable: `__next__`, and `send(None)` without a StopIteration.
    ///
    /// 3.11 and 3.15 drive an awaitable by am_send, 3.12 to 3.14 by tp_iternext: both are made.
    pub(crate) fn step<F>(self, _function: F) -> Self
    where
        F: Fn(&Instance<T>) -> Res<Sent> + Copy + 'static,
    {
        unsafe extern "C" fn next<T: Class, F>(op: *mut ffi::PyObject) -> *mut ffi::PyObject
        where
            F: Fn(&Instance<T>) -> Res<Sent> + Copy + 'static,
        {
            let function = zero_sized::<F>();
            // SAFETY: a slot is called with an instance of its class.
            unsafe {
                enter_for_object(op, |this: &Instance<T>| match function(this)? {
                    Sent::Yielded(value) => Ok(value),
                    Sent::Returned(value) => Err(stop_iteration(value)),
                })
            }
        }
        unsafe extern "C" fn send<T: Class, F>(
            op: *mut ffi::PyObject,
            _sent: *mut ffi::PyObject,
            result: *mut *mut ffi::PyObject,
        ) -> ffi::PySendResult
        where
            F: Fn(&Instance<T>) -> Res<Sent> + Copy + 'static,
        {
            let function = zero_sized::<F>();
            // SAFETY: a slot is called with an instance of its class; `result` is the caller's place for a
            // new reference.
            unsafe {
                enter(op, ffi::PySendResult::PYGEN_ERROR, |this: &Instance<T>| {
                    *result = ptr::null_mut();
                    Ok(match function(this)? {
                        Sent::Yielded(value) => {
                            *result = value.into_raw();
                            ffi::PySendResult::PYGEN_NEXT
                        }
                        Sent::Returned(value) => {
                            *result = value.into_raw();
                            ffi::PySendResult::PYGEN_RETURN
                        }
                    })
                })
            }
        }
        self.slot(ffi::Py_tp_iternext, next::<T, F> as *mut c_void)
            .slot(ffi::Py_am_send, send::<T, F> as *mut c_void)
    }

    /// `cls[item]`, for annotations.
    pub(crate) fn generic(mut self) -> Self {
        self.methods.push(ffi::PyMethodDef {
            ml_name: c"__class_getitem__".as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: ffi::Py_GenericAlias },
            ml_flags: ffi::METH_O | ffi::METH_CLASS,
            ml_doc: c"See PEP 585".as_ptr(),
        });
        self
    }

    pub(super) fn slot(mut self, slot: c_int, function: *mut c_void) -> Self {
        self.slots.push(ffi::PyType_Slot { slot, pfunc: function });
        self
    }
}
