"""sendfile: a file through a transport, by the kernel, or else read and written in pieces.

The rule: what was written before is sent first; until the file is sent, the transport does not read
and its protocol is called only when the connection is lost. Afterwards everything is as it was, and
the protocol has been told if writing is paused now and was not, or the other way round.

Semantics: asyncio of Python 3.15, on every version.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import constants

from ._sock import check_non_blocking
from ._sock_sendfile import _check_parameters, _read_into, is_seekable, send_by_kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable
    from typing import IO, Any

    from ._loop import Loop

_Mode: Any = vars(constants)["_SendfileMode"]
# How much the fallback reads at a time, in bytes: it all goes through the transport's buffer.
_CHUNK = 16 * 1024


async def sendfile(
    self: Loop,
    transport: asyncio.WriteTransport,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool = True,
) -> int:
    """Sends `file` from `offset` on, `count` bytes of it or all; returns how many it sent.

    Uses `os.sendfile`; where that is impossible, as with TLS, it reads and writes, or if
    `fallback` is false raises RuntimeError or `asyncio.SendfileNotAvailableError`. The file's
    position is left behind the last byte sent, also after an error or a cancellation. Until
    this is done nothing else may be written.

    Raises RuntimeError if the transport is closing or of another kind, ValueError or TypeError
    for a file in text mode or bad numbers, ConnectionError if the connection is lost.

    >>> import asyncio, saburo, socket, tempfile
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     here, there = socket.socketpair()
    ...     with there, tempfile.TemporaryFile() as file:
    ...         file.write(b"green tea")
    ...         file.flush()
    ...         transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
    ...         sent = await loop.sendfile(transport, file, offset=6)
    ...         transport.close()
    ...         return sent, there.recv(1024)
    >>> saburo.run(main())
    (3, b'tea')
    """
    mode = getattr(transport, "_sendfile_compatible", _Mode.UNSUPPORTED)
    if mode is not _Mode.UNSUPPORTED:
        # This sends what was written, which fails if the peer is gone.
        transport.get_write_buffer_size()
    if transport.is_closing():
        raise RuntimeError("Transport is closing")
    if mode is _Mode.UNSUPPORTED:
        raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
    if mode is _Mode.TRY_NATIVE:
        try:
            return await _sendfile_native(self, transport, file, offset, count)
        except asyncio.SendfileNotAvailableError:
            if not fallback:
                raise
    if not fallback:
        raise RuntimeError(
            f"fallback is disabled and native sendfile is not supported for transport {transport!r}"
        )
    return await _sendfile_fallback(self, transport, file, offset, count)


async def _sendfile_native(
    loop: Loop, transport: Any, file: IO[bytes], offset: int, count: int | None
) -> int:
    """Straight into the transport's socket."""
    resume_reading = transport.is_reading()
    transport.pause_reading()
    # Until it is reset the transport refuses write().
    written: Awaitable[None] = transport._make_empty_waiter()
    try:
        await written
        sock: socket.socket = transport._lent_sock
        check_non_blocking(loop, sock)
        _check_parameters(sock, file, offset, count)
        wait_writable = functools.partial(_wait_for_room, transport)
        return await send_by_kernel(loop, sock, file, offset, count, wait_writable)
    finally:
        transport._reset_empty_waiter()
        if resume_reading:
            transport.resume_reading()


async def _wait_for_room(transport: Any, _sock: socket.socket) -> None:
    """Until the socket takes more; the transport ends the wait if it is closed meanwhile."""
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task is not None else 0
    try:
        await transport._wait_for_room()
    except asyncio.CancelledError:
        if task is None or task.cancelling() > cancelled_before:
            raise
    if transport.is_closing():
        raise ConnectionError("Connection is closed by peer")


async def _sendfile_fallback(
    loop: Loop, transport: Any, file: IO[bytes], offset: int, count: int | None
) -> int:
    """Through the transport's buffer, at the pace of its flow control."""
    seekable = is_seekable(file)
    if seekable:
        file.seek(offset)
    sent = 0
    sender = _FileSender(loop, transport)
    try:
        while not count or sent < count:
            # A new buffer each time, because the transport may keep it.
            chunk = memoryview(bytearray(min(count - sent, _CHUNK) if count else _CHUNK))
            read = await loop.run_in_executor(None, _read_into, file, chunk)
            if not read:
                break
            transport.write(chunk[:read])
            # This sends now instead of at the end of the turn, and fails if the connection is lost.
            transport.get_write_buffer_size()
            await sender.drain()
            sent += read
        return sent
    finally:
        if sent > 0 and seekable:
            file.seek(offset + sent)
        sender.end()


class _FileSender(asyncio.Protocol):
    """The transport's protocol while a file is sent in pieces."""

    def __init__(self, loop: Loop, transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol: Any = transport.get_protocol()
        self._resume_reading = transport.is_reading()
        # Whether writing was paused when the sending began.
        self._was_paused: bool = transport._protocol_paused
        # None while writing is not paused; done when it is resumed or the connection is lost.
        self._resumed = loop.create_future() if self._was_paused else None
        self._lost: BaseException | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    def end(self) -> None:
        self._transport.set_protocol(self._protocol)
        if self._resume_reading:
            self._transport.resume_reading()
        is_paused = self._resumed is not None
        if is_paused and not self._was_paused:
            self._protocol.pause_writing()
        elif self._was_paused and not is_paused:
            self._protocol.resume_writing()

    async def drain(self) -> None:
        if self._transport.is_closing():
            # The protocol's connection_lost() is called first.
            await asyncio.sleep(0)
            raise ConnectionError("Connection closed by peer")
        if self._resumed is not None:
            await self._resumed
            if self._lost is not None:
                raise self._lost

    def pause_writing(self) -> None:
        if self._resumed is None:
            self._resumed = self._loop.create_future()

    def resume_writing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def connection_lost(self, exc: BaseException | None) -> None:
        # Also without an error: the file was not sent completely.
        self._lost = ConnectionError("Connection is closed by peer") if exc is None else exc
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("Invalid state: reading should be paused")

    def eof_received(self) -> None:
        raise RuntimeError("Invalid state: reading should be paused")
