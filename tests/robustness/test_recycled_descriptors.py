"""Descriptors recycled as fast as can be: every byte reaches the connection it was meant for.

Servers, clients, raw sockets and pipes open and close all the time, in order and out of it, so that
the same few numbers stand for another thing in nearly every turn. Each conversation has a text of
its own, and none may ever see another's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import Kind
from support.descriptor_stress import FAULTS, stress
from support.network import DerivedSocket, Recorder
from support.waiting import until

Run = Callable[..., Any]
WORKERS = 12
CONVERSATIONS = 150


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Place:
    """A server that is there at times, and then again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "socket")
        self.server: Any = None
        self.address: Any = None

    async def open(self, loop: Any) -> None:
        self.server = await loop.create_server(Echo, "127.0.0.1", 0)
        self.unix = await loop.create_unix_server(Echo, self.path)
        self.address = self.server.sockets[0].getsockname()

    async def move(self, loop: Any) -> None:
        self.server.close()
        self.server = await loop.create_server(Echo, "127.0.0.1", 0)
        self.address = self.server.sockets[0].getsockname()

    async def close(self) -> None:
        self.server.close()
        self.unix.close()
        if hasattr(self.server, "close_clients"):
            self.server.close_clients()
            self.unix.close_clients()


class Worker:
    def __init__(self, number: int, place: Place) -> None:
        self.number = number
        self.place = place
        self.random = random.Random(number)
        self.said = 0
        self.loop: Any = asyncio.get_running_loop()

    def text(self) -> bytes:
        self.said += 1
        return f"<{self.number}/{self.said}>".encode() * self.random.choice((1, 50, 5000))

    async def work(self) -> None:
        ways = [
            self.converse,
            self.converse_over_unix,
            self.hang_up_early,
            self.give_up_connecting,
            self.give_up_on_a_given_socket,
            self.use_raw_sockets,
            self.use_a_pipe,
            self.watch_descriptors,
        ]
        for _ in range(CONVERSATIONS):
            await self.random.choice(ways)()

    async def converse(self) -> None:
        try:
            _, protocol = await self.loop.create_connection(Recorder, *self.place.address)
        except ConnectionError:
            return  # it has just moved
        await self.speak(protocol)

    async def converse_over_unix(self) -> None:
        _, protocol = await self.loop.create_unix_connection(Recorder, self.place.path)
        await self.speak(protocol)

    async def speak(self, protocol: Recorder) -> None:
        text = self.text()
        protocol.transport.write(text)
        while len(protocol.data) < len(text) and not protocol.lost.done():
            await asyncio.sleep(0)
        assert text.startswith(bytes(protocol.data))
        protocol.transport.close()
        await protocol.lost

    async def hang_up_early(self) -> None:
        try:
            _, protocol = await self.loop.create_connection(Recorder, *self.place.address)
        except ConnectionError:
            return
        text = self.text()
        protocol.transport.write(text)
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        protocol.transport.abort()
        await protocol.lost
        assert text.startswith(bytes(protocol.data))

    async def give_up_connecting(self) -> None:
        call = self.loop.create_connection(
            Recorder,
            *self.place.address,
            happy_eyeballs_delay=self.random.choice((None, 0)),
        )
        task = asyncio.ensure_future(call)
        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            transport, _ = await task
        except (asyncio.CancelledError, ConnectionError):
            return
        transport.close()

    async def give_up_on_a_given_socket(self) -> None:
        one, two = socket.socketpair()
        task = asyncio.ensure_future(self.loop.create_connection(Recorder, sock=one))
        for _ in range(self.random.randrange(3)):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            transport, _ = await task
            transport.abort()
        # Closed at once, while the loop may still have something to do with it.
        one.close()
        two.close()

    async def use_raw_sockets(self) -> None:
        one, two = socket.socketpair()
        with one, two:
            one.setblocking(False)
            two.setblocking(False)
            text = self.text()
            reading = asyncio.ensure_future(self.loop.sock_recv(two, len(text)))
            await asyncio.sleep(0)
            await self.loop.sock_sendall(one, text)
            assert text.startswith(await reading)
            waiting = asyncio.ensure_future(self.loop.sock_recv(one, 1))
            await asyncio.sleep(0)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting

    async def use_a_pipe(self) -> None:
        reading, writing = os.pipe()
        reader, protocol = await self.loop.connect_read_pipe(Recorder, os.fdopen(reading, "rb", 0))
        writer, _ = await self.loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(writing, "wb", 0)
        )
        text = self.text()
        writer.write(text)
        if self.random.random() < 0.5:
            writer.close()
            await protocol.lost
            assert protocol.data == text
        else:
            writer.abort()
            reader.close()
            await protocol.lost
            assert text.startswith(bytes(protocol.data))
        await asyncio.sleep(0)

    async def watch_descriptors(self) -> None:
        """And close them without a word, as careless programs do."""
        one, two = socket.socketpair()
        seen: list[bytes] = []
        text = self.text()
        number = one.fileno()
        self.loop.add_reader(one, lambda: seen.append(one.recv(100)))
        two.send(text[:100])
        await asyncio.sleep(0)
        self.loop.remove_reader(number)
        one.close()
        two.close()
        await asyncio.sleep(0)
        assert all(text.startswith(part) for part in seen)


