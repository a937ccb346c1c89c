//! A kit for declaring Python classes whose instances are Rust values.
//!
//! A class is a type `T: Class`; its instances are [`Instance<T>`], and its methods are plain functions
//! that take `&Instance<T>`. [`Builder`] lists them, and makes the C tables from that list. The rule
//! that makes it safe: the methods get shared references only, and `T` keeps what changes in `Cell`s
//! and [`Slot`](super::Slot)s, so Python may call back into an instance at any time.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem::{offset_of, size_of};
use std::ops::Deref;
use std::ptr;

use super::python as ffi;

use super::args::Args;
use super::compat::trash;
use super::coroutine::{Sent, stop_iteration};
use super::docstring::{Takes, docstring};
use super::error::{Raised, Res, builtin, guarded, raise, shielded};
use super::object::{Obj, Object, boolean, none, tuple};

/// A Rust type whose values are instances of a Python class.
pub(crate) trait Class: Sized + 'static {
    /// The class this one derives from; `Self` where there is none.
    type Base: Class;
    /// Whether instances take arbitrary attributes: [`Dict`], or `()`.
    type Dict: DictField;
    /// The fields of the class of Python's that this one derives from: `()` where there is none.
    type Inherited: Inherited;

    /// The qualified name, such as `saburo.Future`.
    const NAME: &'static CStr;
    /// The docstring.
    const DOC: &'static CStr;
    /// May Python code derive from it?
    const SUBCLASSABLE: bool = true;
    /// May Python code call the class?
    const CONSTRUCTIBLE: bool = true;
    /// Are dead instances kept for reuse? One that is used again is not a new allocation, so it does not
    /// bring the next garbage collection closer.
    const REUSED: bool = false;
    /// Does [`finalize`](Class::finalize) do anything?
    const FINALIZES: bool = false;

    /// The class of Python's that this one derives from, whose fields are `Inherited`.
    fn python_base() -> Option<&'static Object> {
        None
    }
    /// Another class of Python's to derive from, which has no fields.
    fn python_mixin() -> Option<&'static Object> {
        None
    }
    /// Where the class and its free list are kept.
    fn cell() -> &'static TypeCell;
    /// A value as `__new__` makes it, before `__init__`.
    fn create() -> Self;
    /// The base class's part, which must be the first field.
    fn base(&self) -> &Self::Base;
    /// Shows the collector every object held.
    fn traverse(&self, visit: &mut Visit<'_>);
    /// Lets go of every object held, so that a cycle comes apart.
    fn clear(&self);
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
    inherited: T::Inherited,
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

    /// Has anybody given it attributes of its own?
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

    /// Is ours the only reference, a weak one included? Then nobody else can look at it.
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

    /// How many dead instances are kept.
    const KEPT_AT_MOST: usize = if T::REUSED && cfg!(not(saburo_no_reuse)) {
        KEPT_BYTES / (size_of::<Instance<T>>() + COLLECTORS_HEAD)
    } else {
        0
    };

    /// Frees dead instances until few are left.
    pub(crate) fn trim() {
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
    /// must [`reveal`](Instance::reveal) it once it is in use no longer and somebody else still has it.
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
            ptr::write(&raw mut (*instance).inherited, T::Inherited::EMPTY);
            ptr::write(&raw mut (*instance).weakrefs, ptr::null_mut());
            ptr::write(&raw mut (*instance).dict, T::Dict::EMPTY);
            ptr::write(&raw mut (*instance).value, value);
            Ok(Own(Obj::from_new(op)?, PhantomData))
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

/// Memory for the dead instances of a class: enough for the tasks of a `gather` of ten thousand.
const KEPT_BYTES: usize = 2 << 20;
const KEPT_WHEN_TRIMMED: usize = 256;
/// What the collector keeps before each object.
const COLLECTORS_HEAD: usize = 16;

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
pub(crate) trait Inherited {
    const EMPTY: Self;
    fn take(&self) -> *mut ffi::PyObject;
    fn peek(&self) -> *mut ffi::PyObject;
}

impl Inherited for () {
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

impl Inherited for OneSlot {
    const EMPTY: OneSlot = OneSlot(Cell::new(ptr::null_mut()));

    fn take(&self) -> *mut ffi::PyObject {
        self.0.replace(ptr::null_mut())
    }

    fn peek(&self) -> *mut ffi::PyObject {
        self.0.get()
    }
}

/// The collector's visitor.
pub(crate) struct Visit<'a> {
    visit: ffi::visitproc,
    arg: *mut c_void,
    stopped: c_int,
    _collecting: PhantomData<&'a ()>,
}

impl Visit<'_> {
    /// Lends what is in a cell to `look`, which shows the objects in there to the collector and does nothing
    /// else; least of all does it set the cell.
    #[inline]
    pub(crate) fn cell<T>(&mut self, cell: &Cell<T>, look: impl FnOnce(&mut Self, &T)) {
        // SAFETY: whoever has a Visit is called by the collector, on its thread, and the collector runs no
        // code while it traverses: nobody sets the cell meanwhile, `look` included, as said above.
        look(self, unsafe { &*cell.as_ptr() });
    }

    #[inline]
    pub(crate) fn object(&mut self, object: &Object) {
        if self.stopped == 0 {
            // SAFETY: the collector's own function, with its own argument, on a live object.
            self.stopped = unsafe { (self.visit)(object.as_ptr(), self.arg) };
        }
    }
}

/// What a method may return.
pub(crate) trait Answer {
    fn answer(self) -> Res<Obj>;
}

impl Answer for Obj {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(self)
    }
}

