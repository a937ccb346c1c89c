//! One end of a pipe: a FIFO, a terminal or another character device, or a socket that is used as one.
//!
//! A pipe belongs to its Python object, which is closed with the transport. Bytes are written when `write()`
//! is called and not at the end of the turn, as on a connection: other programs may write to the same pipe,
//! and a line that is written in one call arrives in one piece.

mod read;
mod write;

pub(crate) use read::{ReadPipeTransport, reading};
pub(crate) use write::{WritePipeTransport, writing};

use std::os::fd::RawFd;

use saburo_core::pipe::{self, Kind};

use crate::event_loop::Loop;
use crate::ffi::{Args, Obj, Object, Owner, Params, Res, Slot, builtin, mapping, raise, string};
use crate::names::names;

use super::life::{ConnectionState, Life, watched_word};

/// The arguments of a maker: `(pipe, protocol, waiter=None, extra=None)`.
struct PipeArgs<'a> {
    pipe: &'a Object,
    protocol: &'a Object,
    waiter: Option<&'a Object>,
    extra: Option<&'a Object>,
}

impl<'a> PipeArgs<'a> {
    fn bind(args: Args<'a>, function: &'static str) -> Res<PipeArgs<'a>> {
        let params =
            Params { function, names: ["pipe", "protocol", "waiter", "extra"], required: 2, positional: 4 };
        let [Some(pipe), Some(protocol), waiter, extra] = args.bind(&params)? else {
            unreachable!("two are required")
        };
        Ok(PipeArgs { pipe, protocol, waiter, extra })
    }

    /// The owner of the descriptor, its number and its kind; ValueError with the message `refusal` if it
    /// cannot be a pipe.
    fn open(&self, refusal: &str) -> Res<(Owner, RawFd, Kind)> {
        let (owner, fd) = Owner::of(self.pipe)?;
        let fd = RawFd::try_from(fd).unwrap_or(-1);
        let kind = pipe::kind(fd)?;
        if kind == Kind::Other {
            return raise(builtin::value_error(), refusal);
        }
        pipe::set_nonblocking(fd)?;
        Ok((owner, fd, kind))
    }

    /// The answers of `get_extra_info()`, for the field that asyncio's class has for them.
    fn extra(&self) -> Res<Obj> {
        let extra = mapping(&[])?;
        if let Some(given) = self.extra.filter(|given| !given.is_none()) {
            extra.method(&names().update, &[given])?;
        }
        extra.dict_set(&names().pipe, self.pipe)?;
        Ok(extra)
    }
}

/// The descriptor. Ask for it right before each use; -1 once the number may belong to another file.
#[inline]
fn descriptor(life: &Life, pipe: &Slot<Owner>, event_loop: &Loop, transport: &Object) -> RawFd {
    let fd = life.descriptor_of(pipe).unwrap_or(-1);
    if fd < 0 {
        life.give_up(event_loop, transport);
    }
    fd
}

/// Closes the pipe, once.
fn close(pipe: &Slot<Owner>) -> Res<()> {
    match pipe.take() {
        Some(owner) => owner.object().method(&names().close, &[]).map(drop),
        None => Ok(()),
    }
}

/// `<_UnixReadPipeTransport fd=7 polling>`, and more words for an open transport.
fn repr(
    life: &Life,
    transport: &Object,
    watched: fn((bool, bool)) -> bool,
    more: Option<String>,
) -> Res<Obj> {
    let mut words = life.words(transport)?;
    match life.open_loop() {
        Some(event_loop) if !event_loop.is_closed() => {
            words.push(watched_word(watched(event_loop.watched(life.number.get()))).to_owned());
            words.extend(more);
        }
        _ if life.phase.get() != ConnectionState::Closed => words.push("open".to_owned()),
        _ => words.push("closed".to_owned()),
    }
    string(&format!("<{}>", words.join(" ")))
}
