"""sock_recvfrom … sock_accept: a program's own sockets, awaited.

`sock_recv`, `sock_recv_into` and `sock_sendall` are native; here is what they leave to Python.

The rule: try the operation; if the kernel says "not yet", wait until the descriptor is ready and
try again. Waiting reads nothing, so a cancelled call has lost no byte.

Each raises TypeError for an `ssl.SSLSocket`, in debug mode ValueError for a blocking socket, and
the OSError of the operation. To be awaited on the loop's thread; one reader and one writer per
socket at a time. `sock` must be non-blocking. Semantics: asyncio's.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import socket

from ._arguments import refuse_tls_socket
from ._resolve import socket_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ._loop import Loop

_plain_family = vars(_socket.socket)["family"]
_NOT_YET = (BlockingIOError, InterruptedError)
_CONNECTING = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EAGAIN, errno.EINTR})


async def any_sock_recv(self: Loop, sock: socket.socket, nbytes: int) -> bytes:
    """`sock_recv` of an object that is not exactly a socket, and in debug mode."""
    _check_socket(self, sock)
    while True:
        try:
            return sock.recv(nbytes)
        except _NOT_YET:
            await self._wait_readable(sock)


async def any_sock_recv_into(self: Loop, sock: socket.socket, buf: WriteableBuffer) -> int:
    """`sock_recv_into`, likewise."""
    _check_socket(self, sock)
    while True:
        try:
            return sock.recv_into(buf)
        except _NOT_YET:
            await self._wait_readable(sock)


async def sock_recvfrom(self: Loop, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
    """Receives one datagram, cut to `bufsize` bytes; returns it with the sender's address.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     with socket.socket(type=socket.SOCK_DGRAM) as sock:
    ...         sock.setblocking(False)
    ...         sock.bind(("127.0.0.1", 0))
    ...         await loop.sock_sendto(sock, b"tea", sock.getsockname())
    ...         data, sender = await loop.sock_recvfrom(sock, 1024)
    ...         return data, sender == sock.getsockname()
    >>> saburo.run(main())
    (b'tea', True)
    """
    _check_socket(self, sock)
    while True:
        try:
            return sock.recvfrom(bufsize)
        except _NOT_YET:
            await self._wait_readable(sock)


async def sock_recvfrom_into(
    self: Loop, sock: socket.socket, buf: WriteableBuffer, nbytes: int = 0
) -> tuple[int, Any]:
    """Receives one datagram of up to `nbytes` bytes into `buf` (0: as many as fit).

    Returns its size and the sender's address. Raises ValueError if `nbytes` is larger than
    `buf`.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     with socket.socket(type=socket.SOCK_DGRAM) as sock:
    ...         sock.setblocking(False)
    ...         sock.bind(("127.0.0.1", 0))
    ...         await loop.sock_sendto(sock, b"tea", sock.getsockname())
    ...         size, _ = await loop.sock_recvfrom_into(sock, bytearray(1024))
    ...         return size
    >>> saburo.run(main())
    3
    """
    _check_socket(self, sock)
    if not nbytes:
        nbytes = len(buf)  # type: ignore[arg-type]  # TypeError for what has no length
    while True:
        try:
            return sock.recvfrom_into(buf, nbytes)
        except _NOT_YET:
            await self._wait_readable(sock)


async def any_sock_sendall(self: Loop, sock: socket.socket, data: ReadableBuffer) -> None:
    """`sock_sendall`, likewise, and of what is not `bytes`."""
    _check_socket(self, sock)
    try:
        sent = sock.send(data)
    except _NOT_YET:
        sent = 0
    # As bytes, because the items of the buffer may be larger.
    with memoryview(data) as items, items.cast("B") as view:
        while sent < len(view):
            await self._wait_writable(sock)
            with contextlib.suppress(*_NOT_YET):
                sent += sock.send(view[sent:])


async def sock_sendto(self: Loop, sock: socket.socket, data: ReadableBuffer, address: Any) -> int:
    """Sends one datagram to `address`; returns its size.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     with socket.socket(type=socket.SOCK_DGRAM) as sock:
    ...         sock.setblocking(False)
    ...         sock.bind(("127.0.0.1", 0))
    ...         return await loop.sock_sendto(sock, b"tea", sock.getsockname())
    >>> saburo.run(main())
    3
    """
    _check_socket(self, sock)
    while True:
        try:
            return sock.sendto(data, address)
        except _NOT_YET:
            await self._wait_writable(sock)


async def sock_connect(self: Loop, sock: socket.socket, address: Any) -> None:
    """Connects to `address`, whose host name is looked up if it is not an IP address.

    Raises `socket.gaierror` for an unknown name, and the OSError that ended the attempt.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
    ...         client.setblocking(False)
    ...         await loop.sock_connect(client, server.getsockname())
    ...         return client.getpeername() == server.getsockname()
    >>> saburo.run(main())
    True
    """
    _check_socket(self, sock)
    family = _family(sock)
    if family == socket.AF_INET or family == socket.AF_INET6:
        address = await socket_address(self, sock, family, address)
    try:
        sock.connect(address)
        return
    except _NOT_YET:
        # An interrupted connect() goes on in the background, as a non-blocking one does.
        pass
    while True:
        await self._wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            return
        if code not in _CONNECTING:
            raise OSError(code, f"Connect call failed {address}")


async def sock_accept(self: Loop, sock: socket.socket) -> tuple[socket.socket, Any]:
    """Accepts a connection; returns a non-blocking socket and the other side's address.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     with socket.create_server(("127.0.0.1", 0)) as server:
    ...         server.setblocking(False)
    ...         with socket.create_connection(server.getsockname()) as client:
    ...             accepted, address = await loop.sock_accept(server)
    ...             with accepted:
    ...                 return address == client.getsockname()
    >>> saburo.run(main())
    True
    """
    _check_socket(self, sock)
    while True:
        try:
            accepted, address = sock.accept()
        except _NOT_YET:
            await self._wait_readable(sock)
            continue
        accepted.setblocking(False)
        return accepted, address


def _check_socket(loop: Loop, sock: socket.socket) -> None:
    refuse_tls_socket(sock)
    check_non_blocking(loop, sock)


def check_non_blocking(loop: Loop, sock: socket.socket) -> None:
    # A system call, so in debug mode only.
    if loop.get_debug() and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")


def _family(sock: socket.socket) -> int:
    # The property of socket.socket makes an enum member, which takes a microsecond (2026-11-25).
    if issubclass(type(sock), _socket.socket):  # by its type: `__class__` may say something else
        family: int = _plain_family.__get__(sock)
        return family
    return sock.family
