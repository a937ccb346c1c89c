//! Sending: at once if the kernel has room, and in order after datagrams that wait.

use std::io::{self, ErrorKind};
use std::os::fd::RawFd;

use saburo_core::{Address, net};

use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Args, Bytes, Instance, Obj, Object, Owns, Params, Raised, Res, Visit, builtin, bytes, is_audited, lend,
    lend_ready, none, raise,
};
use crate::names::names;

use super::super::ending;
use super::super::endpoint::Peer;
use super::super::life::ConnectionState;
use super::super::watcher;
use super::super::{address, retry_later};
use super::{DatagramTransport, HEADER, end};

/// A datagram that waits.
pub(super) struct Datagram {
    data: Bytes,
    to: To,
}

/// The destination of a datagram.
enum To {
    /// The destination that the kernel knows for all datagrams.
    Peer,
    Address(Address),
    /// An address that only Python's `socket` understands.
    Python(Obj),
}

/// Seconds until a receiver without room is tried again, the first time.
const RETRY_DELAY: f64 = 0.001;
/// How often this delay is doubled.
const MOST_DOUBLINGS: u8 = 6;

/// The result of trying to send a datagram.
enum Outcome {
    Sent,
    /// The kernel has no room.
    Full,
    /// The datagram will not be sent: an OSError, which the protocol is told, or an error of the program.
    Failed(Raised),
}

impl Datagram {
    fn counts(&self) -> usize {
        self.data.as_ref().len() + HEADER
    }
}

impl Owns for Datagram {
    fn show(&self, visit: &mut Visit<'_>) {
        if let To::Python(address) = &self.to {
            visit.object(address);
        }
    }
}

/// `sendto(data, addr=None)`
pub(super) fn sendto(this: &Instance<DatagramTransport>, args: Args<'_>) -> Res<()> {
    const PARAMS: Params<2> =
        Params { function: "sendto", names: ["data", "addr"], required: 1, positional: 2 };
    let [Some(data), addr] = args.bind(&PARAMS)? else { unreachable!("one is required") };
    let exact = Bytes::exact(data);
    if exact.is_none() && !data.is_bytes_like() {
        let class = data.type_of().attr(&names().dunder_name)?.repr()?;
        return raise(
            builtin::type_error(),
            &format!("data argument must be a bytes-like object, not {class}"),
        );
    }
    let fixed = this.address.get();
    let addr = match &fixed {
        Some(fixed) => {
            if let Some(addr) = addr
                && !addr.is_none()
                && !addr.is(fixed)
                && !addr.equals(fixed)?
            {
                let message = format!("Invalid address: must be None or {}", fixed.display()?);
                return raise(builtin::value_error(), &message);
            }
            Some(&**fixed)
        }
        None => addr.filter(|addr| !addr.is_none()),
    };
    let is_ending = this.phase.get() >= ConnectionState::Ending;
    let Some(event_loop) = this.open_loop().filter(|_| !is_ending || fixed.is_none()) else {
        return this.count_lost_write(1, "socket.send() raised exception.");
    };
    let to = destination(this, addr);
    if this.queue.borrow().is_empty() {
        let outcome = match &exact {
            Some(bytes) => attempt(&event_loop, this, bytes.as_ref(), data, &to),
            None => match lend_ready(
                data,
                || this.descriptor(&event_loop),
                |fd, bytes| attempt_native(this, fd, bytes, &to),
            ) {
                Ok(Some(done)) => outcome(done),
                Ok(None) => attempt_by_python(this, data, &to),
                Err(raised) => Outcome::Failed(raised),
            },
        };
        match outcome {
            Outcome::Sent => return Ok(()),
            Outcome::Failed(raised) if raised.matches(builtin::os_error()) => {
                return end::tell_error(this, raised);
            }
            Outcome::Failed(raised) => {
                return ending::fatal(&event_loop, this, raised, "Fatal write error on datagram transport");
            }
            // The transport is about to be closed, so a queued datagram would never be sent.
            Outcome::Full if this.phase.get() >= ConnectionState::Ending => return Ok(()),
            Outcome::Full if !this.outgoing.is_blocked() => {
                this.wait_for_room(&event_loop, this, || this.descriptor(&event_loop))?;
                this.outgoing.block();
            }
            Outcome::Full => {}
        }
    }
    let data = match exact {
        Some(bytes) => bytes,
        // Data that waits must not change.
        None => copied(data)?,
    };
    let datagram = Datagram { data, to };
    this.queue.borrow_mut().try_reserve(1)?;
    this.queued.set(this.queued.get() + datagram.counts());
    this.queue.borrow_mut().push_back(datagram);
    pause_if_full(&event_loop, this)
}

/// `bytes(data)`, as exactly `bytes`, whatever a derived class returns.
fn copied(data: &Object) -> Res<Bytes> {
    let copy = match lend(data, bytes) {
        Ok(copy) => copy?,
        // A memoryview whose bytes are not contiguous.
        Err(raised) => {
            raised.swallow();
            names().bytes_class.call(&[data])?
        }
    };
    match Bytes::exact(&copy) {
        Some(copy) => Ok(copy),
        None => raise(builtin::type_error(), "a bytes-like object is required"),
    }
}

#[inline]
fn destination(this: &DatagramTransport, addr: Option<&Object>) -> To {
    match this.peer.get() {
        Peer::Named => return To::Peer,
        // A peer without a name gets datagrams without an address; asyncio knows no peer then.
        Peer::Unnamed if addr.is_none() => return To::Peer,
        _ => {}
    }
    let native =
        this.family.get().zip(addr).filter(|_| !is_audited()).and_then(|(family, addr)| {
            this.sender.meant_by(addr).or_else(|| address::from_python(family, addr))
        });
    match native {
        Some(address) => To::Address(address),
        None => To::Python(addr.map_or_else(none, Object::to_obj)),
    }
}

