//! `sock_recv`, `sock_recv_into` and `sock_sendall`: a program's own sockets, awaited.
//!
//! The rule: try the operation; if the kernel says "not yet", wait until the descriptor is ready and try
//! again. The wait itself reads nothing, so a call that is cancelled has lost no byte and leaves no
//! registration. Here for plain sockets and `bytes`; everything else is Python's, in `_sock.py`.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;

use saburo_core::net;

use crate::coroutine::{self, Body, Next, Resumed, emptied};
use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Args, Builder, Bytes, Holds, Instance, Obj, Object, Own, Params, RECV_INTO, Res, Slot, builtin, bytes,
    fields, int, lend_mut, none, raise, socket_number,
};
use crate::future::{self, Future};
use crate::names::names;

/// The body of a coroutine that receives or sends.
struct Exchange {
    kind: Kind,
    event_loop: Slot<Own<Loop>>,
    sock: Slot,
    /// How many bytes, which buffer, or what to send.
    argument: Slot,
    /// How much has been sent.
    sent: Cell<usize>,
    /// The future that it waits for.
    waiter: Slot<Own<Future>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Receive,
    ReceiveInto,
    SendAll,
}

/// `sock_recv(sock, nbytes)`
pub(crate) fn recv(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<2> = Params {
        function: "BaseSelectorEventLoop.sock_recv",
        names: ["sock", "nbytes"],
        required: 2,
        positional: 2,
    };
    let [Some(sock), Some(count)] = args.bind(&PARAMS)? else { unreachable!("both are required") };
    if !is_plain(this, sock) {
        return this.as_object().method(&names().any_sock_recv, &[sock, count]);
    }
    start(this, Kind::Receive, sock, count)
}

/// `sock_recv_into(sock, buf)`
pub(crate) fn recv_into(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<2> = Params {
        function: "BaseSelectorEventLoop.sock_recv_into",
        names: ["sock", "buf"],
        required: 2,
        positional: 2,
    };
    let [Some(sock), Some(buffer)] = args.bind(&PARAMS)? else { unreachable!("both are required") };
    if !is_plain(this, sock) {
        return this.as_object().method(&names().any_sock_recv_into, &[sock, buffer]);
    }
    start(this, Kind::ReceiveInto, sock, buffer)
}

/// `sock_sendall(sock, data)`
pub(crate) fn sendall(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<2> = Params {
        function: "BaseSelectorEventLoop.sock_sendall",
        names: ["sock", "data"],
        required: 2,
        positional: 2,
    };
    let [Some(sock), Some(data)] = args.bind(&PARAMS)? else { unreachable!("both are required") };
    // What can change while it is being sent has to be held on to, as a memoryview does.
    if !is_plain(this, sock) || Bytes::exact(data).is_none() {
        return this.as_object().method(&names().any_sock_sendall, &[sock, data]);
    }
    start(this, Kind::SendAll, sock, data)
}

/// Is it exactly a `socket.socket`, and nobody wants it looked at? A class derived from it may have methods
/// of its own, and TLS has bytes that its descriptor does not tell of.
fn is_plain(this: &Loop, sock: &Object) -> bool {
    !this.debug() && sock.is_exactly(&names().class_socket)
}

fn start(this: &Instance<Loop>, kind: Kind, sock: &Object, argument: &Object) -> Res<Obj> {
    let body = Exchange {
        kind,
        event_loop: Slot::new(Some(this.to_own())),
        sock: Slot::new(Some(sock.to_obj())),
        argument: Slot::new(Some(argument.to_obj())),
        sent: Cell::new(0),
        waiter: Slot::empty(),
    };
    coroutine::start(body, this.debug())
}

impl Body for Exchange {
    fn qualname(&self) -> &'static str {
        match self.kind {
            Kind::Receive => "BaseSelectorEventLoop.sock_recv",
            Kind::ReceiveInto => "BaseSelectorEventLoop.sock_recv_into",
            Kind::SendAll => "BaseSelectorEventLoop.sock_sendall",
        }
    }

    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let (Some(event_loop), Some(sock), Some(argument)) =
            (self.event_loop.get(), self.sock.get(), self.argument.get())
        else {
            return emptied();
        };
        if let Resumed::Awaited(outcome) = resumed {
            let waiter = self.waiter.take();
            if let Some(waiter) = waiter.filter(|waiter| !waiter.is_done()) {
                // Thrown out of the wait: nobody watches the descriptor for it any more.
                crate::ffi::aside(|| future::cancel(&waiter, None))?;
            }
            outcome?;
        }
        let (done, direction) = match self.kind {
            Kind::Receive => (receive(&event_loop, &sock, &argument)?, Direction::Read),
            Kind::ReceiveInto => (receive_into(&sock, &argument)?, Direction::Read),
            Kind::SendAll => (send(self, &sock, &argument)?, Direction::Write),
        };
        if let Some(answer) = done {
            return Ok(Next::Return(answer));
        }
        let waiter = future::wait_for(&event_loop, direction, &sock)?;
        self.waiter.set(Some(waiter.clone()));
        Ok(Next::Await(waiter.into_obj()))
    }
}

