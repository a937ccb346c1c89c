//! Tuples, lists, dicts and sets.

use crate::ffi::python as ffi;

use crate::ffi::error::{Raised, Res};

use super::{Obj, Object};

impl Object {
    /// True if the object is a tuple (or a subclass of it).
    pub(crate) fn is_tuple(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// `len(self)`.
    pub(crate) fn len(&self) -> Res<usize> {
        // SAFETY: live object; -1 means an exception.
        let len = unsafe { ffi::PyObject_Size(self.as_ptr()) };
        usize::try_from(len).map_err(|_| Raised)
    }

    /// `list(self)`.
    pub(crate) fn to_list(&self) -> Res<Obj> {
        // SAFETY: live object; new reference or null.
        unsafe { Obj::from_new(ffi::PySequence_List(self.as_ptr())) }
    }

    /// Item `index` of a list, or `None` past its end.
    pub(crate) fn list_item(&self, index: usize) -> Option<Obj> {
        // SAFETY: the bounds are checked; the item is borrowed from the live list.
        unsafe {
            if ffi::PyList_Check(self.as_ptr()) == 0 || index >= ffi::PyList_GET_SIZE(self.as_ptr()) as usize
            {
                return None;
            }
            let item = ffi::PyList_GET_ITEM(self.as_ptr(), index as ffi::Py_ssize_t);
            Some(Object::from_ptr(item).to_obj())
        }
    }

    /// `key in self`, of a dict.
    pub(crate) fn contains(&self, key: &Object) -> Res<bool> {
        // SAFETY: both live; -1 means an exception.
        Raised::check_bool(unsafe { ffi::PyDict_Contains(self.as_ptr(), key.as_ptr()) })
    }

    /// True if the object is exactly a `tuple`.
    #[inline]
    pub(crate) fn is_exact_tuple(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PyTuple_CheckExact(self.as_ptr()) != 0 }
    }

    /// Item `index` of a tuple, or `None` past its end.
    pub(crate) fn tuple_item(&self, index: usize) -> Option<Obj> {
        // SAFETY: the bounds are checked; items are borrowed from the live tuple.
        unsafe {
            if ffi::PyTuple_Check(self.as_ptr()) == 0
                || index >= ffi::PyTuple_GET_SIZE(self.as_ptr()) as usize
            {
                return None;
            }
            let item = ffi::PyTuple_GET_ITEM(self.as_ptr(), index as ffi::Py_ssize_t);
            Some(Object::from_ptr(item).to_obj())
        }
    }

    /// `self[key] = value` of a dict.
    #[inline]
    pub(crate) fn dict_set(&self, key: &Object, value: &Object) -> Res<()> {
        // SAFETY: all three are live.
        Raised::check(unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// `self.pop(key, None)` of a dict.
    #[cfg(not(Py_3_14))]
    pub(crate) fn dict_remove(&self, key: &Object) -> Res<()> {
        // SAFETY: both live; a missing key raises KeyError, which means there is nothing to remove.
        match Raised::check(unsafe { ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()) }) {
            // SAFETY: the exception types are static objects.
            Err(raised) if raised.matches_ptr(unsafe { ffi::PyExc_KeyError }) => {
                raised.swallow();
                Ok(())
            }
            other => other,
        }
    }

    /// True if the object is exactly a `set`.
    #[inline]
    pub(crate) fn is_exact_set(&self) -> bool {
        // SAFETY: live object.
        unsafe { ffi::PySet_CheckExact(self.as_ptr()) != 0 }
    }

    /// `self.add(item)` of a set.
    pub(crate) fn set_add(&self, item: &Object) -> Res<()> {
        // SAFETY: both live; the call checks that this is a set.
        Raised::check(unsafe { ffi::PySet_Add(self.as_ptr(), item.as_ptr()) })
    }

    /// `self.discard(item)` of a set.
    pub(crate) fn set_discard(&self, item: &Object) -> Res<()> {
        // SAFETY: both live; the call checks that this is a set. A missing item is no error.
        Raised::check_bool(unsafe { ffi::PySet_Discard(self.as_ptr(), item.as_ptr()) }).map(drop)
    }

    /// `self.get(key)` of a dict.
    pub(crate) fn dict_get(&self, key: &Object) -> Res<Option<Obj>> {
        // SAFETY: both live; a borrowed reference, or null with or without an exception.
        unsafe {
            let found = ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr());
            if found.is_null() {
                Raised::if_occurred()?;
                return Ok(None);
            }
            Ok(Some(Object::from_ptr(found).to_obj()))
        }
    }
}

/// A tuple of these items.
pub(crate) fn tuple<'a>(items: impl ExactSizeIterator<Item = &'a Object>) -> Res<Obj> {
    // SAFETY: a fresh tuple is filled slot by slot, each slot taking over a reference of its own.
    unsafe {
        let made = Obj::from_new(ffi::PyTuple_New(items.len() as ffi::Py_ssize_t))?;
        for (index, item) in items.enumerate() {
            let index = index as ffi::Py_ssize_t;
            ffi::PyTuple_SET_ITEM(made.as_ptr(), index, item.to_obj().into_raw());
        }
        Ok(made)
    }
}

/// A list of these items.
pub(crate) fn list(items: impl ExactSizeIterator<Item = Obj>) -> Res<Obj> {
    // SAFETY: a fresh list is filled slot by slot, each slot taking over a reference.
    unsafe {
        let made = Obj::from_new(ffi::PyList_New(items.len() as ffi::Py_ssize_t))?;
        for (index, item) in items.enumerate() {
            ffi::PyList_SET_ITEM(made.as_ptr(), index as ffi::Py_ssize_t, item.into_raw());
        }
        Ok(made)
    }
}

/// A new `dict` with these entries.
pub(in crate::ffi) fn dict<'a>(entries: impl Iterator<Item = (&'a Object, &'a Object)>) -> Res<Obj> {
    // SAFETY: new reference or null.
    let made = unsafe { Obj::from_new(ffi::PyDict_New())? };
    for (key, value) in entries {
        made.dict_set(key, value)?;
    }
    Ok(made)
}
