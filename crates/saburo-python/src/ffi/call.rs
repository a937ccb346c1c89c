//! Calling Python: every call takes its arguments as a slice, without a tuple.

use super::python as ffi;

use super::error::Res;
use super::object::{Obj, Object, dict};

/// Room for this many arguments on the stack; longer calls allocate.
const INLINE: usize = 6;

impl Object {
    /// `self(*args)`.
    #[inline]
    pub(crate) fn call(&self, args: &[&Object]) -> Res<Obj> {
        self.call_with_names(args, None)
    }

    /// `self()`.
    #[inline]
    pub(crate) fn call0(&self) -> Res<Obj> {
        // SAFETY: live callable; new reference or null.
        unsafe { Obj::from_new(ffi::PyObject_CallNoArgs(self.as_ptr())) }
    }

    /// `self(*args, **dict(zip(names, the last of args)))`; `names` is a tuple of str.
    #[inline]
    pub(crate) fn call_with_names(&self, args: &[&Object], names: Option<&Object>) -> Res<Obj> {
        let named = names.map_or(0, |names| {
            // SAFETY: `names` is a live tuple.
            unsafe { ffi::PyTuple_GET_SIZE(names.as_ptr()) as usize }
        });
        with_vector(None, args, |vector, count| {
            // SAFETY: `vector` holds `count` live objects, with one free slot before them.
            unsafe {
                Obj::from_new(ffi::PyObject_Vectorcall(
                    self.as_ptr(),
                    vector.add(1),
                    (count - named) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                    names.map_or(std::ptr::null_mut(), Object::as_ptr),
                ))
            }
        })
    }

    /// `self.name(*args)`, without making a bound method.
    #[inline]
    pub(crate) fn method(&self, name: &Object, args: &[&Object]) -> Res<Obj> {
        self.method_with_names(name, args, None)
    }

    /// `self.name(*args, **named)`; the last of `args` belong to `names`, a tuple of str.
    #[inline]
    pub(crate) fn method_with_names(
        &self,
        name: &Object,
        args: &[&Object],
        names: Option<&Object>,
    ) -> Res<Obj> {
        let named = names.map_or(0, |names| {
            // SAFETY: `names` is a live tuple.
            unsafe { ffi::PyTuple_GET_SIZE(names.as_ptr()) as usize }
        });
        with_vector(Some(self), args, |vector, count| {
            // SAFETY: the first of `count + 1` live objects is self; a free slot stands before it.
            unsafe {
                Obj::from_new(ffi::PyObject_VectorcallMethod(
                    name.as_ptr(),
                    vector.add(1),
                    (count - named) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                    names.map_or(std::ptr::null_mut(), Object::as_ptr),
                ))
            }
        })
    }

    /// `self(*args, **kwargs)` with a ready tuple and an optional dict.
    pub(crate) fn call_tuple(&self, args: &Object, kwargs: Option<&Object>) -> Res<Obj> {
        let kwargs = kwargs.map_or(std::ptr::null_mut(), Object::as_ptr);
        // SAFETY: a live callable, a live tuple, a live dict or null; new reference or null.
        unsafe { Obj::from_new(ffi::PyObject_Call(self.as_ptr(), args.as_ptr(), kwargs)) }
    }
}

/// A dict for an exception handler's context, or for keyword arguments.
pub(crate) fn mapping(entries: &[(&Object, &Object)]) -> Res<Obj> {
    dict(entries.iter().copied())
}

/// Lays out `[free slot, first?, args…]` and lends it; `count` leaves the free slot out. The callee may write
/// into the free slot, so the pointer is one that allows it.
#[inline]
fn with_vector<R>(
    first: Option<&Object>,
    args: &[&Object],
    call: impl FnOnce(*const *mut ffi::PyObject, usize) -> R,
) -> R {
    let null = std::ptr::null_mut::<ffi::PyObject>();
    let count = args.len() + usize::from(first.is_some());
    let mut start = 1;
    let fill = |vector: &mut [*mut ffi::PyObject]| {
        if let Some(first) = first {
            vector[start] = first.as_ptr();
            start += 1;
        }
        for (place, arg) in vector[start..].iter_mut().zip(args) {
            *place = arg.as_ptr();
        }
    };
    if count <= INLINE {
        let mut vector = [null; INLINE + 1];
        let mut fill = fill;
        fill(&mut vector);
        call(vector.as_mut_ptr(), count)
    } else {
        let mut vector = vec![null; count + 1];
        let mut fill = fill;
        fill(&mut vector);
        call(vector.as_mut_ptr(), count)
    }
}
