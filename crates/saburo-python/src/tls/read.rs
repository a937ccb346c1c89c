//! Incoming: ciphertext becomes plaintext, which goes to the application.
//!
//! Data that arrives together is delivered together, as in asyncio: one `data_received` for any number of
//! records.

use saburo_core::Signal;

use crate::ffi::{BytesWriter, Instance, Obj, Raised, Res, View, Window, builtin, int, raise};
use crate::names::{names, tls_names};

use super::engine::{Engine, Plaintext};
use super::protocol::{AppPhase, TlsProtocol, TlsState, WaitsFor, call_soon};
use super::{report, shutdown, write};

/// Takes `ciphertext` in and delivers all plaintext that can be read; then sends waiting output.
pub(super) fn pump(this: &Instance<TlsProtocol>, ciphertext: &[u8]) -> Res<()> {
    if !matches!(this.phase.get(), TlsState::Wrapped | TlsState::Flushing) {
        return Ok(());
    }
    let done = try_pump(this, ciphertext);
    report::settle(this, done)
}

fn try_pump(this: &Instance<TlsProtocol>, ciphertext: &[u8]) -> Res<()> {
    let engine = this.engine()?;
    if this.reading_paused.get() {
        engine.feed_all(ciphertext)?;
    } else {
        let before = this.waits_for.replace(WaitsFor::EndOfRead);
        let read = if this.app_receiver.get().is_buffered() {
            read_buffered(this, engine, ciphertext)
        } else {
            read_plain(this, engine, ciphertext)
        };
        this.waits_for.set(before);
        if let Err(raised) = read {
            // As in asyncio, data that the application wrote before it failed has been sent.
            let failure = raised.take();
            write::encrypt_and_send(this)?;
            return Err(Raised::with(failure));
        }
    }
    write::encrypt_and_send(this)?;
    control_reading(this)
}

fn read_plain(this: &Instance<TlsProtocol>, engine: &Engine, ciphertext: &[u8]) -> Res<()> {
    let read = decrypt_all(engine, ciphertext)?;
    if let Some(plaintext) = read.plaintext
        && let Some(app) = this.app.get()
    {
        app.method(&names().data_received, &[&*plaintext])?;
    }
    if read.closed { closed_by_peer(this) } else { Ok(()) }
}

struct Decrypted {
    plaintext: Option<Obj>,
    /// `close_notify` has come.
    closed: bool,
}

/// Decrypts all that has arrived. A single record, the usual case, is a `bytes` as OpenSSL has made it;
/// several records are decrypted to one place.
fn decrypt_all(engine: &Engine, ciphertext: &[u8]) -> Res<Decrypted> {
    let mut ciphertext = ciphertext;
    let window = Window::new()?;
    engine.feed(&window, &mut ciphertext)?;
    let mut first = None;
    if ciphertext.is_empty() && engine.has_one_record() {
        if !engine.is_readable()? {
            return Ok(Decrypted { plaintext: None, closed: false });
        }
        match engine.decrypt()? {
            Plaintext::Closed => return Ok(Decrypted { plaintext: None, closed: true }),
            Plaintext::Blocked => return Ok(Decrypted { plaintext: None, closed: false }),
            Plaintext::Data(plaintext) if !engine.is_readable()? => {
                return Ok(Decrypted { plaintext: Some(plaintext), closed: false });
            }
            Plaintext::Data(plaintext) => first = Some(plaintext),
        }
    }
    // A record is larger than its plaintext, so this is enough; the writer may grow nevertheless.
    let mut plain = BytesWriter::with_room(engine.unread() + ciphertext.len())?;
    if let Some(first) = first {
        let first = View::of(&first)?;
        plain = plain.reserve(first.stretch().len() + engine.unread())?;
        plain.rest().fill(first.stretch());
        plain.advance(first.stretch().len());
    }
    let mut closed = false;
    loop {
        while !closed && engine.is_readable()? {
            if plain.is_full() {
                plain = plain.reserve(engine.unread().max(1024))?;
            }
            match engine.decrypt_into(&window, plain.rest())? {
                Plaintext::Data(count) => plain.advance(count),
                Plaintext::Blocked => break,
                Plaintext::Closed => closed = true,
            }
        }
        if ciphertext.is_empty() {
            break;
        }
        engine.feed(&window, &mut ciphertext)?;
    }
    let plaintext = if plain.is_empty() { None } else { Some(plain.finish()?) };
    Ok(Decrypted { plaintext, closed })
}

