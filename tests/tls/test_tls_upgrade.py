"""start_tls: a connection goes on in TLS, on either side; also one that has TLS already."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind
from support.certificates import certificates
from support.tls_peer import Peer, Recorder, both_kinds, both_sides
from test_tls_data import NOISE

Run = Callable[..., Any]


async def plain(factory: Callable[[], Any] = Recorder) -> tuple[Any, Any, socket.socket]:
    """A connection without TLS."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, protocol = await asyncio.get_running_loop().create_connection(factory, sock=ours)
    return transport, protocol, theirs


def upgrade(transport: Any, protocol: Any, *, server_side: bool, **options: Any) -> Any:
    context = certificates().server() if server_side else certificates().client()
    if not server_side:
        options["server_hostname"] = "localhost"
    loop = asyncio.get_running_loop()
    return loop.start_tls(transport, protocol, context, server_side=server_side, **options)


def peer_over(theirs: socket.socket, *, server_side: bool) -> Peer:
    context = certificates().server() if server_side else certificates().client()
    return Peer(theirs, context, server_side=server_side)


@both_kinds
@both_sides
def test_a_connection_goes_on_in_tls(run: Run, factory: Any, server_side: bool) -> None:
    async def main() -> None:
        old, protocol, theirs = await plain(factory)
        old.write(b"in the clear")
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(theirs, 100) == b"in the clear"
        peer = peer_over(theirs, server_side=not server_side)
        new, _ = await asyncio.gather(
            upgrade(old, protocol, server_side=server_side), peer.handshake()
        )
        assert new is not old
        assert protocol.calls == ["made"]  # not told again
        assert new.get_protocol() is protocol
        assert new.get_extra_info("ssl_object") is not None
        assert new.get_extra_info("socket").fileno() == old.get_extra_info("socket").fileno()
        new.write(NOISE[:100_000])
        assert await peer.read_exactly(100_000) == NOISE[:100_000]
        await peer.write(NOISE[:100_000])
        assert await protocol.arrived(100_000) == NOISE[:100_000]
        new.close()
        await peer.read_all()
        await peer.unwrap()
        assert await protocol.lost is None
        assert old.is_closing()
        assert new.is_closing()
        assert protocol.calls == ["made", "data", "eof", ("lost", None)]
        peer.close()

    run(main())


@both_sides
def test_a_failed_handshake_closes_the_connection(run: Run, server_side: bool) -> None:
    async def main() -> None:
        old, protocol, theirs = await plain()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(theirs, b"this is no handshake, not at all")
        with pytest.raises(ssl.SSLError):
            await upgrade(old, protocol, server_side=server_side)
        assert old.is_closing()
        while await loop.sock_recv(theirs, 1000):
            pass
        theirs.close()

    run(main())


def test_a_handshake_that_takes_too_long(run: Run) -> None:
    async def main() -> None:
        old, protocol, theirs = await plain()
        with pytest.raises(ConnectionAbortedError) as caught:
            await upgrade(old, protocol, server_side=False, ssl_handshake_timeout=0.05)
        assert "longer than 0.05 seconds" in str(caught.value)
        assert old.is_closing()
        await asyncio.sleep(0)
        theirs.close()

    run(main())


