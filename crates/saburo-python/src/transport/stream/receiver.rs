//! Receiver: how a protocol receives the bytes of a connection.
//!
//! The methods of every protocol are called by name (see `protocol.rs`). Protocols differ in the way of the
//! bytes from the kernel. Protocols written in Python are `Plain` or `Buffered`. The rooms above have
//! protocols that receive bytes without an object in between; they add their own receivers when the module is
//! imported.

use crate::ffi::{Global, Object, Res};
use crate::names::names;

use super::read::Incoming;

/// A way to receive bytes. It is chosen once, when a transport gets its protocol, and has no state: the
/// protocol is passed to each call.
pub(crate) trait Receiver: Sync {
    /// There is data to read: reads it, and passes it to the protocol.
    fn read(&self, incoming: Incoming<'_>, protocol: &Object) -> Res<()>;

    /// True if the protocol lends a buffer for incoming data.
    fn is_buffered(&self) -> bool {
        false
    }

    /// True if the protocol's writer drains by calling `is_closing()`, and tells us in no other way.
    fn drains_by_is_closing(&self) -> bool {
        false
    }

    /// True if more has arrived than was read from the protocol's reader. Called when its writer drains.
    fn has_unread(&self, _protocol: &Object) -> Res<bool> {
        Ok(false)
    }

    /// Sends data that the protocol has gathered for the transport in this turn.
    fn send_gathered(&self, _protocol: &Object) -> Res<()> {
        Ok(())
    }

    /// In a forked child the connection belongs to the parent: the protocol sends nothing more.
    fn leave_to_parent(&self, _protocol: &Object) -> Res<()> {
        Ok(())
    }
}

/// The receiver of a protocol.
pub(crate) fn of(protocol: &Object) -> Res<&'static dyn Receiver> {
    for find in FINDERS.get().into_iter().flatten() {
        if let Some(receiver) = find(protocol)? {
            return Ok(receiver);
        }
    }
    Ok(if is_buffered(protocol)? { &Buffered } else { PLAIN })
}

/// True for an `asyncio.BufferedProtocol`.
pub(crate) fn is_buffered(protocol: &Object) -> Res<bool> {
    protocol.is_instance(&names().class_buffered_protocol)
}

/// Finds the receiver of a protocol that a room above knows.
pub(crate) type Find = fn(&Object) -> Res<Option<&'static dyn Receiver>>;

/// Sets the functions by which the rooms above find their receivers, in this order. Called at import.
pub(crate) fn add_receivers(finders: [Find; 2]) {
    FINDERS.set(finders);
}

static FINDERS: Global<[Find; 2]> = Global::new();

/// The receiver of a transport before it has a protocol.
pub(crate) const PLAIN: &dyn Receiver = &Plain;

/// `data_received(bytes)`
struct Plain;

impl Receiver for Plain {
    #[inline]
    fn read(&self, incoming: Incoming<'_>, protocol: &Object) -> Res<()> {
        incoming.into_bytes(protocol)
    }
}

/// `get_buffer(sizehint)` and `buffer_updated(count)`
struct Buffered;

impl Receiver for Buffered {
    fn read(&self, incoming: Incoming<'_>, protocol: &Object) -> Res<()> {
        incoming.into_buffer(protocol)
    }

    fn is_buffered(&self) -> bool {
        true
    }
}