impl Answer for bool {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(boolean(self))
    }
}

impl Answer for () {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(none())
    }
}

impl Answer for Option<Obj> {
    #[inline]
    fn answer(self) -> Res<Obj> {
        Ok(self.unwrap_or_else(none))
    }
}

impl<A: Answer> Answer for Res<A> {
    #[inline]
    fn answer(self) -> Res<Obj> {
        self.and_then(Answer::answer)
    }
}

/// Lists a class's methods, properties and slots, then makes the class.
///
/// Functions are taken as values of zero size (plain `fn` items or closures without captures), so the C
/// function made for each calls it directly.
pub(crate) struct Builder<T: Class> {
    methods: Vec<ffi::PyMethodDef>,
    getset: Vec<ffi::PyGetSetDef>,
    slots: Vec<ffi::PyType_Slot>,
    /// Names of slots that the class does not show.
    unlisted: Vec<&'static CStr>,
    _class: PhantomData<T>,
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
            answer(|| function(unsafe { this(op) }).answer())
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
            answer(|| unsafe { function(this(op), Object::from_ptr(arg)).answer() })
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
            answer(|| unsafe { function(this(op), Args::new(args, count as usize, names)).answer() })
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
            answer(|| function(unsafe { this(op) }).answer())
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
            guarded(-1, || {
                if value.is_null() {
                    // SAFETY: the exception types are static objects.
                    let class = unsafe { Object::from_ptr(ffi::PyExc_AttributeError) };
                    return raise(class, "cannot delete attribute");
                }
                // SAFETY: CPython checks the owner's class, and the caller keeps the value alive.
                unsafe { function(this(op), Object::from_ptr(value)) }.map(|()| 0)
            })
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
            guarded(-1, || {
                let mut all = Vec::new();
                // SAFETY: a live tuple and a live dict or null. The names and values are copied out of
                // the dict first (`names` and `values` own them), since the body may change it.
                unsafe {
                    let count = ffi::PyTuple_GET_SIZE(args);
                    all.extend((0..count).map(|index| ffi::PyTuple_GET_ITEM(args, index)));
                    if kwargs.is_null() {
                        let args = Args::new(all.as_ptr(), all.len(), ptr::null_mut());
                        return function(this(op), args).map(|()| 0);
                    }
                    let keys = Obj::from_new(ffi::PyDict_Keys(kwargs))?;
                    let names = Obj::from_new(ffi::PyList_AsTuple(keys.as_ptr()))?;
                    let values = Obj::from_new(ffi::PyDict_Values(kwargs))?;
                    let named = ffi::PyList_GET_SIZE(values.as_ptr());
                    all.extend((0..named).map(|index| ffi::PyList_GET_ITEM(values.as_ptr(), index)));
                    let args = Args::new(all.as_ptr(), count as usize, names.as_ptr());
                    function(this(op), args).map(|()| 0)
                }
            })
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
            guarded(-1, || function(unsafe { this(op) }).map(|hash| if hash == -1 { -2 } else { hash }))
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
            answer(|| {
                let operator = ["<", "<=", "==", "!=", ">", ">="][operator as usize];
                // SAFETY: a slot is called with an instance of its class and a live operand, and
                // NotImplemented is a static object.
                unsafe {
                    Ok(match function(this(op), Object::from_ptr(other), operator)? {
                        Some(truth) => boolean(truth),
                        None => Object::from_ptr(ffi::Py_NotImplemented()).to_obj(),
                    })
                }
            })
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
            answer(|| unsafe { function(this(op), Object::from_ptr(args)) })
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
            answer(|| match function(unsafe { this(op) })? {
                Sent::Yielded(value) => Ok(value),
                Sent::Returned(value) => Err(stop_iteration(value)),
            })
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
            guarded(ffi::PySendResult::PYGEN_ERROR, || {
                // SAFETY: a slot is called with an instance of its class; `result` is the caller's
                // place for a new reference.
                unsafe {
                    *result = ptr::null_mut();
                    Ok(match function(this(op))? {
                        Sent::Yielded(value) => {
                            *result = value.into_raw();
                            ffi::PySendResult::PYGEN_NEXT
                        }
                        Sent::Returned(value) => {
                            *result = value.into_raw();
                            ffi::PySendResult::PYGEN_RETURN
                        }
                    })
                }
            })
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

