"""Server: listening sockets, and the connections that came in through them.

The rule: a server has ended when it is closed and its last connection is lost, in either order.
The loop accepts the connections (`_start_serving`, `_stop_serving`), and each transport counts
itself in `Clients`.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import trsock

from ._saburo import Clients

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl as ssl_module
    from collections.abc import Callable
    from typing import Any

    from ._loop import Loop
    from ._socket_file import SocketFile


class Server(asyncio.Server):
    """What `create_server` and `create_unix_server` return.

    Semantics: `asyncio.Server` of Python 3.15, on every version. `async with` closes it at the end
    and waits until its last connection is lost. To be used on the loop's thread.

    >>> import asyncio, saburo
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
    ...         print(server.is_serving(), len(server.sockets))
    ...     print(server.is_serving(), len(server.sockets))
    >>> saburo.run(main())
    True 1
    False 0
    """

    __module__ = "saburo"

    def __init__(
        self,
        loop: Loop,
        sockets: list[socket.socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        ssl_context: ssl_module.SSLContext | None,
        backlog: int,
        ssl_handshake_timeout: float | None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        self._loop = loop
        # None once the server is closed.
        self._sockets: list[socket.socket] | None = sockets
        # How many connections are open; each transport counts itself.
        self._clients = Clients()
        # Of each call of wait_closed(); None once the server has ended.
        self._waiters: list[asyncio.Future[None]] | None = []
        # Set while serve_forever() waits on it.
        self._serving_forever_fut: asyncio.Future[None] | None = None
        self._serving = False
        # The file to be removed when the server is closed.
        self._socket_file: SocketFile | None = None
        # Each connection has a copy of it.
        self._context = contextvars.copy_context()
        # Under asyncio's names, because programs look at them.
        self._protocol_factory = protocol_factory
        self._ssl_context = ssl_context
        self._backlog = backlog
        self._ssl_handshake_timeout = ssl_handshake_timeout
        self._ssl_shutdown_timeout = ssl_shutdown_timeout

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets, as `asyncio.trsock.TransportSocket`; none once it is closed."""
        return tuple(trsock.TransportSocket(sock) for sock in self._sockets or ())

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the server belongs to."""
        loop: Any = self._loop
        found: asyncio.AbstractEventLoop = loop
        return found

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._serving

    async def start_serving(self) -> None:
        """Starts to accept connections, if it has not; for `create_server(start_serving=False)`.

        Raises OSError if a socket cannot be made to listen.
        """
        self._start_serving()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accepts connections until it is cancelled or the server is closed.

        When it is cancelled it closes the server and its connections, and waits until they are
        lost. Raises RuntimeError if the server is closed or another call is waiting here.
        """
        if self._serving_forever_fut is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start_serving()
        self._serving_forever_fut = self._loop.create_future()
        try:
            await self._serving_forever_fut
        except asyncio.CancelledError:
            self.close()
            self.close_clients()
            await self.wait_closed()
            raise
        finally:
            self._serving_forever_fut = None

    def close(self) -> None:
        """Stops to listen; open connections stay open. A second call does nothing.

        A `serve_forever()` that is waiting is cancelled. The socket of a Unix server is removed
        from the file system, unless another has taken its place.
        """
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        self._clients.closed = True
        for sock in sockets:
            self._loop._stop_serving(sock)
        if self._socket_file is not None:
            self._socket_file.remove()
        self._serving = False
        if self._serving_forever_fut is not None:
            self._serving_forever_fut.cancel()
            self._serving_forever_fut = None
        self._end_if_over()

    def close_clients(self) -> None:
        """Closes the connections, each after what it has still to send."""
        for transport in self._loop._transports_of(self):
            transport.close()

    def abort_clients(self) -> None:
        """Closes the connections at once, without sending what they have still to send."""
        for transport in self._loop._transports_of(self):
            transport.abort()

    async def wait_closed(self) -> None:
        """Waits until the server is closed and its last connection is lost."""
        if self._waiters is None:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _start_serving(self) -> None:
        if self._serving:
            return
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._serving = True
        for sock in self._sockets:
            sock.listen(self._backlog)
            self._loop._start_serving(
                self._protocol_factory,
                sock,
                self._ssl_context,
                self,
                self._backlog,
                self._ssl_handshake_timeout,
                self._ssl_shutdown_timeout,
                context=self._context,
            )

    def _end_if_over(self) -> None:
        """Called when the server is closed, and when its last connection is lost after that."""
        if self._clients.open or self._waiters is None:
            return
        waiters, self._waiters = self._waiters, None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
