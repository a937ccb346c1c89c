//! Errors of a connection, and where they are reported.

use crate::ffi::{Instance, Object, Raised, Res, builtin, none, string};
use crate::names::{names, tls_names};

use super::protocol::{TlsProtocol, TlsState};

/// Passes on an exception that is no `Exception`; any other ends the connection.
pub(super) fn settle(this: &Instance<TlsProtocol>, done: Res<()>) -> Res<()> {
    match done {
        Err(raised) if raised.matches(builtin::exception()) => {
            fatal(this, &raised.take(), "Fatal error on SSL protocol")
        }
        done => done,
    }
}

/// Ends the connection at once because of `exception`, and reports it: to the log in debug mode if it is an
/// OSError, as nearly all TLS errors are, else to the loop's exception handler.
#[cold]
pub(super) fn fatal(this: &Instance<TlsProtocol>, exception: &Object, message: &str) -> Res<()> {
    let lower = this.lower.get();
    if let Some(lower) = &lower {
        lower.method(&names().force_close, &[exception])?;
    }
    let event_loop = this.event_loop()?;
    let lower = lower.unwrap_or_else(none);
    let message = string(message)?;
    tls_names()?
        .report_fatal
        .call(&[event_loop.as_object(), this.as_object(), &*lower, exception, &*message])
        .map(drop)
}

/// Reports that the application's protocol failed to pause or resume writing. This has no other effect.
#[cold]
pub(super) fn throttling(this: &Instance<TlsProtocol>, raised: Raised, method: &str) -> Res<()> {
    if raised.ends_the_run() {
        return Err(raised);
    }
    let exception = raised.take();
    let event_loop = this.event_loop()?;
    let transport = this.transport.get().map_or_else(none, crate::ffi::Own::into_obj);
    let message = string(&format!("protocol.{method}() failed"))?;
    let names = names();
    let context = crate::ffi::mapping(&[
        (&names.message, &message),
        (&names.exception, &exception),
        (&names.transport, &transport),
        (&names.protocol, this.as_object()),
    ])?;
    event_loop.as_object().method(&names.call_exception_handler, &[&*context]).map(drop)
}

/// Ends the connection without telling the peer.
pub(super) fn abort(this: &Instance<TlsProtocol>, cause: &Object) -> Res<()> {
    this.phase.set(TlsState::Unwrapped);
    match this.lower.get() {
        Some(lower) if cause.is_none() => lower.method(&names().abort, &[]).map(drop),
        Some(lower) => lower.method(&names().force_close, &[cause]).map(drop),
        None => Ok(()),
    }
}
