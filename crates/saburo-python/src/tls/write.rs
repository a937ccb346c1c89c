//! Outgoing: plaintext becomes ciphertext, which goes to the transport below.
//!
//! Data that is written from inside `data_received` waits until that call ends, and is sent together. While
//! the transport below has no room, the data waits as plaintext: the engine never gives back memory that it
//! has allocated.

use saburo_core::Signal;

use crate::event_loop::{Entry, Loop, Ready};
use crate::ffi::{Bytes, Context, In, Instance, Object, Res, View, Window, aside, inside};
use crate::names::{names, tls_names};
use crate::transport;

use super::backlog::CHUNK;
use super::protocol::{TlsProtocol, TlsState, WaitsFor};
use super::transport::TlsTransport;
use super::{lower, report};

/// `write(data)`, for bytes-like data.
pub(super) fn write(this: &Instance<TlsProtocol>, data: &Object) -> Res<()> {
    if this.is_closing() {
        return count_lost_write(this);
    }
    match Bytes::exact(data) {
        Some(piece) => {
            this.backlog.push(piece)?;
            written(this)
        }
        None => {
            let done = write_changeable(this, data);
            report::settle(this, done)
        }
    }
}

/// Writes all items of an iterable.
pub(super) fn write_lines(this: &Instance<TlsProtocol>, lines: &Object) -> Res<()> {
    if this.is_closing() {
        return count_lost_write(this);
    }
    let lines = names().tuple_class.call(&[lines])?;
    let mut index = 0;
    while let Some(line) = lines.tuple_item(index) {
        index += 1;
        match Bytes::exact(&line) {
            Some(piece) => this.backlog.push(piece)?,
            None => match copied(&line) {
                Ok(piece) => this.backlog.push(piece)?,
                done => return report::settle(this, done.map(drop)),
            },
        }
    }
    written(this)
}

/// Data was pushed to the backlog: encrypts it now, or at the end of the turn.
#[inline]
fn written(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.phase.get() != TlsState::Wrapped {
        return Ok(());
    }
    let size = this.backlog.size();
    if !this.lower_full.get() && size < AT_ONCE && (size as f64) < this.outbound.high() {
        if this.waits_for.get() != WaitsFor::Nothing {
            return Ok(());
        }
        let event_loop = this.event_loop()?;
        if event_loop.gathers()
            && !this.lower.get().map_or(Ok(false), |below| lower::sends_at_once(&below))?
            && event_loop.send_later(|| Ready::role::<Unsent, _>(this.to_own()))
        {
            this.waits_for.set(WaitsFor::EndOfTurn);
            return Ok(());
        }
    }
    let done = encrypt_and_send(this);
    report::settle(this, done)
}

/// From this many bytes on, data does not wait for the end of the turn.
const AT_ONCE: usize = 64 * 1024;

/// Marks a protocol that sends when the turn is over.
struct Unsent;

impl Entry for In<Unsent, TlsProtocol> {
    /// The ciphertext goes to a transport, which is run later than this entry.
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
        turn_is_over(self).or_else(|raised| {
            let context = aside(Context::copy_current)?;
            let (protocol, name) = (self.as_object(), &names().resume_writing);
            transport::report_callback(event_loop, raised, protocol, name, &[], context)
        })
    }
}

/// The turn is over. No program's call causes this send, so its effects belong to the connection. An
/// exception that is no `Exception` is passed on.
fn turn_is_over(this: &Instance<TlsProtocol>) -> Res<()> {
    this.waits_for.set(WaitsFor::Nothing);
    if this.backlog.size() == 0 {
        // An earlier call has sent it already.
        return Ok(());
    }
    let Some(context) = this.lower.get().and_then(|lower| transport::context_of(&lower)) else {
        let done = encrypt_and_send(this);
        return report::settle(this, done);
    };
    inside(context.as_object(), || {
        let done = encrypt_and_send(this);
        report::settle(this, done)
    })
}

/// `drain()` of a stream. The rule is that of [`stream::drain`](crate::transport::stream::drain).
pub(crate) fn drain(transport: &Instance<TlsTransport>, has_unread: impl FnOnce() -> Res<bool>) -> Res<()> {
    let this = transport.protocol()?;
    let Some(below) = this.lower.get() else { return Ok(()) };
    if lower::may_wait(&below, has_unread)? { Ok(()) } else { send_drained(&this) }
}

pub(super) fn send_drained(this: &Instance<TlsProtocol>) -> Res<()> {
    send_backlog(this)?;
    this.lower.get().map_or(Ok(()), |below| lower::send_drained(&below))
}

/// Sends data written in this turn, here and below.
pub(super) fn send_gathered(this: &Instance<TlsProtocol>) -> Res<()> {
    send_backlog(this)?;
    this.lower.get().map_or(Ok(()), |below| lower::send_gathered(&below))
}

/// Sends data that has gathered above this connection, starting with a TLS connection above it.
pub(super) fn send_above(this: &Instance<TlsProtocol>) -> Res<()> {
    if let Some(app) = this.app.get() {
        this.app_receiver.get().send_gathered(&app)?;
    }
    send_backlog(this)
}

fn send_backlog(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.backlog.size() == 0 || this.phase.get() != TlsState::Wrapped {
        return Ok(());
    }
    let done = encrypt_and_send(this);
    report::settle(this, done)
}

