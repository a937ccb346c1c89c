"""connect_read_pipe and connect_write_pipe: one end of a pipe, or a terminal, as a transport.

The transport owns the pipe, and closes it. Semantics: asyncio's.
"""

from __future__ import annotations

import asyncio

from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._loop import Loop

    _ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
    _TransportT = TypeVar("_TransportT", bound=asyncio.BaseTransport)


async def connect_read_pipe(
    self: Loop, protocol_factory: Callable[[], _ProtocolT], pipe: Any
) -> tuple[asyncio.ReadTransport, _ProtocolT]:
    """Reads from `pipe`, a file object over a pipe, a socket or a terminal.

    Its descriptor is made non-blocking. Raises ValueError for a descriptor of another kind.

    >>> import asyncio, os, saburo
    >>> class Reader(asyncio.Protocol):
    ...     def connection_made(self, transport):
    ...         self.heard = asyncio.get_running_loop().create_future()
    ...     def data_received(self, data):
    ...         self.heard.set_result(data)
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     reading, writing = os.pipe()
    ...     pipe = os.fdopen(reading, "rb", 0)
    ...     transport, reader = await loop.connect_read_pipe(Reader, pipe)
    ...     os.write(writing, b"tea")
    ...     heard = await reader.heard
    ...     transport.close()
    ...     os.close(writing)
    ...     return heard
    >>> saburo.run(main())
    b'tea'
    """
    transport, protocol = await _connect_pipe(
        self, self._make_read_pipe_transport, protocol_factory, pipe
    )
    if self.get_debug():
        logger.debug("Read pipe %r connected: (%r, %r)", pipe.fileno(), transport, protocol)
    return transport, protocol


async def connect_write_pipe(
    self: Loop, protocol_factory: Callable[[], _ProtocolT], pipe: Any
) -> tuple[asyncio.WriteTransport, _ProtocolT]:
    """Writes to `pipe`, a file object over a pipe, a socket or a character device.

    Its descriptor is made non-blocking. Raises ValueError for a descriptor of another kind.

    >>> import asyncio, os, saburo
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     reading, writing = os.pipe()
    ...     pipe = os.fdopen(writing, "wb", 0)
    ...     transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, pipe)
    ...     transport.write(b"tea")
    ...     transport.close()
    ...     await asyncio.sleep(0)
    ...     with os.fdopen(reading, "rb") as pipe:
    ...         return pipe.read()
    >>> saburo.run(main())
    b'tea'
    """
    transport, protocol = await _connect_pipe(
        self, self._make_write_pipe_transport, protocol_factory, pipe
    )
    if self.get_debug():
        logger.debug("Write pipe %r connected: (%r, %r)", pipe.fileno(), transport, protocol)
    return transport, protocol


async def _connect_pipe(
    loop: Loop,
    make_transport: Callable[[Any, _ProtocolT, asyncio.Future[None]], _TransportT],
    protocol_factory: Callable[[], _ProtocolT],
    pipe: Any,
) -> tuple[_TransportT, _ProtocolT]:
    protocol = protocol_factory()
    waiter = loop.create_future()
    transport = make_transport(pipe, protocol, waiter)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol
