"""Streams, made by saburo's own functions. Both ends are on the loop: an operation costs both."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import saburo

from benches.cases.streams import echo, echo_lines
from benches.count.workload import workload
from benches.count.workloads.ends import KIB

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def opposite(serve: Serve) -> AsyncIterator[Ends]:
    """A pair of streams, opposite a task that runs `serve` on another."""
    here, there = socket.socketpair()
    server = asyncio.ensure_future(serve(*await saburo.open_connection(sock=there)))
    reader, writer = await saburo.open_connection(sock=here)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        await server


@workload(300, 1_300)
async def stream_echo(operations: int) -> int:
    """1 KiB there and back: `write`, `drain`, `read`."""
    message = bytes(KIB)
    seen = 0
    async with opposite(echo) as (reader, writer):
        for _ in range(operations):
            writer.write(message)
            await writer.drain()
            seen += len(await reader.read(2 * KIB)) == KIB
    return seen


@workload(300, 1_300)
async def stream_exactly(operations: int) -> int:
    """The same with `readexactly` in two parts, and no `drain` at this end."""
    message = bytes(KIB)
    seen = 0
    async with opposite(echo) as (reader, writer):
        for _ in range(operations):
            writer.write(message)
            await reader.readexactly(24)
            seen += len(await reader.readexactly(KIB - 24)) == KIB - 24
    return seen


@workload(800, 3_200)
async def stream_lines(operations: int) -> int:
    """Sixteen lines of 64 bytes at once, each answered and drained; an operation is a line."""
    lines = (b"x" * 63 + b"\n") * 16
    seen = 0
    async with opposite(echo_lines) as (reader, writer):
        for _ in range(operations // 16):
            writer.write(lines)
            for _ in range(16):
                seen += len(await reader.readline()) == 64
    return seen


@workload(1_000, 4_000)
async def stream_drains(operations: int) -> int:
    """Twenty writes of 64 bytes in a turn, each drained; an operation is a write."""
    message = bytes(64)
    seen = 0
    async with opposite(echo) as (reader, writer):
        for _ in range(operations // 20):
            for _ in range(20):
                writer.write(message)
                await writer.drain()
            await reader.readexactly(20 * 64)
            seen += 20
    return seen


@workload(50, 250)
async def stream_accept_close(operations: int) -> int:
    """A client connects and is closed at once by the server's callback, which waits for the end."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None]

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()
        gone.set_result(None)

    server = await saburo.start_server(close, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    seen = 0
    async with server:
        for _ in range(operations):
            gone = loop.create_future()
            with socket.create_connection(address):
                await gone
            seen += 1
    return seen
