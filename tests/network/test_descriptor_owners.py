"""A descriptor's owner is a fact: whoever loses it by its object has no way into the next file.

The program closes, detaches or lets go of what it gave the loop, in any place where it is called,
and another file gets the number. No byte may go to that one or come from it, nobody closes it, and
whoever watches it goes on being told.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.both_loops import PATIENCE
from support.network import DerivedSocket, Recorder
from support.waiting import until

Run = Callable[..., Any]

needs_buffer_protocol = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="classes have no __buffer__ before 3.12"
)


class Delegating:
    """Not a socket at all, but as good as one."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def exact(sock: socket.socket) -> Any:
    return sock


def derived(sock: socket.socket) -> Any:
    return DerivedSocket(fileno=sock.detach())


OWNERS = [exact, derived, Delegating]


def lose(owner: Any, way: str) -> int:
    """Takes the descriptor away from whoever was given its owner; the number it had."""
    number: int = owner.fileno()
    if way == "close":
        owner.close()
    else:
        os.close(owner.detach())
    return number


class Victim:
    """The file that has the number now. It is nobody's business but its own."""

    def __init__(self, number: int, kind: Any = socket.SOCK_STREAM) -> None:
        self.sock, self.peer = socket.socketpair(socket.AF_UNIX, kind)
        assert self.sock.fileno() == number
        self.sock.setblocking(False)
        self.peer.setblocking(False)
        self.identity = os.fstat(number).st_ino
        self.peer.send(b"for the victim")

    def check(self) -> None:
        with pytest.raises(BlockingIOError):
            self.peer.recv(100)
        assert os.fstat(self.sock.fileno()).st_ino == self.identity
        assert self.sock.recv(100) == b"for the victim"
        self.sock.close()
        self.peer.close()


async def turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def send_file(transport: Any) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(b"for somebody else")
    file.flush()

    async def send() -> None:
        with file, contextlib.suppress(OSError):
            await asyncio.get_running_loop().sendfile(transport, file)

    return asyncio.ensure_future(send())


USES: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda _: None,
    "write": lambda transport: transport.write(b"for somebody else"),
    "write_much": lambda transport: transport.write(bytearray(1_000_000)),
    "writelines": lambda transport: transport.writelines([b"for somebody", b" else"]),
    "write_eof": lambda transport: transport.write_eof(),
    "read_again": lambda transport: transport.resume_reading(),
    "limits": lambda transport: transport.set_write_buffer_limits(0),
    "size": lambda transport: transport.get_write_buffer_size(),
    "sendfile": send_file,
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
}


