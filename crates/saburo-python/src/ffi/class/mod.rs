//! A kit for declaring Python classes whose instances are Rust values.
//!
//! A class is a type `T: Class`; its instances are [`Instance<T>`], and its methods are plain functions
//! that take `&Instance<T>`. The rule that makes it safe: the methods get shared references only, and `T`
//! keeps what changes in `Cell`s and [`Slot`](super::Slot)s, so Python may call back into an instance at any
//! time.
//!
//! | file | holds |
//! |---|---|
//! | `fields`, `visit` | the fields, listed once, and what the collector needs to know of them |
//! | `builder`, `build` | the methods, listed; from the list to the C tables and the class |
//! | `entry` | where every call of a method begins |
//! | `life` | how an instance is made, emptied, freed, or kept to be used again |
//! | `behind` | instances of which no more is known than a trait |
//! | `reported` | the class that `isinstance` is told |

mod behind;
mod build;
mod builder;
mod entry;
mod fields;
mod life;
mod reported;
mod visit;

use std::cell::{Cell, UnsafeCell};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;

use super::python as ffi;

use super::object::{Obj, Object};

pub(crate) use behind::{Behind, In};
pub(crate) use build::trim_dead;
pub(crate) use builder::Builder;
pub(super) use entry::{Answer, answer, zero_sized};
pub(crate) use fields::{fields, holds_nothing};
pub(crate) use visit::{Holds, Owns, Visit};

/// A Rust type whose values are instances of a Python class.
pub(crate) trait Class: Sized + 'static {
    /// The class this one derives from; `Self` where there is none.
    type Base: Class;
    /// Whether instances take arbitrary attributes: [`Dict`], or `()`.
    type Dict: DictField;
    /// The fields of the class of Python's that this one derives from: `()` where there is none.
    type BaseSlots: BaseSlots;

    /// The qualified name, such as `saburo.Future`.
    const NAME: &'static CStr;
    /// The docstring.
    const DOC: &'static CStr;
    /// True if Python code may derive from the class.
    const SUBCLASSABLE: bool = true;
    /// True if Python code may call the class.
    const CONSTRUCTIBLE: bool = true;
    /// Are dead instances kept for reuse? One that is used again is not a new allocation, so it does not
    /// bring the next garbage collection closer.
    const REUSED: bool = false;
    /// True if [`finalize`](Class::finalize) does anything.
    const FINALIZES: bool = false;

    /// The class of Python's that this one derives from, whose fields are `BaseSlots`.
    fn python_base() -> Option<&'static Object> {
        None
    }
    /// Another class of Python's to derive from, which has no fields.
    fn python_mixin() -> Option<&'static Object> {
        None
    }
    // From here to `clear`, `fields!` writes them.

    /// Where the class and its free list are kept.
    fn cell() -> &'static TypeCell;
    /// A value as `__new__` makes it, before `__init__`.
    fn blank() -> Self;
    /// The base class's part, which must be the first field.
    fn base(&self) -> &Self::Base;
    /// Shows the collector every object held.
    fn traverse(&self, visit: &mut Visit<'_>);
    /// Lets go of every object held, so that a cycle comes apart.
    fn clear(&self);

    // What follows each class says itself.

    /// The last reference is gone, and what is held goes next: a chance to pass some of it on.
    #[inline]
    fn depart(&self) {}
    /// Has [`finalize`](Class::finalize) run on this instance? Such a one is not used again: it keeps the
    /// collector's mark of it, and its next life would go unfinalized.
    fn was_finalized(&self) -> bool {
        false
    }
    /// Is there something to say before this instance goes?
    fn wants_finalizer(&self) -> bool {
        false
    }
    /// Python's `__del__`: runs while the instance is whole, and may even bring it back.
    fn finalize(_this: &Instance<Self>) {}
    /// Methods, properties and slots.
    fn describe(builder: Builder<Self>) -> Builder<Self>;
}

