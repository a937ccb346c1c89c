"""Clients. Opposite is `saburo-load`, which sends back what it gets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from benches import peers
from benches.case import WrongResult
from benches.cases.protocols import Connected
from benches.traffic import KIB, Work, at_once, client_case

CROWD = 50
MESSAGE = bytes(range(256)) * (KIB // 256)


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def message(number: int) -> bytes:
    """No two that are under way at once are the same."""
    return number.to_bytes(8, "big") + MESSAGE[8:]


@client_case(
    "client, 50 streams",
    operations=20_000,
    step=CROWD,
    peer=peers.ECHO,
)
async def client_streams(address: str) -> AsyncIterator[Work]:
    """Fifty connections with a task each: `write`, `drain` and `readexactly` of 1 KiB."""
    # The loop's own streams, where it brings some.
    module = sys.modules[type(asyncio.get_running_loop()).__module__.partition(".")[0]]
    connect = getattr(module, "open_connection", asyncio.open_connection)
    connections = [await connect(*host_and_port(address)) for _ in range(CROWD)]

    async def talk(number: int, share: int) -> int:
        reader, writer = connections[number]
        seen = 0
        for turn in range(share):
            question = message(number * share + turn)
            writer.write(question)
            await writer.drain()
            seen += await reader.readexactly(KIB) == question
        return seen

    async def work(operations: int) -> int:
        return await at_once(CROWD, operations, talk)

    yield work
    for _, writer in connections:
        writer.close()


class Asking(Connected, asyncio.Protocol):
    """Sends a message, waits for it to come back, sends the next."""

    def __init__(self, number: int) -> None:
        self.number = number

    def begin(self, share: int) -> asyncio.Future[int]:
        self.left = share
        self.seen = 0
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ask()
        return self.done

    def ask(self) -> None:
        self.answer = b""
        self.question = message(self.number << 32 | self.left)
        self.transport.write(self.question)

    def data_received(self, data: bytes) -> None:
        if self.answer:
            data = self.answer + data
        if len(data) < KIB:
            self.answer = data
            return
        self.seen += data == self.question
        self.left -= 1
        if self.left:
            self.ask()
        else:
            self.done.set_result(self.seen)


@client_case(
    "client, 50 protocols",
    operations=20_000,
    step=CROWD,
    peer=peers.ECHO,
)
async def client_protocols(address: str) -> AsyncIterator[Work]:
    """Fifty connections with a Protocol each: 1 KiB there and back, again and again."""
    loop = asyncio.get_running_loop()
    clients = [
        (
            await loop.create_connection(
                lambda number=number: Asking(number),  # type: ignore[misc]
                *host_and_port(address),
            )
        )[1]
        for number in range(CROWD)
    ]

    async def work(operations: int) -> int:
        share = operations // CROWD
        return sum(await asyncio.gather(*(client.begin(share) for client in clients)))

    yield work
    for client in clients:
        client.transport.close()


class Passing(asyncio.Protocol):
    """Knows when it is over."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self.lost.set_result(1)
        else:
            self.lost.set_exception(WrongResult(f"the connection was lost: {exc}"))


@client_case(
    "client, connect and close",
    operations=2_000,
    step=10,
    peer=peers.ECHO,
)
async def client_connect(address: str) -> AsyncIterator[Work]:
    """Ten tasks that make a connection and close it again; an operation is a connection."""
    loop = asyncio.get_running_loop()

    async def visit(number: int, share: int) -> int:
        seen = 0
        for _ in range(share):
            transport, protocol = await loop.create_connection(Passing, *host_and_port(address))
            transport.close()
            seen += await protocol.lost
        return seen

    async def work(operations: int) -> int:
        return await at_once(10, operations, visit)

    yield work
