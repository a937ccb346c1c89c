//! The calls that streams make to their transport and their loop, of whatever class these are.
//!
//! A transport of our own is called directly, unless a program has given it attributes, which may be other
//! methods. Any other transport is called by its methods.

use crate::event_loop::Loop;
use crate::ffi::{Context, Obj, Object, Raised, Res, builtin, none};
use crate::names::names;
use crate::tls::{self, TlsTransport};
use crate::transport::{StreamTransport, stream};

#[inline]
pub(super) fn pause_reading(transport: &Object) -> Res<()> {
    match transport.cast_untouched::<StreamTransport>() {
        Some(ours) => stream::pause_reading(ours),
        None => transport.method(&names().pause_reading, &[]).map(drop),
    }
}

#[inline]
pub(super) fn resume_reading(transport: &Object) -> Res<()> {
    match transport.cast_untouched::<StreamTransport>() {
        Some(ours) => stream::resume_reading(ours),
        None => transport.method(&names().resume_reading, &[]).map(drop),
    }
}

#[inline]
pub(super) fn is_closing(transport: &Object) -> Res<bool> {
    match transport.cast_untouched::<StreamTransport>() {
        Some(ours) => Ok(ours.is_closing()),
        None => transport.method(&names().is_closing, &[])?.truth(),
    }
}

/// `drain()` gives written bytes to the kernel, unless they may wait (see `stream::drain`).
#[inline]
pub(super) fn drain(transport: &Object, has_unread: impl FnOnce() -> Res<bool>) -> Res<()> {
    if let Some(ours) = transport.cast_exact::<StreamTransport>() {
        return stream::drain(ours, has_unread);
    }
    match transport.cast_exact::<TlsTransport>() {
        Some(encrypted) => tls::drain(encrypted, has_unread),
        None => Ok(()),
    }
}

#[inline]
pub(super) fn write(transport: &Object, data: &Object) -> Res<()> {
    match transport.cast_untouched::<StreamTransport>() {
        Some(ours) => stream::write(ours, data),
        None => transport.method(&names().write, &[data]).map(drop),
    }
}

#[inline]
pub(super) fn writelines(transport: &Object, lines: &Object) -> Res<()> {
    match transport.cast_untouched::<StreamTransport>() {
        Some(ours) => stream::writelines(ours, lines),
        None => transport.method(&names().writelines, &[lines]).map(drop),
    }
}

#[inline]
pub(super) fn close(transport: &Object) -> Res<Obj> {
    transport.method(&names().close, &[])
}

/// The context in which a transport of our own calls its protocol.
pub(super) fn context(transport: &Object) -> Option<Context> {
    transport.cast_exact::<StreamTransport>().and_then(|ours| ours.context())
}

/// True if the connection is encrypted.
#[inline]
pub(super) fn is_encrypted(transport: &Object) -> Res<bool> {
    let names = names();
    Ok(!transport.method(&names.get_extra_info, &[&names.sslcontext])?.is_none())
}

/// Fails as a bare `assert` of asyncio's fails.
#[cold]
pub(super) fn refuse<T>() -> Res<T> {
    Err(Raised::raising(&*builtin::assertion_error().call0()?))
}

/// The given loop, or else the thread's current one.
pub(super) fn event_loop_or_current(given: Option<&Object>) -> Res<Obj> {
    match given {
        Some(event_loop) if !event_loop.is_none() => Ok(event_loop.to_obj()),
        _ => names().get_event_loop.call0(),
    }
}

#[inline]
pub(super) fn is_in_debug_mode(event_loop: &Object) -> Res<bool> {
    match event_loop.cast::<Loop>() {
        Some(native) => Ok(native.debug()),
        None => event_loop.method(&names().get_debug, &[])?.truth(),
    }
}

/// The value to put into a field: None empties the field.
pub(super) fn some(value: &Object) -> Option<Obj> {
    (!value.is_none()).then(|| value.to_obj())
}

/// The value to read from a field: None if the field is empty.
pub(super) fn or_none(value: Option<Obj>) -> Obj {
    value.unwrap_or_else(none)
}
