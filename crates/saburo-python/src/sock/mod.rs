//! `sock_recv`, `sock_recv_into` and `sock_sendall`: a program's own sockets, awaited.
//!
//! The rule: try the operation; if the kernel says "not yet", wait until the descriptor is ready and try
//! again. The wait itself reads nothing, so a cancelled call has lost no byte and leaves no registration.
//! This file handles plain sockets and `bytes`; `_sock.py` handles everything else in Python.

mod exchange;
mod operations;

use std::cell::Cell;
use std::os::fd::RawFd;

use crate::event_loop::Loop;
use crate::ffi::{
    Args, Builder, Bytes, Instance, Obj, Object, Params, Res, Slot, builtin, int, socket_number,
};
use crate::names::names;

use operations::{Receive, ReceiveInto, SendAll};

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
    exchange::start(this, sock, Receive { count: Slot::new(Some(count.to_obj())) })
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
    exchange::start(this, sock, ReceiveInto { buffer: Slot::new(Some(buffer.to_obj())) })
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
    // Data that can change while it is sent must be held, as a memoryview holds it.
    if !is_plain(this, sock) || Bytes::exact(data).is_none() {
        return this.as_object().method(&names().any_sock_sendall, &[sock, data]);
    }
    let data = Slot::new(Some(data.to_obj()));
    exchange::start(this, sock, SendAll { data, sent: Cell::new(0) })
}

/// True for exactly a `socket.socket`, outside of debug mode, which checks the socket. A derived class may
/// have its own methods, and TLS may have bytes that its descriptor does not report.
fn is_plain(this: &Loop, sock: &Object) -> bool {
    !this.debug() && sock.is_exactly(&names().class_socket)
}

/// The socket's current descriptor. Ask for it right before each use; -1 if the socket has been closed.
#[inline]
fn descriptor(sock: &Object) -> Res<RawFd> {
    match socket_number(sock) {
        Some(fd) => Ok(fd),
        None => Ok(sock.method(&names().fileno, &[])?.as_i64()? as RawFd),
    }
}

/// `_sendfile(call, sock, file, offset, count)`: `call(out, in, offset, count)`, which is `os.sendfile`. Both
/// descriptors are asked for right before the call, the socket's last. A missing descriptor is -1, which the
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
    // Exactly ints: an int of a derived class would run Python code in the call.
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
