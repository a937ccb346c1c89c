//! The operations on a socket: receive, receive into a buffer, and send all.

use std::cell::Cell;
use std::io::{self, ErrorKind};

use saburo_core::net;

use crate::coroutine::emptied;
use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Bytes, Holds, Instance, Obj, Object, RECV_INTO, Res, Slot, builtin, bytes, fields, int, lend_mut, none,
    raise,
};

use super::descriptor;
use super::exchange::Operation;

pub(super) struct Receive {
    pub(super) count: Slot,
}

impl Operation for Receive {
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_recv";
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&self, event_loop: &Instance<Loop>, sock: &Object) -> Res<Option<Obj>> {
        let Some(count) = self.count.get() else { return emptied() };
        let Ok(count) = usize::try_from(count.as_i64()?) else {
            return raise(builtin::value_error(), "negative buffersize in recv");
        };
        if count == 0 {
            return bytes(b"").map(Some);
        }
        let fd = descriptor(sock)?;
        let mut buffer = event_loop.take_buffer()?;
        let room = count.min(buffer.len());
        let received = net::recv_now(fd, &mut buffer[..room]);
        let data = received.map(|count| bytes(&buffer[..count]));
        event_loop.put_buffer(buffer);
        match data {
            Ok(data) => data.map(Some),
            Err(error) => not_yet(error),
        }
    }
}

impl Holds for Receive {
    fields! {
        part;
        objects { count }
    }
}

pub(super) struct ReceiveInto {
    pub(super) buffer: Slot,
}

impl Operation for ReceiveInto {
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_recv_into";
    const DIRECTION: Direction = Direction::Read;

    fn attempt(&self, _event_loop: &Instance<Loop>, sock: &Object) -> Res<Option<Obj>> {
        let Some(buffer) = self.buffer.get() else { return emptied() };
        let received = lend_mut(
            &buffer,
            RECV_INTO,
            || descriptor(sock),
            |fd, room| fd.map(|fd| if room.is_empty() { Ok(0) } else { net::recv_now(fd, room) }),
        )?;
        match received? {
            Ok(count) => int(count as i64).map(Some),
            Err(error) => not_yet(error),
        }
    }
}

impl Holds for ReceiveInto {
    fields! {
        part;
        objects { buffer }
    }
}

pub(super) struct SendAll {
    /// Exactly `bytes`.
    pub(super) data: Slot,
    /// How many bytes the kernel has taken.
    pub(super) sent: Cell<usize>,
}

impl Operation for SendAll {
    const QUALNAME: &'static str = "BaseSelectorEventLoop.sock_sendall";
    const DIRECTION: Direction = Direction::Write;

    fn attempt(&self, _event_loop: &Instance<Loop>, sock: &Object) -> Res<Option<Obj>> {
        let Some(data) = self.data.get() else { return emptied() };
        let fd = descriptor(sock)?;
        let data = Bytes::exact(&data).expect("checked when the coroutine was made");
        let data = data.as_ref();
        loop {
            match net::send_now(fd, &data[self.sent.get()..]) {
                Ok(sent) => self.sent.set(self.sent.get() + sent),
                Err(error) => return not_yet(error),
            }
            if self.sent.get() == data.len() {
                return Ok(Some(none()));
            }
        }
    }
}

impl Holds for SendAll {
    fields! {
        part;
        objects { data }
        plain { sent }
    }
}

fn not_yet(error: io::Error) -> Res<Option<Obj>> {
    if error.kind() == ErrorKind::WouldBlock { Ok(None) } else { Err(error.into()) }
}
