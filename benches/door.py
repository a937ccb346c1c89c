"""Where a server case listens: the same code for TCP, Unix and UDP, with TLS and without.

A case says what is served, its `Entrance` says where.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from enum import Enum
from types import ModuleType
from typing import Any

from benches import folder
from benches.generator import CERTIFICATE

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

# A thousand clients come at once.
BACKLOG = 4096
HOST = "127.0.0.1"


class Entrance(Enum):
    TCP = "tcp"
    UNIX = "unix"
    UDP = "udp"


class Door:
    """The listening socket of a case; announces its address as soon as a server listens."""

    def __init__(
        self,
        entrance: Entrance,
        announce: Callable[[str], None],
        *,
        secure: bool = False,
        module: ModuleType = asyncio,
    ) -> None:
        """The streams are those of the module, if it has any, else asyncio's."""
        self._entrance = entrance
        self._announce = announce
        self._tls = _context() if secure else None
        self._module = module
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Servers are closed when they are freed.
        self._held: list[object] = []

    async def protocol(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        loop = asyncio.get_running_loop()
        if self._entrance is Entrance.UDP:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _datagram(factory()), local_addr=(HOST, 0)
            )
            self._open(transport, transport.get_extra_info("sockname"))
            return

        def make() -> asyncio.Protocol | asyncio.BufferedProtocol:
            return _stream(factory())

        if self._entrance is Entrance.UNIX:
            path = self._path()
            server = await loop.create_unix_server(make, path, backlog=BACKLOG, ssl=self._tls)
            self._open(server, path)
        else:
            server = await loop.create_server(make, HOST, 0, backlog=BACKLOG, ssl=self._tls)
            self._open(server, server.sockets[0].getsockname())

    async def streams(self, handler: Handler) -> None:
        if self._entrance is Entrance.UNIX:
            start: Any = getattr(self._module, "start_unix_server", asyncio.start_unix_server)
            path = self._path()
            self._open(await start(handler, path, backlog=BACKLOG, ssl=self._tls), path)
        else:
            start = getattr(self._module, "start_server", asyncio.start_server)
            server = await start(handler, HOST, 0, backlog=BACKLOG, ssl=self._tls)
            self._open(server, server.sockets[0].getsockname())

    def listener(self) -> socket.socket:
        """A listening TCP socket, for a server that accepts by itself."""
        # With its protocol named: without, asyncio would not switch Nagle's algorithm off.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, 0))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        self._open(listener, listener.getsockname())
        return listener

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it for a client. If it fails the server fails, because the client cannot say why."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def keep(self, server: object) -> None:
        """Keep a server until the process ends."""
        self._held.append(server)

    async def stay_open(self) -> None:
        """Wait for ever; raises the error of a spawned task."""
        await self._failed

    def _open(self, server: object, address: Any) -> None:
        self.keep(server)
        where = address if isinstance(address, str) else "{}:{}".format(*address)
        self._announce(f"{self._entrance.value}:{where}")

    def _path(self) -> str:
        return str(folder.path() / f"{os.getpid()}.socket")

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError) and not self._failed.done():
            self._failed.set_exception(error)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


def _stream(protocol: asyncio.BaseProtocol) -> asyncio.Protocol | asyncio.BufferedProtocol:
    assert isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol)
    return protocol


def _datagram(protocol: asyncio.BaseProtocol) -> asyncio.DatagramProtocol:
    assert isinstance(protocol, asyncio.DatagramProtocol)
    return protocol
