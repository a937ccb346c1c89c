"""The other end of a TLS connection, by hand: a test sees every record and sends what it wants."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from support.certificates import certificates

RECORD = 16 * 1024
Run = Callable[..., Any]


class Recorder(asyncio.Protocol):
    """Records every call; a test can wait for the last one."""

    transport: Any = None

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.received = bytearray()
        self.pieces: list[int] = []
        self.lost = asyncio.get_running_loop().create_future()
        self._arrived: list[tuple[int, asyncio.Future[None]]] = []

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.got(data)

    def got(self, data: bytes) -> None:
        if not self.calls or self.calls[-1] != "data":
            self.calls.append("data")
        self.pieces.append(len(data))
        self.received += data
        for count, future in self._arrived:
            if count <= len(self.received) and not future.done():
                future.set_result(None)

    async def arrived(self, count: int) -> bytes:
        """Waits until so many bytes are there."""
        if len(self.received) < count:
            future = asyncio.get_running_loop().create_future()
            self._arrived.append((count, future))
            await future
        return bytes(self.received)

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append(("lost", exc if exc is None else type(exc).__name__))
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Buffered(Recorder, asyncio.BufferedProtocol):
    """The same with a buffer of its own."""

    size = 1000

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(self.size)
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> memoryview:
        self.hints.append(sizehint)
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.got(bytes(self.buffer[:nbytes]))

    data_received = None  # type: ignore[assignment]


class Peer:
    """Speaks TLS over a bare socket of the running loop."""

    ours: socket.socket
    """The socket that the loop was given; the test closes it if the loop has refused it."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        session: ssl.SSLSession | None = None,
    ) -> None:
        sock.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else "localhost",
            session=session,
        )

    async def do(self, call: Callable[..., Any], *args: Any) -> Any:
        """A call of the SSLObject, with the sending and receiving that it needs."""
        while True:
            try:
                result = call(*args)
            except ssl.SSLWantReadError:
                await self.flush()
                await self.receive()
            except ssl.SSLError:
                await self.flush()  # an alert
                raise
            else:
                await self.flush()
                return result

    async def receive(self, most: int = 1 << 20) -> None:
        """Waits for ciphertext; EOFError at the end of the connection."""
        data = await self.loop.sock_recv(self.sock, most)
        if not data:
            raise EOFError
        self.incoming.write(data)

    async def flush(self) -> None:
        if self.outgoing.pending:
            await self.loop.sock_sendall(self.sock, self.outgoing.read())

    async def handshake(self) -> None:
        await self.do(self.tls.do_handshake)

    async def read(self, most: int = RECORD) -> bytes:
        """Some plaintext, at most a record; empty after a clean end."""
        try:
            data: bytes = await self.do(self.tls.read, most)
        except ssl.SSLZeroReturnError:
            return b""
        return data

    async def read_exactly(self, count: int) -> bytes:
        whole = bytearray()
        while len(whole) < count:
            data = await self.read(count - len(whole))
            assert data, f"{len(whole)} bytes of {count}"
            whole += data
        return bytes(whole)

    async def read_all(self) -> bytes:
        whole = bytearray()
        while data := await self.read():
            whole += data
        return bytes(whole)

    async def write(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, self.encrypted(data))

    def encrypted(self, data: bytes) -> bytes:
        """Ciphertext that has not been sent."""
        for start in range(0, len(data), RECORD):
            assert self.tls.write(data[start : start + RECORD]) > 0
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """The ciphertext of `close_notify`."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    async def unwrap(self) -> None:
        """A clean end, from both sides."""
        await self.do(self.tls.unwrap)

    async def is_closed(self) -> bool:
        """Waits for bytes or the end of the TCP connection; returns whether it was the end."""
        return not await self.loop.sock_recv(self.sock, 1)

    def close(self) -> None:
        self.sock.close()


async def connect(
    factory: Callable[[], Any] = Recorder,
    *,
    server_side: bool = False,
    version: ssl.TLSVersion | None = None,
    context: ssl.SSLContext | None = None,
    peers_context: ssl.SSLContext | None = None,
    **options: Any,
) -> tuple[Any, Any, Peer]:
    """A transport after its handshake, its protocol, and the peer."""
    begun, peer = begin(
        factory,
        server_side=server_side,
        version=version,
        context=context,
        peers_context=peers_context,
        **options,
    )
    try:
        (transport, protocol), _ = await asyncio.gather(begun, peer.handshake())
    except BaseException:
        peer.close()
        raise
    return transport, protocol, peer


def begin(
    factory: Callable[[], Any] = Recorder,
    *,
    server_side: bool = False,
    version: ssl.TLSVersion | None = None,
    context: ssl.SSLContext | None = None,
    peers_context: ssl.SSLContext | None = None,
    **options: Any,
) -> tuple[asyncio.Task[tuple[Any, Any]], Peer]:
    """The same, with nothing done yet."""
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    if server_side:
        context = context or certificates().server(version=version)
        peers_context = peers_context or certificates().client(version=version)
        made = loop.connect_accepted_socket(factory, ours, ssl=context, **options)
    else:
        context = context or certificates().client(version=version)
        peers_context = peers_context or certificates().server(version=version)
        options.setdefault("server_hostname", "localhost")
        made = loop.create_connection(factory, sock=ours, ssl=context, **options)
    peer = Peer(theirs, peers_context, server_side=not server_side)
    peer.ours = ours
    return asyncio.ensure_future(made), peer


async def close(transport: Any, protocol: Recorder, peer: Peer) -> None:
    """Ends a connection quickly, for tests of something else."""
    transport.abort()
    await protocol.lost
    peer.close()


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
both_sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
both_kinds = pytest.mark.parametrize("factory", [Recorder, Buffered], ids=["plain", "buffered"])
