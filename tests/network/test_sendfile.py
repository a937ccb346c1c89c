"""sendfile: every byte of the file and no other, whatever the transport, and an orderly end."""

from __future__ import annotations

import asyncio
import io
import os
import select
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest
from support.network import Recorder, client_context, server_context

Run = Callable[..., Any]
CONTENT = bytes(number % 251 for number in range(3_000_003))


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.write(CONTENT)
        file.seek(0)
        yield file


async def connection(tls: bool = False) -> tuple[Recorder, Recorder]:
    """Who sends, and who receives."""
    loop = asyncio.get_running_loop()
    one, two = socket.socketpair()
    (_, here), (_, there) = await asyncio.gather(
        loop.connect_accepted_socket(Recorder, one, ssl=server_context() if tls else None),
        loop.create_connection(
            Recorder,
            sock=two,
            ssl=client_context() if tls else None,
            server_hostname="localhost" if tls else None,
        ),
    )
    return here, there


async def finish(here: Recorder, there: Recorder) -> bytes:
    here.transport.close()
    await there.lost
    await here.lost
    return bytes(there.data)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("offset", "count"),
    [(0, None), (0, 1), (0, len(CONTENT)), (0, 9_000_000), (2_999_999, None), (7, 300_000)],
)
def test_the_part_that_was_asked_for_is_sent(
    run: Run, file: IO[bytes], tls: bool, offset: int, count: int | None
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection(tls)
        wanted = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]
        here.transport.write(b"before|")
        sent = await loop.sendfile(here.transport, file, offset, count)
        assert sent == len(wanted)
        assert file.tell() == offset + len(wanted)
        here.transport.write(b"|after")
        assert await finish(here, there) == b"before|" + wanted + b"|after"

    run(main())


@pytest.mark.saburo_only
def test_what_is_no_file_is_read_by_hand(run: Run) -> None:
    """asyncio reads into a buffer that the transport has not sent yet, and sends that twice."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection()
        file = io.BytesIO(CONTENT)
        assert await loop.sendfile(here.transport, file, 3) == len(CONTENT) - 3
        assert file.tell() == len(CONTENT)
        assert await finish(here, there) == CONTENT[3:]

    run(main())


@pytest.mark.saburo_only
def test_a_file_that_does_not_know_its_size_is_sent(run: Run) -> None:
    """asyncio takes it for an empty one."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection()
        with open("/proc/self/status", "rb") as file:
            sent = await loop.sendfile(here.transport, file)
        received = await finish(here, there)
        assert len(received) == sent
        assert received.startswith(b"Name:")

    run(main())


def test_an_empty_file_is_sent_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection()
        with tempfile.TemporaryFile() as file:
            assert await loop.sendfile(here.transport, file) == 0
        assert await finish(here, there) == b""

    run(main())


