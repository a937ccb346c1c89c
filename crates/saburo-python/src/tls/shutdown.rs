//! The end: what was written is sent, `close_notify` goes out, the peer's comes in, the transport below
//! closes.

use crate::ffi::{Instance, Obj, Res, builtin, none, string};
use crate::names::{names, tls_names};

use super::engine::Progress;
use super::protocol::{Phase, TlsProtocol, call_soon, start_timer};
use super::{read, report, write};

/// Begins it, from either side, and the time that it may take.
pub(super) fn begin(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.is_closing() {
        return Ok(());
    }
    if let Some(transport) = this.transport.get() {
        transport.mark_closed();
    }
    if this.phase.get() == Phase::Handshaking {
        return report::abort(this, &none());
    }
    // Before anything is read: it was written before, too.
    let written = write::flush_all(this);
    report::settle(this, written)?;
    if this.phase.get() != Phase::Wrapped {
        return Ok(());
    }
    this.phase.set(Phase::Flushing);
    start_timer(this, &this.shutdown_timeout, &names().check_shutdown_timeout)?;
    flush(this)
}

/// Reads what has arrived and writes what is left, then says that there is no more.
pub(super) fn flush(this: &Instance<TlsProtocol>) -> Res<()> {
    read::pump(this, &[])?;
    if this.phase.get() != Phase::Flushing {
        return Ok(());
    }
    let written = write::flush_all(this);
    report::settle(this, written)?;
    begin_closing(this)
}

/// Everything is written: the peer is told.
pub(super) fn begin_closing(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.phase.get() != Phase::Flushing {
        return Ok(());
    }
    this.phase.set(Phase::ShuttingDown);
    go_on(this)
}

/// Goes on with what the peer has sent.
pub(super) fn go_on(this: &Instance<TlsProtocol>) -> Res<()> {
    // Who has closed the connection below without a word is told nothing.
    let progress = if this.eof.get() { Ok(Progress::Done) } else { this.engine()?.shutdown() };
    match progress {
        Ok(Progress::Done) => {
            write::finish_flush(this)?;
            read::call_eof_received(this)?;
            finish(this, None)
        }
        Ok(Progress::Blocked) => write::finish_flush(this),
        Err(raised) if raised.matches(&tls_names()?.ssl_error) => finish(this, Some(raised.take())),
        Err(raised) => Err(raised),
    }
}

fn finish(this: &Instance<TlsProtocol>, failure: Option<Obj>) -> Res<()> {
    if let Some(failure) = failure {
        this.cancel_timer()?;
        return report::fatal(this, &failure, "Fatal error on transport");
    }
    // The transport below sends first what it has, and a peer that does not read can put that off for ever:
    // the time limit holds until the connection is lost, and begins now if the peer was first.
    if !this.has_timer() {
        start_timer(this, &this.shutdown_timeout, &names().check_shutdown_timeout)?;
    }
    match this.lower.get() {
        Some(lower) => call_soon(this, &lower, &names().close, None),
        None => Ok(()),
    }
}

pub(super) fn time_is_up(this: &Instance<TlsProtocol>) -> Res<()> {
    if !matches!(this.phase.get(), Phase::Flushing | Phase::ShuttingDown) {
        return Ok(());
    }
    let Some(lower) = this.lower.get() else { return Ok(()) };
    let failure = builtin::timeout_error().call(&[&*string("SSL shutdown timed out")?])?;
    lower.method(&names().force_close, &[&*failure]).map(drop)
}
