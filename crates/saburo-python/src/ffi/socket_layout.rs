//! The descriptor of a `socket`, read where it stands.
//!
//! Asking for it is a call by name, and a transport asks before each message. The C API has no function for it. So
//! the field is looked for by experiment, once, when it is first needed: two sockets are made and one of them is
//! closed, and the one number that follows is the field. If there is not exactly one, it is not found.

use std::ffi::c_int;

use pyo3_ffi as ffi;

use super::error::{Raised, Res};
use super::interpreter::Global;
use super::object::{Obj, Object};

/// Where the field is.
pub(crate) struct SocketLayout {
    /// The class it was found in; no other is looked into.
    class: Obj,
    /// In numbers from the start of the object.
    place: usize,
}

/// None where it was not found.
static LAYOUT: Global<Option<SocketLayout>> = Global::new();

impl SocketLayout {
    /// That of `class`, which is the module socket's; None if it is not known.
    #[inline]
    pub(crate) fn of(class: &Object) -> Option<&'static SocketLayout> {
        match LAYOUT.get() {
            Some(layout) => layout.as_ref(),
            None => SocketLayout::begin(class),
        }
    }

    /// The descriptor, negative if it has been closed; None for what is no plain socket.
    #[inline]
    pub(crate) fn descriptor(&self, socket: &Object) -> Option<c_int> {
        socket.is_exactly(&self.class).then(|| number(socket, self.place))
    }

    #[cold]
    fn begin(class: &Object) -> Option<&'static SocketLayout> {
        let found = SocketLayout::find(class).unwrap_or_else(|raised: Raised| {
            // There is another way to ask.
            raised.swallow();
            None
        });
        LAYOUT.set(found);
        LAYOUT.get()?.as_ref()
    }

    fn find(class: &Object) -> Res<Option<SocketLayout>> {
        let (one, two) = (class.call0()?, class.call0()?);
        let known = |socket: &Object| -> Res<i64> {
            let name = super::object::intern(c"fileno")?;
            socket.method(&name, &[])?.as_i64()
        };
        let head = size_of::<ffi::PyObject>() / size_of::<c_int>();
        let mut places: Vec<usize> = (head..numbers_in(&one)).collect();
        for socket in [&one, &two] {
            let descriptor = known(socket)?;
            places.retain(|&place| i64::from(number(socket, place)) == descriptor);
        }
        for socket in [&one, &two] {
            socket.method(&*super::object::intern(c"close")?, &[])?;
            places.retain(|&place| number(socket, place) == -1);
        }
        Ok(match places[..] {
            [place] => Some(SocketLayout { class: class.to_obj(), place }),
            _ => None,
        })
    }
}

/// How many an object of this one's class has.
fn numbers_in(object: &Object) -> usize {
    // SAFETY: a live object has a class, which knows its size.
    unsafe { (*object.type_ptr()).tp_basicsize as usize / size_of::<c_int>() }
}

#[inline]
fn number(object: &Object, place: usize) -> c_int {
    debug_assert!(place < numbers_in(object));
    // SAFETY: aligned, and inside the object.
    unsafe { object.as_ptr().cast::<c_int>().add(place).read() }
}
