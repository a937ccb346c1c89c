//! How an instance is made, shown to the collector, emptied, and freed or kept to be used again.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use crate::ffi::python as ffi;

use crate::ffi::compat::trash;
use crate::ffi::error::{Raised, Res, shielded};
use crate::ffi::object::{Obj, Object};

use super::entry::{answer, this};
use super::{BaseSlots, Class, DictField, Instance, Own, Visit};

/// Memory for the dead instances of a class: enough for the tasks of a `gather` of ten thousand.
const KEPT_BYTES: usize = 2 << 20;
const KEPT_WHEN_TRIMMED: usize = 256;
/// What the collector keeps before each object.
const COLLECTORS_HEAD: usize = 16;

impl<T: Class> Instance<T> {
    /// How many dead instances are kept.
    const KEPT_AT_MOST: usize = if T::REUSED && cfg!(not(saburo_no_reuse)) {
        KEPT_BYTES / (size_of::<Instance<T>>() + COLLECTORS_HEAD)
    } else {
        0
    };

    /// Frees dead instances until few are left.
    pub(super) fn trim() {
        // SAFETY: the list is borrowed for the call only, and freeing dead instances runs no code: they are
        // empty and unknown to the collector, and their class, which they do not own, is never freed.
        unsafe {
            let free = &mut *T::cell().free.get();
            for dead in free.drain(free.len().min(KEPT_WHEN_TRIMMED)..) {
                ffi::PyObject_GC_Del(dead.cast());
            }
            free.shrink_to(KEPT_WHEN_TRIMMED);
        }
    }

    /// Makes an instance of exactly this class.
    #[inline]
    pub(crate) fn alloc(value: T) -> Res<Own<T>> {
        let instance = Instance::alloc_hidden(value)?;
        // SAFETY: just made, and whole.
        unsafe { ffi::PyObject_GC_Track(instance.0.as_ptr().cast()) };
        Ok(instance)
    }

    /// Makes an instance that the collector does not see: a cycle through it is not collected. The caller
    /// must [`reveal`](Instance::reveal) it once it is in use no longer and other references remain.
    /// Nobody need think of its finalizer: an instance that is about to be finalized is revealed first.
    #[inline]
    pub(crate) fn alloc_hidden(value: T) -> Res<Own<T>> {
        let cell = T::cell();
        let class = cell.class();
        // SAFETY: the block is of this class: fresh from the collector's allocator, or a dead instance
        // that was untracked and not finalized. Every field is written before it is tracked.
        unsafe {
            let op = match (*cell.free.get()).pop() {
                Some(dead) => ffi::PyObject_Init(dead, class),
                None => {
                    let op = ffi::_PyObject_GC_New(class);
                    if op.is_null() {
                        return Err(Raised);
                    }
                    op
                }
            };
            let instance = op.cast::<Instance<T>>();
            ptr::write(&raw mut (*instance).base_slots, T::BaseSlots::EMPTY);
            ptr::write(&raw mut (*instance).weakrefs, ptr::null_mut());
            ptr::write(&raw mut (*instance).dict, T::Dict::EMPTY);
            ptr::write(&raw mut (*instance).value, value);
            Ok(Own(Obj::from_new(op)?, PhantomData))
        }
    }
}

pub(super) unsafe extern "C" fn new<T: Class>(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    answer(|| {
        if class == T::cell().class() {
            return Instance::<T>::alloc(T::blank()).map(Own::into_obj);
        }
        let value = T::blank();
        // SAFETY: a class derived from ours has room for an Instance<T> at its start. The memory is
        // zeroed and already tracked, but nothing can look at it before the value is written.
        unsafe {
            let op = Obj::from_new(ffi::PyType_GenericAlloc(class, 0))?;
            ptr::write(&raw mut (*op.as_ptr().cast::<Instance<T>>()).value, value);
            Ok(op)
        }
    })
}

pub(super) unsafe extern "C" fn traverse<T: Class>(
    op: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let mut visit = Visit { visit, arg, stopped: 0, _collecting: PhantomData };
    shielded(|| {
        // SAFETY: the collector hands us a live instance of our class, whose type and dict live.
        unsafe {
            let this = this::<T>(op);
            visit.object(Object::from_ptr(ffi::Py_TYPE(op).cast()));
            for field in [this.dict.peek(), this.base_slots.peek()] {
                if !field.is_null() {
                    visit.object(Object::from_ptr(field));
                }
            }
            this.value.traverse(&mut visit);
        }
    });
    visit.stopped
}

pub(super) unsafe extern "C" fn clear<T: Class>(op: *mut ffi::PyObject) -> c_int {
    shielded(|| {
        // SAFETY: the collector holds a reference to the instance; the dict's reference was ours.
        unsafe {
            let this = this::<T>(op);
            drop(Obj::from_new_or_null(this.dict.take()));
            drop(Obj::from_new_or_null(this.base_slots.take()));
            this.value.clear();
        }
    });
    0
}

pub(super) unsafe extern "C" fn finalize<T: Class>(op: *mut ffi::PyObject) {
    // SAFETY: the exception that may be pending is taken out and put back around code of ours; the
    // instance is whole and alive.
    unsafe {
        let pending = (!ffi::PyErr_Occurred().is_null()).then(|| Raised.take());
        shielded(|| T::finalize(this(op)));
        if let Some(pending) = pending {
            let _ = Raised::with(pending);
        }
    }
}

pub(super) unsafe extern "C" fn dealloc<T: Class>(op: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone, so the instance is ours: it is finalized at most once, taken
    // from the collector, emptied, and then either kept for reuse or freed. A class made by
    // PyType_FromSpec is owned by its instances, hence the decref at the end.
    unsafe {
        if T::FINALIZES && this::<T>(op).value.wants_finalizer() {
            // A finalizer shows it to Python, which may keep it, in a cycle for example.
            this::<T>(op).reveal();
            if ffi::PyObject_CallFinalizerFromDealloc(op) < 0 {
                return;
            }
        }
        ffi::PyObject_GC_UnTrack(op.cast());
        trash::free(op, free::<T>);
    }
}

/// The second half: empties an instance and frees or keeps it. What it held may go with it, and so on.
unsafe fn free<T: Class>(op: *mut ffi::PyObject) {
    // SAFETY: as above; nobody has looked at the instance since.
    unsafe {
        let instance = op.cast::<Instance<T>>();
        let was_finalized = T::FINALIZES && (*instance).value.was_finalized();
        if !(*instance).weakrefs.is_null() {
            ffi::PyObject_ClearWeakRefs(op);
        }
        shielded(|| {
            drop(Obj::from_new_or_null((*instance).dict.take()));
            drop(Obj::from_new_or_null((*instance).base_slots.take()));
            (*instance).value.depart();
            ptr::drop_in_place(&raw mut (*instance).value);
        });

        let class = ffi::Py_TYPE(op);
        let free = &mut *T::cell().free.get();
        if class == T::cell().class.get()
            && free.len() < Instance::<T>::KEPT_AT_MOST
            && !was_finalized
            && (free.len() < free.capacity() || free.try_reserve(1).is_ok())
        {
            free.push(op);
        } else {
            let tp_free = (*class).tp_free.expect("a class with a collector has tp_free");
            tp_free(op.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}
