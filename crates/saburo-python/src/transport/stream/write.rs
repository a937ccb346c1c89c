//! Writing: pieces gather in a queue and are sent together.

use std::io;

use saburo_core::{AfterWrite, net};

use crate::event_loop::{Direction, Entry, Loop, Ready};
use crate::ffi::{Bytes, In, Instance, Obj, Object, Raised, Res, builtin, int, lend, lend_ready, raise};
use crate::future;
use crate::names::names;

use super::super::ending;
use super::super::life::set_result;
use super::super::piece::{self, Piece};
use super::super::watcher;
use super::{ConnectionState, Eof, StreamTransport};

pub(crate) fn write(this: &Instance<StreamTransport>, data: &Object) -> Res<()> {
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
    let Some(event_loop) = this.open_loop().filter(|_| this.phase.get() < ConnectionState::Ending) else {
        return count_lost_write(this);
    };
    let written = match exact {
        Some(bytes) => {
            let written = bytes.as_ref().len();
            piece::push(&mut this.queue.borrow_mut(), bytes)?;
            written
        }
        None => match push_copy(&event_loop, this, data) {
            Ok(written) => written,
            // No byte was queued or sent.
            Err(raised) if raised.matches(builtin::memory_error()) => return Err(raised),
            Err(raised) => {
                return ending::fatal(&event_loop, this, raised, "Fatal write error on socket transport");
            }
        },
    };
    gather(&event_loop, this, written)
}

pub(crate) fn writelines(this: &Instance<StreamTransport>, list: &Object) -> Res<()> {
    check_writable(this, "writelines", "writelines")?;
    if !list.truth()? {
        return Ok(());
    }
    // Checked one by one: an iterator may run any code, and may even end this connection.
    let pieces = list.to_list()?;
    if this.phase.get() >= ConnectionState::Ending {
        return count_lost_write(this);
    }
    let written = match joined(&pieces)? {
        Some(whole) => {
            let written = whole.len();
            let queued = piece::append(&mut this.queue.borrow_mut(), Piece::Copied(whole));
            queued?;
            Some(written)
        }
        None => push_each(this, &pieces)?,
    };
    match (this.open_loop(), written) {
        (Some(event_loop), Some(written)) if !this.queue.borrow().is_empty() => {
            gather(&event_loop, this, written)
        }
        _ => Ok(()),
    }
}

/// The pieces of a list joined into one, if all are `bytes`, most of them small, and all together small
/// enough to be kept until the last has been sent.
fn joined(pieces: &Object) -> Res<Option<Vec<u8>>> {
    let (mut count, mut length) = (0, 0);
    while let Some(data) = pieces.list_item(count) {
        let Some(bytes) = data.as_bytes() else { return Ok(None) };
        length += bytes.len();
        count += 1;
    }
    if length > JOINED.min(count * piece::SMALL) {
        return Ok(None);
    }
    let mut whole = Vec::new();
    whole.try_reserve_exact(length)?;
    for index in 0..count {
        if let Some(data) = pieces.list_item(index) {
            whole.extend_from_slice(data.as_bytes().unwrap_or_default());
        }
    }
    Ok(Some(whole))
}

/// Up to this many bytes become one piece.
const JOINED: usize = 64 * 1024;

/// Appends the pieces of a list, or none if one of them has no bytes. Returns the number of bytes; None if it
/// is too late to send them.
fn push_each(this: &StreamTransport, pieces: &Object) -> Res<Option<usize>> {
    let mut whole = Vec::new();
    for index in 0.. {
        let Some(data) = pieces.list_item(index) else { break };
        let piece = match Bytes::exact(&data) {
            Some(bytes) => Piece::Bytes(bytes),
            None if data.has_buffer() => lend(&data, piece::copied)??,
            // asyncio sends only objects that are true.
            None if !data.truth()? => continue,
            None => return no_bytes(&data),
        };
        whole.try_reserve(1)?;
        whole.push(piece);
    }
    // An object that is asked for its bytes may run any code, too.
    if this.phase.get() >= ConnectionState::Ending {
        return count_lost_write(this).map(|()| None);
    }
    let mut written = 0;
    for piece in whole {
        written += piece.as_ref().len();
        let mut queue = this.queue.borrow_mut();
        let queued = match piece {
            Piece::Bytes(bytes) => piece::push(&mut queue, bytes),
            copied => piece::append(&mut queue, copied),
        };
        drop(queue);
        queued?;
    }
    Ok(Some(written))
}

