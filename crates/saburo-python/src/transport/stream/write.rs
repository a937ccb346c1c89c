//! Writing: pieces gather in a queue and leave together.

use saburo_core::net;

use crate::event_loop::{Direction, Loop, new_future, os_error};
use crate::ffi::{Bytes, Instance, Obj, Object, Raised, Res, builtin, int, lend, none, raise, string};
use crate::future::{self, Future};
use crate::names::names;

use super::{Eof, Phase, StreamTransport, end, protocol};

/// Something to send.
pub(super) enum Piece {
    /// The program's own, uncopied.
    Bytes(Bytes),
    /// Copies of small ones, one behind the other, and of what may change.
    Copied(Vec<u8>),
}

impl AsRef<[u8]> for Piece {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes.as_ref(),
            Piece::Copied(copied) => copied,
        }
    }
}

/// Up to this many bytes, copying costs less than another entry of a vectored call.
const SMALL: usize = 512;
/// Copies go into blocks of this size.
const BLOCK: usize = 4096;
/// From so many writes in vain on, each is logged; asyncio's number.
const IN_VAIN: u32 = 5;

pub(super) fn write(this: &Instance<StreamTransport>, data: &Object) -> Res<()> {
    let exact = Bytes::exact(data);
    if exact.is_none() && !data.is_bytes_like() {
        let class = data.type_of().attr(&names().dunder_name)?.repr()?;
        let message = format!("data argument must be a bytes, bytearray, or memoryview object, not {class}");
        return raise(builtin::type_error(), &message);
    }
    check_writable(this, "write", "write")?;
    if exact.as_ref().is_some_and(|bytes| bytes.as_ref().is_empty()) || (exact.is_none() && !data.truth()?) {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop().filter(|_| this.phase.get() < Phase::Ending) else {
        return in_vain(this);
    };
    match exact {
        Some(bytes) => push(this, bytes),
        None => {
            if let Err(raised) = push_copy(&event_loop, this, data) {
                return end::fatal(&event_loop, this, raised, "Fatal write error on socket transport");
            }
        }
    }
    gather(&event_loop, this)
}

pub(super) fn writelines(this: &Instance<StreamTransport>, list: &Object) -> Res<()> {
    check_writable(this, "writelines", "writelines")?;
    if !list.truth()? {
        return Ok(());
    }
    // Looked at one by one: an iterator may do anything, this connection included.
    let pieces = list.to_list()?;
    if this.phase.get() >= Phase::Ending {
        return in_vain(this);
    }
    for index in 0.. {
        let Some(data) = pieces.list_item(index) else { break };
        match Bytes::exact(&data) {
            Some(bytes) => push(this, bytes),
            None => {
                let copied = lend(&data, <[u8]>::to_vec)?;
                this.queue.borrow_mut().push(Piece::Copied(copied));
            }
        }
    }
    match this.open_loop() {
        Some(event_loop) if !this.queue.borrow().is_empty() => gather(&event_loop, this),
        _ => Ok(()),
    }
}

fn check_writable(this: &StreamTransport, method: &str, verb: &str) -> Res<()> {
    if this.eof.get() != Eof::None {
        return raise(builtin::runtime_error(), &format!("Cannot call {method}() after write_eof()"));
    }
    if this.empty_waiter.is_set() {
        return raise(builtin::runtime_error(), &format!("unable to {verb}; sendfile is in progress"));
    }
    Ok(())
}

/// Nobody will get it; the program is told if it goes on.
#[cold]
fn in_vain(this: &StreamTransport) -> Res<()> {
    // The loss of the connection itself counts as one.
    let before = this.in_vain.get() + 1;
    this.in_vain.set(before);
    if before >= IN_VAIN {
        let names = names();
        names.logger.method(&names.warning, &[&*string("socket.send() raised exception.")?])?;
    }
    Ok(())
}

/// Appends to the queue, copying what is small.
#[inline]
fn push(this: &StreamTransport, bytes: Bytes) {
    let mut queue = this.queue.borrow_mut();
    if queue.is_empty() || bytes.as_ref().len() > SMALL {
        queue.push(Piece::Bytes(bytes));
        return;
    }
    copy(&mut queue, bytes.as_ref());
}

fn copy(queue: &mut saburo_core::WriteQueue<Piece>, data: &[u8]) {
    let mut copied = false;
    queue.extend_last(|last| match last {
        Piece::Copied(block) if block.len() + data.len() <= BLOCK => {
            block.extend_from_slice(data);
            copied = true;
            data.len()
        }
        _ => 0,
    });
    if !copied {
        let mut block = Vec::with_capacity(BLOCK.max(data.len()));
        block.extend_from_slice(data);
        queue.push(Piece::Copied(block));
    }
}

/// Appends what the program may change later: large ones are sent first as far as the kernel takes them, so
/// that only the rest is copied.
fn push_copy(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, data: &Object) -> Res<()> {
    let large = lend(data, |bytes| bytes.len() > this.high.get())?;
    if large && !this.waiting_for_room.get() {
        flush(event_loop, this)?;
        if this.phase.get() >= Phase::Ending {
            return Ok(());
        }
    }
    let failed = lend(data, |bytes| {
        let mut queue = this.queue.borrow_mut();
        let mut rest = bytes;
        if large && queue.is_empty() {
            match net::send(this.fd.get(), bytes) {
                Ok(sent) => rest = &bytes[sent..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(error),
            }
        }
        copy(&mut queue, rest);
        None
    })?;
    match failed {
        Some(error) => Err(os_error::<()>(&error).unwrap_err()),
        None => Ok(()),
    }
}

/// Something is in the queue: it leaves when the turn is over, or now.
#[inline]
fn gather(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.waiting_for_room.get() {
        return pause_if_full(event_loop, this);
    }
    if this.queue.borrow().len() > this.high.get() || !event_loop.gathers() {
        return flush(event_loop, this);
    }
    if !this.gathering.replace(true) {
        event_loop.flush_later(this.as_object().to_obj());
    }
    Ok(())
}

/// Sends as much as the kernel takes.
pub(in crate::transport) fn flush(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    this.gathering.set(false);
    if this.phase.get() >= Phase::Ending {
        return Ok(());
    }
    send(event_loop, this, false)
}

/// The kernel has room again.
pub(super) fn writable(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.phase.get() >= Phase::Ending || !this.waiting_for_room.get() {
        return Ok(());
    }
    send(event_loop, this, true)
}

fn send(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, from_event: bool) -> Res<()> {
    // Bytes are let go of in there, which runs no code.
    let sent = this.queue.borrow_mut().flush(this.fd.get(), drop);
    if let Err(error) = sent {
        return failed(event_loop, this, &error);
    }
    if from_event {
        resume_if_drained(event_loop, this)?;
    }
    if !this.queue.borrow().is_empty() {
        if !this.waiting_for_room.get() {
            event_loop.watch_transport(this.fd.get(), Direction::Write, this.as_object())?;
            this.waiting_for_room.set(true);
        }
        return if from_event { Ok(()) } else { pause_if_full(event_loop, this) };
    }
    drained(event_loop, this, from_event)
}

/// Nothing is left to send.
#[inline]
fn drained(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, from_event: bool) -> Res<()> {
    if this.waiting_for_room.replace(false) {
        event_loop.unwatch_transport(this.fd.get(), Direction::Write);
    }
    if let Some(waiter) = this.empty_waiter.get() {
        set_result(&waiter)?;
    }
    match this.phase.get() {
        Phase::Closing if from_event => {
            this.phase.set(Phase::Ending);
            end::lost(event_loop, this)
        }
        Phase::Closing => end::schedule_lost(event_loop, this, None),
        _ if this.eof.get() == Eof::Promised => {
            this.eof.set(Eof::Sent);
            net::shutdown_write(this.fd.get()).or_else(|error| os_error(&error))
        }
        _ => Ok(()),
    }
}

#[cold]
fn failed(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, error: &std::io::Error) -> Res<()> {
    let raised: Raised = os_error::<()>(error).unwrap_err();
    let exception = raised.take();
    let waiter = this.empty_waiter.get();
    end::fatal(event_loop, this, Raised::with(exception.clone()), "Fatal write error on socket transport")?;
    match waiter {
        Some(waiter) => waiter.method(&names().set_exception, &[&exception]).map(drop),
        None => Ok(()),
    }
}

/// Tells the protocol to stop writing, if more than the high-water mark waits.
#[inline]
pub(super) fn pause_if_full(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.queue.borrow().len() <= this.high.get() || this.protocol_paused.get() {
        return Ok(());
    }
    let Some(target) = this.protocol.get() else { return Ok(()) };
    this.protocol_paused.set(true);
    protocol::throttle(event_loop, this.as_object(), &target, true)
}

/// Tells the protocol to go on writing, if no more than the low-water mark waits.
#[inline]
fn resume_if_drained(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if !this.protocol_paused.get() || this.queue.borrow().len() > this.low.get() {
        return Ok(());
    }
    let Some(target) = this.protocol.get() else { return Ok(()) };
    this.protocol_paused.set(false);
    protocol::throttle(event_loop, this.as_object(), &target, false)
}

/// What was written in this turn is sent before anything else happens to the connection.
pub(super) fn send_gathered(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.gathering.get() { flush(event_loop, this) } else { Ok(()) }
}

pub(super) fn write_eof(this: &Instance<StreamTransport>) -> Res<()> {
    if this.is_closing() || this.eof.get() != Eof::None {
        return Ok(());
    }
    this.eof.set(Eof::Promised);
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    if this.waiting_for_room.get() { Ok(()) } else { flush(&event_loop, this) }
}

pub(super) fn buffer_size(this: &Instance<StreamTransport>) -> Res<Obj> {
    if let Some(event_loop) = this.open_loop() {
        send_gathered(&event_loop, this)?;
    }
    let waiting = this.queue.borrow().len();
    int(waiting as i64)
}

/// A future done when all has been sent: what sendfile() waits for before it takes the descriptor.
pub(super) fn make_empty_waiter(this: &Instance<StreamTransport>) -> Res<Obj> {
    if this.empty_waiter.is_set() {
        return raise(builtin::runtime_error(), "Empty waiter is already set");
    }
    let Some(event_loop) = this.open_loop() else {
        return raise(builtin::runtime_error(), "Transport is closing");
    };
    send_gathered(&event_loop, this)?;
    let waiter = new_future(&event_loop)?.into_obj();
    this.empty_waiter.set(Some(waiter.clone()));
    if this.queue.borrow().is_empty() {
        set_result(&waiter)?;
    }
    Ok(waiter)
}

/// `future.set_result(None)`, unless it is done.
pub(super) fn set_result(waiter: &Object) -> Res<()> {
    if let Some(native) = waiter.cast::<Future>() {
        return if native.is_done() { Ok(()) } else { future::resolve(native, none()) };
    }
    if waiter.method(&names().cancelled, &[])?.truth()? {
        return Ok(());
    }
    waiter.method(&names().set_result, &[&none()]).map(drop)
}
