//! The shutdown: written data is sent, `close_notify` goes out, the peer's comes in, the transport below
//! closes.

use crate::ffi::{Instance, Obj, Res, builtin, none, string};
use crate::names::{names, tls_names};

use super::engine::Progress;
use super::protocol::{TlsProtocol, TlsState, call_soon, start_timer};
use super::{read, report, write};

/// Begins the shutdown, from either side, and starts its time limit.
pub(super) fn begin(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.is_closing() {
        return Ok(());
    }
    if let Some(transport) = this.transport.get() {
        transport.mark_closed();
    }
    if this.phase.get() == TlsState::Handshaking {
        return report::abort(this, &none());
    }
    // Flushed before anything is read, because it was also written before.
    let written = write::encrypt_and_send_all(this);
    report::settle(this, written)?;
    if this.phase.get() != TlsState::Wrapped {
        return Ok(());
    }
    this.phase.set(TlsState::Flushing);
    start_timer(this, &this.shutdown_timeout, &names().check_shutdown_timeout)?;
    finish_writing(this)
}

/// Reads data that has arrived and writes data that is left, then tells the peer that no more comes.
pub(super) fn finish_writing(this: &Instance<TlsProtocol>) -> Res<()> {
    read::pump(this, &[])?;
    if this.phase.get() != TlsState::Flushing {
        return Ok(());
    }
    let written = write::encrypt_and_send_all(this);
    report::settle(this, written)?;
    begin_closing(this)
}

/// All data is written: tells the peer.
pub(super) fn begin_closing(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.phase.get() != TlsState::Flushing {
        return Ok(());
    }
    this.phase.set(TlsState::ShuttingDown);
    go_on(this)
}

/// Continues with the data that the peer has sent.
pub(super) fn go_on(this: &Instance<TlsProtocol>) -> Res<()> {
    // A peer that has closed the connection below without `close_notify` is told nothing.
    let progress = if this.eof.get() { Ok(Progress::Done) } else { this.engine()?.shutdown() };
    match progress {
        Ok(Progress::Done) => {
            write::send_and_control_writing(this)?;
            read::call_eof_received(this)?;
            finish(this, None)
        }
        Ok(Progress::Blocked) => write::send_and_control_writing(this),
        Err(raised) if raised.matches(&tls_names()?.ssl_error) => finish(this, Some(raised.take())),
        Err(raised) => Err(raised),
    }
}

fn finish(this: &Instance<TlsProtocol>, failure: Option<Obj>) -> Res<()> {
    if let Some(failure) = failure {
        this.cancel_timer()?;
        return report::fatal(this, &failure, "Fatal error on transport");
    }
    // The transport below sends its waiting data first, and a peer that does not read can delay that for
    // ever. So the time limit holds until the connection is lost, and begins now if the peer shut down first.
    if !this.has_timer() {
        start_timer(this, &this.shutdown_timeout, &names().check_shutdown_timeout)?;
    }
    match this.lower.get() {
        Some(lower) => call_soon(this, &lower, &names().close, None),
        None => Ok(()),
    }
}

pub(super) fn time_is_up(this: &Instance<TlsProtocol>) -> Res<()> {
    if !matches!(this.phase.get(), TlsState::Flushing | TlsState::ShuttingDown) {
        return Ok(());
    }
    let Some(lower) = this.lower.get() else { return Ok(()) };
    let failure = builtin::timeout_error().call(&[&*string("SSL shutdown timed out")?])?;
    lower.method(&names().force_close, &[&*failure]).map(drop)
}
