//! Owner: an object of Python's that owns a descriptor, such as a socket or a file.
//!
//! The rule: a number is the owner's to tell, each time anew. Other code with the object may close it
//! without a word to us, and the next file that is opened gets the number. So no code keeps a number from one
//! use to the next.
//!
//! Asking is a call by name, and a transport asks before each message. The C API has no function for it. So
//! the field is looked for by experiment, once, when the module is imported: two objects are made and closed,
//! and the one number that follows is the field. If there is not exactly one, it is not found, and such
//! objects are asked by name.

use std::ffi::c_int;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;

use super::python as ffi;

use super::error::{Raised, Res};
use super::interpreter::Global;
use super::object::{Obj, Object, boolean, int, intern, string};
use super::slot::{Held, Slot};

/// An object that owns a descriptor, and where it keeps the number.
#[derive(Clone)]
pub(crate) struct Owner {
    object: Obj,
    /// None for one that is asked by name.
    place: Option<Place>,
}

impl Owner {
    /// With the number that `object.fileno()` says.
    pub(crate) fn of(object: &Object) -> Res<(Owner, i64)> {
        let number = object.method(fileno(), &[])?.as_i64()?;
        // A class of somebody's own may say the number of another object that it stands for.
        let place = layouts()
            .filter(|layout| layout.is_of(object))
            .map(|layout| layout.place)
            .find(|&place| i64::from(read(object, place)) == number);
        Ok((Owner { object: object.to_obj(), place }, number))
    }

    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    pub(crate) fn into_object(self) -> Obj {
        self.object
    }
}

// SAFETY: cloning an Owner is an incref of its object.
unsafe impl Held for Owner {
    #[inline]
    fn object(&self) -> &Object {
        &self.object
    }
}

impl Slot<Owner> {
    /// The number that the owner has now, negative if it has none; None if nobody is in the slot. Runs Python
    /// only for an owner that cannot be looked into.
    #[inline]
    pub(crate) fn number(&self) -> Option<c_int> {
        match self.peek(|owner| owner.place.map(|place| read(&owner.object, place)))? {
            None => self.number_by_name(),
            known => known,
        }
    }

    #[cold]
    fn number_by_name(&self) -> Option<c_int> {
        let owner = self.get()?;
        let said = owner.object.method(fileno(), &[]).and_then(|number| number.as_i64());
        let number = said.unwrap_or_else(|raised: Raised| {
            // It has been detached, say, or asked too late.
            raised.swallow();
            -1
        });
        // It may have been let go of in there.
        let is_owner = self.holds(&owner.object);
        Some(c_int::try_from(number).ok().filter(|_| is_owner).unwrap_or(-1))
    }
}

/// The number of an object that is exactly a `socket.socket`; None for any other.
#[inline]
pub(crate) fn socket_number(socket: &Object) -> Option<c_int> {
    let layout = LAYOUTS.get()?.sockets.as_ref()?;
    socket.is_exactly(&layout.class).then(|| read(socket, layout.place))
}

/// In numbers from the start of an object. Whoever has one has seen that the object is of a class with that
/// field; an object can get another class, but none with other fields.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(NonZeroUsize);

/// A class whose objects own descriptors. Classes derived from it have its fields.
struct Layout {
    class: Obj,
    place: Place,
}

struct Layouts {
    /// `socket.socket`
    sockets: Option<Layout>,
    /// `io.FileIO`
    files: Option<Layout>,
    /// `"fileno"`
    fileno: Obj,
}

static LAYOUTS: Global<Layouts> = Global::new();

/// To be called once, when the module is imported, with the classes `socket.socket` and `io.FileIO`.
pub(crate) fn find_descriptors(socket: &Object, file: &Object) -> Res<()> {
    let found = |layout: Res<Option<Layout>>| {
        layout.unwrap_or_else(|raised| {
            // There is another way to ask.
            raised.swallow();
            None
        })
    };
    let sockets = found(Layout::find(socket, || Ok([socket.call0()?, socket.call0()?])));
    let files = found(Layout::find_in_files(file));
    LAYOUTS.set(Layouts { sockets, files, fileno: intern(c"fileno")? });
    Ok(())
}

fn layouts() -> impl Iterator<Item = &'static Layout> {
    LAYOUTS.get().into_iter().flat_map(|layouts| [&layouts.sockets, &layouts.files]).flatten()
}

fn fileno() -> &'static Object {
    &LAYOUTS.get().expect("made when the module is imported").fileno
}

impl Layout {
    fn is_of(&self, object: &Object) -> bool {
        // SAFETY: two live classes.
        unsafe { ffi::PyType_IsSubtype(object.type_ptr(), self.class.as_ptr().cast()) != 0 }
    }

    fn find_in_files(class: &Object) -> Res<Option<Layout>> {
        let (Ok((one, _writer)), Ok((two, _other))) = (std::io::pipe(), std::io::pipe()) else {
            return Ok(None);
        };
        let over = |number: c_int| {
            let (mode, closes) = (string("rb")?, boolean(false));
            class.call(&[&*int(i64::from(number))?, &*mode, &*closes])
        };
        Layout::find(class, || Ok([over(one.as_raw_fd())?, over(two.as_raw_fd())?]))
    }

    fn find(class: &Object, make: impl FnOnce() -> Res<[Obj; 2]>) -> Res<Option<Layout>> {
        let objects = make()?;
        let head = size_of::<ffi::PyObject>() / size_of::<c_int>();
        let fields = head..numbers_in(&objects[0]);
        let mut places: Vec<Place> = fields.filter_map(NonZeroUsize::new).map(Place).collect();
        for object in &objects {
            let number = object.method(&*intern(c"fileno")?, &[])?.as_i64()?;
            places.retain(|&place| i64::from(read(object, place)) == number);
        }
        for object in &objects {
            object.method(&*intern(c"close")?, &[])?;
            places.retain(|&place| read(object, place) == -1);
        }
        Ok(match places[..] {
            [place] => Some(Layout { class: class.to_obj(), place }),
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
fn read(object: &Object, Place(place): Place) -> c_int {
    debug_assert!(place.get() < numbers_in(object));
    // SAFETY: aligned, and inside the object, as the maker of the place has seen.
    unsafe { object.as_ptr().cast::<c_int>().add(place.get()).read() }
}
