"""What context each callback of a protocol runs in, and the report of what it raises: a table.

Each callback sees two variables: `caller`, set by the task that made, wrote to or closed the
transport, and `previous`, which every callback sets to its own name. So the second tells which of
them share a context.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.network import client_context, server_context
from support.waiting import until

# asyncio has one context per connection since then, and tells who raised in its reports.
pytestmark = pytest.mark.as_since(3, 15)

caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")
previous: contextvars.ContextVar[str] = contextvars.ContextVar("previous", default="-")

MUCH = 20_000_000
"""More than the kernel takes at once, however well a connection has gone so far."""


@dataclass
class Log:
    """What was called, in order, each as "name caller previous"."""

    fails: str = ""
    """The callback that raises."""
    lines: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    keys: list[list[str]] = field(default_factory=list)
    """Those of each report to the exception handler."""

    def note(self, name: str) -> None:
        line = f"{name} {caller.get()} {previous.get()}"
        if self.lines[-1:] != [line]:
            self.lines.append(line)
        self.names.append(name)
        previous.set(name)
        if name == self.fails:
            raise ZeroDivisionError

    def report(self, _loop: object, context: dict[str, Any]) -> None:
        assert isinstance(context["exception"], ZeroDivisionError)
        self.keys.append(sorted(context))
        self.lines.append(f"report {caller.get()} {previous.get()}")

    async def saw(self, name: str, count: int = 1) -> None:
        await until(lambda: self.names.count(name) >= count)


class Base:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.transport: Any = None
        log.lines.append(f"factory {caller.get()} {previous.get()}")
        previous.set("factory")

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.log.note("made")

    def connection_lost(self, exc: Exception | None) -> None:
        self.log.note("lost")

    def pause_writing(self) -> None:
        self.log.note("pause")

    def resume_writing(self) -> None:
        self.log.note("resume")


class Plain(Base, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.log.note("data")

    def eof_received(self) -> None:
        self.log.note("eof")


class Buffered(Base, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> bytearray:
        self.log.note("get_buffer")
        return bytearray(1024)

    def buffer_updated(self, nbytes: int) -> None:
        self.log.note("updated")

    def eof_received(self) -> None:
        self.log.note("eof")


class Datagrams(Base, asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.log.note("datagram")

    def error_received(self, exc: Exception) -> None:
        self.log.note("error")


async def by(name: str, call: Callable[..., Any], *args: Any) -> Any:
    """Calls something in a task of its own, as the caller `name`."""

    async def task() -> Any:
        caller.set(name)
        result = call(*args)
        return await result if isinstance(result, Awaitable) else result

    return await asyncio.create_task(task())


def scenario(run: Any, log: Log, main: Callable[[Log], Awaitable[None]]) -> list[str]:
    async def begin() -> None:
        asyncio.get_running_loop().set_exception_handler(log.report)
        await main(log)

    contextvars.copy_context().run(run, begin())
    return log.lines


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split(",")]


# How a connection is made: the protocol's class, and the socket of the other end.
async def by_socket(factory: Callable[[], Any]) -> tuple[Any, socket.socket]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, protocol = await by("maker", lambda: loop.create_connection(factory, sock=ours))
    return protocol, theirs


async def by_address(factory: Callable[[], Any]) -> tuple[Any, socket.socket]:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        _, protocol = await by("maker", lambda: loop.create_connection(factory, *address))
        return protocol, listener.accept()[0]


async def by_accepted_socket(factory: Callable[[], Any]) -> tuple[Any, socket.socket]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, protocol = await by("maker", lambda: loop.connect_accepted_socket(factory, ours))
    return protocol, theirs


async def by_server(factory: Callable[[], Any]) -> tuple[Any, socket.socket]:
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def remembering() -> Any:
        made.append(factory())
        return made[0]

    server = await by(
        "maker", lambda: loop.create_server(remembering, "127.0.0.1", 0, start_serving=False)
    )
    await by("starter", server.start_serving)
    theirs = socket.create_connection(server.sockets[0].getsockname())
    await until(lambda: made and made[0].transport)
    server.close()
    return made[0], theirs


async def receive(theirs: socket.socket, count: int) -> None:
    while count > 0:
        count -= len(await asyncio.get_running_loop().sock_recv(theirs, 1 << 20))


def stream(make: Any, cls: Any, end: str) -> Callable[[Log], Awaitable[None]]:
    async def main(log: Log) -> None:
        protocol, theirs = await make(lambda: cls(log))
        with theirs:
            theirs.setblocking(False)
            await live(log, protocol, theirs)
            await log.saw("lost")
            # A report of that would come now.
            await asyncio.sleep(0)

    async def live(log: Log, protocol: Any, theirs: socket.socket) -> None:
        transport = protocol.transport
        theirs.send(b"x")
        await log.saw(
            log.fails if log.fails == "get_buffer" else "data" if cls is Plain else "updated"
        )
        if transport.is_closing():
            return
        await by("writer", transport.write, bytes(MUCH))
        await receive(theirs, MUCH)
        await log.saw("resume")
        if end == "close":
            await by("closer", transport.close)
        elif end == "abort":
            await by("closer", transport.abort)
        elif end == "eof":
            theirs.shutdown(socket.SHUT_WR)
        elif end == "close with much to send":
            await by("another writer", transport.write, bytes(MUCH))
            await by("closer", transport.close)
            await receive(theirs, MUCH)
        elif end == "reset":
            await by("another writer", transport.write, bytes(MUCH))
            theirs.close()

    return main


HOW = {
    "sock": by_socket,
    "address": by_address,
    "accepted": by_accepted_socket,
    "server": by_server,
}

ENDS = {
    "close": "lost maker resume",
    "abort": "lost maker resume",
    "eof": "eof maker resume, lost maker eof",
    "close with much to send": "pause another writer -, resume maker resume, lost maker resume",
    "reset": "pause another writer -, lost maker resume",
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("end", ENDS)
def test_a_connection_has_one_context(run: Any, how: str, end: str) -> None:
    # What a client's factory sets is set in the task that connects.
    made = "factory" if how == "server" else "-"
    expected = f"""factory maker -, made maker {made}, data maker made, pause writer -,
        resume maker data, {ENDS[end]}"""
    assert scenario(run, Log(), stream(HOW[how], Plain, end)) == lines(expected)


@pytest.mark.parametrize("how", HOW)
def test_a_connection_that_is_read_into_a_buffer_has_one_context(run: Any, how: str) -> None:
    made = "factory" if how == "server" else "-"
    expected = f"""factory maker -, made maker {made}, get_buffer maker made,
        updated maker get_buffer, pause writer -, resume maker updated, get_buffer maker resume,
        eof maker get_buffer, lost maker eof"""
    assert scenario(run, Log(), stream(HOW[how], Buffered, "eof")) == lines(expected)


HANDLE = ["exception", "handle", "message"]
TRANSPORT = ["exception", "message", "protocol", "transport"]


@pytest.mark.parametrize("how", ["sock", "server"])
@pytest.mark.parametrize(
    ("fails", "keys", "rest"),
    [
        ("made", HANDLE, "report maker made, data maker made, pause writer -, resume maker data"),
        ("data", TRANSPORT, "data maker made, report maker data, lost maker data"),
        ("pause", TRANSPORT, "data maker made, pause writer -, report writer pause"),
        ("resume", TRANSPORT, "data maker made, pause writer -, resume maker data, "
         "report maker resume"),
        ("eof", TRANSPORT, "data maker made, pause writer -, resume maker data, eof maker resume, "
         "report maker eof, lost maker eof"),
        ("lost", HANDLE, "data maker made, pause writer -, resume maker data, eof maker resume, "
         "lost maker eof, report maker lost"),
    ],
)  # fmt: skip
def test_what_a_callback_raises_is_reported_in_its_context(
    run: Any, how: str, fails: str, keys: list[str], rest: str
) -> None:
    made = "factory" if how == "server" else "-"
    log = Log(fails)
    seen = scenario(run, log, stream(HOW[how], Plain, "eof"))
    expected = lines(f"factory maker -, made maker {made}, {rest}")
    assert seen[: len(expected)] == expected
    assert log.keys == [keys]


@pytest.mark.parametrize(
    ("fails", "rest"),
    [
        ("get_buffer", "report maker get_buffer, lost maker get_buffer"),
        ("updated", "updated maker get_buffer, report maker updated, lost maker updated"),
    ],
)
def test_so_it_is_of_a_buffer(run: Any, fails: str, rest: str) -> None:
    log = Log(fails)
    seen = scenario(run, log, stream(by_socket, Buffered, "eof"))
    assert seen == lines(f"factory maker -, made maker -, get_buffer maker made, {rest}")
    assert log.keys == [TRANSPORT]


def reading_pipe(end: str) -> Callable[[Log], Awaitable[None]]:
    async def main(log: Log) -> None:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, write)
            pipe = os.fdopen(read, "rb", 0)
            transport, _ = await by(
                "maker", lambda: loop.connect_read_pipe(lambda: Plain(log), pipe)
            )
            os.write(write, b"x")
            await log.saw("data")
            if end == "close":
                await by("closer", transport.close)
            else:
                stack.close()
            await log.saw("lost")
            await asyncio.sleep(0)

    return main


@pytest.mark.parametrize(
    ("end", "fails", "rest"),
    [
        ("close", "", "data maker factory, lost closer -"),
        ("eof", "", "data maker factory, eof maker data, lost maker data"),
        ("close", "made", "report maker made, data maker factory, lost closer -"),
        ("close", "data", "data maker factory, report maker data, lost closer -"),
        ("eof", "eof", "data maker factory, eof maker data, report maker eof, lost maker data"),
        ("close", "lost", "data maker factory, lost closer -, report closer lost"),
    ],
)
def test_a_pipes_reading_end_has_a_context_for_each_registration(
    run: Any, end: str, fails: str, rest: str
) -> None:
    log = Log(fails)
    seen = scenario(run, log, reading_pipe(end))
    assert seen == lines(f"factory maker -, made maker factory, {rest}")
    assert log.keys == [HANDLE] * bool(fails)


def writing_pipe(end: str) -> Callable[[Log], Awaitable[None]]:
    async def main(log: Log) -> None:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        os.set_blocking(read, False)
        reading = stack = contextlib.ExitStack()
        with stack:
            reading.callback(os.close, read)
            pipe = os.fdopen(write, "wb", 0)
            transport, _ = await by(
                "maker", lambda: loop.connect_write_pipe(lambda: Plain(log), pipe)
            )
            # Only who had to wait first counts.
            await by("writer", transport.write, bytes(MUCH))
            await by("second writer", transport.write, bytes(MUCH))
            await empty(read, 2 * MUCH)
            await log.saw("resume")
            if end == "close":
                await by("closer", transport.close)
            elif end == "abort":
                await by("closer", transport.abort)
            elif end == "close with much to send":
                await by("another writer", transport.write, bytes(MUCH))
                await by("closer", transport.close)
                await empty(read, MUCH)
            elif end == "reader gone":
                reading.close()
            await log.saw("lost")
            await asyncio.sleep(0)

    async def empty(read: int, count: int) -> None:
        while count > 0:
            with contextlib.suppress(BlockingIOError):
                count -= len(os.read(read, 1 << 20))
            await asyncio.sleep(0)

    return main


@pytest.mark.parametrize(
    ("end", "fails", "rest"),
    [
        ("close", "", "pause writer -, resume writer -, lost closer -"),
        ("abort", "", "pause writer -, resume writer -, lost closer -"),
        ("close with much to send", "", "pause writer -, resume writer -, pause another writer -, "
         "resume another writer -, lost another writer resume"),
        ("reader gone", "", "pause writer -, resume writer -, lost maker factory"),
        ("close", "made", "report maker made, pause writer -, resume writer -, lost closer -"),
        ("close", "pause", "pause writer -, report writer pause, resume writer -, lost closer -"),
        ("close", "resume", "pause writer -, resume writer -, report writer resume, lost closer -"),
        ("close", "lost", "pause writer -, resume writer -, lost closer -, report closer lost"),
    ],
)  # fmt: skip
def test_a_pipes_writing_end_resumes_in_the_context_of_who_had_to_wait(
    run: Any, end: str, fails: str, rest: str
) -> None:
    log = Log(fails)
    seen = scenario(run, log, writing_pipe(end))
    assert seen == lines(f"factory maker -, made maker factory, {rest}")
    keys = TRANSPORT if fails in ("pause", "resume") else HANDLE
    assert log.keys == [keys] * bool(fails)


async def internet_datagrams(log: Log) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind(("127.0.0.1", 0))
        address = theirs.getsockname()
        transport, _ = await by(
            "maker",
            lambda: loop.create_datagram_endpoint(lambda: Datagrams(log), remote_addr=address),
        )
        theirs.sendto(b"x", transport.get_extra_info("sockname"))
        await log.saw("datagram")
    # Nobody is there any more, as the kernel tells afterwards.
    await by("writer", transport.sendto, b"x")
    await log.saw("error")
    # Too long, as it tells at once.
    with contextlib.suppress(ZeroDivisionError):
        await by("another writer", transport.sendto, bytes(100_000))
    await by("closer", transport.close)
    await log.saw("lost")
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fails", "rest"),
    [
        ("", "error maker datagram, error another writer -, lost closer -"),
        ("made", "error maker datagram, error another writer -, lost closer -"),
        ("datagram", "error maker datagram, error another writer -, lost closer -"),
        (
            "error",
            "error maker datagram, report maker error, error another writer -, lost closer -",
        ),
        ("lost", "error maker datagram, error another writer -, lost closer -, report closer lost"),
    ],
)
def test_a_datagram_endpoint_has_a_context_for_each_registration(
    run: Any, fails: str, rest: str
) -> None:
    log = Log(fails)
    seen = scenario(run, log, internet_datagrams)
    made = "made maker factory" + ", report maker made" * (fails == "made")
    datagram = "datagram maker factory" + ", report maker datagram" * (fails == "datagram")
    assert seen == lines(f"factory maker -, {made}, {datagram}, {rest}")
    assert log.keys == [HANDLE] * bool(fails)


def full_datagrams(folder: Path, end: str) -> Callable[[Log], Awaitable[None]]:
    async def main(log: Log) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
            path = str(folder / "theirs")
            theirs.bind(path)
            theirs.setblocking(False)
            transport, _ = await by(
                "maker",
                lambda: loop.create_datagram_endpoint(
                    lambda: Datagrams(log), remote_addr=path, family=socket.AF_UNIX
                ),
            )
            transport.set_write_buffer_limits(0)

            def fill() -> int:
                count = 0
                while not transport.get_write_buffer_size():
                    transport.sendto(bytes(1000))
                    count += 1
                return count

            count = await by("writer", fill)
            await by("second writer", transport.sendto, b"x")
            await empty(theirs, count + 1)
            await log.saw("resume")
            count = await by("another writer", fill) if end != "close" else 0
            await by("closer", transport.close)
            await empty(theirs, count)
            await log.saw("lost")
            await asyncio.sleep(0)

    async def empty(theirs: socket.socket, count: int) -> None:
        for _ in range(count):
            await asyncio.get_running_loop().sock_recv(theirs, 2000)

    return main


@pytest.mark.parametrize(
    ("end", "fails", "rest"),
    [
        ("close", "", "pause writer -, resume writer -, lost closer -"),
        ("close with much to send", "", "pause writer -, resume writer -, pause another writer -, "
         "resume another writer -, lost another writer resume"),
        ("close", "pause", "pause writer -, report writer pause, resume writer -, lost closer -"),
        ("close", "resume", "pause writer -, resume writer -, report writer resume, lost closer -"),
    ],
)  # fmt: skip
def test_datagrams_resume_in_the_context_of_who_had_to_wait(
    run: Any, tmp_path: Path, end: str, fails: str, rest: str
) -> None:
    log = Log(fails)
    seen = scenario(run, log, full_datagrams(tmp_path, end))
    assert seen == lines(f"factory maker -, made maker factory, {rest}")
    assert log.keys == [TRANSPORT] * bool(fails)


def tls(side: str, cls: Any, end: str) -> Callable[[Log], Awaitable[None]]:
    async def main(log: Log) -> None:
        loop = asyncio.get_running_loop()
        made: list[Any] = []

        def watched() -> Any:
            made.append(cls(log))
            return made[0]

        client, server = (watched, asyncio.Protocol)
        if side == "server":
            client, server = server, client
        listener = await by(
            "maker",
            lambda: loop.create_server(
                server, "127.0.0.1", 0, ssl=server_context(), start_serving=False
            ),
        )
        await by("starter", listener.start_serving)
        theirs: Any = None
        address = listener.sockets[0].getsockname()
        with contextlib.suppress(ZeroDivisionError):
            theirs, _ = await by(
                "maker",
                lambda: loop.create_connection(
                    client, *address, ssl=client_context(), server_hostname="localhost"
                ),
            )
        await log.saw("made")
        if log.fails != "made":
            transport = made[0].transport
            if side == "client":
                await live(log, transport, None)
            else:
                await live(log, transport, theirs)
        await log.saw("lost")
        await asyncio.sleep(0)
        if theirs is not None:
            theirs.abort()
        listener.close()
        await listener.wait_closed()

    async def live(log: Log, transport: Any, theirs: Any) -> None:
        if theirs is not None:
            theirs.write(b"x")
            await log.saw("data" if cls is Plain else "updated")
        if end == "eof" and theirs is not None:
            theirs.close()
        elif end == "abort":
            await by("closer", transport.abort)
        else:
            await by("closer", transport.close)

    return main


@pytest.mark.parametrize(
    ("side", "end", "fails", "rest"),
    [
        ("client", "close", "", "eof maker made, lost maker eof"),
        ("client", "abort", "", "lost maker made"),
        ("client", "close", "lost", "eof maker made, lost maker eof, report maker lost"),
        ("client", "close", "made", "report maker made, lost maker made"),
        ("server", "close", "", "data maker made, eof maker data, lost maker eof"),
        ("server", "abort", "", "data maker made, lost maker data"),
        ("server", "eof", "", "data maker made, eof maker data, lost maker eof"),
        ("server", "eof", "made", "report maker made, lost maker made"),
        ("server", "eof", "data", "data maker made, report maker data, lost maker data"),
        ("server", "eof", "eof", "data maker made, eof maker data, report maker eof, "
         "lost maker eof"),
        ("server", "eof", "lost", "data maker made, eof maker data, lost maker eof, "
         "report maker lost"),
    ],
)  # fmt: skip
def test_a_connection_with_tls_has_one_context(
    run: Any, side: str, end: str, fails: str, rest: str
) -> None:
    log = Log(fails)
    seen = scenario(run, log, tls(side, Plain, end))
    made = "factory" if side == "server" else "-"
    assert seen == lines(f"factory maker -, made maker {made}, {rest}")
    assert log.keys == [HANDLE if fails == "lost" else TRANSPORT] * bool(fails)


@pytest.mark.saburo_only
def test_what_a_connection_with_tls_is_asked_for_writing_is_asked_in_its_context(run: Any) -> None:
    """asyncio asks that of the transport below, and the application only of what TLS keeps back."""

    async def main(log: Log) -> None:
        loop = asyncio.get_running_loop()
        made: list[Any] = []

        def watched() -> Any:
            made.append(Plain(log))
            return made[0]

        listener = await by(
            "maker", lambda: loop.create_server(watched, "127.0.0.1", 0, ssl=server_context())
        )
        theirs, _ = await loop.create_connection(
            asyncio.Protocol,
            *listener.sockets[0].getsockname(),
            ssl=client_context(),
            server_hostname="localhost",
        )
        await log.saw("made")
        await by("writer", made[0].transport.write, bytes(MUCH))
        await log.saw("resume")
        theirs.abort()
        await log.saw("lost")
        listener.close()
        await listener.wait_closed()

    expected = """factory maker -, made maker factory, pause writer -, resume maker made,
        lost maker resume"""
    assert scenario(run, Log(), main) == lines(expected)


@pytest.mark.saburo_only
def test_what_a_servers_factory_raises_is_reported_in_the_connections_context(run: Any) -> None:
    """In debug mode; else it is the peer's concern. asyncio leaves the socket open."""
    log = Log()

    def failing() -> Any:
        caller.set("factory")
        raise ZeroDivisionError

    async def main(log: Log) -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        server = await by("maker", lambda: loop.create_server(failing, "127.0.0.1", 0))
        with socket.create_connection(server.sockets[0].getsockname()) as theirs:
            theirs.setblocking(False)
            assert await loop.sock_recv(theirs, 1) == b""
        server.close()
        await server.wait_closed()

    assert scenario(run, log, main) == ["report factory -"]
    assert log.keys == [["exception", "message"]]
