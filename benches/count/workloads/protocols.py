"""Transports and protocols. Both ends are on the loop, so an operation has the cost of both."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from benches.cases.protocols import BufferedEcho, Connected, Echo
from benches.count.workload import workload
from benches.count.workloads.ends import KIB, connected


@workload(300, 1_300)
async def protocol_echo(operations: int) -> int:
    """A message of 1 KiB there and back."""
    return await _echo(Echo, operations)


@workload(300, 1_300)
async def buffered_echo(operations: int) -> int:
    """The same, received into a buffer of the echoing protocol's own."""
    return await _echo(BufferedEcho, operations)


async def _echo(server: Callable[[], asyncio.BaseProtocol], operations: int) -> int:
    message = bytes(KIB)
    seen = 0
    async with connected(server) as client:
        for _ in range(operations):
            client.transport.write(message)
            await client.arrived(KIB)
            seen += 1
    return seen


@workload(1_000, 4_000)
async def small_writes(operations: int) -> int:
    """Twenty writes of 64 bytes in a turn; an operation is a write."""
    message = bytes(64)
    seen = 0
    async with connected(Echo) as client:
        for _ in range(operations // 20):
            for _ in range(20):
                client.transport.write(message)
            await client.arrived(20 * 64)
            seen += 20
    return seen


@workload(1_000, 4_000)
async def writelines(operations: int) -> int:
    """The same by one call of `writelines`; an operation is a piece."""
    message = bytes(64)
    seen = 0
    async with connected(Echo) as client:
        for _ in range(operations // 20):
            client.transport.writelines([message] * 20)
            await client.arrived(20 * 64)
            seen += 20
    return seen


@workload(20, 80)
async def large_message(operations: int) -> int:
    """A message of 256 KiB, more than a socket takes at once, there and back."""
    size = 256 * KIB
    message = bytes(size)
    seen = 0
    async with connected(Echo) as client:
        for _ in range(operations):
            client.transport.write(message)
            await client.arrived(size)
            seen += 1
    return seen


class Visited(Connected, asyncio.Protocol):
    """Closes a connection as soon as it has it, and tells when it is gone."""

    gone: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).close()

    def connection_lost(self, error: Exception | None) -> None:
        Visited.gone.set_result(None)


@workload(50, 250)
async def accept_close(operations: int) -> int:
    """A client connects and is closed at once by the server's protocol."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Visited, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    seen = 0
    async with server:
        for _ in range(operations):
            Visited.gone = loop.create_future()
            with socket.create_connection(address):
                await Visited.gone
            seen += 1
    return seen


@workload(50, 250)
async def connect_close(operations: int) -> int:
    """The loop connects to a listening socket, and closes the connection."""
    loop = asyncio.get_running_loop()
    seen = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        for _ in range(operations):
            transport, _ = await loop.create_connection(asyncio.Protocol, *address)
            opposite, _ = server.accept()
            opposite.close()
            transport.close()
            await asyncio.sleep(0)
            seen += 1
    return seen