impl Holds for Exchange {
    fields! {
        part;
        objects { event_loop, sock, argument, waiter }
        plain { kind, sent }
    }
}

/// The descriptor that a socket has now, to be asked for right before each use; -1 if it has been closed.
#[inline]
fn descriptor(sock: &Object) -> Res<RawFd> {
    match socket_number(sock) {
        Some(fd) => Ok(fd),
        None => Ok(sock.method(&names().fileno, &[])?.as_i64()? as RawFd),
    }
}

/// What has arrived; None if nothing has yet.
fn receive(event_loop: &Instance<Loop>, sock: &Object, count: &Object) -> Res<Option<Obj>> {
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

fn receive_into(sock: &Object, buffer: &Object) -> Res<Option<Obj>> {
    let received = lend_mut(
        buffer,
        RECV_INTO,
        || descriptor(sock),
        |fd, room| fd.map(|fd| if room.is_empty() { Ok(0) } else { net::recv_now(fd, room) }),
    )?;
    match received? {
        Ok(count) => int(count as i64).map(Some),
        Err(error) => not_yet(error),
    }
}

/// Sends what the kernel takes; None if something is left.
fn send(this: &Exchange, sock: &Object, data: &Object) -> Res<Option<Obj>> {
    let fd = descriptor(sock)?;
    let data = Bytes::exact(data).expect("checked when the coroutine was made");
    let data = data.as_ref();
    loop {
        match net::send_now(fd, &data[this.sent.get()..]) {
            Ok(sent) => this.sent.set(this.sent.get() + sent),
            Err(error) => return not_yet(error),
        }
        if this.sent.get() == data.len() {
            return Ok(Some(none()));
        }
    }
}

/// `_sendfile(call, sock, file, offset, count)`: `call(out, in, offset, count)`, which is `os.sendfile`. Both
/// numbers are asked for right before, that of the socket last; one that cannot be had is -1, which the
/// kernel refuses.
pub(crate) fn sendfile(_this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<5> = Params {
        function: "_sendfile",
        names: ["call", "sock", "file", "offset", "count"],
        required: 5,
        positional: 5,
    };
    let [Some(call), Some(sock), Some(file), Some(offset), Some(count)] = args.bind(&PARAMS)? else {
        unreachable!("all are required")
    };
    // Exactly ints: one of a class of somebody's own would run Python in the call.
    let (offset, count) = (int(offset.as_i64()?)?, int(count.as_i64()?)?);
    let source = match file.method(&names().fileno, &[]).and_then(|number| number.as_i64()) {
        Err(raised) if raised.matches(builtin::value_error()) => {
            // The file has been closed.
            raised.swallow();
            -1
        }
        number => number?,
    };
    let source = int(source)?;
    let target = int(i64::from(descriptor(sock)?))?;
    call.call(&[&target, &source, &offset, &count])
}

fn not_yet(error: io::Error) -> Res<Option<Obj>> {
    if error.kind() == ErrorKind::WouldBlock { Ok(None) } else { Err(error.into()) }
}

pub(crate) fn describe_loop(builder: Builder<Loop>) -> Builder<Loop> {
    builder
        .many(
            c"_sendfile",
            sendfile,
            c"_sendfile(call, sock, file, offset, count): one os.sendfile() with the numbers that both have now.",
        )
        .many(
            c"sock_recv",
            recv,
            c"sock_recv(sock, nbytes): a coroutine that receives up to `nbytes` bytes.

`b\"\"` means that the other side has finished. Raises TypeError for an `ssl.SSLSocket`, in debug mode
ValueError for a blocking socket, and the OSError of the operation. To be awaited on the loop's thread;
one reader per socket at a time. A call that is cancelled has lost no byte.

>>> import asyncio, saburo, socket
>>> async def main():
...     loop = asyncio.get_running_loop()
...     left, right = socket.socketpair()
...     with left, right:
...         left.setblocking(False)
...         right.setblocking(False)
...         await loop.sock_sendall(left, b\"tea\")
...         return await loop.sock_recv(right, 1024)
>>> saburo.run(main())
b'tea'
",
        )
        .many(
            c"sock_recv_into",
            recv_into,
            c"sock_recv_into(sock, buf): a coroutine that receives into `buf` and returns how many bytes.

0 means that the other side has finished. Errors and rules are those of `sock_recv`.

>>> import asyncio, saburo, socket
>>> async def main():
...     loop = asyncio.get_running_loop()
...     left, right = socket.socketpair()
...     with left, right:
...         left.send(b\"tea\")
...         right.setblocking(False)
...         return await loop.sock_recv_into(right, bytearray(1024))
>>> saburo.run(main())
3
",
        )
        .many(
            c"sock_sendall",
            sendall,
            c"sock_sendall(sock, data): a coroutine that sends all of `data`.

Errors and rules are those of `sock_recv`; one writer per socket at a time. After an error or a
cancellation nobody can say how much has arrived.

>>> import asyncio, saburo, socket
>>> async def main():
...     loop = asyncio.get_running_loop()
...     left, right = socket.socketpair()
...     with left, right:
...         left.setblocking(False)
...         await loop.sock_sendall(left, b\"tea\")
...         return right.recv(1024)
>>> saburo.run(main())
b'tea'
",
        )
}