/// Writes data that may change as soon as we return. Small data is copied. Of large data, as much as possible
/// is encrypted at once, and the rest is copied.
fn write_changeable(this: &Instance<TlsProtocol>, data: &Object) -> Res<()> {
    let large = data.len()? >= 16 * 1024;
    if large && this.phase.get() == TlsState::Wrapped && !this.lower_full.get() {
        encrypt_and_send(this)?;
        if this.backlog.size() == 0 && this.phase.get() == TlsState::Wrapped {
            let view = View::of(data)?;
            let encrypted = encrypt_now(this, &view)?;
            let rest = view.stretch().behind(encrypted);
            if rest.len() > 0 {
                this.backlog.push(rest.to_bytes()?)?;
            }
            return send_and_control_writing(this);
        }
    }
    this.backlog.push(copied(data)?)?;
    written(this)
}

fn copied(data: &Object) -> Res<Bytes> {
    View::of(data)?.stretch().to_bytes()
}

/// Encrypts records from `view`, while there is room below. Returns the number of bytes.
fn encrypt_now(this: &Instance<TlsProtocol>, view: &View) -> Res<usize> {
    let engine = this.engine()?;
    let window = Window::new()?;
    let all = view.stretch();
    let mut encrypted = 0;
    let mut unsent = 0;
    while encrypted < all.len() && !this.lower_full.get() {
        let chunk = all.behind(encrypted).first(CHUNK);
        let Some(count) = engine.encrypt(&window, chunk)? else { break };
        encrypted += count;
        unsent += count;
        if unsent >= CHUNK {
            unsent = 0;
            send(this)?;
        }
    }
    Ok(encrypted)
}

#[cold]
fn count_lost_write(this: &Instance<TlsProtocol>) -> Res<()> {
    if let Some(event_loop) = this.event_loop.get().filter(|event_loop| event_loop.is_of_parent()) {
        return event_loop.check_usable();
    }
    let count = this.lost_writes.get();
    this.lost_writes.set(count + 1);
    if count >= UNNOTICED {
        tls_names()?.warn_closed.call0()?;
    }
    Ok(())
}

/// The number of writes to a lost connection without a warning; asyncio's number.
const UNNOTICED: u32 = 5;

/// Puts data into the backlog and leaves it there, for tests.
pub(super) fn append(this: &Instance<TlsProtocol>, data: &Object) -> Res<()> {
    this.backlog.push(copied(data)?)?;
    Ok(())
}

/// Encrypts waiting data while there is room below, and sends it.
pub(super) fn encrypt_and_send(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.phase.get() == TlsState::Unwrapped {
        return Ok(());
    }
    if this.backlog.size() > 0 {
        encrypt(this, Room::Below)?;
    }
    send_and_control_writing(this)
}

/// Encrypts all waiting data, even without room: this is the last step before the peer is told the end.
pub(super) fn encrypt_and_send_all(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.backlog.size() > 0 {
        encrypt(this, Room::Anywhere)?;
    }
    send_and_control_writing(this)
}

pub(super) fn send_and_control_writing(this: &Instance<TlsProtocol>) -> Res<()> {
    send(this)?;
    control_writing(this)
}

/// Where the ciphertext may go to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// The transport below, as long as it has room.
    Below,
    /// The engine's buffer, too.
    Anywhere,
}

fn encrypt(this: &Instance<TlsProtocol>, room: Room) -> Res<()> {
    if !matches!(this.phase.get(), TlsState::Wrapped | TlsState::Flushing) {
        return Ok(());
    }
    let engine = this.engine()?;
    let window = Window::new()?;
    let mut unsent = 0;
    while let Some(chunk) = this.backlog.next() {
        if this.lower_full.get() && room == Room::Below {
            break;
        }
        let Some(count) = engine.encrypt(&window, chunk.stretch())? else { break };
        this.backlog.advance(count);
        unsent += count;
        if unsent >= CHUNK {
            unsent = 0;
            send(this)?;
        }
    }
    Ok(())
}

/// Sends the ciphertext, unless the transport below has no room.
pub(super) fn send(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.lower_full.get() {
        return Ok(());
    }
    let engine = this.engine()?;
    if engine.unsent()? == 0 {
        return Ok(());
    }
    let Some(below) = this.lower.get() else { return Ok(()) };
    lower::write(&below, &*engine.take_ciphertext()?)
}

/// `get_write_buffer_size()`, which first sends data written in this turn.
pub(super) fn size_after_send(this: &Instance<TlsProtocol>) -> Res<usize> {
    let done = encrypt_and_send(this);
    report::settle(this, done)?;
    this.lower.get().map_or(Ok(()), |below| lower::send_gathered(&below))?;
    buffer_size(this)
}

fn buffer_size(this: &TlsProtocol) -> Res<usize> {
    match this.engine_opt() {
        Some(engine) => Ok(engine.unsent()? + this.backlog.size()),
        None => Ok(0),
    }
}

/// Tells the application to pause or resume writing, according to the bytes that wait to be sent.
pub(super) fn control_writing(this: &Instance<TlsProtocol>) -> Res<()> {
    let Some(signal) = this.outbound.update(buffer_size(this)? as f64) else { return Ok(()) };
    let Some(app) = this.app.get() else { return Ok(()) };
    let names = names();
    let (method, name) = match signal {
        Signal::Pause => (&names.pause_writing, "pause_writing"),
        Signal::Resume => (&names.resume_writing, "resume_writing"),
    };
    match app.method(method, &[]) {
        Ok(_) => Ok(()),
        Err(raised) => report::throttling(this, raised, name),
    }
}
