"""Both ends of a connection on one loop: a socket pair, with a transport on each."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from benches.cases.protocols import Connected

KIB = 1024
CERTIFICATE = Path(__file__).parents[2] / "localhost.pem"


class Counter(Connected, asyncio.Protocol):
    """Counts the bytes that come in; `arrived` waits for some more of them."""

    def __init__(self) -> None:
        self._missing = 0
        self._waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing <= 0 and self._waiter is not None:
            self._waiter.set_result(None)
            self._waiter = None

    async def arrived(self, size: int) -> None:
        self._missing += size
        if self._missing > 0:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


@asynccontextmanager
async def connected(
    server: Callable[[], asyncio.BaseProtocol], *, secure: bool = False
) -> AsyncIterator[Counter]:
    """The client's protocol, opposite what `server` makes."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    accept = asyncio.ensure_future(
        loop.connect_accepted_socket(server, there, ssl=_server_side() if secure else None)
    )
    transport, client = await loop.create_connection(
        Counter,
        sock=here,
        ssl=_client_side() if secure else None,
        server_hostname="localhost" if secure else None,
    )
    opposite, _ = await accept
    try:
        yield client
    finally:
        transport.abort()
        opposite.abort()
        await asyncio.sleep(0)


def _server_side() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def _client_side() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(CERTIFICATE)
    return context
