"""Does everything to descriptors at once, and counts the bytes that reach the wrong place.

    python tests/support/descriptor_stress.py --seconds 300 --seed 1

Connections of all kinds send frames: a random secret of the connection, a number, a length, and as
many bytes of the secret. Every callback may close, detach, duplicate or free the sockets and files
of some connections. Other sockets get their numbers, and the objects that have lost their
descriptors are used further. Bytes that reach another connection are counted. The exit code is 0 if
there were none, every wait has ended, and nothing was closed by another than its owner.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import errno
import gc
import os
import random
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

WORKERS = 10
PATIENCE = 20.0
"""Seconds after which a wait is counted as one without an end."""
SIZES = (1, 20, 500, 4_000, 40_000, 300_000)
ACTS = 0.3
"""The probability that a callback does one of these things."""


class Line:
    """One direction of a conversation: what was said and has not been heard yet.

    An end that has lost its descriptor may still hear what was read before: the collector can take
    the descriptor away between the read and the first line of `data_received`. So the bytes alone
    decide. No other line has the same secret.
    """

    def __init__(self, stress: Stress) -> None:
        self.stress = stress
        self.secret = stress.random.randbytes(16)
        self.said = 0
        self.expected = bytearray()
        self.datagrams: collections.deque[bytes] = collections.deque()

    def frame(self, limit: int = 1_000_000) -> bytes:
        size = min(self.stress.random.choice(SIZES), limit)
        self.said += 1
        body = (self.secret * (size // 16 + 1))[:size]
        return self.secret + struct.pack("!II", self.said, size) + body

    def hear(self, data: bytes | bytearray | memoryview) -> None:
        stress, size = self.stress, len(data)
        stress.counts["bytes heard"] += size
        if self.expected[:size] == data:
            del self.expected[:size]
        else:
            stress.misdelivered(size, "a stream")

    def hear_datagram(self, data: bytes) -> None:
        self.stress.counts["bytes heard"] += len(data)
        while self.datagrams:
            if self.datagrams.popleft() == data:
                return
        self.stress.misdelivered(len(data), "a datagram")


class ActingSocket(socket.socket):
    """Acts when it is asked for its number."""

    stress: Any = None

    def fileno(self) -> int:
        number = super().fileno()
        if self.stress is not None:
            self.stress.act("fileno")
        return number


class Data(bytearray):
    """Acts when it is asked for its bytes (3.12 and later)."""

    stress: Any = None

    def __buffer__(self, flags: int) -> memoryview:
        if self.stress is not None:
            self.stress.act("__buffer__")
        return super().__buffer__(flags)  # type: ignore[misc, no-any-return, unused-ignore]


class ActsWhenFreed:
    """Acts when the garbage collector frees it."""

    def __init__(self, stress: Stress) -> None:
        self.stress = stress
        self.itself = self

    def __del__(self) -> None:
        self.stress.act("__del__")


class Bystander:
    """A pair of sockets that may have numbers of closed ones; no connection may touch it."""

    def __init__(self, stress: Stress) -> None:
        kind = stress.random.choice((socket.SOCK_STREAM, socket.SOCK_DGRAM))
        self.stress, self.turns = stress, stress.random.randrange(1, 12)
        self.ends = socket.socketpair(socket.AF_UNIX, kind)
        self.words = stress.random.randbytes(32)
        self.identities = [os.fstat(end.fileno()).st_ino for end in self.ends]
        for end in self.ends:
            end.setblocking(False)
            end.send(self.words)

    def check(self) -> None:
        for end, identity in zip(self.ends, self.identities, strict=True):
            heard = b""
            try:
                if os.fstat(end.fileno()).st_ino != identity:
                    raise OSError
                with contextlib.suppress(BlockingIOError):
                    heard = end.recv(1_000_000)
            except OSError:
                self.stress.counts["closed by others"] += 1
            if heard != self.words:
                # A connection has written into it, or read from it.
                self.stress.misdelivered(abs(len(heard) - 32) or 32, "a bystander")
        for end in self.ends:
            end.close()


class End:
    """One end of a conversation, and the object that owns its descriptor."""

    def __init__(self, stress: Stress, said: Line, heard: Line) -> None:
        self.stress, self.said, self.heard = stress, said, heard
        self.owner: Any = None
        self.transport: Any = None
        self.is_lost = False

    def lose(self) -> None:
        """Closes its descriptor by way of the owner, as a careless program does."""
        stress = self.stress
        owner, self.owner = self.owner, None
        if owner is None and self.transport is not None:
            shown = self.transport.get_extra_info("socket")
            owner = shown and shown._sock
        try:
            if owner is None or owner.fileno() < 0:
                return
        except ValueError:  # a file that is closed
            return
        self.is_lost = True
        chance = stress.random.random()
        if chance < 0.15 and hasattr(owner, "dup"):
            stress.kept.append(owner.dup())
        if chance < 0.4 and isinstance(owner, socket.socket):
            os.close(owner.detach())
        else:
            owner.close()
        if chance > 0.5:
            stress.kept.append(owner)

    def say(self) -> None:
        frame = self.said.frame()
        if not self.is_lost:
            self.said.expected += frame
        data: Any = frame
        if self.stress.random.random() < 0.3:
            data = Data(frame)
            data.stress = self.stress
        self.transport.write(data)

    async def finish(self) -> None:
        raise NotImplementedError

    def misuse(self) -> None:
        """Uses it after it has lost its descriptor, which must not reach another connection."""
        transport = self.transport
        if transport is None:
            return
        actions: list[Callable[[], Any]] = [
            self.say,
            self.say,
            self.say,
            lambda: transport.writelines([self.said.frame(), self.said.frame()]),
            lambda: transport.write_eof(),
            lambda: transport.pause_reading(),
            lambda: transport.resume_reading(),
            lambda: transport.get_write_buffer_size(),
            lambda: transport.set_write_buffer_limits(self.stress.random.choice((0, 100_000))),
            lambda: transport.get_extra_info("peername"),
            lambda: transport.close(),
            lambda: transport.abort(),
        ]
        with contextlib.suppress(OSError, RuntimeError, AttributeError):
            self.stress.random.choice(actions)()


class Talker(End, asyncio.Protocol):
    """Over a transport of the loop's."""

    def __init__(self, stress: Stress, said: Line, heard: Line) -> None:
        super().__init__(stress, said, heard)
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self not in self.stress.exposed:
            self.stress.exposed.append(self)
        self.stress.act("connection_made")

    def data_received(self, data: bytes) -> None:
        self.heard.hear(data)
        self.stress.act("data_received")

    def eof_received(self) -> bool:
        self.stress.act("eof_received")
        return self.stress.random.random() < 0.5

    def pause_writing(self) -> None:
        self.stress.act("pause_writing")

    def resume_writing(self) -> None:
        self.stress.act("resume_writing")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.stress.act("connection_lost")
        if not self.gone.done():
            self.gone.set_result(None)

    async def finish(self) -> None:
        if self.transport is not None:
            # A pipe's reading end has only close().
            getattr(self.transport, "abort", self.transport.close)()
            await self.gone