/// An instance as CPython sees it: the object's head, then our value.
#[repr(C)]
pub(crate) struct Instance<T: Class> {
    head: ffi::PyObject,
    base_slots: T::BaseSlots,
    weakrefs: *mut ffi::PyObject,
    dict: T::Dict,
    value: T,
}

impl<T: Class> Deref for Instance<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Class> Instance<T> {
    /// The instance as any other object.
    #[inline]
    pub(crate) fn as_object(&self) -> &Object {
        // SAFETY: an Instance starts with an object's head and is alive for this borrow.
        unsafe { Object::from_ptr(ptr::from_ref(self).cast_mut().cast()) }
    }

    /// The instance as one of the base class.
    #[inline]
    pub(crate) fn upcast(&self) -> &Instance<T::Base> {
        // SAFETY: the base's part comes first (checked when the class is built), after equal heads.
        unsafe { &*ptr::from_ref(self).cast::<Instance<T::Base>>() }
    }

    /// An owned reference to it.
    #[inline]
    pub(crate) fn to_own(&self) -> Own<T> {
        Own(self.as_object().to_obj(), PhantomData)
    }

    /// True if the instance was given attributes of its own.
    #[inline]
    pub(crate) fn has_attributes(&self) -> bool {
        !self.dict.peek().is_null()
    }

    /// How many references there are.
    #[inline]
    pub(crate) fn references(&self) -> isize {
        // SAFETY: reads the count of a live object.
        unsafe { ffi::Py_REFCNT(self.as_object().as_ptr()) }
    }

    /// True if ours is the only reference, weak ones included. Then no other code can look at it.
    #[inline]
    pub(crate) fn is_private(&self) -> bool {
        self.weakrefs.is_null() && self.references() == 1
    }

    /// Was it made with [`alloc_hidden`](Instance::alloc_hidden), and not revealed since?
    #[inline]
    pub(crate) fn is_hidden(&self) -> bool {
        // SAFETY: a live object of a class with a collector.
        unsafe { ffi::PyObject_GC_IsTracked(self.as_object().as_ptr()) == 0 }
    }

    /// Shows the instance to the collector, if it is hidden from it.
    #[inline]
    pub(crate) fn reveal(&self) {
        if self.is_hidden() {
            // SAFETY: a live instance of a class with a collector, whole since it was made.
            unsafe { ffi::PyObject_GC_Track(self.as_object().as_ptr().cast()) };
        }
    }
}

/// An owned reference to an instance of a class of ours.
#[repr(transparent)]
pub(crate) struct Own<T: Class>(Obj, PhantomData<T>);

impl<T: Class> Own<T> {
    #[inline]
    pub(crate) fn into_obj(self) -> Obj {
        self.0
    }
}

impl<T: Class> Deref for Own<T> {
    type Target = Instance<T>;

    #[inline]
    fn deref(&self) -> &Instance<T> {
        // SAFETY: an Own is only made from an instance of T, and keeps it alive.
        unsafe { &*self.0.as_ptr().cast::<Instance<T>>() }
    }
}

impl<T: Class> Clone for Own<T> {
    #[inline]
    fn clone(&self) -> Own<T> {
        Own(self.0.clone(), PhantomData)
    }
}

impl Object {
    /// The instance, if the object is one of exactly this class.
    #[inline]
    pub(crate) fn cast_exact<T: Class>(&self) -> Option<&Instance<T>> {
        // SAFETY: the type says that it is an Instance<T>.
        (self.type_ptr() == T::cell().class()).then(|| unsafe { &*self.as_ptr().cast::<Instance<T>>() })
    }

    /// The same, if nobody has given it attributes, which might be methods in the place of ours.
    #[inline]
    pub(crate) fn cast_untouched<T: Class>(&self) -> Option<&Instance<T>> {
        self.cast_exact::<T>().filter(|instance| !instance.has_attributes())
    }