/// Fills the application's buffer once. If the buffer is full, reading continues in the next turn.
fn read_buffered(this: &Instance<TlsProtocol>, engine: &Engine, ciphertext: &[u8]) -> Res<()> {
    engine.feed_all(ciphertext)?;
    if !engine.is_readable()? {
        return Ok(());
    }
    let Some(app) = this.app.get() else { return Ok(()) };
    let names = names();
    let buffer = app.method(&names.get_buffer, &[&*int(engine.unread() as i64)?])?;
    let (count, closed) = {
        let view = View::writable(&buffer)?;
        let place = view.stretch();
        if place.len() == 0 {
            return raise(builtin::runtime_error(), "get_buffer() returned an empty buffer");
        }
        let window = Window::new()?;
        let (mut count, mut closed) = (0, false);
        while count < place.len() && !closed && engine.is_readable()? {
            match engine.decrypt_into(&window, place.behind(count))? {
                Plaintext::Data(more) => count += more,
                Plaintext::Blocked => break,
                Plaintext::Closed => closed = true,
            }
        }
        (count, closed)
    };
    if engine.is_readable()? && !closed && count > 0 {
        call_soon(this, this.as_object(), &names.do_read, None)?;
    }
    if count > 0 {
        app.method(&names.buffer_updated, &[&*int(count as i64)?])?;
    }
    if closed { closed_by_peer(this) } else { Ok(()) }
}

/// The peer sends no more data, and we send no more either.
fn closed_by_peer(this: &Instance<TlsProtocol>) -> Res<()> {
    call_eof_received(this)?;
    shutdown::begin(this)
}

/// Tells the application once that the peer sends no more.
pub(super) fn call_eof_received(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.app_phase.get() != AppPhase::Connected {
        return Ok(());
    }
    this.app_phase.set(AppPhase::Ended);
    let Some(app) = this.app.get() else { return Ok(()) };
    match app.method(&names().eof_received, &[]).and_then(|keep_open| keep_open.truth()) {
        Ok(false) => Ok(()),
        Ok(true) => tls_names()?.warn_keep_open.call0().map(drop),
        Err(raised) if raised.ends_the_run() => Err(raised),
        Err(raised) => report::fatal(this, &raised.take(), "Error calling eof_received()"),
    }
}

/// `get_read_buffer_size()`
pub(super) fn buffer_size(this: &TlsProtocol) -> usize {
    this.engine_opt().map_or(0, Engine::unread)
}

/// Pauses or resumes reading from the transport below, according to the ciphertext that waits here.
pub(super) fn control_reading(this: &Instance<TlsProtocol>) -> Res<()> {
    let Some(signal) = this.inbound.update(buffer_size(this) as f64) else { return Ok(()) };
    let Some(lower) = this.lower.get() else { return Ok(()) };
    let names = names();
    let method = match signal {
        Signal::Pause => &names.pause_reading,
        Signal::Resume => &names.resume_reading,
    };
    lower.method(method, &[]).map(drop)
}

/// `resume_reading()` of the application's transport: waiting data is delivered in the next turn.
pub(super) fn resume_reading(this: &Instance<TlsProtocol>) -> Res<()> {
    if !this.reading_paused.replace(false) {
        return Ok(());
    }
    call_soon(this, this.as_object(), &names().resume, None)
}

/// Delivers the waiting data, in the turn after `resume_reading()`.
pub(super) fn resume(this: &Instance<TlsProtocol>) -> Res<()> {
    match this.phase.get() {
        TlsState::Wrapped => pump(this, &[]),
        TlsState::Flushing => shutdown::finish_writing(this),
        TlsState::ShuttingDown => shutdown::go_on(this),
        TlsState::Handshaking | TlsState::Unwrapped => Ok(()),
    }
}
