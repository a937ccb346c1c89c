//! Memory of ours in the hands of `_ssl`, for the length of one call.
//!
//! `_ssl` reads and writes what has Python's buffer protocol. A [`Window`] is the smallest object that
//! has it: it shows a [`Stretch`] of memory while one method of a [`SslPart`] runs. The rule that makes it
//! sound: `_ssl` is C that takes a buffer when a method is entered and gives it back before it returns, so
//! nobody looks through the window afterwards. It lets go of the interpreter meanwhile; that is why a
//! stretch is no slice.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use super::python as ffi;

use super::buffer::Bytes;
use super::error::Res;
use super::interpreter::Global;
use super::object::{Obj, Object};
use super::slot::Held;

/// Bytes in a row that stay where they are while `'a` lasts. Other threads may write to them.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a> {
    start: *mut u8,
    len: usize,
    writable: bool,
    _memory: PhantomData<&'a [u8]>,
}

impl<'a> Stretch<'a> {
    #[inline]
    pub(crate) fn of(bytes: &'a [u8]) -> Stretch<'a> {
        let start = bytes.as_ptr().cast_mut();
        Stretch { start, len: bytes.len(), writable: false, _memory: PhantomData }
    }

    /// # Safety
    /// `start` points at `len` bytes that live, and may be written to if `writable`, while `'a` lasts.
    #[inline]
    pub(super) unsafe fn new(start: *mut u8, len: usize, writable: bool) -> Stretch<'a> {
        Stretch { start, len, writable, _memory: PhantomData }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A copy as Python's `bytes`.
    pub(crate) fn to_bytes(self) -> Res<Bytes> {
        // SAFETY: the stretch is this many bytes of live memory; new reference or null.
        let made = unsafe {
            Obj::from_new(ffi::PyBytes_FromStringAndSize(self.start.cast(), self.len as ffi::Py_ssize_t))?
        };
        Ok(Bytes::exact(&made).expect("made as bytes"))
    }

    /// Copies `source` to its beginning.
    ///
    /// # Panics
    /// If there is not enough room, or it is not writable.
    pub(crate) fn fill(self, source: Stretch<'_>) {
        assert!(self.writable && source.len <= self.len, "{} bytes into {}", source.len, self.len);
        // SAFETY: live memory, and writable memory of at least as many bytes, as asserted; it may be the
        // same.
        unsafe { ptr::copy(source.start, self.start, source.len) };
    }

    /// What is left behind the first `count` bytes.
    ///
    /// # Panics
    /// If it has fewer.
    pub(crate) fn behind(self, count: usize) -> Stretch<'a> {
        assert!(count <= self.len, "{count} bytes of {}", self.len);
        // SAFETY: within the stretch, or just behind its end.
        Stretch { start: unsafe { self.start.add(count) }, len: self.len - count, ..self }
    }

    /// The first `count` bytes, or all if there are fewer.
    pub(crate) fn first(self, count: usize) -> Stretch<'a> {
        Stretch { len: self.len.min(count), ..self }
    }
}

/// A `bytes` in the making.
pub(crate) struct BytesWriter {
    /// It has no other reference.
    object: Obj,
    room: usize,
    written: usize,
}

impl BytesWriter {
    /// Room for `bytes`; MemoryError if there is none.
    pub(crate) fn with_room(bytes: usize) -> Res<BytesWriter> {
        // Never 0: the empty bytes are one object, shared by all.
        let room = bytes.max(1);
        // SAFETY: a null source leaves the bytes as they are; new reference or null.
        let object =
            unsafe { Obj::from_new(ffi::PyBytes_FromStringAndSize(ptr::null(), room as ffi::Py_ssize_t))? };
        Ok(BytesWriter { object, room, written: 0 })
    }

    /// Makes room for at least `more` bytes.
    pub(crate) fn reserve(self, more: usize) -> Res<BytesWriter> {
        if self.room - self.written >= more {
            return Ok(self);
        }
        let (written, room) = (self.written, (self.room * 2).max(self.written + more));
        Ok(BytesWriter { object: resized(self.object, room)?, room, written })
    }

    /// What has yet to be written to.
    pub(crate) fn rest(&mut self) -> Stretch<'_> {
        // SAFETY: exactly a bytes, with this many of them.
        let start = unsafe { ffi::PyBytes_AsString(self.object.as_ptr()).cast::<u8>() };
        Stretch { start, len: self.room, writable: true, _memory: PhantomData }.behind(self.written)
    }

    /// The first `count` bytes of the rest have been written.
    pub(crate) fn advance(&mut self, count: usize) {
        assert!(count <= self.room - self.written, "{count} bytes into {}", self.room - self.written);
        self.written += count;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.written == self.room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// The bytes written.
    pub(crate) fn finish(self) -> Res<Obj> {
        if self.is_full() { Ok(self.object) } else { resized(self.object, self.written) }
    }
}

/// A `bytes` with no other reference, made shorter or longer.
pub(super) fn resized(object: Obj, size: usize) -> Res<Obj> {
    let mut raw = object.into_raw();
    // SAFETY: the only reference to a bytes that nobody has hashed or seen. It is replaced by a reference
    // to the resized one, or by null with an exception set.
    unsafe {
        ffi::_PyBytes_Resize(&raw mut raw, size as ffi::Py_ssize_t);
        Obj::from_new(raw)
    }
}