@pytest.mark.parametrize("whose", OWNERS)
@pytest.mark.parametrize("let_go", [False, True])
@pytest.mark.parametrize("way", ["close", "detach"])
@pytest.mark.parametrize("use", USES)
def test_a_stream_without_its_socket_reaches_nobody(
    run: Run, use: str, way: str, let_go: bool, whose: Callable[[socket.socket], Any]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        owner = whose(ours)
        transport, protocol = await loop.create_connection(Recorder, sock=owner)
        if use == "read_again":
            transport.pause_reading()
        number = lose(owner, way)
        if let_go:
            del owner, ours
            gc.collect()
        victim = Victim(number)
        with contextlib.suppress(OSError):
            done = USES[use](transport)
        await turns()
        if use == "sendfile":
            await done
        if use != "nothing":
            transport.abort()
        await turns()
        victim.check()
        transport.abort()
        await protocol.lost
        assert not protocol.data
        theirs.close()

    run(main())


@pytest.mark.saburo_only  # asyncio's transport cannot be ended then
@pytest.mark.parametrize("full", [False, True])
def test_what_was_written_before_goes_nowhere_else(run: Run, full: bool) -> None:
    """It waits for the end of the turn, or for room."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        transport.write(bytes(4_000_000) if full else b"for somebody else")
        number = lose(ours, "close")
        del ours
        victim = Victim(number)
        theirs.close()  # an event, where it waits for room
        await turns()
        transport.abort()
        await protocol.lost
        victim.check()

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("way", ["close", "detach"])
def test_a_protocol_may_close_its_socket_as_it_is_told_of_it(run: Run, way: str) -> None:
    """Reading begins right after. asyncio then takes the next file's reader away."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard: list[bytes] = []
        loop.set_exception_handler(
            lambda _loop, _context: None
        )  # a bad descriptor, says the kernel

        class Closing(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                sock = transport.get_extra_info("socket")._sock
                self.victim = Victim(lose(sock, way))
                loop.add_reader(self.victim.sock, lambda: heard.append(self.victim.sock.recv(100)))

        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Closing, sock=ours)
        await turns()
        assert heard == [b"for the victim"]
        protocol.victim.peer.send(b"for the victim")
        await turns()
        assert heard == [b"for the victim"] * 2
        transport.abort()
        await protocol.lost
        protocol.victim.peer.send(b"for the victim")
        await turns()
        assert heard == [b"for the victim"] * 3
        loop.remove_reader(protocol.victim.sock)
        protocol.victim.peer.send(b"for the victim")
        protocol.victim.check()
        theirs.close()

    run(main())


@pytest.mark.parametrize("buffered", [False, True])
def test_an_event_that_is_queued_when_the_socket_is_closed_reads_nothing(
    run: Run, buffered: bool
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        victims: list[Victim] = []
        protocols: list[Any] = []
        owners: list[socket.socket] = []

        def close_the_other(protocol: Any) -> None:
            other = protocols.index(protocol) ^ 1
            if not victims:
                victims.append(Victim(lose(owners[other], "close")))

        class Plain(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                close_the_other(self)

        class Buffered(Recorder, asyncio.BufferedProtocol):
            def get_buffer(self, sizehint: int) -> bytearray:
                self.buffer = bytearray(100)
                return self.buffer

            def buffer_updated(self, count: int) -> None:
                self.data += self.buffer[:count]
                close_the_other(self)

        pairs = [socket.socketpair(), socket.socketpair()]
        transports = []
        for ours, _ in pairs:
            owners.append(ours)
            made = await loop.create_connection(Buffered if buffered else Plain, sock=ours)
            transports.append(made[0])
            protocols.append(made[1])
        for _, theirs in pairs:
            theirs.send(b"tea")
        await turns()
        assert sorted(bytes(protocol.data) for protocol in protocols) == [b"", b"tea"]
        for transport, protocol in zip(transports, protocols, strict=True):
            transport.abort()
            await protocol.lost
        victims[0].check()
        for _, theirs in pairs:
            theirs.close()

    run(main())


def test_a_protocol_may_close_its_socket_as_it_is_asked_for_a_buffer(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        victims: list[Victim] = []

        class Closing(Recorder, asyncio.BufferedProtocol):
            def get_buffer(self, sizehint: int) -> bytearray:
                self.buffer = bytearray(100)
                if not victims:
                    victims.append(Victim(lose(ours, "close")))
                return self.buffer

            def buffer_updated(self, count: int) -> None:
                self.data += self.buffer[:count]

        transport, protocol = await loop.create_connection(Closing, sock=ours)
        theirs.send(b"tea")
        await turns()
        assert isinstance(await protocol.lost, OSError)
        assert not protocol.data
        victims[0].check()
        transport.abort()
        theirs.close()

    run(main())


class Bytes(bytearray):
    """Does something as it is asked for its bytes."""

    act: Callable[[], Any] = staticmethod(lambda: None)

    def __buffer__(self, flags: int) -> memoryview:
        act, self.act = self.act, lambda: None
        act()
        return super().__buffer__(flags)


@needs_buffer_protocol
@pytest.mark.saburo_only  # asyncio lets socket.send() ask, which knows its own number
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_data_may_close_the_socket_as_it_is_asked_for_its_bytes(run: Run, size: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        data = Bytes(size)
        victims: list[Victim] = []
        data.act = lambda: victims.append(Victim(lose(ours, "close")))
        transport.write(data)
        await turns()
        transport.abort()
        await protocol.lost
        victims[0].check()
        theirs.close()

    run(main())


@needs_buffer_protocol
@pytest.mark.saburo_only
def test_a_datagram_may_close_the_socket_as_it_is_asked_for_its_bytes(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=ours)
        data = Bytes(10)
        victims: list[Victim] = []
        data.act = lambda: victims.append(Victim(lose(ours, "close"), socket.SOCK_DGRAM))
        transport.sendto(data)
        transport.abort()
        await turns()
        victims[0].check()
        theirs.close()

    run(main())


class ClosingAsItIsAsked(socket.socket):
    """Tells its number for the last time."""

    asked: Callable[[], Any] = staticmethod(lambda: None)

    def fileno(self) -> int:
        number = super().fileno()
        asked, self.asked = self.asked, lambda: None
        asked()
        return number


@pytest.mark.parametrize("use", ["write", "write_much", "read_again", "nothing"])
def test_a_socket_may_close_itself_as_it_is_asked_for_its_number(run: Run, use: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pair = socket.socketpair()
        ours, theirs = ClosingAsItIsAsked(fileno=pair[0].detach()), pair[1]
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        if use == "read_again":
            transport.pause_reading()
        victims: list[Victim] = []

        def close() -> None:
            number = socket.socket.fileno(ours)
            ours.close()
            victims.append(Victim(number))

        ours.asked = close
        if use == "nothing":
            theirs.send(b"tea")
        with contextlib.suppress(OSError):
            USES[use](transport)
        await turns()
        transport.abort()
        await protocol.lost
        if victims:  # nobody need ask
            victims[0].check()
        ours.asked = lambda: None
        ours.close()
        theirs.close()

    run(main())


@pytest.mark.parametrize("way", ["close", "detach"])
@pytest.mark.parametrize("let_go", [False, True])
@pytest.mark.parametrize("whose", OWNERS[:2])
def test_a_datagram_endpoint_without_its_socket_reaches_nobody(
    run: Run, way: str, let_go: bool, whose: Callable[[socket.socket], Any]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for sock in (ours, theirs):
            sock.bind(("127.0.0.1", 0))
        ours.connect(theirs.getsockname())
        owner = whose(ours)
        received: list[bytes] = []

        class Datagrams(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, address: Any) -> None:
                received.append(data)

        transport: Any
        transport, _ = await loop.create_datagram_endpoint(Datagrams, sock=owner)
        number = lose(owner, way)
        if let_go:
            del owner, ours
            gc.collect()
        victim = Victim(number, socket.SOCK_DGRAM)
        transport.sendto(b"for somebody else")
        transport.sendto(bytearray(b"for somebody else"))
        await turns()
        transport.abort()
        await turns()
        victim.check()
        assert not received
        theirs.close()

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("way", ["close", "detach"])
def test_an_accepted_connection_whose_socket_was_asked_for_reaches_nobody(
    run: Run, way: str
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted: list[Recorder] = []

        def accept() -> Recorder:
            accepted.append(Recorder())
            return accepted[-1]

        server = await loop.create_server(accept, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            await until(lambda: bool(accepted) and accepted[0].transport is not None)
            transport = accepted[0].transport
            number = lose(transport.get_extra_info("socket")._sock, way)
            victim = Victim(number)
            # Nor does it take the name of another for its own.
            assert transport.get_extra_info("sockname") is None
            transport.write(b"for somebody else")
            await turns()
            transport.abort()
            await accepted[0].lost
            assert not accepted[0].data
            victim.check()
        server.close()

    run(main())


@pytest.mark.saburo_only
def test_a_number_that_was_closed_by_hand_is_not_closed_once_more(run: Run) -> None:
    """The next connection has it, so the one before has lost it. asyncio closes it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted: list[Recorder] = []

        def accept() -> Recorder:
            accepted.append(Recorder())
            return accepted[-1]

        server = await loop.create_server(accept, "127.0.0.1", 0)
        first = socket.create_connection(server.sockets[0].getsockname())
        await until(lambda: bool(accepted) and accepted[0].transport is not None)
        second = socket.create_connection(server.sockets[0].getsockname())
        os.close(accepted[0].transport._sock_fd)
        await until(lambda: len(accepted) == 2 and accepted[1].transport is not None)
        accepted[0].transport.abort()
        await accepted[0].lost
        second.send(b"tea")
        await until(lambda: accepted[1].data == b"tea")
        accepted[1].transport.abort()
        await accepted[1].lost
        first.close()
        second.close()
        server.close()

    run(main())


@pytest.mark.saburo_only
def test_who_has_the_number_of_a_lost_socket_is_free_to_use_it(run: Run) -> None:
    """asyncio says that it is used by the transport that has lost it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        number = lose(ours, "close")
        one, two = socket.socketpair()
        assert one.fileno() == number
        heard: list[bytes] = []
        loop.add_reader(one, lambda: heard.append(one.recv(100)))
        two.send(b"tea")
        await turns()
        assert heard == [b"tea"]
        loop.remove_reader(one)
        second, recorder = await loop.create_connection(Recorder, sock=one)
        two.send(b"milk")
        transport.write(b"for somebody else")
        transport.abort()
        await protocol.lost
        await until(lambda: recorder.data == b"milk")
        second.write(b"sugar")
        await turns()
        assert two.recv(100) == b"sugar"
        second.abort()
        await recorder.lost
        two.close()
        theirs.close()

    run(main())


# ---- the socket that a native connection is shown as ----


@pytest.fixture
def as_sockets_are_made() -> Iterator[list[Callable[[str], None]]]:
    """What is in the list is called as `socket.__init__` begins and ends."""
    calls: list[Callable[[str], None]] = []
    code = socket.socket.__init__.__code__

    def profile(frame: Any, event: str, _argument: Any) -> None:
        if frame.f_code is code and event in ("call", "return") and calls:
            sys.setprofile(None)
            try:
                calls[0](event)
            finally:
                sys.setprofile(profile)

    sys.setprofile(profile)
    yield calls
    sys.setprofile(None)


async def accepted_connection(loop: Any) -> tuple[Any, Recorder, socket.socket, Any]:
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    await until(lambda: bool(accepted) and accepted[0].transport is not None)
    return accepted[0].transport, accepted[0], client, server


@pytest.mark.saburo_only
@pytest.mark.parametrize("when", ["call", "return"])
def test_the_socket_of_a_connection_is_made_once(
    run: Run, as_sockets_are_made: list[Callable[[str], None]], when: str
) -> None:
    """Also if it is asked for while it is being made."""

    async def main() -> None:
        transport, protocol, client, server = await accepted_connection(asyncio.get_running_loop())
        inside: list[Any] = []

        def ask(event: str) -> None:
            if event == when and not inside:
                inside.append(None)
                inside[0] = transport.get_extra_info("socket")

        as_sockets_are_made.append(ask)
        outside = transport.get_extra_info("socket")
        as_sockets_are_made.clear()
        assert outside._sock is inside[0]._sock
        gc.collect()
        client.send(b"tea")
        await until(lambda: protocol.data == b"tea")
        transport.abort()
        await protocol.lost
        client.close()
        server.close()

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("when", ["call", "return"])
def test_a_socket_whose_making_fails_takes_nothing_along(
    run: Run, as_sockets_are_made: list[Callable[[str], None]], when: str
) -> None:
    async def main() -> None:
        transport, protocol, client, server = await accepted_connection(asyncio.get_running_loop())

        def fail(event: str) -> None:
            if event == when:
                raise ZeroDivisionError

        as_sockets_are_made.append(fail)
        with pytest.raises(ZeroDivisionError):
            transport.get_extra_info("socket")
        as_sockets_are_made.clear()
        gc.collect()
        client.send(b"tea")
        await until(lambda: protocol.data == b"tea")
        assert transport.get_extra_info("socket").fileno() == transport._sock_fd
        transport.abort()
        await protocol.lost
        client.close()
        server.close()

    run(main())


# ---- pipes ----


def raw_file(number: int, mode: str) -> Any:
    return os.fdopen(number, mode, 0)


def buffered_file(number: int, mode: str) -> Any:
    return os.fdopen(number, mode)


class DerivedFile(io.FileIO):
    pass


class NotAFile:
    def __init__(self, number: int, mode: str) -> None:
        self._file = os.fdopen(number, mode, 0)
        self.fileno = self._file.fileno
        self.close = self._file.close


FILES = [raw_file, buffered_file, DerivedFile, NotAFile]


@pytest.mark.saburo_only
@pytest.mark.parametrize("make", FILES)
@pytest.mark.parametrize("let_go", [False, True])
@pytest.mark.parametrize("use", ["write", "write_much", "close", "abort"])
def test_a_writing_end_without_its_file_reaches_nobody(
    run: Run, use: str, let_go: bool, make: Callable[[int, str], Any]
) -> None:
    """asyncio goes by the number, and writes into whatever has it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        file = make(writing, "wb")
        transport, protocol = await loop.connect_write_pipe(Recorder, file)
        number = lose(file, "close")
        assert number == writing
        if let_go:
            del file
            gc.collect()
        victim = Victim(number)
        USES[use](transport)
        await turns()
        transport.abort()
        await protocol.lost
        victim.check()
        os.close(reading)

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("make", FILES)
@pytest.mark.parametrize("way", ["queued", "read_again", "connection_made"])
def test_a_reading_end_without_its_file_reads_nothing(
    run: Run, way: str, make: Callable[[int, str], Any]
) -> None:
    """asyncio reads from whatever has the number."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        victims: list[Victim] = []
        reading, writing = os.pipe()
        file = make(reading, "rb")

        class Reader(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                if way == "connection_made":
                    victims.append(Victim(lose(file, "close")))

        transport, protocol = await loop.connect_read_pipe(Reader, file)
        if way == "queued":
            first, second = socket.socketpair()

            def close_once() -> None:
                if not victims:
                    victims.append(Victim(lose(file, "close")))

            # Both are readable in the same turn, and the reader may come first or last.
            loop.add_reader(first, close_once)
            transport.pause_reading()
            os.write(writing, b"tea")
            second.send(b"x")
            transport.resume_reading()
            await turns()
            loop.remove_reader(first)
            first.close()
            second.close()
        elif way == "read_again":
            transport.pause_reading()
            victims.append(Victim(lose(file, "close")))
            with contextlib.suppress(OSError):
                transport.resume_reading()
        await turns()
        transport.close()
        await protocol.lost
        assert b"victim" not in protocol.data
        victims[0].check()
        os.close(writing)

    run(main())


# ---- listening sockets ----


@pytest.mark.saburo_only
def test_a_listener_without_its_socket_takes_nobody_elses_connections(run: Run) -> None:
    """Both listeners have an event in the same turn, and the first closes the second's socket."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        made: list[Recorder] = []
        strangers: list[socket.socket] = []
        stranger_client = socket.socket()

        def steal(index: int) -> Callable[[], Recorder]:
            def factory() -> Recorder:
                made.append(Recorder())
                return made[-1]

            return factory

        servers = [await loop.create_server(steal(index), sock=socks[index]) for index in (0, 1)]
        clients = [socket.create_connection(sock.getsockname()) for sock in socks]
        number = socks[1].fileno()

        def replace() -> None:
            if strangers:
                return
            # Ahead of both events: they are collected in this turn, and told in it.
            lose(socks[1], "close")
            stranger = socket.create_server(("127.0.0.1", 0))
            assert stranger.fileno() == number
            stranger.setblocking(False)
            stranger_client.connect(stranger.getsockname())
            strangers.append(stranger)

        first, second = socket.socketpair()
        second.send(b"x")
        loop.add_reader(first, replace)
        await turns()
        await until(lambda: len(made) >= 1 and made[0].transport is not None)
        accepted, address = strangers[0].accept()
        assert address == stranger_client.getsockname()
        loop.remove_reader(first)
        for server in servers:
            server.close()
        os.fstat(number)
        for protocol in made:
            protocol.transport.abort()
            await protocol.lost
        for sock in (*clients, *strangers, stranger_client, accepted, first, second):
            sock.close()

    run(main())


@pytest.mark.saburo_only
def test_a_server_whose_socket_is_gone_closes_no_other_server(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sock = socket.create_server(("127.0.0.1", 0))
        first = await loop.create_server(Recorder, sock=sock)
        copy = sock.dup()  # keeps the file open, and in the selector
        number = lose(sock, "close")
        made: list[Recorder] = []

        def accept() -> Recorder:
            made.append(Recorder())
            return made[-1]

        second = await loop.create_server(accept, "127.0.0.1", 0)
        assert second.sockets[0].fileno() == number
        first.close()
        with socket.create_connection(second.sockets[0].getsockname()):
            await until(lambda: bool(made) and made[0].transport is not None)
            made[0].transport.abort()
            await made[0].lost
        copy.close()
        second.close()

    run(main())


# ---- sock_* ----


def waits(loop: Any, sock: socket.socket, name: str, argument: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.ensure_future(getattr(loop, name)(sock, argument))
    return future


@pytest.mark.parametrize("whose", OWNERS[:2])
@pytest.mark.parametrize(
    ("name", "argument"),
    [("sock_recv", 100), ("sock_recv_into", bytearray(100)), ("sock_recvfrom", 9)],
)
def test_a_call_that_waits_reads_nothing_once_its_socket_is_gone(
    run: Run, name: str, argument: Any, whose: Callable[[socket.socket], Any]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pair = socket.socketpair()
        ours, theirs = whose(pair[0]), pair[1]
        ours.setblocking(False)
        waiting = waits(loop, ours, name, argument)
        await turns()
        theirs.send(b"tea")
        # Its event is collected in the turn in which this runs, or is queued already.
        victims: list[Victim] = []
        loop.call_soon(lambda: victims.append(Victim(lose(ours, "close"))))
        await turns()
        if waiting.done() and waiting.exception() is None:
            pytest.skip("it was read before the socket was closed")
        await turns()
        waiting.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await waiting
        victims[0].check()
        theirs.close()

    run(main())


class ClosingIndex:
    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def __index__(self) -> int:
        self.act()
        return 100


@pytest.mark.parametrize("whose", OWNERS[:2])
def test_a_count_may_close_the_socket_as_it_is_asked_for_its_number(
    run: Run, whose: Callable[[socket.socket], Any]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pair = socket.socketpair()
        ours, theirs = whose(pair[0]), pair[1]
        ours.setblocking(False)
        victims: list[Victim] = []
        count: Any = ClosingIndex(lambda: victims.append(Victim(lose(ours, "close"))))
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop.sock_recv(ours, count)
        victims[0].check()
        theirs.close()

    run(main())


@needs_buffer_protocol
def test_a_buffer_may_close_the_socket_as_it_is_asked_for_its_bytes(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.send(b"tea")
        buffer = Bytes(100)
        victims: list[Victim] = []
        buffer.act = lambda: victims.append(Victim(lose(ours, "close")))
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop.sock_recv_into(ours, buffer)
        victims[0].check()
        theirs.close()

    run(main())


@pytest.mark.parametrize("data", [bytes(4_000_000), bytearray(4_000_000)])
def test_a_call_that_waits_sends_nothing_once_its_socket_is_gone(run: Run, data: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        waiting = waits(loop, ours, "sock_sendall", data)
        await turns()
        victim = Victim(lose(ours, "close"))
        theirs.close()
        await turns()
        waiting.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await waiting
        victim.check()

    run(main())


# ---- files that are sent ----


@pytest.mark.saburo_only
@pytest.mark.parametrize("through", ["socket", "transport"])
def test_a_file_that_is_closed_on_the_way_is_not_replaced_by_another(
    run: Run, through: str
) -> None:
    """asyncio goes on with whatever file has the number, and moves its position."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        protocol = None
        with tempfile.TemporaryFile() as other:
            file = tempfile.TemporaryFile()  # noqa: SIM115
            file.write(b"a" * 4_000_000)
            file.flush()
            if through == "socket":
                sending = asyncio.ensure_future(loop.sock_sendfile(ours, file, fallback=False))
            else:
                transport, protocol = await loop.create_connection(Recorder, sock=ours)
                sending = asyncio.ensure_future(loop.sendfile(transport, file, fallback=False))
            await turns()
            assert not sending.done()
            number = file.fileno()
            file.close()
            os.dup2(other.fileno(), number)
            with os.fdopen(number, "w+b") as secret:
                secret.write(b"s" * 8_000_000)
                secret.flush()
                position = secret.seek(0)
                received = bytearray()
                while not sending.done():
                    with contextlib.suppress(BlockingIOError):
                        received += theirs.recv(1_000_000)
                    await asyncio.sleep(0)
                assert isinstance(sending.exception(), OSError)
                assert secret.tell() == position
                assert os.lseek(number, 0, os.SEEK_CUR) == position
            with contextlib.suppress(BlockingIOError):
                while part := theirs.recv(1_000_000):
                    received += part
            assert set(received) == set(b"a")
        if protocol is not None:
            transport.abort()
            await protocol.lost
        ours.close()
        theirs.close()

    run(main())


@pytest.mark.saburo_only
def test_a_file_may_close_the_socket_as_it_is_asked_for_its_number(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        victims: list[Victim] = []

        class File(io.FileIO):
            asked = 0

            def fileno(self) -> int:
                self.asked += 1
                if self.asked == 2:
                    victims.append(Victim(lose(ours, "close")))
                return super().fileno()

        with tempfile.NamedTemporaryFile() as named:
            named.write(b"for somebody else")
            named.flush()
            refused = pytest.raises((OSError, asyncio.SendfileNotAvailableError))
            with File(named.name) as file, refused:
                await loop.sock_sendfile(ours, file, fallback=False)
        victims[0].check()
        theirs.close()

    run(main())


@pytest.mark.saburo_only
def test_a_transport_that_ends_wakes_nobody_else_who_waits_for_room(run: Run) -> None:
    """It had a sendfile() under way, and its number is another's, who waits to send."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        with tempfile.TemporaryFile() as file:
            file.write(bytes(4_000_000))
            file.flush()
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            await turns()
            number = lose(ours, "close")
            one, two = socket.socketpair()
            assert one.fileno() == number
            one.setblocking(False)
            two.setblocking(False)
            waiting = asyncio.ensure_future(loop.sock_sendall(one, bytes(4_000_000)))
            await turns()
            transport.abort()
            await protocol.lost
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await sending
            received = 0
            async with asyncio.timeout(PATIENCE):
                while received < 4_000_000:
                    received += len(await loop.sock_recv(two, 1_000_000))
            await waiting
        for sock in (one, two, theirs):
            sock.close()

    run(main())
