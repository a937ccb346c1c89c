//! Reading: one system call for each event, and the protocol gets its bytes.

use std::io::{self, ErrorKind};

use saburo_core::net;

use crate::event_loop::{BUFFER, Direction, Loop};
use crate::ffi::{
    Instance, Obj, Object, RECV_INTO, Raised, Res, builtin, bytes, bytes_made, int, lend_mut, raise,
};
use crate::names::names;

use super::super::ending;
use super::{StreamTransport, end, failure};

pub(super) fn readable(event_loop: &Instance<Loop>, transport: &Instance<StreamTransport>) -> Res<()> {
    // Paused or closed since the event came.
    if !transport.is_reading() {
        return Ok(());
    }
    let Some(protocol) = transport.protocol.get() else { return Ok(()) };
    transport.receiver.get().read(Incoming { event_loop, transport }, &protocol)
}

/// Data that has arrived on a connection and is still in the kernel. A receiver reads it in one of three
/// ways.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    event_loop: &'a Instance<Loop>,
    transport: &'a Instance<StreamTransport>,
}

impl Incoming<'_> {
    pub(crate) fn event_loop(&self) -> &Instance<Loop> {
        self.event_loop
    }

    /// Reads into the loop's buffer, which no other code uses meanwhile. `take` gets the bytes, in the place
    /// of the protocol's method `method`.
    #[inline]
    pub(crate) fn into_slice(
        self,
        protocol: &Object,
        method: &str,
        take: impl FnOnce(&[u8]) -> Res<()>,
    ) -> Res<()> {
        let Incoming { event_loop, transport } = self;
        let mut buffer = match event_loop.take_buffer() {
            Ok(buffer) => buffer,
            Err(raised) => return self.no_room(raised),
        };
        let received = net::recv(transport.descriptor(event_loop), &mut buffer);
        let taken = match received {
            Ok(count) if count > 0 => take(&buffer[..count]),
            _ => Ok(()),
        };
        event_loop.put_buffer(buffer);
        match received {
            Ok(0) => self.ended(protocol),
            Ok(_) => taken.or_else(|raised| self.refused(raised, method)),
            Err(error) => self.failed(&error),
        }
    }

    /// Reads into a `bytes`, for `data_received()`.
    #[inline]
    pub(crate) fn into_bytes(self, protocol: &Object) -> Res<()> {
        let received = match receive(self.event_loop, self.transport) {
            Ok(received) => received,
            Err(raised) => return self.no_room(raised),
        };
        let data = match received {
            Ok(data) if data.as_bytes().is_none_or(<[u8]>::is_empty) => return self.ended(protocol),
            Ok(data) => data,
            Err(error) => return self.failed(&error),
        };
        let received = protocol.method(&names().data_received, &[&data]).map(drop);
        received.or_else(|raised| self.refused(raised, "data_received"))
    }

    /// Reads into the buffer that `get_buffer()` returns, for `buffer_updated()`.
    pub(crate) fn into_buffer(self, protocol: &Object) -> Res<()> {
        let Incoming { event_loop, transport } = self;
        let names = names();
        let buffer =
            protocol.method(&names.get_buffer, &[&*int(-1)?]).and_then(|buffer| match buffer.len()? {
                0 => raise(builtin::runtime_error(), "get_buffer() returned an empty buffer"),
                _ => Ok(buffer),
            });
        let buffer = match buffer {
            Ok(buffer) => buffer,
            Err(raised) => return self.refused(raised, "get_buffer"),
        };
        // `get_buffer()` may have closed the connection. The buffer is asked for its memory now, which may do
        // the same.
        let received = lend_mut(&buffer, RECV_INTO, || transport.descriptor(event_loop), net::recv);
        let received = match received {
            Ok(received) => received,
            Err(raised) => return self.no_room(raised),
        };
        let count = match received {
            Ok(0) => return self.ended(protocol),
            Ok(count) => int(count as i64)?,
            Err(error) => return self.failed(&error),
        };
        let updated = protocol.method(&names.buffer_updated, &[&count]).map(drop);
        updated.or_else(|raised| self.refused(raised, "buffer_updated"))
    }

    /// The peer sends no more data.
    #[cold]
    fn ended(self, protocol: &Object) -> Res<()> {
        let Incoming { event_loop, transport } = self;
        failure::debug(event_loop, transport.as_object(), "received EOF")?;
        let answer = protocol.method(&names().eof_received, &[]);
        match answer.and_then(|keep_open| keep_open.truth()) {
            Ok(true) => {
                // There is no more data to read, but the protocol may write.
                transport.watches.end(event_loop, Direction::Read);
                Ok(())
            }
            Ok(false) => end::close(transport),
            Err(raised) => self.refused(raised, "eof_received"),
        }
    }

    /// The protocol's method `method` has raised an exception.
    #[cold]
    fn refused(self, raised: Raised, method: &str) -> Res<()> {
        let message = format!("Fatal error: protocol.{method}() call failed.");
        ending::fatal(self.event_loop, self.transport, raised, &message)
    }

    /// There is no memory for the data, or no buffer.
    #[cold]
    fn no_room(self, raised: Raised) -> Res<()> {
        ending::fatal(self.event_loop, self.transport, raised, "Fatal read error on socket transport")
    }

    #[cold]
    fn failed(self, error: &io::Error) -> Res<()> {
        if error.kind() == ErrorKind::WouldBlock {
            return Ok(());
        }
        self.no_room(Raised::os(error))
    }
}

/// The data that has arrived, as a `bytes`; empty at the end of the stream.
#[inline]
fn receive(event_loop: &Loop, this: &Instance<StreamTransport>) -> Res<io::Result<Obj>> {
    if this.in_flood.get() {
        return receive_in_place(event_loop, this);
    }
    let mut buffer = event_loop.take_buffer()?;
    let received = net::recv(this.descriptor(event_loop), &mut buffer);
    let data = received.map(|count| {
        this.in_flood.set(count >= FLOOD);
        bytes(&buffer[..count])
    });
    event_loop.put_buffer(buffer);
    match data {
        Ok(data) => data.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// The same without the copy, which for large data is up to a quarter of the whole cost of a receive. Twice
/// or half as much room was slower (measured 2026-11-28).
fn receive_in_place(event_loop: &Loop, this: &Instance<StreamTransport>) -> Res<io::Result<Obj>> {
    let fd = this.descriptor(event_loop);
    bytes_made(BUFFER, |room| {
        let received = net::recv_fresh(fd, room);
        this.in_flood.set(received.as_ref().is_ok_and(|&count| count >= FLOOD));
        received
    })
}

/// From this many bytes on, a copy costs more than allocating the largest room and giving back the rest.
const FLOOD: usize = 32 * 1024;
