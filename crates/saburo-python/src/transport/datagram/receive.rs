//! Receiving: one datagram for each event, as in asyncio; more only if no program can notice.
//!
//! If the protocol queues nothing, and nothing else is ready, the next turn would only come back here. So
//! that turn is skipped, and a server with many clients polls once for many datagrams.

use std::io::{self, ErrorKind};

use saburo_core::net;

use crate::event_loop::Loop;
use crate::ffi::{Instance, Obj, Raised, Res, builtin, bytes, int, none};
use crate::names::names;

use super::super::ending;
use super::{DatagramTransport, end};

/// The most datagrams for one event. Timers and other descriptors wait meanwhile.
const AT_ONCE: usize = 16;
/// asyncio's room for a datagram; Python's `socket` is asked for this many bytes.
const ROOM: i64 = 256 * 1024;

/// After an event with only one datagram, this many further events are expected to have only one as well:
/// with a client that waits for each answer, no system call is wasted.
const EVENTS_TO_SKIP: u8 = 3;

pub(super) fn readable(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
    for count in 0..AT_ONCE {
        // Paused or closed since the event came, or by code that the last datagram has run.
        if !this.is_reading() {
            return Ok(());
        }
        if !receive(event_loop, this)? {
            this.single_events_left.set(if count == 1 { EVENTS_TO_SKIP } else { 0 });
            return Ok(());
        }
        // In debug mode each datagram is a separate callback, whose time is measured.
        if !event_loop.is_otherwise_idle() || event_loop.debug() {
            return Ok(());
        }
        let single_events_left = this.single_events_left.get();
        if single_events_left > 0 {
            this.single_events_left.set(single_events_left - 1);
            return Ok(());
        }
    }
    Ok(())
}

/// Receives a datagram and gives it to the protocol. False if there is none, or an error instead.
#[inline]
fn receive(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<bool> {
    if this.family.get().is_none() {
        return receive_by_python(event_loop, this);
    }
    let mut buffer = match event_loop.take_buffer() {
        Ok(buffer) => buffer,
        Err(raised) => {
            return ending::fatal(event_loop, this, raised, "Fatal read error on datagram transport")
                .map(|()| false);
        }
    };
    let received = net::recv_from(this.descriptor(event_loop), &mut buffer);
    let datagram = received.map(|(count, sender)| (bytes(&buffer[..count]), sender));
    event_loop.put_buffer(buffer);
    match datagram {
        Ok((data, sender)) => {
            let sender = match sender {
                Some(sender) => this.sender.describe(sender)?,
                None => none(),
            };
            received_from(this, &data?, &sender)
        }
        Err(error) => failed(this, &error),
    }
}

#[inline]
fn received_from(this: &Instance<DatagramTransport>, data: &Obj, sender: &Obj) -> Res<bool> {
    let Some(target) = this.protocol.get() else { return Ok(false) };
    target.method(&names().datagram_received, &[data, sender])?;
    Ok(true)
}

#[cold]
fn failed(this: &Instance<DatagramTransport>, error: &io::Error) -> Res<bool> {
    if error.kind() == ErrorKind::WouldBlock {
        return Ok(false);
    }
    let raised = Raised::os(error);
    end::tell_error(this, raised).map(|()| false)
}

/// For families, and classes of sockets, that only Python's `socket` can handle.
#[cold]
fn receive_by_python(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<bool> {
    let names = names();
    let Some(socket) = this.endpoint.python_socket(this)? else { return Ok(false) };
    let received = socket.method(&names.recvfrom, &[&*int(ROOM)?]).and_then(|pair| pair.to_list());
    match received {
        Ok(pair) => match (pair.list_item(0), pair.list_item(1)) {
            (Some(data), Some(sender)) => received_from(this, &data, &sender),
            _ => Ok(false),
        },
        Err(raised)
            if raised.matches(builtin::blocking_io_error())
                || raised.matches(builtin::interrupted_error()) =>
        {
            raised.swallow();
            Ok(false)
        }
        Err(raised) if raised.matches(builtin::os_error()) => end::tell_error(this, raised).map(|()| false),
        Err(raised) if raised.ends_the_run() => Err(raised),
        Err(raised) => {
            ending::fatal(event_loop, this, raised, "Fatal read error on datagram transport").map(|()| false)
        }
    }
}
