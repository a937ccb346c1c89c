//! Watching descriptors: what is registered with the engine, and by which number.

use std::os::fd::RawFd;

use saburo_core::{Core, Direction, Refused, Registered, Registration};

use crate::ffi::{Instance, Object, Raised, Res, builtin, int, none, raise, string};
use crate::names::names;

use super::{Loop, Ready, RunState};

type Outcome = Result<Registered<Ready>, Refused<Ready>>;

/// Registers `ready` with the engine, in place of what watched the descriptor before; `register` is
/// `Core::register`, or `Core::register_once` for one event. `keep` gets the token before that is let go of,
/// which may run code.
pub(super) fn register(
    this: &Loop,
    register: impl FnOnce(&mut Core<Ready>, RawFd, Direction, Ready) -> Outcome,
    fd: RawFd,
    direction: Direction,
    ready: Ready,
    keep: impl FnOnce(Registration),
) -> Res<()> {
    this.check_usable()?;
    match this.core(|core| register(core, fd, direction, ready)) {
        None => this.check_usable(),
        Some(Err(refused)) => {
            drop(refused.handle);
            Err(refused.error.into())
        }
        Some(Ok(Registered { registration, replaced, evicted })) => {
            let objects = (
                replaced.as_ref().map(|_| this.watched_objects.leave(fd, direction)),
                evicted.as_ref().map(|_| this.watched_objects.leave(fd, direction.other())),
            );
            keep(registration);
            drop((evicted, objects));
            cancel(replaced).map(drop)
        }
    }
}

/// Registers `ready` for what the program watches by a number or an object with `fileno()`.
pub(crate) fn watch_object(
    this: &Instance<Loop>,
    object: &Object,
    direction: Direction,
    ready: Ready,
) -> Res<()> {
    // Asked last: Python has run, and the number may be another file's by now.
    let fd = kernel_number(free_descriptor(this, object)?)?;
    // Nobody keeps the token: it is ended by number.
    register(this, Core::register, fd, direction, ready, |_| {
        if !object.is_int() {
            this.watched_objects.enter(fd, direction, object.to_obj());
        }
    })
}

pub(super) fn remove_reader(this: &Instance<Loop>, fd: &Object) -> Res<bool> {
    remove(this, Direction::Read, fd)
}

pub(super) fn remove_writer(this: &Instance<Loop>, fd: &Object) -> Res<bool> {
    remove(this, Direction::Write, fd)
}

fn remove(this: &Instance<Loop>, direction: Direction, object: &Object) -> Res<bool> {
    let number = match numbered(object)? {
        // A socket that has been closed or detached: asyncio knows it by its identity.
        Some(none) if none < 0 => match this.watched_objects.find(object) {
            Some(fd) => Some(fd),
            None if this.phase.get() == RunState::Closed => return Ok(false),
            None => return raise_invalid(none),
        },
        number => {
            let number = number.and_then(|number| RawFd::try_from(number).ok());
            if let Some(fd) = number
                && !is_free(this, fd, || object.repr())?
            {
                return remove(this, direction, object);
            }
            number
        }
    };
    if this.phase.get() == RunState::Closed {
        return Ok(false);
    }
    this.check_usable()?;
    // What no descriptor can be is not watched either.
    let Some(fd) = number else { return Ok(false) };
    let removed = this.core(|core| {
        let registration = core.registration(fd, direction)?;
        core.deregister(registration)
    });
    drop(this.watched_objects.leave(fd, direction));
    cancel(removed.flatten())
}

/// Cancels a watch that was replaced or removed, also where its call is queued already.
pub(super) fn cancel(before: Option<Ready>) -> Res<bool> {
    before.map_or(Ok(false), |before| before.cancel())
}

/// The descriptor that an int, or an object with `fileno()`, stands for; asyncio's errors otherwise.
/// None if the number is too large to be one.
fn descriptor(object: &Object) -> Res<Option<RawFd>> {
    match numbered(object)? {
        Some(number) if number < 0 => raise_invalid(number),
        number => Ok(number.and_then(|number| RawFd::try_from(number).ok())),
    }
}

/// The same, also where it is negative.
fn numbered(object: &Object) -> Res<Option<i64>> {
    let number = if object.is_int() {
        object.as_i64()
    } else {
        object.method(&names().fileno, &[]).and_then(|number| names().int_class.call(&[&number])?.as_i64())
    };
    match number {
        Ok(number) => Ok(Some(number)),
        Err(raised) if raised.matches(builtin::overflow_error()) => {
            raised.swallow();
            Ok(None)
        }
        Err(raised) => not_a_descriptor(raised, object),
    }
}

#[cold]
fn raise_invalid<T>(number: i64) -> Res<T> {
    raise(builtin::value_error(), &format!("Invalid file descriptor: {number}"))
}

/// The descriptor, RuntimeError if a transport has it.
fn free_descriptor(this: &Loop, object: &Object) -> Res<Option<RawFd>> {
    loop {
        let descriptor = descriptor(object)?;
        match descriptor {
            Some(fd) if !is_free(this, fd, || object.repr())? => {}
            _ => return Ok(descriptor),
        }
    }
}

/// The number that an int, or an object with `fileno()`, stands for, if no transport has it.
pub(crate) fn free_number(this: &Loop, object: &Object) -> Res<RawFd> {
    loop {
        let number = kernel_number(descriptor(object)?)?;
        if is_free(this, number, || int(i64::from(number))?.repr())? {
            return Ok(number);
        }
    }
}

/// A transport's bytes are not for anybody else: RuntimeError if there is one that has the descriptor. No,
/// where there was one that had lost it: it has been let go of, which may have run Python, so the number is
/// to be asked for again.
pub(crate) fn is_free(this: &Loop, fd: RawFd, named: impl FnOnce() -> Res<String>) -> Res<bool> {
    let Some(transport) = this.transports.of(fd) else { return Ok(true) };
    if transport.is_closing() {
        return Ok(true);
    }
    if !transport.has_descriptor(this) {
        return Ok(false);
    }
    let message =
        format!("File descriptor {} is used by transport {}", named()?, transport.as_object().repr()?);
    raise(builtin::runtime_error(), &message)
}

/// RuntimeError if a transport has the descriptor, ValueError if it is none.
pub(crate) fn ensure_free(this: &Instance<Loop>, object: &Object) -> Res<()> {
    free_descriptor(this, object).map(drop)
}

/// A descriptor that the kernel is to be asked about.
fn kernel_number(descriptor: Option<RawFd>) -> Res<RawFd> {
    match descriptor {
        Some(fd) => Ok(fd),
        None => raise(builtin::overflow_error(), "Python int too large to convert to C int"),
    }
}

#[cold]
fn not_a_descriptor(raised: Raised, object: &Object) -> Res<Option<i64>> {
    let names = names();
    let expected = raised.matches(builtin::attribute_error())
        || raised.matches(builtin::type_error())
        || raised.matches(builtin::value_error());
    if !expected {
        return Err(raised);
    }
    let cause = raised.take();
    let text = string(&format!("Invalid file object: {}", object.repr()?))?;
    let error = builtin::value_error().call(&[&text])?;
    error.set_attr(&names.dunder_cause, &none())?;
    error.set_attr(&names.dunder_context, &cause)?;
    Err(Raised::with(error))
}
