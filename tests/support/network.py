"""For tests of connections: protocols that record their calls, TLS, addresses of all kinds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CERTIFICATE = Path(__file__).with_name("localhost.pem")


class DerivedSocket(socket.socket):
    """Not exactly the module's class, so that its methods are called by name."""


class Recorder(asyncio.Protocol):
    """Records its calls; `lost` is done when the connection is lost."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.transport: Any = None
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.calls.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        if not self.lost.done():
            self.lost.set_result(exc)


class Echo(Recorder):
    """Sends back what it receives."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class CountingSocket(socket.socket):
    """Counts how often it was closed."""

    closes = 0

    def close(self) -> None:
        self.closes += 1
        super().close()


def failing() -> Any:
    """A protocol factory that raises."""
    raise ZeroDivisionError


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    """Trusts that server only."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def info(address: Any, family: int = socket.AF_INET) -> tuple[Any, ...]:
    """The result of `getaddrinfo`."""
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)


def resolve(loop: Any, *infos: tuple[Any, ...]) -> None:
    """Lets every host name of `loop` stand for these addresses."""

    async def getaddrinfo(*_args: object, **_options: object) -> list[tuple[Any, ...]]:
        return list(infos)

    loop.getaddrinfo = getaddrinfo


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, int]]:
    """An address that accepts connections, without a loop."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@contextlib.contextmanager
def refusing() -> Iterator[tuple[str, int]]:
    """An address that refuses connections: it is taken, and no socket listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@contextlib.contextmanager
def silent() -> Iterator[tuple[str, int]]:
    """An address that does not answer: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()