def test_a_cancelled_start_tls_closes_the_connection(run: Run) -> None:
    async def main() -> None:
        old, protocol, theirs = await plain()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(upgrade(old, protocol, server_side=False))
        assert await loop.sock_recv(theirs, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert old.is_closing()
        while await loop.sock_recv(theirs, 1000):
            pass
        theirs.close()

    run(main())


@pytest.mark.saburo_only  # and asyncio of the newest releases of 3.13 and later
def test_start_tls_in_a_handler_of_streams(run: Run) -> None:
    """A client's hello that came in together with its last words in the clear is not lost."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        async def handle(reader: Any, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            while not reader._buffer:
                await asyncio.sleep(0)
            await writer.start_tls(certificates().server())
            writer.write(b"welcome")
            done.set_result(await reader.readexactly(6))
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        sock = socket.create_connection(server.sockets[0].getsockname())
        peer = Peer(sock, certificates().client(), server_side=False)
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await loop.sock_sendall(sock, b"STARTTLS\n" + peer.outgoing.read())
        await peer.handshake()
        assert await peer.read_exactly(7) == b"welcome"
        await peer.write(b"thanks")
        assert await done == b"thanks"
        assert await peer.read_all() == b""
        await peer.unwrap()
        peer.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_stream_writers_start_tls(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"ready\n")
            await writer.drain()
            await writer.start_tls(certificates().server())
            line = await reader.readline()
            writer.write(line.upper())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            done.set_result(line)

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.readline() == b"ready\n"
        await writer.start_tls(certificates().client(), server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert await done == b"hello\n"
        server.close()
        await server.wait_closed()

    run(main())


# ---- TLS in TLS ----


class InnerPeer(Peer):
    """Speaks TLS through another peer."""

    def __init__(self, outer: Peer, context: ssl.SSLContext, *, server_side: bool) -> None:
        super().__init__(outer.sock, context, server_side=server_side)
        self.outer = outer

    async def receive(self, most: int = 1 << 20) -> None:
        data = await self.outer.read()
        if not data:
            raise EOFError
        self.incoming.write(data)

    async def flush(self) -> None:
        if self.outgoing.pending:
            await self.outer.write(self.outgoing.read())

    async def write(self, data: bytes) -> None:
        await self.outer.write(self.encrypted(data))


@both_kinds
@both_sides
def test_tls_in_tls(run: Run, factory: Any, server_side: bool) -> None:
    async def main() -> None:
        bare, protocol, theirs = await plain(factory)
        outer_peer = peer_over(theirs, server_side=not server_side)
        outer, _ = await asyncio.gather(
            upgrade(bare, protocol, server_side=server_side), outer_peer.handshake()
        )
        context = certificates().client() if server_side else certificates().server()
        peer = InnerPeer(outer_peer, context, server_side=not server_side)
        inner, _ = await asyncio.gather(
            upgrade(outer, protocol, server_side=server_side), peer.handshake()
        )
        assert len({id(bare), id(outer), id(inner)}) == 3
        assert inner.get_extra_info("ssl_object") is not outer.get_extra_info("ssl_object")
        assert inner.get_extra_info("socket").fileno() == bare.get_extra_info("socket").fileno()
        for size in (1, 1000, 500_000):
            inner.write(NOISE[:size])
            assert await peer.read_exactly(size) == NOISE[:size]
            before = len(protocol.received)
            await peer.write(NOISE[:size])
            assert (await protocol.arrived(before + size))[before:] == NOISE[:size]
        # The inner one ends, then the outer one, then the connection.
        inner.close()
        assert await peer.read_all() == b""
        await peer.unwrap()
        assert await outer_peer.read_all() == b""
        await outer_peer.unwrap()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", ("lost", None)]
        assert await outer_peer.is_closed()
        outer_peer.close()

    run(main())


def test_flow_control_reaches_through_both_layers(run: Run) -> None:
    async def main() -> None:
        bare, protocol, theirs = await plain()
        outer_peer = peer_over(theirs, server_side=True)
        outer, _ = await asyncio.gather(
            upgrade(bare, protocol, server_side=False), outer_peer.handshake()
        )
        peer = InnerPeer(outer_peer, certificates().server(), server_side=True)
        inner, _ = await asyncio.gather(
            upgrade(outer, protocol, server_side=False), peer.handshake()
        )
        written = 0
        while "pause" not in protocol.calls:
            inner.write(NOISE[:65_536])
            written += 65_536
            await asyncio.sleep(0)
        assert written < 8_000_000
        assert len(await peer.read_exactly(written)) == written
        while protocol.calls[-1] != "resume":
            await asyncio.sleep(0)
        inner.pause_reading()
        sending = asyncio.create_task(peer.write(NOISE))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not sending.done()
        inner.resume_reading()
        await sending
        assert await protocol.arrived(len(NOISE)) == NOISE
        inner.abort()
        await protocol.lost
        outer_peer.close()

    run(main())


@pytest.mark.parametrize("which", ["inner", "outer", "bare"])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_any_layer_may_end_it(run: Run, kind: Kind, which: str, how: str) -> None:
    if not kind.is_saburo and sys.version_info < (3, 13):
        pytest.skip("early releases cannot pass a reason down through two layers")

    async def main() -> None:
        bare, protocol, theirs = await plain()
        outer_peer = peer_over(theirs, server_side=True)
        outer, _ = await asyncio.gather(
            upgrade(bare, protocol, server_side=False, ssl_shutdown_timeout=0.05),
            outer_peer.handshake(),
        )
        peer = InnerPeer(outer_peer, certificates().server(), server_side=True)
        inner, _ = await asyncio.gather(
            upgrade(outer, protocol, server_side=False, ssl_shutdown_timeout=0.05),
            peer.handshake(),
        )
        getattr({"inner": inner, "outer": outer, "bare": bare}[which], how)()
        error = await protocol.lost
        assert error is None or isinstance(error, TimeoutError)
        assert inner.is_closing()
        outer_peer.close()

    run(main())
