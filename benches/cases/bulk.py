"""Very many bytes one way. An operation is a chunk of 64 KiB.

A client that downloads says how many bytes it wants, in eight bytes, and checks them all. One that
uploads says how many will come, and hears in the end how many were seen.
"""

from __future__ import annotations

import asyncio

from benches import folder
from benches.cases.protocols import Connected
from benches.door import Door
from benches.generator import Load
from benches.traffic import KIB, server_case

CHUNK = 64 * KIB
DOWN = Load("download", size=CHUNK)
UP = Load("upload", size=CHUNK)


def chunks() -> list[bytes]:
    """The pattern's, to be written again and again."""
    pattern = folder.pattern().read_bytes()
    return [pattern[at : at + CHUNK] for at in range(0, len(pattern), CHUNK)]


class Giver(Connected, asyncio.Protocol):
    """Writes as long as the transport does not say stop."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks
        self.written = self.wanted = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        self.written, self.wanted = 0, int.from_bytes(data, "big") // CHUNK
        self.go_on()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.go_on()

    def go_on(self) -> None:
        while self.written < self.wanted and not self.paused:
            chunk = self.chunks[self.written % len(self.chunks)]
            self.written += 1
            self.transport.write(chunk)


async def give(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunks: list[bytes]
) -> None:
    while question := await reader.read(8):
        for number in range(int.from_bytes(question, "big") // CHUNK):
            writer.write(chunks[number % len(chunks)])
            await writer.drain()
    writer.close()


class Tally:
    """Of what a client uploads. The first upload of a connection, which is not timed, is compared
    byte for byte; of later ones the ends of every piece, or comparing would be what is timed."""

    def __init__(self, pattern: bytes) -> None:
        self.size = len(pattern)
        # Twice, so that a piece that goes over the end is in one piece here.
        self.pattern = pattern * 2
        self.seen = self.total = self.uploads = 0

    def begin(self, total: int) -> None:
        self.seen, self.total = 0, total
        self.uploads += 1

    def add(self, data: bytes) -> bool:
        """Whether that was the last piece."""
        begin = self.seen % self.size
        end = begin + len(data)
        if self.uploads == 1:
            right = data == self.pattern[begin:end]
        else:
            right = data[:8] == self.pattern[begin : min(end, begin + 8)]
            right = right and data[-8:] == self.pattern[max(begin, end - 8) : end]
        self.seen += len(data)
        assert right, f"wrong bytes before byte {self.seen}"
        assert self.seen <= self.total, f"{self.seen - self.total} bytes too many"
        return self.seen == self.total

    def report(self) -> bytes:
        return self.seen.to_bytes(8, "big")


class Taker(Connected, asyncio.Protocol):
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.head = b""

    def data_received(self, data: bytes) -> None:
        tally = self.tally
        if tally.seen == tally.total:
            self.head += data
            if len(self.head) < 8:
                return
            tally.begin(int.from_bytes(self.head[:8], "big"))
            data, self.head = self.head[8:], b""
            if not data:
                return
        if tally.add(data):
            self.transport.write(tally.report())


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally) -> None:
    while True:
        try:
            head = await reader.readexactly(8)
        except asyncio.IncompleteReadError:
            break
        tally.begin(int.from_bytes(head, "big"))
        while not tally.add(await reader.read(256 * KIB)):
            pass
        writer.write(tally.report())
    writer.close()


@server_case("bulk write, Protocol", DOWN, operations=8_000)
async def bulk_write_protocol(door: Door) -> None:
    """Writes of 64 KiB until the transport pauses the protocol, and again when it resumes it."""
    pieces = chunks()
    await door.protocol(lambda: Giver(pieces))


@server_case("bulk write, stream and drain", DOWN, operations=8_000)
async def bulk_write_streams(door: Door) -> None:
    """`write` of 64 KiB and `drain`, again and again."""
    pieces = chunks()
    await door.streams(lambda reader, writer: give(reader, writer, pieces))


@server_case("bulk receive, Protocol", UP, operations=8_000)
async def bulk_receive_protocol(door: Door) -> None:
    """`data_received`, as fast as the client can send."""
    pattern = folder.pattern().read_bytes()
    await door.protocol(lambda: Taker(Tally(pattern)))


@server_case("bulk receive, streams", UP, operations=8_000, with_stdlib_streams=True)
async def bulk_receive_streams(door: Door) -> None:
    """`read` of up to 256 KiB, as fast as the client can send."""
    pattern = folder.pattern().read_bytes()
    await door.streams(lambda reader, writer: take(reader, writer, Tally(pattern)))


@server_case("sendfile", DOWN, operations=8_000)
async def sendfile(door: Door) -> None:
    """`loop.sendfile` of a file of 16 MiB, again and again."""
    path = folder.large_file()
    loop = asyncio.get_running_loop()

    class Sender(Giver):
        def data_received(self, data: bytes) -> None:
            door.spawn(self.send(int.from_bytes(data, "big")))

        async def send(self, left: int) -> None:
            with path.open("rb") as file:
                while left:
                    now = min(left, folder.FILE_SIZE)
                    sent = await loop.sendfile(self.transport, file, 0, now)
                    assert sent == now, f"{sent} bytes were sent instead of {now}"
                    left -= now

    await door.protocol(lambda: Sender([]))
