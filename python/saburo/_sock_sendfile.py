"""sock_sendfile: a file into a socket, by the kernel, or else read and sent in pieces.

Semantics: asyncio of Python 3.15, on every version.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat

from . import _os_calls
from ._arguments import refuse_tls_socket
from ._sock import check_non_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import IO, Any

    from ._loop import Loop

# How much the fallback reads at a time, in bytes.
_CHUNK = 256 * 1024
# The most bytes of one os.sendfile(): more overflows on 32-bit systems.
_MOST = 1 << 30


async def sock_sendfile(
    self: Loop,
    sock: socket.socket,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool | None = True,
) -> int:
    """Sends `file` from `offset` on, `count` bytes of it or all; returns how many it sent.

    Uses `os.sendfile`; where that is impossible, it reads and sends, or if `fallback` is false
    raises `asyncio.SendfileNotAvailableError`. The file's position is left behind the last byte
    sent, also after an error or a cancellation.

    Raises ValueError for a file in text mode, a socket that is no stream, a negative offset or
    a count that is not positive; TypeError if these are no integers or `sock` is an
    `ssl.SSLSocket`; the OSError of the transfer.

    >>> import asyncio, saburo, socket, tempfile
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     left, right = socket.socketpair()
    ...     with left, right, tempfile.TemporaryFile() as file:
    ...         left.setblocking(False)
    ...         file.write(b"green tea")
    ...         file.flush()
    ...         sent = await loop.sock_sendfile(left, file, offset=6)
    ...         return sent, right.recv(1024)
    >>> saburo.run(main())
    (3, b'tea')
    """
    check_non_blocking(self, sock)
    refuse_tls_socket(sock)
    _check_parameters(sock, file, offset, count)
    try:
        return await send_by_kernel(self, sock, file, offset, count, self._wait_writable)
    except asyncio.SendfileNotAvailableError:
        if not fallback:
            raise
    return await _send_in_pieces(self, sock, file, offset, count)


async def send_by_kernel(
    loop: Loop,
    sock: socket.socket,
    file: IO[bytes],
    offset: int,
    count: int | None,
    wait_writable: Callable[[socket.socket], Awaitable[None]],
) -> int:
    if _os_calls.sendfile is None:
        raise asyncio.SendfileNotAvailableError("os.sendfile() is not available")
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError):
        # io.UnsupportedOperation, from an object in memory, is an OSError.
        raise asyncio.SendfileNotAvailableError("not a regular file") from None
    if not stat.S_ISREG(status.st_mode):
        raise asyncio.SendfileNotAvailableError("not a regular file")
    # A size of 0 may be wrong: files below /proc have it.
    block = count or status.st_size or _MOST
    sent = 0
    try:
        while count is None or sent < count:
            left = block if count is None else count - sent
            try:
                moved = loop._sendfile(
                    _os_calls.sendfile, sock, file, offset + sent, min(left, _MOST)
                )
            except (BlockingIOError, InterruptedError):
                moved = None
            except OSError as error:
                raise _transfer_error(error, sent) from error
            if moved == 0:
                break
            sent += moved or 0
            # Also after a success: other tasks run between two blocks.
            await wait_writable(sock)
        return sent
    finally:
        _move_to(file, offset + sent)


async def _send_in_pieces(
    loop: Loop, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
) -> int:
    seekable = is_seekable(file)
    if seekable:
        file.seek(offset)
    buffer = bytearray(min(count, _CHUNK) if count else _CHUNK)
    sent = 0
    try:
        while not count or sent < count:
            size = min(count - sent, len(buffer)) if count else len(buffer)
            view = memoryview(buffer)[:size]
            read = await loop.run_in_executor(None, _read_into, file, view)
            if not read:
                break
            await loop.sock_sendall(sock, view[:read])
            sent += read
        return sent
    finally:
        if sent > 0 and seekable:
            file.seek(offset + sent)


def is_seekable(file: Any) -> bool:
    """False for a pipe and for an object without seek(), which are read from where they are."""
    if hasattr(file, "seekable"):
        return bool(file.seekable())
    return hasattr(file, "seek")


def _read_into(file: Any, view: memoryview) -> int | None:
    read: int | None = file.readinto(view)
    return read


def _transfer_error(error: OSError, sent: int) -> OSError | asyncio.SendfileNotAvailableError:
    if sent == 0:
        # Nothing was sent yet: the kernel may be unable to send this kind of file.
        return asyncio.SendfileNotAvailableError("os.sendfile call failed")
    if error.errno == errno.ENOTCONN and type(error) is not ConnectionError:
        # The connection was lost meanwhile; systems differ in the error that they report.
        return ConnectionError("socket is not connected", errno.ENOTCONN)
    return error


def _move_to(file: IO[bytes], position: int) -> None:
    # OSError: a pipe has no position. ValueError: the file is closed.
    with contextlib.suppress(OSError, ValueError):
        os.lseek(file.fileno(), position, os.SEEK_SET)


def _check_parameters(sock: socket.socket, file: Any, offset: Any, count: Any) -> None:
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
    if not isinstance(offset, int):
        raise TypeError(f"offset must be a non-negative integer (got {offset!r})")
    if offset < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r})")
