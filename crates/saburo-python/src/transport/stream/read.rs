//! Reading: one system call for each event, and the protocol gets what it brought.

use std::io::{self, ErrorKind};

use saburo_core::net;

use crate::event_loop::{BUFFER, Direction, Loop, os_error};
use crate::ffi::{Instance, Obj, Raised, Res, builtin, bytes, bytes_made, int, lend_mut, raise};
use crate::names::names;
use crate::sock::RECV_INTO;
use crate::streams::{self, StreamReaderProtocol};
use crate::tls::{self, TlsProtocol};

use super::super::protocol::Kind;
use super::{StreamTransport, end, failure};

pub(super) fn readable(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    // Paused or closed since the event came.
    if !this.is_reading() {
        return Ok(());
    }
    let Some(target) = this.protocol.get() else { return Ok(()) };
    match this.kind.get() {
        Kind::Plain | Kind::AsyncioStream => plain(event_loop, this, &target),
        Kind::Buffered => buffered(event_loop, this, &target),
        Kind::Tls => encrypted(event_loop, this, &target),
        Kind::Stream => match target.cast_exact::<StreamReaderProtocol>() {
            // The program may have set a data_received of its own.
            Some(stream) if !stream.has_attributes() => streamed(event_loop, this, stream),
            _ => plain(event_loop, this, &target),
        },
    }
}

/// From the kernel's buffer into the reader's.
#[inline]
fn streamed(
    event_loop: &Instance<Loop>,
    this: &Instance<StreamTransport>,
    target: &Instance<StreamReaderProtocol>,
) -> Res<()> {
    let mut buffer = match event_loop.take_buffer() {
        Ok(buffer) => buffer,
        Err(raised) => return no_room(event_loop, this, raised),
    };
    let received = net::recv(this.descriptor(event_loop), &mut buffer);
    let fed = match received {
        Ok(count) if count > 0 => streams::feed(target, &buffer[..count]),
        _ => Ok(()),
    };
    event_loop.put_buffer(buffer);
    match received {
        Ok(0) => return ended(event_loop, this, &target.as_object().to_obj()),
        Ok(_) => {}
        Err(error) => return failed(event_loop, this, &error),
    }
    fed.or_else(|raised| {
        end::fatal(event_loop, this, raised, "Fatal error: protocol.data_received() call failed.")
    })
}

#[inline]
fn plain(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, target: &Obj) -> Res<()> {
    let received = match receive(event_loop, this) {
        Ok(received) => received,
        Err(raised) => return no_room(event_loop, this, raised),
    };
    let data = match received {
        Ok(data) if data.as_bytes().is_none_or(<[u8]>::is_empty) => {
            return ended(event_loop, this, target);
        }
        Ok(data) => data,
        Err(error) => return failed(event_loop, this, &error),
    };
    target.method(&names().data_received, &[&data]).map(drop).or_else(|raised| {
        end::fatal(event_loop, this, raised, "Fatal error: protocol.data_received() call failed.")
    })
}

/// There is no memory for what has come.
#[cold]
fn no_room(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, raised: Raised) -> Res<()> {
    end::fatal(event_loop, this, raised, "Fatal read error on socket transport")
}

/// What has come, as a `bytes`; an empty one at the end.
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

/// The same without the copy, which for much is up to a quarter of all that a receive costs. Twice or half as
/// much room was slower (measured 2026-11-28).
fn receive_in_place(event_loop: &Loop, this: &Instance<StreamTransport>) -> Res<io::Result<Obj>> {
    let fd = this.descriptor(event_loop);
    bytes_made(BUFFER, |room| {
        let received = net::recv_fresh(fd, room);
        this.in_flood.set(received.as_ref().is_ok_and(|&count| count >= FLOOD));
        received
    })
}

/// From so many bytes on a copy costs more than making room for as many as may come and giving back the rest.
const FLOOD: usize = 32 * 1024;

/// TLS takes what it needs out of the loop's buffer, which is nobody else's meanwhile.
fn encrypted(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, target: &Obj) -> Res<()> {
    let protocol = target.cast_exact::<TlsProtocol>().expect("asked for when it was set");
    if !tls::may_read(protocol, event_loop) {
        return Ok(());
    }
    let mut buffer = match event_loop.take_buffer() {
        Ok(buffer) => buffer,
        Err(raised) => return no_room(event_loop, this, raised),
    };
    let received = net::recv(this.descriptor(event_loop), &mut buffer);
    let fed = received.map(|count| match count {
        0 => None,
        count => Some(tls::feed(protocol, &buffer[..count])),
    });
    event_loop.put_buffer(buffer);
    match fed {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(raised))) => {
            end::fatal(event_loop, this, raised, "Fatal error: protocol.buffer_updated() call failed.")
        }
        Ok(None) => ended(event_loop, this, target),
        Err(error) => failed(event_loop, this, &error),
    }
}

fn buffered(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, target: &Obj) -> Res<()> {
    let names = names();
    let buffer = target.method(&names.get_buffer, &[&*int(-1)?]).and_then(|buffer| match buffer.len()? {
        0 => raise(builtin::runtime_error(), "get_buffer() returned an empty buffer"),
        _ => Ok(buffer),
    });
    let buffer = match buffer {
        Ok(buffer) => buffer,
        Err(raised) => {
            return end::fatal(event_loop, this, raised, "Fatal error: protocol.get_buffer() call failed.");
        }
    };
    // It may have been closed in there, and is asked for its bytes now, which may do the same.
    let received = lend_mut(&buffer, RECV_INTO, || this.descriptor(event_loop), net::recv);
    let received = match received {
        Ok(received) => received,
        Err(raised) => {
            return end::fatal(event_loop, this, raised, "Fatal read error on socket transport");
        }
    };
    let count = match received {
        Ok(0) => return ended(event_loop, this, target),
        Ok(count) => int(count as i64)?,
        Err(error) => return failed(event_loop, this, &error),
    };
    target.method(&names.buffer_updated, &[&count]).map(drop).or_else(|raised| {
        end::fatal(event_loop, this, raised, "Fatal error: protocol.buffer_updated() call failed.")
    })
}

/// The peer sends nothing more.
#[cold]
fn ended(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, target: &Obj) -> Res<()> {
    failure::debug(event_loop, this.as_object(), "received EOF")?;
    let answer = target.method(&names().eof_received, &[]);
    match answer.and_then(|keep_open| keep_open.truth()) {
        Ok(true) => {
            // There is nothing more to read, but the protocol may write.
            event_loop.unwatch_transport(this.number.get(), Direction::Read, this.as_object());
            Ok(())
        }
        Ok(false) => end::close(this),
        Err(raised) => {
            end::fatal(event_loop, this, raised, "Fatal error: protocol.eof_received() call failed.")
        }
    }
}

#[cold]
fn failed(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, error: &std::io::Error) -> Res<()> {
    if error.kind() == ErrorKind::WouldBlock {
        return Ok(());
    }
    os_error(error)
        .or_else(|raised| end::fatal(event_loop, this, raised, "Fatal read error on socket transport"))
}
