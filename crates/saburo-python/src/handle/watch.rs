//! `add_reader` and `add_writer`: a handle for each descriptor that the program watches.

use crate::callable;
use crate::event_loop::{self, Direction, Loop, Ready};
use crate::ffi::{Args, Instance, Res};
use crate::names::names;

use super::{Arguments, Handle};

pub(super) fn add_reader(this: &Instance<Loop>, args: Args<'_>) -> Res<()> {
    add(this, "add_reader", Direction::Read, args)
}

pub(super) fn add_writer(this: &Instance<Loop>, args: Args<'_>) -> Res<()> {
    add(this, "add_writer", Direction::Write, args)
}

fn add(this: &Instance<Loop>, method: &str, direction: Direction, args: Args<'_>) -> Res<()> {
    let &[fd, callback, ref rest @ ..] = args.positional() else {
        let function = format!("BaseSelectorEventLoop.{method}");
        return args.placed(&function, &["fd", "callback"], |args| add(this, method, direction, args));
    };
    this.check_usable()?;
    callable::check(method, callback)?;
    let handle = Handle::with(
        callback.to_obj(),
        Arguments::from_slice(rest)?,
        this.contexts().copy_current()?,
        this.to_own(),
    );
    if this.debug() {
        handle.set_source_traceback(names().extract_stack.call0()?);
    }
    event_loop::watch_object(this, fd, direction, Ready::of(Instance::alloc(handle)?))
}
