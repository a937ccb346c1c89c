//! What is in a context, told without copying it.
//!
//! Two contexts with the same variables share one immutable table of them, so comparing the tables'
//! addresses compares the contexts. The interpreter has no function for that, nor for reaching the current
//! context. So the two fields are looked for by experiment, once, when the module is imported: contexts are
//! entered and variables set, and the one word that follows is the field. If there is not exactly one, it
//! is not found, and everything goes on as if no two contexts were known to be equal.

use super::python as ffi;

use super::context::{Context, inside};
use super::error::{Raised, Res};
use super::interpreter::Global;
use super::object::{Obj, Object, none};

/// The variables of a context. Equal marks mean equal variables, as long as a context with them lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vars(usize);

/// In words from the start of a thread's state, and of a context.
struct Layout {
    current: usize,
    vars: usize,
}

static LAYOUT: Global<Option<Layout>> = Global::new();

/// How far to look into a thread's state, in words: the field is at 26 to 29 in 3.11 to 3.15, and no
/// version's state is shorter than this.
const WORDS: usize = 40;

/// Those of the current context; none if the thread has not made one yet, or it cannot be told.
#[inline]
pub(crate) fn current_vars() -> Option<Vars> {
    let layout = LAYOUT.get()?.as_ref()?;
    let current = thread_word(layout.current) as *mut ffi::PyObject;
    if current.is_null() {
        return None;
    }
    // SAFETY: the thread's current context is alive, and has this field.
    Some(Vars(unsafe { current.cast::<usize>().add(layout.vars).read() }))
}

impl Context {
    /// Its variables; none if that cannot be told, or what was given is no context.
    #[inline]
    pub(crate) fn vars(&self) -> Option<Vars> {
        let layout = LAYOUT.get()?.as_ref()?;
        // SAFETY: a live object; it has the field if it is a context.
        unsafe {
            let op = self.as_object().as_ptr();
            (ffi::PyContext_CheckExact(op) != 0).then(|| Vars(op.cast::<usize>().add(layout.vars).read()))
        }
    }

    /// Takes a context that nobody else has away from the collector. A collection that is under way may have
    /// found it to be garbage, together with who had it, and would empty it next. Before it is let go of it
    /// must be revealed: its class takes it from the collector without asking whether it is there.
    #[inline]
    pub(crate) fn hide(&self) {
        // SAFETY: a live object with a head for the collector; nothing happens if it is hidden already.
        unsafe { ffi::PyObject_GC_UnTrack(self.as_object().as_ptr().cast()) }
    }

    /// Gives a hidden one back to the collector.
    #[inline]
    pub(crate) fn reveal(&self) {
        // SAFETY: a live context that `hide` has taken away, and whole.
        unsafe { ffi::PyObject_GC_Track(self.as_object().as_ptr().cast()) }
    }

    /// True if ours is the only reference, weak ones included. Then no other code can look at it.
    #[inline]
    pub(crate) fn is_private(&self) -> bool {
        let op = self.as_object().as_ptr();
        // SAFETY: a live object; a class that can be referred to weakly says where the list of those begins.
        unsafe {
            let weakrefs = (*ffi::Py_TYPE(op)).tp_weaklistoffset;
            ffi::Py_REFCNT(op) == 1
                && weakrefs > 0
                && op.cast::<u8>().offset(weakrefs).cast::<*mut ffi::PyObject>().read().is_null()
        }
    }
}

/// To be called when the module is imported, on any thread.
pub(crate) fn find_layout() -> Res<()> {
    if LAYOUT.get().is_none() {
        LAYOUT.set(find()?);
    }
    Ok(())
}

fn find() -> Res<Option<Layout>> {
    let one = Context::copy_current()?;
    let two = Context::copy_current()?;

    let mut current: Vec<usize> = (1..WORDS).collect();
    for entered in [&one, &two] {
        let address = entered.as_object().as_ptr() as usize;
        inside(entered.as_object(), || {
            current.retain(|&index| thread_word(index) == address);
            Ok(())
        })?;
        current.retain(|&index| thread_word(index) != address);
    }

    // The head of the object is no field of its own.
    let mut vars: Vec<usize> = (2..words_of(&one)).collect();
    vars.retain(|&index| word(&one, index) == word(&two, index) && word(&one, index) != 0);
    inside(two.as_object(), set_a_variable)?;
    vars.retain(|&index| word(&one, index) != word(&two, index));
    let same = inside(two.as_object(), Context::copy_current)?;
    vars.retain(|&index| word(&same, index) == word(&two, index));

    Ok(match (&current[..], &vars[..]) {
        (&[current], &[vars]) => Some(Layout { current, vars }),
        _ => None,
    })
}

fn set_a_variable() -> Res<()> {
    // SAFETY: a C string and no default; new references or null. The variable is found by identity only.
    unsafe {
        let variable = Obj::from_new(ffi::PyContextVar_New(c"saburo".as_ptr(), std::ptr::null_mut()))?;
        let value: &Object = &none();
        let token = ffi::PyContextVar_Set(variable.as_ptr(), value.as_ptr());
        if token.is_null() { Err(Raised) } else { Obj::from_new(token).map(drop) }
    }
}

#[inline]
fn thread_word(index: usize) -> usize {
    debug_assert!(index < WORDS);
    // SAFETY: aligned, and inside every version's thread state.
    unsafe { ffi::PyThreadState_Get().cast::<usize>().add(index).read() }
}

/// How many words a context has.
fn words_of(context: &Context) -> usize {
    // SAFETY: a live object has a class, which knows its size.
    let bytes = unsafe { (*ffi::Py_TYPE(context.as_object().as_ptr())).tp_basicsize };
    bytes as usize / size_of::<usize>()
}

fn word(context: &Context, index: usize) -> usize {
    assert!(index < words_of(context));
    // SAFETY: aligned, and inside the object.
    unsafe { context.as_object().as_ptr().cast::<usize>().add(index).read() }
}
