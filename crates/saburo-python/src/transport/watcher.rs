//! Watcher: a class that the loop tells of a descriptor's events, and of the steps of a transport's life.

use std::cell::Cell;
use std::os::fd::RawFd;

use crate::event_loop::{Direction, Entry, Loop, Ready, Registration};
use crate::ffi::{Class, In, Instance, Res};

/// A class whose instances are told. Whatever is raised, except what ends the run, has been reported.
pub(crate) trait Watcher: Class {
    /// Its watches with the loop.
    fn watches(this: &Instance<Self>) -> &Watches;

    /// Its descriptor is readable.
    fn readable(event_loop: &Instance<Loop>, this: &Instance<Self>) -> Res<()>;

    /// Its descriptor is writable.
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

/// The tokens of what the loop watches a transport's descriptor by, for each direction.
pub(crate) struct Watches {
    reading: Cell<Option<Registration>>,
    writing: Cell<Option<Registration>>,
}

impl Watches {
    pub(super) const fn new() -> Watches {
        Watches { reading: Cell::new(None), writing: Cell::new(None) }
    }

    /// Ends one. What is queued already is told; transports look where they stand.
    pub(super) fn end(&self, event_loop: &Loop, direction: Direction) {
        if let Some(registration) = self.of(direction).take() {
            event_loop.unwatch(registration);
        }
    }

    /// Does one go on? Not if somebody else watches the descriptor by now.
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

/// Has the loop tell whenever the descriptor is ready.
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

/// Has the loop tell in the next turn. In a forked child nobody is told of what becomes of the parent's.
#[inline]
pub(super) fn tell_later<Role: 'static, T: Watcher>(event_loop: &Loop, this: &Instance<T>) -> Res<()>
where
    In<Role, T>: Entry,
{
    event_loop.push_unless_inherited(Ready::role::<Role, T>(this.to_own()))
}