class BufferedTalker(Talker, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> Any:
        self.stress.act("get_buffer")
        self.buffer = Data(70_000)
        if self.stress.random.random() < 0.2:
            self.buffer.stress = self.stress
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.buffer.stress = None
        self.heard.hear(memoryview(self.buffer)[:count])
        self.stress.act("buffer_updated")


class Writer(Talker):
    """The writing end of a pipe."""


class DatagramTalker(End, asyncio.DatagramProtocol):
    def __init__(self, stress: Stress, said: Line, heard: Line) -> None:
        super().__init__(stress, said, heard)
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.stress.act("connection_made")

    def say(self) -> None:
        frame = self.said.frame(8_000)
        if not self.is_lost:
            self.said.datagrams.append(frame)
        data: Any = frame
        if self.stress.random.random() < 0.3:
            data = Data(frame)
            data.stress = self.stress
        self.transport.sendto(data)

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.heard.hear_datagram(data)
        self.stress.act("datagram_received")

    def error_received(self, exc: Exception) -> None:
        self.stress.act("error_received")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.stress.act("connection_lost")
        if not self.gone.done():
            self.gone.set_result(None)

    async def finish(self) -> None:
        self.transport.abort()
        await self.gone


class StreamEnd(End):
    """Over saburo's streams."""

    async def open(self, sock: Any) -> None:
        streams: Any = self.stress.streams
        self.reader, self.writer = await streams.open_connection(sock=sock)
        self.transport = self.writer
        self.reading = asyncio.ensure_future(self.read())

    async def read(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self.reader.read(100_000):
                self.heard.hear(data)
                self.stress.act("StreamReader.read")

    async def finish(self) -> None:
        self.writer.transport.abort()
        self.reading.cancel()
        await asyncio.wait([self.reading])
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class WatchedEnd(End):
    """A socket of the program's, with add_reader()."""

    def open(self, sock: Any) -> None:
        sock.setblocking(False)
        self.owner = self.sock = sock
        self.stress.loop.add_reader(sock, self.readable)

    def readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                self.heard.hear(self.sock.recv(100_000))
            except OSError as error:
                if error.errno != errno.EBADF and not isinstance(error, ConnectionError):
                    raise
                self.stop()
        self.stress.act("reader")

    def stop(self) -> None:
        with contextlib.suppress(ValueError):
            self.stress.loop.remove_reader(self.sock)

    def say(self) -> None:
        frame = self.said.frame()
        with contextlib.suppress(OSError):
            sent = self.sock.send(frame)
            self.said.expected += frame[:sent]

    async def finish(self) -> None:
        self.stop()
        self.sock.close()


class WaitingEnd(End):
    """A socket of the program's, with sock_recv(), sock_recv_into() and sock_sendall()."""

    def open(self, sock: Any) -> None:
        sock.setblocking(False)
        self.owner = self.sock = sock
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.tasks = [asyncio.ensure_future(self.read()), asyncio.ensure_future(self.write())]

    async def read(self) -> None:
        buffer = bytearray(50_000)
        with contextlib.suppress(OSError):
            while True:
                if self.stress.random.random() < 0.5:
                    data = await self.stress.loop.sock_recv(self.sock, 50_000)
                else:
                    count = await self.stress.loop.sock_recv_into(self.sock, buffer)
                    data = bytes(buffer[:count])
                if not data:
                    return
                self.heard.hear(data)
                self.stress.act("sock_recv")

    async def write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self.stress.loop.sock_sendall(self.sock, await self.frames.get())

    def say(self) -> None:
        if not self.is_lost:
            frame = self.said.frame()
            self.said.expected += frame
            self.frames.put_nowait(frame)

    async def finish(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        self.sock.close()


def unblocked(*socks: socket.socket) -> list[socket.socket]:
    """Non-blocking, so that a loop that reads a wrong socket is counted and does not hang."""
    for sock in socks:
        sock.setblocking(False)
    return list(socks)


class Stress:
    def __init__(self, seed: int, streams: Any) -> None:
        self.random = random.Random(seed)
        self.streams = streams
        self.loop: Any = asyncio.get_running_loop()
        self.loop.set_exception_handler(self.report)
        self.counts: collections.Counter[str] = collections.Counter()
        self.places: collections.Counter[str] = collections.Counter()
        self.exposed: list[End] = []
        self.dead: collections.deque[End] = collections.deque(maxlen=40)
        self.kept: list[Any] = []
        self.bystanders: list[Bystander] = []
        self.is_acting = False
        self.ended = False

    def misdelivered(self, size: int, where: str) -> None:
        self.counts["bytes misdelivered"] += size
        self.places[f"misdelivered to {where}"] += 1

    def report(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno == errno.EBADF):
            self.counts["unexpected reports"] += 1
            print("unexpected:", context, file=sys.stderr)

    # ---- What callbacks do ----

    def act(self, where: str) -> None:
        if self.is_acting or self.ended or self.random.random() > ACTS:
            return
        self.is_acting = True
        try:
            chance = self.random.random()
            if chance < 0.35:
                self.close_some_descriptor(where)
            elif chance < 0.7 and self.dead:
                self.random.choice(self.dead).misuse()
            elif chance < 0.8:
                ActsWhenFreed(self)
            elif chance < 0.82:
                self.is_acting = False
                gc.collect()
            elif self.kept and chance < 0.9:
                kept = self.kept.pop(self.random.randrange(len(self.kept)))
                if hasattr(kept, "close"):
                    kept.close()
            else:
                self.check_bystanders()
        finally:
            self.is_acting = False

    def close_some_descriptor(self, where: str) -> None:
        if not self.exposed:
            return
        end = self.exposed.pop(self.random.randrange(len(self.exposed)))
        end.lose()
        if not end.is_lost:
            return
        self.places[f"lost in {where}"] += 1
        self.counts["descriptors lost"] += 1
        self.dead.append(end)
        for _ in range(self.random.randrange(3)):
            self.bystanders.append(Bystander(self))
        if self.random.random() < 0.7:
            end.misuse()

    def check_bystanders(self) -> None:
        waiting = []
        for bystander in self.bystanders:
            bystander.turns -= 1
            if bystander.turns > 0:
                waiting.append(bystander)
            else:
                self.counts["bystanders"] += 1
                bystander.check()
        self.bystanders = waiting

    # ---- Conversations ----

    def pair(self) -> list[Any]:
        return [self.any_socket(sock) for sock in unblocked(*socket.socketpair())]

    def any_socket(self, sock: socket.socket) -> Any:
        if self.random.random() < 0.25:
            acting = ActingSocket(fileno=sock.detach())
            acting.stress = self
            return acting
        return sock

    async def one_end(self, sock: Any, said: Line, heard: Line) -> Any:
        choice = self.random.randrange(5)
        end: Any
        if choice < 2:
            end = (Talker, BufferedTalker)[choice](self, said, heard)
            await self.loop.create_connection(lambda: end, sock=sock)
            end.owner = sock
        elif choice == 2:
            end = StreamEnd(self, said, heard)
            await end.open(sock)
            end.owner = sock
        else:
            end = (WatchedEnd, WaitingEnd)[choice - 3](self, said, heard)
            end.open(sock)
        return end

    async def over_a_pair(self) -> list[End]:
        there, back = Line(self), Line(self)
        one, two = self.pair()
        return [await self.one_end(one, there, back), await self.one_end(two, back, there)]

    async def over_tcp(self) -> list[End]:
        there, back = Line(self), Line(self)
        accepted, client = Talker(self, there, back), Talker(self, back, there)
        server = await self.loop.create_server(lambda: accepted, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await self.loop.create_connection(lambda: client, *address)
        while accepted.transport is None:
            await asyncio.sleep(0)
        server.close()
        return [accepted, client]

    async def over_datagrams(self) -> list[End]:
        there, back = Line(self), Line(self)
        ends: list[End] = []
        socks = unblocked(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        for sock, said, heard in zip(socks, (there, back), (back, there), strict=True):
            end = DatagramTalker(self, said, heard)
            await self.loop.create_datagram_endpoint(lambda end=end: end, sock=sock)
            end.owner = sock
            ends.append(end)
        return ends

    async def over_a_pipe(self) -> list[End]:
        there = Line(self)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        reader, writer = Talker(self, Line(self), there), Writer(self, there, Line(self))
        buffering = self.random.choice((0, -1))
        for end, number, mode in ((reader, reading, "rb"), (writer, writing, "wb")):
            file = os.fdopen(number, mode, buffering)
            connect = self.loop.connect_read_pipe if mode == "rb" else self.loop.connect_write_pipe
            await connect(lambda end=end: end, file)
            end.owner = file
        return [writer, reader]

    async def converse(self) -> None:
        make = self.random.choice(
            (
                self.over_a_pair,
                self.over_a_pair,
                self.over_tcp,
                self.over_datagrams,
                self.over_a_pipe,
            )
        )
        ends = await make()
        self.counts["conversations"] += 1
        speakers = ends[:1] if isinstance(ends[0], Writer) else ends
        self.exposed += [end for end in ends if end not in self.exposed and not end.is_lost]
        for _ in range(self.random.randrange(1, 8)):
            speaker = self.random.choice(speakers)
            with contextlib.suppress(RuntimeError, OSError):
                speaker.say()
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
            self.act("a task")
        if self.random.random() < 0.5:
            # Nothing is done to it from now on, so everything must arrive.
            self.exposed = [end for end in self.exposed if end not in ends]
            await self.hear_out(ends)
        self.exposed = [end for end in self.exposed if end not in ends]
        for end in ends:
            await self.finish(end)
        for end in ends:
            if end.owner is not None and end.transport is None:
                end.owner.close()

    async def finish(self, end: End) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await end.finish()
        except TimeoutError:
            self.counts["waits without an end"] += 1

    async def hear_out(self, ends: list[End]) -> None:
        deadline = time.monotonic() + PATIENCE
        while any(end.heard.expected for end in ends):
            if any(end.is_lost or self.is_over(end) for end in ends):
                return
            if time.monotonic() > deadline:
                self.counts["waits without an end"] += 1
                return
            await asyncio.sleep(0)
        self.counts["conversations heard out"] += 1

    @staticmethod
    def is_over(end: End) -> bool:
        return end.transport is not None and bool(end.transport.is_closing())

    async def send_a_file(self) -> None:
        there = Line(self)
        one, two = unblocked(*socket.socketpair())
        end, other = Talker(self, there, Line(self)), WatchedEnd(self, Line(self), there)
        other.open(two)
        await self.loop.create_connection(lambda: end, sock=one)
        end.owner = one
        with tempfile.TemporaryFile() as file:
            for _ in range(4):
                frame = there.frame()
                there.expected += frame
                file.write(frame)
            file.flush()
            sending = asyncio.ensure_future(self.loop.sendfile(end.transport, file))
            for _ in range(self.random.randrange(8)):
                await asyncio.sleep(0)
            if self.random.random() < 0.3:
                file.close()
                self.bystanders.append(Bystander(self))
            elif self.random.random() < 0.5:
                self.exposed.append(end)
                self.act("sendfile")
            for _ in range(30):
                await asyncio.sleep(0)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, ValueError, RuntimeError):
                await sending
            self.counts["files"] += 1
        self.exposed = [exposed for exposed in self.exposed if exposed is not end]
        await self.finish(end)
        await self.finish(other)

    async def listen(self) -> None:
        """A server whose listening socket is closed; the next one gets its number."""
        greetings = [self.random.randbytes(16) for _ in range(2)]

        def greeter(words: bytes) -> Callable[[], asyncio.Protocol]:
            class Greeter(asyncio.Protocol):
                def connection_made(self, transport: Any) -> None:
                    transport.write(words)
                    transport.close()

            return Greeter

        (first,) = unblocked(socket.create_server(("127.0.0.1", 0)))
        server = await self.loop.create_server(greeter(greetings[0]), sock=first)
        clients = unblocked(socket.create_connection(first.getsockname()))
        for _ in range(self.random.randrange(3)):
            await asyncio.sleep(0)
        first.close()
        (second,) = unblocked(socket.create_server(("127.0.0.1", 0)))
        clients += unblocked(socket.create_connection(second.getsockname()))
        for _ in range(self.random.randrange(3)):
            await asyncio.sleep(0)
        other = await self.loop.create_server(greeter(greetings[1]), sock=second)
        server.close()
        heard = await self.read_whole(clients[1])
        if heard != greetings[1]:
            self.misdelivered(len(heard) or 1, "another server's client")
        with contextlib.suppress(OSError):
            heard = clients[0].recv(100)
            if heard not in (b"", greetings[0]):
                self.misdelivered(len(heard), "another server's client")
        self.counts["servers"] += 1
        other.close()
        for client in clients:
            client.close()
        await asyncio.sleep(0)

    async def read_whole(self, client: socket.socket) -> bytes:
        heard = b""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                part = client.recv(100)
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            except ConnectionError:
                return heard
            if not part:
                return heard
            heard += part
        self.counts["waits without an end"] += 1
        return heard

    async def work(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            chance = self.random.random()
            try:
                if chance < 0.85:
                    await self.converse()
                elif chance < 0.93:
                    await self.send_a_file()
                else:
                    await self.listen()
            except Exception as error:
                self.counts["unexpected errors"] += 1
                traceback.print_exception(error)
            self.check_bystanders()

    async def run(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self.work(deadline))
        self.ended = True
        for _ in range(10):
            await asyncio.sleep(0.001)
        for bystander in self.bystanders:
            self.counts["bystanders"] += 1
            bystander.check()
        self.bystanders.clear()
        for end in self.dead:
            if end.transport is not None:
                end.transport.close()
        self.dead.clear()
        for kept in self.kept:
            with contextlib.suppress(OSError):
                kept.close()
        self.kept.clear()
        await asyncio.sleep(0)
        gc.collect()


FAULTS = (
    "bytes misdelivered",
    "closed by others",
    "waits without an end",
    "unexpected errors",
    "unexpected reports",
)


async def stress(seconds: float, seed: int, streams: Any) -> Stress:
    threshold = gc.get_threshold()
    gc.set_threshold(300, 5, 5)
    try:
        made = Stress(seed, streams)
        await made.run(seconds)
        return made
    finally:
        gc.set_threshold(*threshold)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    import logging

    import saburo

    logging.getLogger("asyncio").setLevel(logging.ERROR)  # "socket.send() raised exception."

    done = saburo.run(stress(options.seconds, options.seed, saburo))
    for fault in FAULTS:
        done.counts[fault] += 0
    for what, count in sorted((done.counts + collections.Counter()).items()):
        print(f"{count:>14,} {what}")
    for what, count in sorted(done.places.items()):
        print(f"{count:>14,} {what}")
    for fault in FAULTS:
        print(f"{done.counts[fault]:>14,} {fault}")
    return int(any(done.counts[fault] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