    /// The instance, if the object is one of this class or of a class derived from it.
    #[inline]
    pub(crate) fn cast<T: Class>(&self) -> Option<&Instance<T>> {
        // SAFETY: a subtype starts with an Instance<T>, because T's layout is its base's.
        unsafe {
            let class = T::cell().class();
            (self.type_ptr() == class || ffi::PyType_IsSubtype(self.type_ptr(), class) != 0)
                .then(|| &*self.as_ptr().cast::<Instance<T>>())
        }
    }
}

impl Obj {
    /// Keeps the reference and forgets which class it is of, or gives it back.
    #[inline]
    pub(crate) fn into_exact<T: Class>(self) -> Result<Own<T>, Obj> {
        if self.cast_exact::<T>().is_some() { Ok(Own(self, PhantomData)) } else { Err(self) }
    }
}

/// A class once it exists, and its dead instances waiting to be used again.
pub(crate) struct TypeCell {
    class: Cell<*mut ffi::PyTypeObject>,
    free: UnsafeCell<Vec<*mut ffi::PyObject>>,
}

// SAFETY: reached on attached threads only, in order of the interpreter lock (see `Global`).
unsafe impl Sync for TypeCell {}

impl TypeCell {
    pub(crate) const fn new() -> TypeCell {
        TypeCell { class: Cell::new(ptr::null_mut()), free: UnsafeCell::new(Vec::new()) }
    }

    /// The class, once it is made.
    pub(super) fn made(&self) -> Option<Obj> {
        let class = self.class.get();
        // SAFETY: a class once made is kept for good.
        (!class.is_null()).then(|| unsafe { Object::from_ptr(class.cast()) }.to_obj())
    }

    #[inline]
    pub(super) fn class(&self) -> *mut ffi::PyTypeObject {
        debug_assert!(!self.class.get().is_null(), "a class is used before the module made it");
        self.class.get()
    }
}

/// Room for an instance's `__dict__`.
pub(crate) struct Dict(Cell<*mut ffi::PyObject>);

/// Whether an instance has a `__dict__`: [`Dict`] or `()`.
pub(crate) trait DictField {
    const EMPTY: Self;
    const PRESENT: bool;
    fn take(&self) -> *mut ffi::PyObject;
    fn peek(&self) -> *mut ffi::PyObject;
}

impl DictField for Dict {
    const EMPTY: Dict = Dict(Cell::new(ptr::null_mut()));
    const PRESENT: bool = true;

    fn take(&self) -> *mut ffi::PyObject {
        self.0.replace(ptr::null_mut())
    }

    fn peek(&self) -> *mut ffi::PyObject {
        self.0.get()
    }
}

impl DictField for () {
    const EMPTY: () = ();
    const PRESENT: bool = false;

    fn take(&self) -> *mut ffi::PyObject {
        ptr::null_mut()
    }

    fn peek(&self) -> *mut ffi::PyObject {
        ptr::null_mut()
    }
}

/// The fields that a class of Python's has put before ours: one pointer for each of its `__slots__`.
pub(crate) trait BaseSlots {
    const EMPTY: Self;
    fn take(&self) -> *mut ffi::PyObject;
    fn peek(&self) -> *mut ffi::PyObject;
}

impl BaseSlots for () {
    const EMPTY: () = ();

    fn take(&self) -> *mut ffi::PyObject {
        ptr::null_mut()
    }

    fn peek(&self) -> *mut ffi::PyObject {
        ptr::null_mut()
    }
}

/// One slot of Python's. Its descriptor, which the class inherits, reads and writes it.
pub(crate) struct OneSlot(Cell<*mut ffi::PyObject>);

impl BaseSlots for OneSlot {
    const EMPTY: OneSlot = OneSlot(Cell::new(ptr::null_mut()));

    fn take(&self) -> *mut ffi::PyObject {
        self.0.replace(ptr::null_mut())
    }

    fn peek(&self) -> *mut ffi::PyObject {
        self.0.get()
    }
}