def test_what_comes_in_meanwhile_is_not_lost(run: Run, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection()
        there.transport.write(b"tea")
        await loop.sendfile(here.transport, file)
        while here.data != b"tea":
            await asyncio.sleep(0)
        here.transport.pause_reading()
        await loop.sendfile(here.transport, file)
        assert not here.transport.is_reading()  # as it was
        assert await finish(here, there) == CONTENT * 2

    run(main())


def test_nothing_is_written_meanwhile(run: Run, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection()
        there.transport.pause_reading()
        task = asyncio.create_task(loop.sendfile(here.transport, file))
        await asyncio.sleep(0.001)
        with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
            here.transport.write(b"x")
        there.transport.resume_reading()
        assert await task == len(CONTENT)
        assert await finish(here, there) == CONTENT

    run(main())


def test_a_peer_that_goes_away_is_an_error(run: Run, file: IO[bytes]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection()
        there.transport.pause_reading()
        task = asyncio.create_task(loop.sendfile(here.transport, file))
        await asyncio.sleep(0.001)
        there.transport.abort()
        with pytest.raises(ConnectionError):
            await task
        assert 0 < file.tell() < len(CONTENT)
        here.transport.abort()
        await here.lost

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize(("tls", "method"), [(False, "close"), (False, "abort"), (True, "abort")])
def test_closing_the_transport_ends_it(run: Run, file: IO[bytes], tls: bool, method: str) -> None:
    """asyncio goes on to wait for a socket that is closed."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection(tls)
        there.transport.pause_reading()
        task = asyncio.create_task(loop.sendfile(here.transport, file))
        for _ in range(50):
            await asyncio.sleep(0.001)
        getattr(here.transport, method)()
        with pytest.raises(ConnectionError, match=r"[Cc]losed by peer"):
            await task
        there.transport.abort()
        await there.lost
        await here.lost

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("tls", [False, True])
def test_a_cancelled_call_leaves_a_connection_that_works(
    run: Run, file: IO[bytes], tls: bool
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection(tls)
        there.transport.pause_reading()
        task = asyncio.create_task(loop.sendfile(here.transport, file))
        for _ in range(20):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        part = CONTENT[: file.tell()]
        there.transport.resume_reading()
        while here.transport.get_write_buffer_size():
            await asyncio.sleep(0.001)
        here.transport.write(b"|after")
        received = await finish(here, there)
        assert received.startswith(part)
        assert received.endswith(b"|after")

    run(main())


@pytest.mark.saburo_only
def test_the_protocol_is_told_of_pauses_in_between(run: Run) -> None:
    """Each pause has its resumption, and none is for a protocol that has not heard of the pause."""

    class Paced(Recorder):
        def pause_writing(self) -> None:
            self.calls.append("pause")

        def resume_writing(self) -> None:
            self.calls.append("resume")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = socket.socketpair()
        _, here = await loop.create_connection(Paced, sock=one)
        _, there = await loop.create_connection(Recorder, sock=two)
        there.transport.pause_reading()
        while here.calls[-1] != "pause":
            here.transport.write(bytes(65536))
        loop.call_later(0.01, there.transport.resume_reading)
        await loop.sendfile(here.transport, io.BytesIO(CONTENT))
        assert here.calls == ["made", "pause", "resume"]
        await finish(here, there)
        assert there.data.endswith(CONTENT)

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("tls", [False, True])
def test_a_pipe_is_read_on(run: Run, tls: bool) -> None:
    """asyncio wants to seek in it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await connection(tls)
        reading, writing = os.pipe()
        os.write(writing, b"green tea")
        os.close(writing)
        with open(reading, "rb", 0) as pipe:
            assert await loop.sendfile(here.transport, pipe, count=5) == 5
            assert await loop.sendfile(here.transport, pipe) == 4
        assert await finish(here, there) == b"green tea"

    run(main())


@pytest.mark.parametrize("size", [100, 16_384, 16_385, 100_000])
@pytest.mark.parametrize("gone", ["reset", "closed", "closed, and written to before"])
def test_a_peer_that_is_gone_already(run: Run, size: int, gone: str) -> None:
    """The kernel refuses at once, so it is tried by hand; by then the protocol has heard of it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, ours, theirs = await connected_over_tcp()
        if gone == "reset":
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        here.transport.pause_reading()
        if gone != "reset":
            here.transport.write(b"x")
            assert here.transport.get_write_buffer_size() == 0
        while not is_reset(ours):
            await asyncio.sleep(0)
        expected: Any = ConnectionError("Connection closed by peer")
        if gone == "closed, and written to before":
            here.transport.write(b"x")
            expected = RuntimeError("Transport is closing")
        elif size <= 16_384 and not asks_after_the_last_piece(loop):
            expected = size
        with tempfile.TemporaryFile() as file:
            file.write(CONTENT[:size])
            file.flush()
            file.seek(0)
            try:
                outcome: Any = await loop.sendfile(here.transport, file)
            except Exception as error:
                outcome = error
            assert repr(outcome) == repr(expected)
        here.transport.abort()
        await here.lost
        assert here.calls == ["made", "lost"]

    run(main())


@pytest.mark.parametrize("fallback", [False, True])
def test_a_socket_whose_peer_is_gone(run: Run, file: IO[bytes], fallback: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.close()
        ours.setblocking(False)
        error: type[Exception] = BrokenPipeError
        if not fallback:
            error = asyncio.SendfileNotAvailableError
        with pytest.raises(error, match=None if fallback else r"^os\.sendfile call failed$"):
            await loop.sock_sendfile(ours, file, fallback=fallback)
        ours.close()

    run(main())


def asks_after_the_last_piece(loop: Any) -> bool:
    """asyncio's older versions ask before each piece what has become of the ones before."""
    return not isinstance(loop, asyncio.SelectorEventLoop) or sys.version_info >= (3, 14)


async def connected_over_tcp() -> tuple[Recorder, socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    _, here = await asyncio.get_running_loop().create_connection(Recorder, sock=ours)
    return here, ours, theirs


def is_reset(sock: socket.socket) -> bool:
    """Has the peer answered by a reset? Asked without taking the error away."""
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return bool(poll.poll(0))
