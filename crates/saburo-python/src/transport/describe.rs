//! The methods that the classes of transports have in common, each listed once.

use std::os::fd::RawFd;

use crate::event_loop::Loop;
use crate::ffi::{Args, Builder, Instance, Own, Res};

use super::ending::Ending;
use super::flow::Flow;

/// A transport that reads.
pub(super) trait Reads: Ending {
    /// The descriptor. Ask for it right before each use.
    fn descriptor(event_loop: &Loop, this: &Instance<Self>) -> RawFd;
}

/// A transport that writes.
pub(super) trait Writes: Ending {
    /// The limits at which its protocol pauses.
    fn flow(this: &Instance<Self>) -> &Flow;
    /// Pauses the protocol, if more bytes wait than the new marks allow.
    fn pause_if_full(event_loop: &Instance<Loop>, this: &Instance<Self>) -> Res<()>;
}

/// The methods of every transport.
pub(super) fn life<T: Ending>(builder: Builder<T>) -> Builder<T> {
    builder
        .noargs(c"get_protocol", |this| this.protocol.get(), c"The protocol.")
        .noargs(
            c"_call_connection_lost",
            |this| told_by_name(this, T::lost),
            c"Tells the protocol, and closes the descriptor.",
        )
        .getter(c"_loop", |this| this.event_loop.get().map(Own::into_obj), c"The loop, None once closed.")
        .getter(c"_protocol", |this| this.protocol.get(), c"The protocol, None once closed.")
        .getter(c"_closing", |this| this.is_closing(), c"Is it closing, or closed?")
}

/// The methods of a transport that reads.
pub(super) fn reading<T: Reads>(builder: Builder<T>) -> Builder<T> {
    builder
        .noargs(c"is_reading", |this| this.is_reading(), c"Does the protocol get what arrives?")
        .noargs(c"pause_reading", pause_reading, c"Lets what arrives wait, until resume_reading().")
        .noargs(c"resume_reading", resume_reading, c"Goes on giving the protocol what arrives.")
        .noargs(c"_read_ready", |this| told_by_name(this, T::readable), c"There is something to read.")
}

pub(super) fn pause_reading<T: Reads>(this: &Instance<T>) -> Res<()> {
    this.pause_reading(this.as_object())
}

pub(super) fn resume_reading<T: Reads>(this: &Instance<T>) -> Res<()> {
    this.resume_reading(this, |event_loop| T::descriptor(event_loop, this))
}

/// The methods of a transport that writes.
pub(super) fn writing<T: Writes>(builder: Builder<T>) -> Builder<T> {
    builder
        .many(
            c"set_write_buffer_limits",
            set_write_buffer_limits,
            c"set_write_buffer_limits(high=None, low=None): when to pause and resume the protocol, in bytes.",
        )
        .noargs(c"get_write_buffer_limits", |this| T::flow(this).limits(), c"(low, high), in bytes.")
        .noargs(c"_write_ready", |this| told_by_name(this, T::writable), c"There is room again.")
}

fn set_write_buffer_limits<T: Writes>(this: &Instance<T>, args: Args<'_>) -> Res<()> {
    T::flow(this).set_limits(args)?;
    match this.open_loop() {
        Some(event_loop) => T::pause_if_full(&event_loop, this),
        None => Ok(()),
    }
}

/// Runs `tell`, as the loop does, when a program or the handle of a report calls the transport's method by
/// its asyncio name.
pub(super) fn told_by_name<T: Ending>(
    this: &Instance<T>,
    tell: fn(&Instance<Loop>, &Instance<T>) -> Res<()>,
) -> Res<()> {
    this.open_loop().map_or(Ok(()), |event_loop| tell(&event_loop, this))
}
