"""What a connection costs that is open and silent."""

from __future__ import annotations

from benches.case import Measure
from benches.cases.protocols import Echo
from benches.cases.streams import echo
from benches.door import Door
from benches.generator import Load
from benches.traffic import KIB, server_case

MEMORY = (Measure.MEMORY,)
ONE_MESSAGE = Load("echo", size=KIB)
ONE_BYTE = Load("echo", size=1)


@server_case("idle connection, Protocol", ONE_MESSAGE, operations=4_000, measures=MEMORY, rounds=3)
async def idle_protocol(door: Door) -> None:
    """Resident memory of the server for each of 4,000 silent connections."""
    await door.protocol(Echo)


@server_case("idle connection, streams", ONE_MESSAGE, operations=4_000, measures=MEMORY, rounds=3)
async def idle_streams(door: Door) -> None:
    """The same with streams, each with a task that waits and has its last message."""
    await door.streams(echo)


@server_case(
    "idle connection, streams, a byte", ONE_BYTE, operations=4_000, measures=MEMORY, rounds=3
)
async def idle_streams_byte(door: Door) -> None:
    """The same after a message of one byte, which takes no memory of its own."""
    await door.streams(echo)
