//! asyncio's own streams, where a transport has to know them: their writer says by nothing but `is_closing()`
//! that it drains.

use crate::ffi::{Object, Res};
use crate::names::names;

use super::reader::StreamReader;

/// Is it a stream's protocol whose writer is asyncio's?
pub(crate) fn is_asyncios(protocol: &Object) -> Res<bool> {
    protocol.is_instance(&names().class_flow_control_mixin)
}

/// Has more arrived than has been read from the reader of this protocol?
pub(crate) fn has_unread(protocol: &Object) -> Res<bool> {
    match protocol.attr_opt(&names().private_stream_reader)? {
        Some(reader) => has_unread_in(&reader),
        None => Ok(false),
    }
}

/// The same of a reader, or of None.
#[inline]
pub(super) fn has_unread_in(reader: &Object) -> Res<bool> {
    match reader.cast_untouched::<StreamReader>() {
        Some(ours) => Ok(!ours.received.is_empty()?),
        None => reader.attr_opt(&names().private_buffer)?.map_or(Ok(false), |buffer| buffer.truth()),
    }
}