#[cold]
fn no_bytes<T>(data: &Object) -> Res<T> {
    let class = data.type_of().attr(&names().dunder_name)?.display()?;
    raise(builtin::type_error(), &format!("memoryview: a bytes-like object is required, not '{class}'"))
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

/// Counts a write that cannot be sent. The loss of the connection itself counts as one.
#[cold]
fn count_lost_write(this: &StreamTransport) -> Res<()> {
    this.count_lost_write(1, "socket.send() raised exception.")
}

/// Appends data that the program may change later. Large data is first sent as far as the kernel takes it, so
/// that only the rest is copied. Returns the number of bytes.
fn push_copy(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, data: &Object) -> Res<usize> {
    let high = this.flow.high();
    let (written, copied) = lend(data, |bytes| {
        let small = bytes.len() <= high;
        (bytes.len(), small.then(|| piece::copy(&mut this.queue.borrow_mut(), bytes)))
    })?;
    if let Some(copied) = copied {
        return Ok(copied.map(|()| written)?);
    }
    if !this.outgoing.is_blocked() {
        send_now(event_loop, this)?;
        if this.phase.get() >= ConnectionState::Ending {
            return Ok(written);
        }
    }
    let mut begun = false;
    let failed = lend_ready(
        data,
        || this.descriptor(event_loop),
        |fd, bytes| {
            let mut queue = this.queue.borrow_mut();
            let mut rest = bytes;
            if queue.is_empty() {
                match net::send(fd, bytes) {
                    Ok(sent) => {
                        begun = sent > 0;
                        rest = &bytes[sent..];
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Some(error),
                }
            }
            piece::copy(&mut queue, rest).err()
        },
    )?;
    match failed {
        Some(error) => {
            let raised = Raised::os(&error);
            if begun && raised.matches(builtin::memory_error()) {
                // A part of the data has been sent and the rest is lost, so the connection is lost too.
                let lost = raised.take();
                let told = Raised::with(lost.clone());
                ending::fatal(event_loop, this, told, "Fatal write error on socket transport")?;
                return Err(Raised::with(lost));
            }
            Err(raised)
        }
        None => Ok(written),
    }
}

/// A call has put `written` bytes into the queue: sends them at the end of the turn, or now.
#[inline]
fn gather(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, written: usize) -> Res<()> {
    if this.outgoing.is_blocked() {
        return pause_if_full(event_loop, this);
    }
    let waiting = this.queue.borrow().len();
    let has_room = |most| this.outgoing.has_room(|| net::has_room(this.descriptor(event_loop), most));
    let may_gather = this.flow.may_gather(written, waiting, has_room) && event_loop.gathers();
    match this.outgoing.after_write(may_gather) {
        AfterWrite::Wait => Ok(()),
        AfterWrite::List if event_loop.send_later(|| Ready::role::<Unsent, _>(this.to_own())) => {
            this.outgoing.list();
            Ok(())
        }
        AfterWrite::List | AfterWrite::Send => send_now(event_loop, this),
    }
}

/// `drain()` of a stream: by asyncio's rules, the kernel then has as much of the written data as it takes.
///
/// So the first drain of a turn sends at once, and a handler that writes, drains and then computes is heard.
/// A later drain of the same turn leaves the data to the end of the turn if the peer has sent more than has
/// been read: the handler will most likely answer that in this turn, and the answers are sent together.
#[inline]
pub(crate) fn drain(this: &Instance<StreamTransport>, has_unread: impl FnOnce() -> Res<bool>) -> Res<()> {
    if may_wait(this, has_unread)? { Ok(()) } else { send_drained(this) }
}

/// True if data that is drained now may wait for the end of the turn.
#[inline]
pub(crate) fn may_wait(this: &StreamTransport, has_unread: impl FnOnce() -> Res<bool>) -> Res<bool> {
    if this.outgoing.has_drained() { has_unread() } else { Ok(false) }
}

/// Sends for a `drain()`.
#[inline]
pub(crate) fn send_drained(this: &Instance<StreamTransport>) -> Res<()> {
    if !this.outgoing.is_listed() || this.queue.borrow().is_empty() {
        return Ok(());
    }
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    this.outgoing.drain();
    send_now(&event_loop, this)
}

/// Marks a transport that sends when the turn is over.
struct Unsent;

impl Entry for In<Unsent, StreamTransport> {
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
        turn_is_over(event_loop, self)
    }
}

/// Sends the gathered data. No program's call causes this send, so its errors belong to the connection.
#[inline]
fn turn_is_over(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    this.outgoing.end_turn();
    // Another call may have sent the data since the transport was listed.
    if this.queue.borrow().is_empty() {
        return Ok(());
    }
    if this.phase.get() >= ConnectionState::Ending || this.outgoing.is_blocked() {
        return Ok(());
    }
    let sent = take_away(event_loop, this);
    if sent.is_ok() && this.queue.borrow().is_empty() && this.phase.get() == ConnectionState::Open {
        return drained(event_loop, this, false).or_else(|raised| not_sent(event_loop, this, Err(raised)));
    }
    not_sent(event_loop, this, Ok(sent))
}

#[cold]
fn not_sent(
    event_loop: &Instance<Loop>,
    this: &Instance<StreamTransport>,
    done: Res<io::Result<()>>,
) -> Res<()> {
    this.within(event_loop, this.as_object(), &names().write_ready, || match done? {
        Ok(()) => sent(event_loop, this),
        Err(error) => failed(event_loop, this, &error),
    })
}

/// Sends as much as the kernel takes. If the kernel is known to have no room, the writable event sends later,
/// and resumes a protocol that was paused.
pub(super) fn send_now(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.phase.get() >= ConnectionState::Ending || this.outgoing.is_blocked() {
        return Ok(());
    }
    match take_away(event_loop, this) {
        Ok(()) => sent(event_loop, this),
        Err(error) => failed(event_loop, this, &error),
    }
}

/// The kernel has room again.
pub(super) fn writable(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.phase.get() >= ConnectionState::Ending || !this.outgoing.is_blocked() {
        return Ok(());
    }
    if let Err(error) = take_away(event_loop, this) {
        return failed(event_loop, this, &error);
    }
    // The kernel has room, so data that a resumed protocol writes now need not wait for an event.
    let waiting = this.queue.borrow().len();
    if waiting == 0 {
        this.outgoing.unblock();
    }
    let resumed = this.flow.resume_if_drained(event_loop, this.as_object(), &this.protocol, waiting);
    if this.outgoing.is_blocked() {
        return resumed;
    }
    this.watches.end(event_loop, Direction::Write);
    if this.phase.get() >= ConnectionState::Ending || !this.queue.borrow().is_empty() {
        // The transport has ended, or the data is sent at the end of the turn.
        return resumed;
    }
    resumed?;
    drained(event_loop, this, true)
}

/// Gives the kernel as much data as it has room for.
#[inline]
fn take_away(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> io::Result<()> {
    this.outgoing.send();
    let fd = this.descriptor(event_loop);
    // This drops `bytes`, which runs no code.
    this.queue.borrow_mut().flush(fd, drop)
}

/// The kernel has taken all data, or has no room for the rest.
fn sent(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.queue.borrow().is_empty() {
        return drained(event_loop, this, false);
    }
    if this.outgoing.block() {
        watcher::watch(event_loop, this.descriptor(event_loop), Direction::Write, this)?;
    }
    pause_if_full(event_loop, this)
}

/// Nothing is left to send.
#[inline]
fn drained(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, from_event: bool) -> Res<()> {
    if this.outgoing.unblock() {
        this.watches.end(event_loop, Direction::Write);
    }
    if let Some(waiter) = this.empty_waiter.get() {
        set_result(&waiter)?;
    }
    match this.phase.get() {
        ConnectionState::Closing if from_event => {
            this.phase.set(ConnectionState::Ending);
            ending::lost(event_loop, this)
        }
        ConnectionState::Closing => this.schedule_lost(event_loop, this, None),
        _ if this.eof.get() == Eof::Promised => {
            this.eof.set(Eof::Sent);
            Ok(net::shutdown_write(this.descriptor(event_loop))?)
        }
        _ => Ok(()),
    }
}

#[cold]
fn failed(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, error: &std::io::Error) -> Res<()> {
    let raised = Raised::os(error);
    let exception = raised.take();
    let waiter = this.empty_waiter.get();
    ending::fatal(
        event_loop,
        this,
        Raised::with(exception.clone()),
        "Fatal write error on socket transport",
    )?;
    match waiter {
        Some(waiter) => waiter.method(&names().set_exception, &[&exception]).map(drop),
        None => Ok(()),
    }
}

/// Tells the protocol to stop writing, if more bytes wait than the high-water mark.
#[inline]
pub(super) fn pause_if_full(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    let waiting = this.queue.borrow().len();
    this.flow.pause_if_full(event_loop, this.as_object(), &this.protocol, waiting)
}

/// Sends data written in this turn before any other operation on the connection.
#[inline]
pub(crate) fn send_gathered(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    if this.outgoing.is_listed() && !this.queue.borrow().is_empty() {
        send_now(event_loop, this)
    } else {
        Ok(())
    }
}

/// The same, including data that a protocol above has gathered, such as that of TLS.
pub(super) fn send_all(this: &Instance<StreamTransport>) -> Res<()> {
    if let Some(target) = this.protocol.get() {
        this.receiver.get().send_gathered(&target)?;
    }
    match this.open_loop() {
        Some(event_loop) => send_gathered(&event_loop, this),
        None => Ok(()),
    }
}

/// The program has got the descriptor: from now on no data waits.
pub(super) fn stop_gathering(this: &Instance<StreamTransport>) -> Res<()> {
    send_all(this)?;
    this.outgoing.stop_gathering();
    Ok(())
}

/// True if every write is sent at once.
pub(crate) fn sends_at_once(this: &StreamTransport) -> bool {
    this.outgoing.sends_at_once()
}

pub(super) fn write_eof(this: &Instance<StreamTransport>) -> Res<()> {
    if this.is_closing() || this.eof.get() != Eof::None {
        return Ok(());
    }
    this.eof.set(Eof::Promised);
    let Some(event_loop) = this.open_loop() else { return Ok(()) };
    if this.outgoing.is_blocked() { Ok(()) } else { send_now(&event_loop, this) }
}

pub(super) fn buffer_size(this: &Instance<StreamTransport>) -> Res<Obj> {
    if let Some(event_loop) = this.open_loop() {
        send_gathered(&event_loop, this)?;
    }
    let waiting = this.queue.borrow().len();
    int(waiting as i64)
}

/// A future done when all data has been sent. sendfile() waits for it before it uses the descriptor.
pub(super) fn make_empty_waiter(this: &Instance<StreamTransport>) -> Res<Obj> {
    if this.empty_waiter.is_set() {
        return raise(builtin::runtime_error(), "Empty waiter is already set");
    }
    let Some(event_loop) = this.open_loop() else {
        return raise(builtin::runtime_error(), "Transport is closing");
    };
    send_gathered(&event_loop, this)?;
    let waiter = future::new_future(&event_loop)?.into_obj();
    this.empty_waiter.set(Some(waiter.clone()));
    if this.queue.borrow().is_empty() {
        set_result(&waiter)?;
    }
    Ok(waiter)
}

/// A future done when the kernel has room. sendfile() waits for it; nothing else writes meanwhile.
pub(super) fn wait_for_room(this: &Instance<StreamTransport>) -> Res<Obj> {
    let Some(event_loop) = this.open_loop() else {
        return raise(builtin::runtime_error(), "Transport is closing");
    };
    let room = future::wait_on(&event_loop, Direction::Write, || Ok(this.descriptor(&event_loop)))?;
    this.room_waiter.set(Some(room.clone()));
    Ok(room.into_obj())
}
