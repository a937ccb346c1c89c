"""The websockets library on our loop: server and clients, good manners and bad."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect, unix_connect
from websockets.asyncio.server import ServerConnection, broadcast, serve, unix_serve
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
)

from .certificates import Certificates
from .conftest import Run

MEGABYTES = os.urandom(3_000_000)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def served(handler: Any = echo, **options: Any) -> AsyncIterator[str]:
    options = {"max_size": 1 << 24, **options}
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        scheme = "wss" if options.get("ssl") else "ws"
        yield f"{scheme}://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def test_messages_of_every_size_and_in_pieces(run: Run) -> None:
    async def main() -> None:
        async with served() as url, connect(url, max_size=1 << 24) as ws:
            await ws.send("三郎")
            assert await ws.recv() == "三郎"
            for size in (0, 1, 125, 126, 65_535, 65_536, len(MEGABYTES)):
                await ws.send(MEGABYTES[:size])
                assert await ws.recv() == MEGABYTES[:size]
            await ws.send([MEGABYTES[at : at + 1000] for at in range(0, 100_000, 1000)])
            parts = [part async for part in ws.recv_streaming(decode=False)]
            assert b"".join(parts) == MEGABYTES[:100_000]
            assert await (await ws.ping()) >= 0

    run(main())


@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_hundred_clients_at_once(run: Run, compression: str | None) -> None:
    async def main() -> None:
        async with served(compression=compression) as url:

            async def talk(number: int) -> None:
                async with connect(url, compression=compression) as ws:
                    for each in range(10):
                        await ws.send(f"{number} {each} " * 500)
                    for each in range(10):
                        assert await ws.recv() == f"{number} {each} " * 500

            await asyncio.gather(*(talk(number) for number in range(100)))

    run(main())


def test_a_broadcast_reaches_everybody(run: Run) -> None:
    async def main() -> None:
        everybody: set[ServerConnection] = set()
        complete = asyncio.Event()

        async def gather_round(connection: ServerConnection) -> None:
            everybody.add(connection)
            if len(everybody) == 50:
                complete.set()
            await connection.wait_closed()

        async with served(gather_round) as url, contextlib.AsyncExitStack() as stack:
            members = [await stack.enter_async_context(connect(url)) for _ in range(50)]
            await complete.wait()
            for number in range(20):
                broadcast(everybody, str(number))
            for member in members:
                assert [await member.recv() for _ in range(20)] == [str(n) for n in range(20)]

    run(main())


def test_a_slow_reader_makes_the_sender_wait(run: Run) -> None:
    async def main() -> None:
        sent = 0

        async def flood(connection: ServerConnection) -> None:
            nonlocal sent
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await connection.send(bytes(100_000))
                    sent += 1

        async with served(flood, compression=None) as url:
            # What has been sent stands before the answer to a goodbye: not worth waiting for.
            async with connect(url, compression=None, close_timeout=0.05) as ws:
                await ws.recv()
                before = -1
                while sent != before:  # until nothing more goes out
                    before = sent
                    await asyncio.sleep(0.1)
                assert sent < 1000
                for _ in range(sent):
                    await ws.recv()
                while sent == before:
                    await asyncio.sleep(0)

    run(main())


def test_goodbyes_and_their_codes(run: Run) -> None:
    async def main() -> None:
        async def leave(connection: ServerConnection) -> None:
            await connection.close(4000, "enough")

        async with served(leave) as url, connect(url) as ws:
            with pytest.raises(ConnectionClosedError) as closed:
                await ws.recv()
            assert closed.value.rcvd
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "enough")

        async with contextlib.AsyncExitStack() as stack:
            async with served() as url:
                ws = await stack.enter_async_context(connect(url))
                await ws.send("hello")
                await ws.recv()
            with pytest.raises(ConnectionClosedOK) as going:
                await ws.recv()
            assert going.value.rcvd
            assert going.value.rcvd.code == 1001

        def refuse(connection: ServerConnection, request: Any) -> Any:
            return connection.respond(403, "not you\n")

        async with served(process_request=refuse) as url:
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url):
                    pass
            assert refused.value.response.status_code == 403

    run(main())


def test_peers_that_vanish_or_talk_too_much(run: Run) -> None:
    async def main() -> None:
        ends: asyncio.Queue[ConnectionClosed] = asyncio.Queue()

        async def listen(connection: ServerConnection) -> None:
            try:
                while True:
                    await connection.recv()
            except ConnectionClosed as closed:
                ends.put_nowait(closed)

        async with served(listen, max_size=1000) as url:
            async with connect(url) as ws:
                ws.transport.abort()
                assert (await ends.get()).rcvd is None
            async with connect(url) as ws:
                with contextlib.suppress(ConnectionClosed):
                    await ws.send(bytes(1001))
                closed = await ends.get()
                assert closed.sent
                assert closed.sent.code == 1009

    run(main())


def test_a_peer_that_answers_no_ping_is_dead(run: Run) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def listen(connection: ServerConnection) -> None:
            with pytest.raises(ConnectionClosedError, match="keepalive ping timeout"):
                await connection.recv()
            ended.set()

        options = {"ping_interval": 0.05, "ping_timeout": 0.05, "close_timeout": 0.05}
        async with served(listen, **options) as url:
            host, _, port = url.removeprefix("ws://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            await ended.wait()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    run(main())


def test_a_client_connects_again_by_itself(run: Run) -> None:
    async def main() -> None:
        visits = 0

        async def once(connection: ServerConnection) -> None:
            nonlocal visits
            visits += 1
            await connection.send(str(visits))

        heard = []
        async with served(once) as url:
            async for ws in connect(url):
                heard.append(await ws.recv())
                if len(heard) == 3:
                    break
        assert heard == ["1", "2", "3"]

    run(main())


def test_tls_and_unix_sockets(run: Run, certificates: Certificates, tmp_path: Path) -> None:
    async def main() -> None:
        async with served(ssl=certificates.server()) as url:
            async with connect(url, ssl=certificates.client(), max_size=1 << 24) as ws:
                await ws.send(MEGABYTES)
                assert await ws.recv() == MEGABYTES
            with pytest.raises(ssl.SSLCertVerificationError):
                async with connect(url, ssl=certificates.stranger()):
                    pass
        path = str(tmp_path / "socket")
        async with unix_serve(echo, path), unix_connect(path) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run(main())
