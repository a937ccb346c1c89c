"""A loop that runs for months: what it has done leaves nothing behind while it still runs."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.both_loops import streams_of

Loop = asyncio.AbstractEventLoop

TIMES = 100
ROUNDS = 4
SETTLE = 3


async def visitors(loop: Loop) -> None:
    """Connections from both sides, at the same time."""
    streams = streams_of(loop)

    async def echo(reader: Any, writer: Any) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with await streams.start_server(echo, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()

        async def visit() -> None:
            reader, writer = await streams.open_connection(*address)
            writer.write(b"line\n")
            assert await reader.read() == b"line\n"
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*[visit() for _ in range(TIMES)])


async def protocols(loop: Loop) -> None:
    class Client(asyncio.Protocol):
        def __init__(self) -> None:
            self.lost = loop.create_future()

        def connection_made(self, transport: Any) -> None:
            transport.write(b"x")
            transport.write_eof()

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.close()

    server = await loop.create_server(Server, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for _ in range(TIMES):
        transport, client = await loop.create_connection(Client, *address)
        await client.lost
        transport.close()
    server.close()


async def watchers(loop: Loop) -> None:
    one, two = socket.socketpair()
    with one, two:
        for _ in range(TIMES):
            seen = loop.create_future()
            two.send(b"x")
            loop.add_reader(one, seen.set_result, None)
            await seen
            loop.remove_reader(one)
            one.recv(1)


async def datagrams(loop: Loop) -> None:
    class Endpoint(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.came = loop.create_future()

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.came.set_result(data)

    for _ in range(TIMES):
        transport, endpoint = await loop.create_datagram_endpoint(Endpoint, ("127.0.0.1", 0))
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        assert await endpoint.came == b"x"
        transport.close()
        await asyncio.sleep(0)


async def tasks(loop: Loop) -> None:
    for _ in range(TIMES):
        task = loop.create_task(asyncio.sleep(0))
        task.add_done_callback(lambda _done: None)
        await asyncio.wait_for(task, 60)
        await asyncio.shield(asyncio.sleep(0))
        task = loop.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


async def timers(loop: Loop) -> None:
    for _ in range(TIMES):
        loop.call_later(0, int)
        loop.call_later(3600, int).cancel()
    await asyncio.sleep(0.001)


async def threads(loop: Loop) -> None:
    def visit() -> None:
        for _ in range(TIMES):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()

    await asyncio.to_thread(visit)


@pytest.mark.parametrize(
    "work",
    [visitors, protocols, watchers, datagrams, tasks, timers, threads],
    ids=lambda work: work.__name__,
)
def test_memory_is_used_again(loop: Loop, work: Callable[[Loop], Awaitable[None]]) -> None:
    async def blocks_after(rounds: int) -> int:
        for _ in range(rounds):
            await work(loop)
        for _ in range(SETTLE):
            await asyncio.sleep(0.01)
            gc.collect()
        return sys.getallocatedblocks()

    async def main() -> int:
        before = await blocks_after(SETTLE)  # caches and free lists fill
        return await blocks_after(ROUNDS) - before

    # One block that stays of each thing done would be twice as many.
    assert loop.run_until_complete(main()) < ROUNDS * TIMES / 2
