//! The calls that a protocol and a writer make to their reader. A reader of our own class is called directly,
//! unless a program has given it attributes, which may be other methods. Any other reader is called by its
//! methods.

use crate::ffi::{Instance, Obj, Object, Res};
use crate::names::names;

use super::link;
use super::reader::{self, StreamReader};

pub(super) fn set_transport(any: &Object, transport: &Object) -> Res<()> {
    match ours(any) {
        Some(reader) => reader::set_transport(reader, transport),
        None => any.method(&names().set_transport, &[transport]).map(drop),
    }
}

pub(super) fn replace_transport(any: &Object, transport: &Object) -> Res<()> {
    match ours(any) {
        Some(reader) => reader::replace_transport(reader, transport),
        None => any.method(&names().replace_transport, &[transport]).map(drop),
    }
}

/// Feeds bytes from the kernel.
#[inline]
pub(super) fn feed(any: &Object, data: &[u8]) -> Res<()> {
    match ours(any) {
        Some(reader) => reader::feed(reader, data),
        None => feed_by_method(any, &*crate::ffi::bytes(data)?),
    }
}

/// Feeds any object with bytes.
#[inline]
pub(super) fn feed_data(any: &Object, data: &Object) -> Res<()> {
    match ours(any) {
        Some(reader) => reader::feed_data(reader, data),
        None => feed_by_method(any, data),
    }
}

#[cold]
fn feed_by_method(any: &Object, data: &Object) -> Res<()> {
    any.method(&names().feed_data, &[data]).map(drop)
}

pub(super) fn feed_eof(any: &Object) -> Res<()> {
    match ours(any) {
        Some(reader) => reader::feed_eof(reader),
        None => any.method(&names().feed_eof, &[]).map(drop),
    }
}

pub(super) fn set_exception(any: &Object, exception: &Object) -> Res<()> {
    match ours(any) {
        Some(reader) => reader::set_exception(reader, exception),
        None => any.method(&names().set_exception, &[exception]).map(drop),
    }
}

/// The exception that reading raises.
#[inline]
pub(super) fn exception(any: &Object) -> Res<Option<Obj>> {
    match ours(any) {
        Some(reader) => Ok(reader.exception()),
        None => Ok(link::some(&*any.method(&names().exception, &[])?)),
    }
}

/// Where the reader was made, in debug mode.
pub(super) fn source_traceback(any: &Object) -> Res<Option<Obj>> {
    match ours(any) {
        Some(reader) => Ok(reader.source_traceback()),
        None => Ok(link::some(&*any.attr(&names().private_source_traceback)?)),
    }
}

/// True if more has arrived than has been read. False for None.
#[inline]
pub(super) fn has_unread(any: &Object) -> Res<bool> {
    match ours(any) {
        Some(reader) => Ok(!reader.received.is_empty()?),
        None => any.attr_opt(&names().private_buffer)?.map_or(Ok(false), |buffer| buffer.truth()),
    }
}

#[inline]
fn ours(any: &Object) -> Option<&Instance<StreamReader>> {
    any.cast_untouched::<StreamReader>()
}
