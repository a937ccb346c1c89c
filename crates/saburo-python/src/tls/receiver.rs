//! How TLS receives bytes from the transport below.

use crate::ffi::{Instance, Object, Res};
use crate::transport::{Incoming, Receiver};

use super::protocol::{self, TlsProtocol};
use super::write;

/// The receiver of a connection with TLS.
pub(crate) fn receiver_of(protocol: &Object) -> Res<Option<&'static dyn Receiver>> {
    Ok(protocol.cast_exact::<TlsProtocol>().map(|_| &Tls as &dyn Receiver))
}

/// TLS copies the bytes it needs out of the loop's buffer.
struct Tls;

impl Receiver for Tls {
    fn read(&self, incoming: Incoming<'_>, protocol: &Object) -> Res<()> {
        let this = tls(protocol);
        if !protocol::may_read(this, incoming.event_loop()) {
            return Ok(());
        }
        incoming.into_slice(protocol, "buffer_updated", |ciphertext| protocol::feed(this, ciphertext))
    }

    fn send_gathered(&self, protocol: &Object) -> Res<()> {
        write::send_above(tls(protocol))
    }

    fn leave_to_parent(&self, protocol: &Object) -> Res<()> {
        protocol::leave_to_parent(tls(protocol))
    }
}

fn tls(protocol: &Object) -> &Instance<TlsProtocol> {
    protocol.cast_exact().expect("looked at when the receiver was chosen")
}
