//! The handshake: from connection_made below to connection_made above.

use crate::ffi::{Instance, Obj, Object, Res, builtin, float, none, string};
use crate::names::{names, tls_names};

use super::engine::Progress;
use super::protocol::{AppPhase, TlsProtocol, TlsState, start_timer};
use super::{read, report, write};

/// Begins the handshake, and starts its time limit.
pub(super) fn begin(this: &Instance<TlsProtocol>) -> Res<()> {
    let event_loop = this.event_loop()?;
    if event_loop.debug() {
        tls_names()?.log_handshake.call(&[this.as_object()])?;
        this.began.set(event_loop.as_object().method(&names().time, &[])?.as_f64()?);
    }
    this.phase.set(TlsState::Handshaking);
    start_timer(this, &this.handshake_timeout, &names().check_handshake_timeout)?;
    // The peer has sent nothing to answer yet, and OpenSSL would allocate memory for the handshake.
    if this.silent.get() { Ok(()) } else { go_on(this) }
}

/// Continues with the data that the peer has sent.
pub(super) fn go_on(this: &Instance<TlsProtocol>) -> Res<()> {
    match this.engine()?.handshake() {
        Ok(Progress::Done) => finish(this, None),
        Ok(Progress::Blocked) => write::send_and_control_writing(this),
        Err(raised) if raised.matches(&tls_names()?.ssl_error) => finish(this, Some(raised.take())),
        Err(raised) => Err(raised),
    }
}

/// The handshake is over: it succeeded, or failed with `failure`.
pub(super) fn finish(this: &Instance<TlsProtocol>, failure: Option<Obj>) -> Res<()> {
    this.cancel_timer()?;
    let certificate = match failure {
        Some(failure) => return failed(this, &failure),
        // Code that the engine called back has ended the connection.
        None if this.phase.get() != TlsState::Handshaking => return Ok(()),
        None => {
            this.phase.set(TlsState::Wrapped);
            match this.engine()?.object() {
                Some(object) => object.method(&names().getpeercert, &[]),
                None => Ok(none()),
            }
        }
    };
    match certificate {
        Ok(certificate) => this.peercert.set(Some(certificate)),
        Err(raised) if raised.matches(builtin::exception()) => return failed(this, &raised.take()),
        Err(raised) => return Err(raised),
    }
    let event_loop = this.event_loop()?;
    if event_loop.debug() {
        let now = event_loop.as_object().method(&names().time, &[])?.as_f64()?;
        let milliseconds = float((now - this.began.get()) * 1e3)?;
        tls_names()?.log_handshake_done.call(&[this.as_object(), &*milliseconds])?;
    }
    if this.app_phase.get() == AppPhase::Waiting
        && let (Some(app), Some(transport)) = (this.app.get(), this.transport.get())
    {
        this.app_phase.set(AppPhase::Connected);
        app.method(&names().connection_made, &[transport.as_object()])?;
    }
    this.wake_waiter(None)?;
    read::pump(this, &[])
}

fn failed(this: &Instance<TlsProtocol>, failure: &Object) -> Res<()> {
    this.phase.set(TlsState::Unwrapped);
    let message = if failure.is_instance(&tls_names()?.certificate_error)? {
        "SSL handshake failed on verifying the certificate"
    } else {
        "SSL handshake failed"
    };
    report::fatal(this, failure, message)?;
    this.wake_waiter(Some(failure))
}

pub(super) fn time_is_up(this: &Instance<TlsProtocol>) -> Res<()> {
    if this.phase.get() != TlsState::Handshaking {
        return Ok(());
    }
    let seconds = this.handshake_timeout.get().unwrap_or_else(none).display()?;
    let message = format!("SSL handshake is taking longer than {seconds} seconds: aborting the connection");
    let failure = builtin::connection_aborted_error().call(&[&*string(&message)?])?;
    report::fatal(this, &failure, "Fatal error on transport")
}
