"""Streams: how a reader and a writer are made. What they do is native.

Under a loop that is not saburo's each function here calls asyncio's own, so that `install()` can
put them in asyncio's place.
"""

from __future__ import annotations

import asyncio
from asyncio import streams

from . import _saburo
from ._saburo import StreamReader, StreamReaderProtocol, StreamWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from os import PathLike
    from typing import Any

    _Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
    _Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

DEFAULT_LIMIT = 2**16

# asyncio's own, also after `install()` has put ours in their place.
_open_connection = streams.open_connection
_start_server = streams.start_server
_open_unix_connection = streams.open_unix_connection
_start_unix_server = streams.start_unix_server


async def open_connection(
    host: str | None = None,
    port: int | str | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **options: Any,
) -> _Streams:
    """Connects to a host's port, and returns a StreamReader and a StreamWriter.

    `limit` is what `reader.readline` and `readuntil` return at most, in bytes. All other options
    are those of `loop.create_connection`, whose errors are raised: OSError if no connection can be
    made, ValueError for options that exclude each other. Semantics: `asyncio.open_connection`.

    >>> import saburo, socket
    >>> async def main():
    ...     here, there = socket.socketpair()
    ...     with there:
    ...         there.sendall(b"hello\\n")
    ...         reader, writer = await saburo.open_connection(sock=here)
    ...         line = await reader.readline()
    ...         writer.close()
    ...         await writer.wait_closed()
    ...         return line
    >>> saburo.run(main())
    b'hello\\n'
    """
    loop = _running_loop()
    if loop is None:
        return await _open_connection(host, port, limit=limit, **options)
    reader, protocol = _ends(loop, limit)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **options)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: _Connected,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **options: Any,
) -> asyncio.Server:
    """Listens, and calls `client_connected_cb(reader, writer)` for each connection.

    If that returns a coroutine it becomes a task; what either raises goes to the loop's exception
    handler, and the connection is closed. `limit` is what `reader.readline` and `readuntil` return
    at most, in bytes. All other options are those of `loop.create_server`, whose errors are raised.
    Semantics: `asyncio.start_server`.

    >>> import saburo
    >>> async def greet(reader, writer):
    ...     writer.write(b"hello, " + await reader.readline())
    ...     writer.close()
    >>> async def main():
    ...     async with await saburo.start_server(greet, "127.0.0.1", 0) as server:
    ...         address = server.sockets[0].getsockname()
    ...         reader, writer = await saburo.open_connection(*address)
    ...         writer.write(b"world\\n")
    ...         answer = await reader.read()
    ...         writer.close()
    ...         await writer.wait_closed()
    ...         return answer
    >>> saburo.run(main())
    b'hello, world\\n'
    """
    loop = _running_loop()
    if loop is None:
        return await _start_server(client_connected_cb, host, port, limit=limit, **options)
    if client_connected_cb is not None:
        # With None connections are accepted and nothing is called, as in asyncio.
        _saburo.check_callable("start_server", client_connected_cb)
    factory = _factory(loop, limit, client_connected_cb)
    server: asyncio.Server = await loop.create_server(factory, host, port, **options)
    return server


async def open_unix_connection(
    path: str | PathLike[str] | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **options: Any,
) -> _Streams:
    """`open_connection` to a Unix domain socket.

    All options but `limit` are those of `loop.create_unix_connection`. Semantics:
    `asyncio.open_unix_connection`.

    >>> import saburo, socket
    >>> async def main():
    ...     here, there = socket.socketpair()
    ...     with there:
    ...         reader, writer = await saburo.open_unix_connection(sock=here)
    ...         writer.write(b"hello")
    ...         writer.close()
    ...         await writer.wait_closed()
    ...         return there.recv(100)
    >>> saburo.run(main())
    b'hello'
    """
    loop = _running_loop()
    if loop is None:
        return await _open_unix_connection(path, limit=limit, **options)
    reader, protocol = _ends(loop, limit)
    transport, _ = await loop.create_unix_connection(lambda: protocol, path, **options)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_unix_server(
    client_connected_cb: _Connected,
    path: str | PathLike[str] | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **options: Any,
) -> asyncio.Server:
    """`start_server` on a Unix domain socket.

    All options but `limit` are those of `loop.create_unix_server`, `mode` for the permissions of
    the socket's file among them. Semantics: `asyncio.start_unix_server` of Python 3.16.

    >>> import saburo, tempfile
    >>> async def greet(reader, writer):
    ...     writer.write(b"hello")
    ...     writer.close()
    >>> async def main(path):
    ...     async with await saburo.start_unix_server(greet, path):
    ...         reader, writer = await saburo.open_unix_connection(path)
    ...         answer = await reader.read()
    ...         writer.close()
    ...         await writer.wait_closed()
    ...         return answer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saburo.run(main(folder + "/socket"))
    b'hello'
    """
    loop = _running_loop()
    if loop is None:
        return await _start_unix_server(client_connected_cb, path, limit=limit, **options)
    if client_connected_cb is not None:
        _saburo.check_callable("start_unix_server", client_connected_cb)
    factory = _factory(loop, limit, client_connected_cb)
    server: asyncio.Server = await loop.create_unix_server(factory, path, **options)
    return server


def _running_loop() -> Any:
    """The running loop if it is saburo's, else None."""
    loop = asyncio.get_running_loop()
    return loop if isinstance(loop, _saburo.Loop) else None


def _ends(loop: Any, limit: int) -> tuple[StreamReader, StreamReaderProtocol]:
    reader = StreamReader(limit, loop)
    return reader, StreamReaderProtocol(reader, None, loop)


def _factory(loop: Any, limit: int, connected: _Connected) -> Callable[[], StreamReaderProtocol]:
    def factory() -> StreamReaderProtocol:
        # With a callback the protocol keeps the reader until it has called it.
        return StreamReaderProtocol(StreamReader(limit, loop), connected, loop)

    return factory


async def start_tls(
    writer: Any,
    sslcontext: ssl.SSLContext,
    *,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> None:
    """What `StreamWriter.start_tls` runs."""
    protocol = writer._protocol
    await writer.drain()
    encrypted = await writer._loop.start_tls(
        writer._transport,
        protocol,
        sslcontext,
        server_side=protocol._client_connected_cb is not None,
        server_hostname=server_hostname,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
    )
    writer._transport = encrypted
    protocol._replace_transport(encrypted)


start_tls.__qualname__ = "StreamWriter.start_tls"
