"""Servers made with `start_server`: the loop's own, where it brings one, or asyncio's."""

from __future__ import annotations

import asyncio

from benches.door import Door, Entrance
from benches.generator import Load
from benches.traffic import KIB, server_case


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * KIB):
        writer.write(data)
        await writer.drain()
    writer.close()


async def echo_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


@server_case(
    "TCP streams echo, 1 KiB",
    Load("echo", connections=10, size=KIB),
    operations=20_000,
    with_stdlib_streams=True,
)
async def streams_1k(door: Door) -> None:
    """Ten connections, messages of 1 KiB, read with `read`, written with `write` and `drain`."""
    await door.streams(echo)


@server_case(
    "TCP streams echo, 100 KiB", Load("echo", connections=10, size=100 * KIB), operations=4_000
)
async def streams_100k(door: Door) -> None:
    """The same with messages of 100 KiB."""
    await door.streams(echo)


@server_case(
    "TCP streams echo, 100 connections", Load("echo", connections=100, size=KIB), operations=20_000
)
async def streams_100(door: Door) -> None:
    """The same on a hundred connections, messages of 1 KiB."""
    await door.streams(echo)


@server_case(
    "streams, 64-byte lines, alone", Load("lines", connections=10, size=64), operations=20_000
)
async def lines_alone(door: Door) -> None:
    """Ten connections, each with one line of 64 bytes under way; read with `readline`."""
    await door.streams(echo_lines)


@server_case(
    "streams, 64-byte lines, 16 deep",
    Load("lines", connections=10, size=64, depth=16),
    operations=64_000,
    with_stdlib_streams=True,
)
async def lines_16(door: Door) -> None:
    """Ten connections that send sixteen lines of 64 bytes at once; an operation is a line."""
    await door.streams(echo_lines)


@server_case(
    "Unix streams echo, 1 KiB",
    Load("echo", connections=10, size=KIB),
    operations=20_000,
    entrance=Entrance.UNIX,
)
async def unix_streams(door: Door) -> None:
    """Ten connections through a Unix socket, messages of 1 KiB."""
    await door.streams(echo)


@server_case("accept and close, streams", Load("visit", connections=10), operations=5_000)
async def accept_streams(door: Door) -> None:
    """Ten clients at a time connect and are closed at once; an operation is a connection."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    await door.streams(close)
