//! The transport below. One of our own is called directly. Any other transport, and one that a program has
//! given attributes, is called by its Python methods.

use crate::ffi::{Instance, Obj, Object, Res};
use crate::names::names;
use crate::transport::{self, StreamTransport, stream};

use super::transport::TlsTransport;
use super::write as tls;

#[inline]
pub(super) fn write(lower: &Object, ciphertext: &Object) -> Res<()> {
    match lower.cast_untouched::<StreamTransport>() {
        Some(stream) => transport::write(stream, ciphertext),
        None => lower.method(&names().write, &[ciphertext]).map(drop),
    }
}

/// True if drained bytes may wait for the end of the turn. The transport at the bottom decides.
pub(super) fn may_wait(lower: &Object, has_unread: impl FnOnce() -> Res<bool>) -> Res<bool> {
    match bottom(lower)? {
        Some(bottom) => stream(&bottom).map_or(Ok(false), |stream| stream::may_wait(stream, has_unread)),
        None => Ok(false),
    }
}

/// Sends for a `drain()`.
pub(super) fn send_drained(lower: &Object) -> Res<()> {
    if let Some(encrypted) = lower.cast_exact::<TlsTransport>() {
        return tls::send_drained(&*encrypted.protocol()?);
    }
    stream(lower).map_or(Ok(()), stream::send_drained)
}

/// Sends the bytes that have gathered below.
pub(super) fn send_gathered(lower: &Object) -> Res<()> {
    if let Some(encrypted) = lower.cast_exact::<TlsTransport>() {
        return tls::send_gathered(&*encrypted.protocol()?);
    }
    let Some(stream) = stream(lower) else { return Ok(()) };
    stream.open_loop().map_or(Ok(()), |event_loop| stream::send_gathered(&event_loop, stream))
}

/// True if every write is sent at once by the transport at the bottom.
pub(super) fn sends_at_once(lower: &Object) -> Res<bool> {
    Ok(bottom(lower)?
        .is_some_and(|bottom| stream(&bottom).is_some_and(|stream| stream::sends_at_once(stream))))
}

fn stream(lower: &Object) -> Option<&Instance<StreamTransport>> {
    lower.cast_exact::<StreamTransport>()
}

/// The transport at the bottom of nested TLS connections.
fn bottom(lower: &Object) -> Res<Option<Obj>> {
    let mut lower = lower.to_obj();
    while let Some(encrypted) = lower.cast_exact::<TlsTransport>() {
        let below = encrypted.protocol()?.lower.get();
        match below {
            Some(below) => lower = below,
            None => return Ok(None),
        }
    }
    Ok(Some(lower))
}
