//! Watcher: a class that the loop tells about events of a descriptor, and about the steps of a transport's
//! life.

use std::cell::Cell;
use std::os::fd::RawFd;

use crate::event_loop::{Direction, Entry, Loop, Ready, Registration};
use crate::ffi::{Class, In, Instance, Res};

/// A class whose instances the loop tells. Every exception has been reported, except those that end the run.
pub(crate) trait Watcher: Class {
    /// The watcher's registrations with the loop.
    fn watches(this: &Instance<Self>) -> &Watches;

    /// The watched descriptor is readable.
    fn readable(event_loop: &Instance<Loop>, this: &Instance<Self>) -> Res<()>;

    /// The watched descriptor is writable.
    fn writable(_event_loop: &Instance<Loop>, _this: &Instance<Self>) -> Res<()> {
        unreachable!("only reading is watched for")
    }

    /// It is time to tell the protocol that the connection is there.
    fn opened(_event_loop: &Instance<Loop>, _this: &Instance<Self>) -> Res<()> {
        unreachable!("nobody is told of a beginning")
    }

    /// It is time to tell the protocol that the other end of a pipe was closed.
    fn ended(_event_loop: &Instance<Loop>, _this: &Instance<Self>) -> Res<()> {
        unreachable!("only a pipe that is read ends before it is lost")
    }

    /// It is time to tell the protocol that the connection is gone.
    fn lost(_event_loop: &Instance<Loop>, _this: &Instance<Self>) -> Res<()> {
        unreachable!("nobody is told of an end")
    }
}

macro_rules! entries {
    ($($role:ident: $method:ident,)*) => {$(
        /// Calls the method of the same name.
        pub(super) struct $role;

        impl<T: Watcher> Entry for In<$role, T> {
            fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
                Loop::leave_task(event_loop)?;
                T::$method(event_loop, self)
            }
        }
    )*};
}

entries! {
    Readable: readable,
    Writable: writable,
    Opened: opened,
    Ended: ended,
    Lost: lost,
}

/// The tokens of a descriptor's registrations with the loop, one for each direction.
pub(crate) struct Watches {
    reading: Cell<Option<Registration>>,
    writing: Cell<Option<Registration>>,
}

impl Watches {
    pub(super) const fn new() -> Watches {
        Watches { reading: Cell::new(None), writing: Cell::new(None) }
    }

    /// Ends the watch of one direction. Events that are queued already are still delivered; transports check
    /// their state.
    pub(super) fn end(&self, event_loop: &Loop, direction: Direction) {
        if let Some(registration) = self.of(direction).take() {
            event_loop.unwatch(registration);
        }
    }

    /// True if the watch continues. False if other code watches the descriptor by now.
    pub(super) fn go_on(&self, event_loop: &Loop, direction: Direction) -> bool {
        self.of(direction).get().is_some_and(|registration| event_loop.is_watched(registration))
    }

    fn of(&self, direction: Direction) -> &Cell<Option<Registration>> {
        match direction {
            Direction::Read => &self.reading,
            Direction::Write => &self.writing,
        }
    }
}

/// Makes the loop tell the watcher whenever the descriptor is ready.
pub(super) fn watch<T: Watcher>(
    event_loop: &Loop,
    fd: RawFd,
    direction: Direction,
    this: &Instance<T>,
) -> Res<()> {
    let ready = match direction {
        Direction::Read => Ready::role::<Readable, T>(this.to_own()),
        Direction::Write => Ready::role::<Writable, T>(this.to_own()),
    };
    let token = T::watches(this).of(direction);
    event_loop.watch(fd, direction, ready, |registration| token.set(Some(registration)))
}

/// Makes the loop tell the watcher in the next turn. In a forked child, watchers are not told what happens to
/// the parent's descriptors.
#[inline]
pub(super) fn tell_later<Role: 'static, T: Watcher>(event_loop: &Loop, this: &Instance<T>) -> Res<()>
where
    In<Role, T>: Entry,
{
    event_loop.push_unless_of_parent(Ready::role::<Role, T>(this.to_own()))
}
