"""Protocols that send back what they get. An operation is a message there and back."""

from __future__ import annotations

import asyncio
from typing import cast

from benches.door import Door, Entrance
from benches.generator import Load
from benches.traffic import KIB, server_case


class Connected(asyncio.BaseProtocol):
    """Knows its transport."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By its word: uvloop's transports, for one, are no asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)


class Echo(Connected, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(Connected, asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(256 * KIB))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        # A copy, for the transport may keep what it is given.
        self.transport.write(bytes(self.buffer[:nbytes]))


TEN = Load("echo", connections=10, size=KIB)


@server_case("TCP Protocol echo, 1 KiB", TEN, operations=30_000)
async def protocol_1k(door: Door) -> None:
    """Ten connections, messages of 1 KiB."""
    await door.protocol(Echo)


@server_case(
    "TCP Protocol echo, 10 KiB", Load("echo", connections=10, size=10 * KIB), operations=20_000
)
async def protocol_10k(door: Door) -> None:
    """Ten connections, messages of 10 KiB."""
    await door.protocol(Echo)


@server_case(
    "TCP Protocol echo, 100 KiB", Load("echo", connections=10, size=100 * KIB), operations=4_000
)
async def protocol_100k(door: Door) -> None:
    """Ten connections, messages of 100 KiB."""
    await door.protocol(Echo)


@server_case("BufferedProtocol echo, 1 KiB", TEN, operations=30_000)
async def buffered_1k(door: Door) -> None:
    """The same received into a buffer of the protocol's own."""
    await door.protocol(BufferedEcho)


@server_case(
    "BufferedProtocol echo, 100 KiB", Load("echo", connections=10, size=100 * KIB), operations=4_000
)
async def buffered_100k(door: Door) -> None:
    """The same with messages of 100 KiB."""
    await door.protocol(BufferedEcho)


@server_case(
    "TCP Protocol echo, 1 connection", Load("echo", connections=1, size=KIB), operations=10_000
)
async def protocol_alone(door: Door) -> None:
    """One connection, messages of 1 KiB: the server sleeps between two of them."""
    await door.protocol(Echo)


@server_case(
    "TCP Protocol echo, 100 connections", Load("echo", connections=100, size=KIB), operations=30_000
)
async def protocol_100(door: Door) -> None:
    """A hundred connections, messages of 1 KiB."""
    await door.protocol(Echo)


@server_case(
    "TCP Protocol echo, 1,000 connections",
    Load("echo", connections=1_000, size=KIB),
    operations=30_000,
)
async def protocol_1000(door: Door) -> None:
    """A thousand connections, messages of 1 KiB."""
    await door.protocol(Echo)


@server_case("Unix Protocol echo, 1 KiB", TEN, operations=30_000, entrance=Entrance.UNIX)
async def unix_protocol(door: Door) -> None:
    """Ten connections through a Unix socket, messages of 1 KiB."""
    await door.protocol(Echo)


class Scattered(Connected, asyncio.Protocol):
    """Answers a message with a hundred copies, each written by itself."""

    def data_received(self, data: bytes) -> None:
        for _ in range(100):
            self.transport.write(data)


class Listed(Scattered):
    """The same with one call."""

    def data_received(self, data: bytes) -> None:
        self.transport.writelines([data] * 100)


BURST = Load("echo", connections=10, size=64, times=100)


@server_case("100 small writes in one turn", BURST, operations=1_500)
async def writes_100(door: Door) -> None:
    """Ten connections; a message of 64 bytes is answered with a hundred writes of 64 bytes."""
    await door.protocol(Scattered)


@server_case("writelines of 100", BURST, operations=6_000)
async def writelines_100(door: Door) -> None:
    """The same, written by one call of `writelines`."""
    await door.protocol(Listed)


class Hasty(Connected, asyncio.Protocol):
    """Closes a connection as soon as it has it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.close()


@server_case("accept and close, Protocol", Load("visit", connections=10), operations=6_000)
async def accept_protocol(door: Door) -> None:
    """Ten clients at a time connect and are closed at once; an operation is a connection."""
    await door.protocol(Hasty)
