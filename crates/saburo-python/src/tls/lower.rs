//! The transport below: one of ours is called straight, any other, and one that somebody has given
//! attributes, by its Python methods.

use crate::ffi::{Object, Res};
use crate::names::names;
use crate::transport::{self, StreamTransport};

#[inline]
pub(super) fn write(lower: &Object, ciphertext: &Object) -> Res<()> {
    match lower.cast_untouched::<StreamTransport>() {
        Some(stream) => transport::write(stream, ciphertext),
        None => lower.method(&names().write, &[ciphertext]).map(drop),
    }
}