@pytest.mark.saburo_only
def test_every_byte_reaches_the_connection_it_was_meant_for(run: Run, tmp_path: Path) -> None:
    """asyncio loses sockets of cancelled calls on the way."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: heard.append(context))
        place = Place(tmp_path)
        await place.open(loop)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(Worker(number, place).work()) for number in range(WORKERS)]
            while not all(task.done() for task in tasks):
                await asyncio.sleep(0.002)
                await place.move(loop)
        await place.close()
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not heard

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("whose", [socket.socket, DerivedSocket])
@pytest.mark.parametrize("use", ["write", "write_much", "write_eof", "read_again", "close"])
def test_a_socket_closed_behind_its_transport_is_no_way_into_another_connection(
    run: Run, use: str, whose: type[socket.socket]
) -> None:
    """Whoever gave the socket has closed it, and the next connection has its number. asyncio
    refuses the bytes as well, but takes the next connection out of the selector."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted: list[Recorder] = []

        def accept() -> Recorder:
            accepted.append(Recorder())
            return accepted[-1]

        server = await loop.create_server(accept, "127.0.0.1", 0)
        ours, theirs = socket.socketpair()
        ours = whose(fileno=ours.detach())
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        if use == "read_again":
            transport.pause_reading()
        number = ours.fileno()
        client = socket.socket()
        ours.close()
        with client, theirs:
            client.connect(server.sockets[0].getsockname())
            await until(lambda: bool(accepted) and accepted[0].transport is not None)
            assert accepted[0].transport.get_extra_info("socket").fileno() == number

            if use == "write":
                transport.write(b"for somebody else")
            elif use == "write_much":
                transport.write(bytearray(1_000_000))
            elif use == "close":
                transport.close()
            else:
                with pytest.raises(OSError, match="Bad file descriptor"):
                    transport.write_eof() if use == "write_eof" else transport.resume_reading()
            client.send(b"ping")
            await until(lambda: accepted[0].data == b"ping")
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(100)
            if use.startswith("write") and use != "write_eof":
                lost = await protocol.lost
                assert isinstance(lost, OSError)
                assert lost.errno == errno.EBADF
            assert not protocol.data
            transport.abort()
            accepted[0].transport.abort()
            server.close()
            await protocol.lost
            await accepted[0].lost

    run(main())


def test_a_datagram_is_not_sent_by_a_socket_that_was_closed_behind_its_transport(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        failures: list[OSError] = []

        class Datagrams(asyncio.DatagramProtocol):
            def error_received(self, exc: Exception) -> None:
                assert isinstance(exc, OSError)
                failures.append(exc)

        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with theirs:
            ours.bind(("127.0.0.1", 0))
            theirs.bind(("127.0.0.1", 0))
            theirs.setblocking(False)
            transport, _ = await loop.create_datagram_endpoint(Datagrams, sock=ours)
            number = ours.fileno()
            ours.close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as recycled:
                assert recycled.fileno() == number
                transport.sendto(b"for somebody else", theirs.getsockname())
                assert [failure.errno for failure in failures] == [errno.EBADF]
                with pytest.raises(BlockingIOError):
                    theirs.recv(100)
                transport.abort()
                await asyncio.sleep(0)
                assert recycled.fileno() == number
                os.fstat(number)

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("seed", [1, 2])
def test_everything_done_to_descriptors_at_once_brings_no_byte_to_the_wrong_place(
    kind: Kind, run: Run, seed: int
) -> None:
    """For minutes: `python tests/support/descriptor_stress.py --seconds 300`. asyncio goes by the
    numbers of pipes, and takes others out of the selector."""

    async def main() -> None:
        done = await stress(1.5, seed, kind.streams)
        assert done.counts["descriptors lost"]
        assert done.counts["conversations heard out"]
        assert not {fault: done.counts[fault] for fault in FAULTS if done.counts[fault]}, (
            done.places
        )

    run(main())
