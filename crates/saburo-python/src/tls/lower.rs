//! The transport below: one of ours is called straight, any other, and one that somebody has given
//! attributes, by its Python methods.

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

/// May what is drained wait for the end of the turn? It is for the transport at the bottom to say.
pub(super) fn may_wait(lower: &Object, has_unread: impl FnOnce() -> Res<bool>) -> Res<bool> {
    match bottom(lower)? {
        Some(bottom) => stream(&bottom).map_or(Ok(false), |stream| stream::may_wait(stream, has_unread)),
        None => Ok(false),
    }
}

/// A drain sends.
pub(super) fn send_drained(lower: &Object) -> Res<()> {
    if let Some(encrypted) = lower.cast_exact::<TlsTransport>() {
        return tls::send_drained(&*encrypted.protocol()?);
    }
    stream(lower).map_or(Ok(()), stream::send_drained)
}

/// Sends what has gathered below.
pub(super) fn send_gathered(lower: &Object) -> Res<()> {
    if let Some(encrypted) = lower.cast_exact::<TlsTransport>() {
        return tls::send_gathered(&*encrypted.protocol()?);
    }
    let Some(stream) = stream(lower) else { return Ok(()) };
    stream.open_loop().map_or(Ok(()), |event_loop| stream::send_gathered(&event_loop, stream))
}

/// Does every write send at once there?
pub(super) fn sends_at_once(lower: &Object) -> Res<bool> {
    Ok(bottom(lower)?
        .is_some_and(|bottom| stream(&bottom).is_some_and(|stream| stream::sends_at_once(stream))))
}

fn stream(lower: &Object) -> Option<&Instance<StreamTransport>> {
    lower.cast_exact::<StreamTransport>()
}

/// Under TLS in TLS.
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