#[inline]
fn attempt(
    event_loop: &Loop,
    this: &Instance<DatagramTransport>,
    bytes: &[u8],
    data: &Object,
    to: &To,
) -> Outcome {
    match attempt_native(this, this.descriptor(event_loop), bytes, to) {
        Some(done) => outcome(done),
        None => attempt_by_python(this, data, to),
    }
}

/// None if Python must send. Runs no Python code.
#[inline]
fn attempt_native(this: &DatagramTransport, fd: RawFd, bytes: &[u8], to: &To) -> Option<io::Result<()>> {
    this.family.get()?;
    match to {
        To::Peer => Some(net::send(fd, bytes).map(drop)),
        To::Address(address) => Some(net::send_to(fd, bytes, address)),
        To::Python(_) => None,
    }
}

#[inline]
fn outcome(done: io::Result<()>) -> Outcome {
    match done {
        Ok(()) => Outcome::Sent,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Outcome::Full,
        Err(error) => Outcome::Failed(Raised::os(&error)),
    }
}

#[cold]
fn attempt_by_python(this: &DatagramTransport, data: &Object, to: &To) -> Outcome {
    let names = names();
    let sent = match (this.endpoint.python_socket(this), to) {
        (Ok(Some(socket)), To::Python(address)) => socket.method(&names.sendto, &[data, address]),
        (Ok(Some(socket)), _) => socket.method(&names.send, &[data]),
        (Ok(None), _) => return Outcome::Sent,
        (Err(raised), _) => Err(raised),
    };
    match sent {
        Ok(_) => Outcome::Sent,
        Err(raised)
            if raised.matches(builtin::blocking_io_error())
                || raised.matches(builtin::interrupted_error()) =>
        {
            raised.swallow();
            Outcome::Full
        }
        Err(raised) => Outcome::Failed(raised),
    }
}

/// The kernel has room again.
pub(super) fn writable(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
    let before = this.queued.get();
    while this.outgoing.is_blocked() && this.phase.get() < ConnectionState::Ending {
        let next = this.queue.borrow_mut().pop_front();
        let Some(datagram) = next else {
            return drained(event_loop, this);
        };
        this.queued.set(this.queued.get() - datagram.counts());
        match attempt(event_loop, this, datagram.data.as_ref(), datagram.data.as_object(), &datagram.to) {
            Outcome::Sent => {}
            // A socket of a derived class may have ended the transport.
            Outcome::Full if this.phase.get() >= ConnectionState::Ending => return Ok(()),
            Outcome::Full => {
                this.queued.set(this.queued.get() + datagram.counts());
                this.queue.borrow_mut().push_front(datagram);
                if this.queued.get() == before {
                    return wait_longer(event_loop, this);
                }
                this.false_room_events.set(0);
                return resume_if_drained(event_loop, this);
            }
            // The remaining datagrams wait for another event.
            Outcome::Failed(raised) if raised.matches(builtin::os_error()) => {
                return end::tell_error(this, raised);
            }
            Outcome::Failed(raised) => {
                return ending::fatal(event_loop, this, raised, "Fatal write error on datagram transport");
            }
        }
    }
    Ok(())
}

/// The kernel reports room when there is none: it means its own room, and does not check whether the receiver
/// of a Unix socket without a fixed peer is full. It would report the same again and again, so the next try
/// waits: a millisecond, and each time twice as long, up to 64.
#[cold]
fn wait_longer(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
    let false_room_events = this.false_room_events.get();
    this.false_room_events.set((false_room_events + 1).min(MOST_DOUBLINGS));
    let delay = RETRY_DELAY * f64::from(1_u32 << false_room_events);
    this.watches.end(event_loop, Direction::Write);
    retry_later(event_loop, this.as_object(), delay)
}

/// Tries again after the delay, unless the transport has ended meanwhile.
pub(super) fn retry(this: &Instance<DatagramTransport>) -> Res<()> {
    match this.open_loop() {
        Some(event_loop) if this.outgoing.is_blocked() && this.phase.get() < ConnectionState::Ending => {
            let fd = this.descriptor(&event_loop);
            watcher::watch(&event_loop, fd, Direction::Write, this)
        }
        _ => Ok(()),
    }
}

/// Nothing is left to send.
fn drained(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
    resume_if_drained(event_loop, this)?;
    // The protocol may have sent more, or have closed the transport.
    if !this.queue.borrow().is_empty() || this.phase.get() >= ConnectionState::Ending {
        return Ok(());
    }
    stop_writing(event_loop, this);
    if this.phase.get() == ConnectionState::Closing {
        this.phase.set(ConnectionState::Ending);
        return ending::lost(event_loop, this);
    }
    Ok(())
}

pub(super) fn pause_if_full(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
    this.flow.pause_if_full(event_loop, this.as_object(), &this.protocol, this.queued.get())
}

fn resume_if_drained(event_loop: &Instance<Loop>, this: &Instance<DatagramTransport>) -> Res<()> {
    this.flow.resume_if_drained(event_loop, this.as_object(), &this.protocol, this.queued.get())
}

pub(super) fn stop_writing(event_loop: &Loop, this: &Instance<DatagramTransport>) {
    this.false_room_events.set(0);
    if this.outgoing.unblock() {
        this.watches.end(event_loop, Direction::Write);
    }
}