/// An instance of one of the classes of `_ssl`, the C module behind `ssl`.
#[derive(Clone)]
pub(crate) struct SslPart(Obj);

// SAFETY: cloning it is an incref.
unsafe impl Held for SslPart {
    fn object(&self) -> &Object {
        &self.0
    }
}

impl SslPart {
    /// The object, if it is one.
    pub(crate) fn of(object: &Object) -> Option<SslPart> {
        // SAFETY: a live type. No class made by Python code has this flag, so the name is the one that
        // the C module has given.
        let is_part = unsafe {
            let class = object.type_ptr();
            (*class).tp_flags & ffi::Py_TPFLAGS_IMMUTABLETYPE != 0
                && std::ffi::CStr::from_ptr((*class).tp_name).to_bytes().starts_with(b"_ssl.")
        };
        is_part.then(|| SslPart(object.to_obj()))
    }

    pub(crate) fn as_object(&self) -> &Object {
        &self.0
    }

    /// `self.name(stretch)`, or `self.name(first, stretch)`.
    #[inline]
    pub(crate) fn call_with(
        &self,
        window: &Window,
        name: &Object,
        first: Option<&Object>,
        stretch: Stretch<'_>,
    ) -> Res<Obj> {
        let pane = window.pane();
        pane.stretch.set((stretch.start, stretch.len, stretch.writable));
        let answer = match first {
            Some(first) => self.0.method(name, &[first, &window.0]),
            None => self.0.method(name, &[&window.0]),
        };
        pane.stretch.set((ptr::null_mut(), 0, false));
        assert!(pane.viewers.get() == 0, "_ssl kept a buffer");
        answer
    }
}

/// An object with the buffer protocol that shows nothing, except during [`SslPart::call_with`].
pub(crate) struct Window(Obj);

#[repr(C)]
struct Pane {
    head: ffi::PyObject,
    /// Start, length, writable?
    stretch: Cell<(*mut u8, usize, bool)>,
    /// Buffers given out and not yet given back.
    viewers: Cell<usize>,
}

static CLASS: Global<Obj> = Global::new();

impl Window {
    pub(crate) fn new() -> Res<Window> {
        let class = match CLASS.get() {
            Some(class) => class,
            None => make_class()?,
        };
        // SAFETY: a fresh object of our class, every field of which is written before other code sees it.
        unsafe {
            let op = ffi::_PyObject_New(class.as_ptr().cast());
            let made = Obj::from_new(op)?;
            let pane = op.cast::<Pane>();
            ptr::write(&raw mut (*pane).stretch, Cell::new((ptr::null_mut(), 0, false)));
            ptr::write(&raw mut (*pane).viewers, Cell::new(0));
            Ok(Window(made))
        }
    }

    fn pane(&self) -> &Pane {
        // SAFETY: made above, of this layout, and alive as long as we are.
        unsafe { &*self.0.as_ptr().cast::<Pane>() }
    }
}

#[cold]
fn make_class() -> Res<&'static Obj> {
    let slots = Box::leak(Box::new([
        ffi::PyType_Slot { slot: ffi::Py_tp_dealloc, pfunc: dealloc as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_bf_getbuffer, pfunc: lend as *mut c_void },
        ffi::PyType_Slot { slot: ffi::Py_bf_releasebuffer, pfunc: take_back as *mut c_void },
        ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() },
    ]));
    let mut spec = ffi::PyType_Spec {
        name: c"saburo._saburo.Window".as_ptr(),
        basicsize: size_of::<Pane>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a complete spec whose tables are never freed; new reference or null.
    CLASS.set(unsafe { Obj::from_new(ffi::PyType_FromSpec(&raw mut spec))? });
    Ok(CLASS.get().expect("set just now"))
}

unsafe extern "C" fn dealloc(op: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. Its fields own nothing, its class does not mind: it is never
    // freed, but counts its instances.
    unsafe {
        let class = ffi::Py_TYPE(op);
        let free = (*class).tp_free.expect("every class has tp_free");
        free(op.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn lend(op: *mut ffi::PyObject, view: *mut ffi::Py_buffer, flags: c_int) -> c_int {
    // SAFETY: called by the interpreter with an instance of our class and room for a view. A window that
    // shows nothing has no bytes to give, and null is a valid start of none.
    unsafe {
        let pane = &*op.cast::<Pane>();
        let (start, len, writable) = pane.stretch.get();
        let filled = ffi::PyBuffer_FillInfo(
            view,
            op,
            start.cast(),
            len as ffi::Py_ssize_t,
            c_int::from(!writable),
            flags,
        );
        if filled == 0 {
            pane.viewers.set(pane.viewers.get() + 1);
        }
        filled
    }
}

unsafe extern "C" fn take_back(op: *mut ffi::PyObject, _view: *mut ffi::Py_buffer) {
    // SAFETY: called by the interpreter with an instance of our class.
    let pane = unsafe { &*op.cast::<Pane>() };
    pane.viewers.set(pane.viewers.get() - 1);
}
