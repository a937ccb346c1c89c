"""TLS 1.3 with whatever cipher both ends like best; servers behind an `ssl.SSLContext`."""

from __future__ import annotations

from benches.case import Measure
from benches.cases.bulk import DOWN, Giver, chunks
from benches.cases.protocols import Echo
from benches.cases.streams import echo
from benches.door import Door
from benches.generator import Load
from benches.traffic import KIB, TLS, server_case

TEN = Load("echo", connections=10, size=KIB)


@server_case("TLS Protocol echo, 10 connections", TEN, operations=15_000, group=TLS, secure=True)
async def tls_protocol_10(door: Door) -> None:
    """Ten connections, messages of 1 KiB."""
    await door.protocol(Echo)


@server_case(
    "TLS Protocol echo, 100 connections",
    Load("echo", connections=100, size=KIB),
    operations=15_000,
    group=TLS,
    secure=True,
)
async def tls_protocol_100(door: Door) -> None:
    """A hundred connections, messages of 1 KiB."""
    await door.protocol(Echo)


@server_case("TLS streams echo, 1 KiB", TEN, operations=15_000, group=TLS, secure=True)
async def tls_streams(door: Door) -> None:
    """Ten connections, messages of 1 KiB, with streams."""
    await door.streams(echo)


@server_case(
    "TLS Protocol echo, 100 KiB",
    Load("echo", connections=10, size=100 * KIB),
    operations=2_000,
    group=TLS,
    secure=True,
)
async def tls_100k(door: Door) -> None:
    """Ten connections, messages of 100 KiB."""
    await door.protocol(Echo)


@server_case("TLS bulk write, Protocol", DOWN, operations=4_000, group=TLS, secure=True)
async def tls_bulk_write(door: Door) -> None:
    """Writes of 64 KiB until the transport pauses the protocol; an operation is a write."""
    pieces = chunks()
    await door.protocol(lambda: Giver(pieces))


@server_case(
    "TLS handshakes",
    Load("visit", connections=10, size=16),
    operations=1_000,
    group=TLS,
    secure=True,
)
async def tls_handshake(door: Door) -> None:
    """Ten clients at a time: a full handshake, 16 bytes there and back, and a clean end."""
    await door.protocol(Echo)


@server_case(
    "TLS idle connection",
    Load("echo", size=KIB),
    operations=1_000,
    measures=(Measure.MEMORY,),
    rounds=3,
    group=TLS,
    secure=True,
)
async def tls_idle(door: Door) -> None:
    """Resident memory of the server for each of 1,000 silent connections."""
    await door.protocol(Echo)
