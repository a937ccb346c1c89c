//! How the protocols of streams receive bytes from a transport: our class, and asyncio's own.

use crate::ffi::{Object, Res};
use crate::names::names;
use crate::transport::{Incoming, Receiver, is_buffered};

use super::any_reader;
use super::protocol::{self, StreamReaderProtocol};

/// The receiver of a stream's protocol.
pub(crate) fn receiver_of(protocol: &Object) -> Res<Option<&'static dyn Receiver>> {
    if protocol.cast_exact::<StreamReaderProtocol>().is_some() {
        return Ok(Some(&Stream));
    }
    let is_asyncios = protocol.is_instance(&names().class_flow_control_mixin)? && !is_buffered(protocol)?;
    Ok(is_asyncios.then_some(&AsyncioStream))
}

/// The receiver of exactly our class: from the kernel into the reader, without a `bytes` in between.
struct Stream;

impl Receiver for Stream {
    fn read(&self, incoming: Incoming<'_>, protocol: &Object) -> Res<()> {
        match protocol.cast_untouched::<StreamReaderProtocol>() {
            Some(stream) => {
                incoming.into_slice(protocol, "data_received", |data| protocol::feed(stream, data))
            }
            // The program has given the protocol attributes, which may be its own data_received.
            None => incoming.into_bytes(protocol),
        }
    }
}

/// The receiver of asyncio's own class. Its writer drains by calling `is_closing()`, and nothing else tells
/// us.
struct AsyncioStream;

impl Receiver for AsyncioStream {
    fn read(&self, incoming: Incoming<'_>, protocol: &Object) -> Res<()> {
        incoming.into_bytes(protocol)
    }

    fn drains_by_is_closing(&self) -> bool {
        true
    }

    fn has_unread(&self, protocol: &Object) -> Res<bool> {
        match protocol.attr_opt(&names().private_stream_reader)? {
            Some(reader) => any_reader::has_unread(&reader),
            None => Ok(false),
        }
    }
}