    fn slot(mut self, slot: c_int, function: *mut c_void) -> Self {
        self.slots.push(ffi::PyType_Slot { slot, pfunc: function });
        self
    }

    /// Makes the class. The tables are leaked: the class points at them for the life of the process.
    pub(super) fn build(module: *mut ffi::PyObject) -> Res<Obj> {
        let mut builder = T::describe(Builder {
            methods: Vec::new(),
            getset: Vec::new(),
            slots: Vec::new(),
            unlisted: Vec::new(),
            _class: PhantomData,
        });
        let sample = T::create();
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
                let fields = size_of::<ffi::PyObject>() + size_of::<T::Inherited>();
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
                // The dict of a class that nobody has seen yet.
                Raised::check(ffi::PyDict_DelItemString((*class_pointer).tp_dict, name.as_ptr()))?;
                ffi::PyType_Modified(class_pointer);
            }
            // One reference is kept for good: instances and casts rely on the class being there.
            T::cell().class.set(class.clone().into_raw().cast());
            Ok(class)
        }
    }
}

/// The function that a zero-sized `F` stands for.
#[inline]
pub(super) fn zero_sized<F: Copy + 'static>() -> F {
    const { assert!(size_of::<F>() == 0, "a method is a plain function, without captures") };
    // SAFETY: F has no bytes, and a value of it was given to the builder, so F has a value.
    unsafe { std::mem::zeroed() }
}

/// # Safety
/// `op` is a live instance of `T` or of a class derived from it.
#[inline]
unsafe fn this<'a, T: Class>(op: *mut ffi::PyObject) -> &'a Instance<T> {
    // SAFETY: the caller's promise.
    unsafe { &*op.cast::<Instance<T>>() }
}

#[inline]
pub(super) fn answer(body: impl FnOnce() -> Res<Obj>) -> *mut ffi::PyObject {
    guarded(ptr::null_mut(), || body().map(Obj::into_raw))
}

unsafe extern "C" fn unary<T: Class, F>(op: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: Fn(&Instance<T>) -> Res<Obj> + Copy + 'static,
{
    let function = zero_sized::<F>();
    // SAFETY: a slot is called with an instance of its class.
    answer(|| function(unsafe { this(op) }))
}

unsafe extern "C" fn new<T: Class>(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    answer(|| {
        if class == T::cell().class() {
            return Instance::<T>::alloc(T::create()).map(Own::into_obj);
        }
        let value = T::create();
        // SAFETY: a class derived from ours has room for an Instance<T> at its start. The memory is
        // zeroed and already tracked, but nothing can look at it before the value is written.
        unsafe {
            let op = Obj::from_new(ffi::PyType_GenericAlloc(class, 0))?;
            ptr::write(&raw mut (*op.as_ptr().cast::<Instance<T>>()).value, value);
            Ok(op)
        }
    })
}

unsafe extern "C" fn traverse<T: Class>(
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
            for field in [this.dict.peek(), this.inherited.peek()] {
                if !field.is_null() {
                    visit.object(Object::from_ptr(field));
                }
            }
            this.value.traverse(&mut visit);
        }
    });
    visit.stopped
}

unsafe extern "C" fn clear<T: Class>(op: *mut ffi::PyObject) -> c_int {
    shielded(|| {
        // SAFETY: the collector holds a reference to the instance; the dict's reference was ours.
        unsafe {
            let this = this::<T>(op);
            drop(Obj::from_new_or_null(this.dict.take()));
            drop(Obj::from_new_or_null(this.inherited.take()));
            this.value.clear();
        }
    });
    0
}

unsafe extern "C" fn finalize<T: Class>(op: *mut ffi::PyObject) {
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

unsafe extern "C" fn dealloc<T: Class>(op: *mut ffi::PyObject) {
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
            drop(Obj::from_new_or_null((*instance).inherited.take()));
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
