//! Receiver: how a protocol takes what a connection brings.
//!
//! The methods of every protocol are called by name (see `protocol.rs`). What differs from one to the next is
//! the way of the bytes from the kernel. Protocols written in Python are `Plain` or
//! `Buffered`. The rooms above have protocols that take bytes without an object in between; they add
//! receivers of their own when the module is imported.

use crate::ffi::{Global, Object, Res};
use crate::names::names;

use super::read::Incoming;

/// A way of taking bytes. It is chosen once, when a transport gets its protocol, and holds no state: what it
/// is given is the protocol.
pub(crate) trait Receiver: Sync {
    /// There is something to read: reads it, and hands it to the protocol.
    fn read(&self, incoming: Incoming<'_>, protocol: &Object) -> Res<()>;

    /// Does the protocol lend a buffer for what comes?
    fn is_buffered(&self) -> bool {
        false
    }

    /// Does its writer drain by calling `is_closing()`, and nothing else?
    fn drains_by_is_closing(&self) -> bool {
        false
    }

    /// Has more come than has been read from the protocol's reader? Asked as its writer drains.
    fn has_unread(&self, _protocol: &Object) -> Res<bool> {
        Ok(false)
    }

    /// Sends what the protocol has gathered for the transport in this turn.
    fn send_gathered(&self, _protocol: &Object) -> Res<()> {
        Ok(())
    }

    /// In a forked child, whose parent has the connection: the protocol sends nothing more.
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

/// Is it an `asyncio.BufferedProtocol`?
pub(crate) fn is_buffered(protocol: &Object) -> Res<bool> {
    protocol.is_instance(&names().class_buffered_protocol)
}

/// Finds the receiver of a protocol that the room above knows.
pub(crate) type Find = fn(&Object) -> Res<Option<&'static dyn Receiver>>;

/// To be called when the module is imported: how the rooms above find theirs, in this order.
pub(crate) fn add_receivers(finders: [Find; 2]) {
    FINDERS.set(finders);
}

static FINDERS: Global<[Find; 2]> = Global::new();

/// What a transport has before it has a protocol.
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
