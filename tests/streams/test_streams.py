"""Streams on connections: servers and clients, both ways, to every kind of end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
import socket
import struct
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import PATIENCE, Kind, comparable, turn
from support.waiting import until

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop
Run = Callable[..., Any]

CLOSES_WHAT_IS_DROPPED = sys.version_info >= (3, 13)
"""Whether asyncio's writers complain of not having been closed."""


def new_enough(kind: Kind, since: tuple[int, int]) -> None:
    if not kind.is_saburo and sys.version_info < since:
        pytest.skip(f"asyncio does this from {since[0]}.{since[1]} on")


@contextlib.asynccontextmanager
async def connected(streams: Any, **options: Any) -> AsyncIterator[tuple[Any, Any, socket.socket]]:
    """A reader, a writer, and the bare socket at the other end, which does not block."""
    here, there = socket.socketpair()
    there.setblocking(False)
    reader, writer = await streams.open_connection(sock=here, **options)
    try:
        yield reader, writer, there
    finally:
        there.close()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(streams: Any, callback: Any, **options: Any) -> AsyncIterator[Any]:
    """A server on loopback; its address."""
    server = await streams.start_server(callback, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[:2]


async def read_all(sock: socket.socket) -> bytes:
    whole = b""
    while data := await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
        whole += data
    return whole


def reset(sock: socket.socket) -> None:
    """Closes a connection as a crash does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# --- Both ways. ---


def test_lines_go_both_ways(run: Run, streams: Any) -> None:
    async def echo(reader: Any, writer: Any) -> None:
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def main() -> None:
        async with serving(streams, echo) as address:
            reader, writer = await streams.open_connection(*address)
            for line in (b"one\n", b"two\n", b"x" * 60_000 + b"\n"):
                writer.write(line)
                assert await reader.readline() == line.upper()
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(main())


def test_many_megabytes_go_both_ways_at_once(run: Run, streams: Any) -> None:
    data = os.urandom(1 << 20) * 8

    async def echo(reader: Any, writer: Any) -> None:
        while chunk := await reader.read(100_000):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def main() -> None:
        async with serving(streams, echo) as address:
            reader, writer = await streams.open_connection(*address)

            async def send() -> None:
                for start in range(0, len(data), 300_000):
                    writer.write(data[start : start + 300_000])
                    await writer.drain()
                writer.write_eof()

            sending = asyncio.create_task(send())
            assert await reader.read() == data
            await sending
            writer.close()
            await writer.wait_closed()

    run(main())


def test_one_byte_at_a_time(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (reader, _writer, there):
            reading = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
            for byte in b"a: b\r\n\r\nrest":
                there.send(bytes([byte]))
                await asyncio.sleep(0)
            assert await reading == b"a: b\r\n\r\n"
            assert await reader.readexactly(4) == b"rest"

    run(main())


def test_unix_sockets(run: Run, streams: Any, tmp_path: Path) -> None:
    async def greet(reader: Any, writer: Any) -> None:
        writer.writelines([b"hello, ", await reader.readline()])
        writer.close()

    async def main() -> None:
        path = tmp_path / "socket"
        async with await streams.start_unix_server(greet, path):
            reader, writer = await streams.open_unix_connection(path)
            writer.write(b"world\n")
            assert await reader.read() == b"hello, world\n"
            writer.close()
            await writer.wait_closed()

    run(main())


def test_the_limit_is_passed_on(run: Run, streams: Any) -> None:
    async def answer(reader: Any, writer: Any) -> None:
        with pytest.raises(ValueError, match="chunk is longer than limit"):
            await reader.readline()
        assert await reader.readline() == b"fine\n"
        writer.write(b"too long\n")
        writer.close()

    async def main() -> None:
        async with serving(streams, answer, limit=5) as address:
            reader, writer = await streams.open_connection(*address, limit=4)
            writer.write(b"longer\nfine\n")
            with pytest.raises(asyncio.LimitOverrunError):
                await reader.readuntil(b"\n")
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_limit_that_is_none_is_refused_before_anything_is_opened(run: Run, streams: Any) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            await streams.open_connection("127.0.0.1", 1, limit=0)

    run(main())


def test_what_cannot_be_connected_to_is_an_error(run: Run, streams: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            address = unused.getsockname()
        with pytest.raises(ConnectionRefusedError):
            await streams.open_connection(*address)
        with pytest.raises(FileNotFoundError):
            await streams.open_unix_connection(tmp_path / "nobody")
        with pytest.raises(
            ValueError, match="host and port was not specified and no sock specified"
        ):
            await streams.open_connection()

    run(main())


def test_a_connection_that_is_cancelled_leaves_nothing(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with serving(streams, lambda reader, writer: writer.close()) as address:
            for turns in range(6):
                task = asyncio.create_task(streams.open_connection(*address))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    _, writer = await task
                    writer.close()
                    await writer.wait_closed()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's are noticed by the collector
        run(main())
        gc.collect()


# --- The writer. ---


def test_the_writer_is_a_face_of_its_transport(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (reader, writer, there):
            assert writer.transport is writer._transport
            assert writer.get_extra_info("socket").fileno() > 0
            assert writer.get_extra_info("nothing") is None
            assert writer.get_extra_info("nothing", 5) == 5
            assert writer.get_extra_info(name="nothing", default=6) == 6
            assert writer.can_write_eof()
            assert not writer.is_closing()
            assert (
                repr(writer) == f"<StreamWriter transport={writer.transport!r} reader={reader!r}>"
            )
            writer.write(b"1")
            writer.write(bytearray(b"2"))
            writer.write(memoryview(b"3"))
            writer.writelines(iter([b"4", b"5"]))
            await writer.drain()
            with pytest.raises(TypeError):
                writer.write("text")
            writer.write_eof()
            assert await read_all(there) == b"12345"
            writer.close()
            assert writer.is_closing()
            assert isinstance(writer, asyncio.StreamWriter)
            assert isinstance(writer.transport, asyncio.Transport)

    run(main())


def test_drain_waits_while_the_other_side_is_behind(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (_reader, writer, there):
            writer.write(b"x" * (8 << 20))
            drains = [asyncio.create_task(writer.drain()) for _ in range(5)]
            for _ in range(5):
                await asyncio.sleep(0)
            assert not any(drain.done() for drain in drains)
            assert len(writer._protocol._drain_waiters) == 5
            drains[2].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(writer._protocol._drain_waiters) == 4
            received = 0
            while received < 8 << 20:
                received += len(await asyncio.get_running_loop().sock_recv(there, 1 << 20))
            done = await asyncio.gather(*drains, return_exceptions=True)
            assert [type(end) for end in done].count(type(None)) == 4
            assert isinstance(done[2], asyncio.CancelledError)
            assert len(writer._protocol._drain_waiters) == 0
            await writer.drain()

    run(main())


def test_drain_does_not_turn_the_loop_while_there_is_room(loop: Loop, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (_reader, writer, _there):
            asyncio.get_running_loop().call_soon(turns.append, 1)
            await writer.drain()
            assert turns == []

    turns: list[int] = []
    loop.run_until_complete(main())


def test_drain_raises_what_the_connection_was_lost_by(run: Run, streams: Any) -> None:
    async def main() -> None:
        async def answer(reader: Any, writer: Any) -> None:
            writer.write(b"x" * (8 << 20))
            ready.set()
            with pytest.raises(ConnectionError):
                await writer.drain()
            with pytest.raises(ConnectionError):
                await reader.read(1)
            with pytest.raises(ConnectionError):
                await writer.drain()
            with pytest.raises(ConnectionError):
                await writer.wait_closed()
            ended.set()

        ready, ended = asyncio.Event(), asyncio.Event()
        async with serving(streams, answer) as address:
            there = socket.create_connection(address)
            await ready.wait()
            await asyncio.sleep(0)
            reset(there)
            await ended.wait()

    run(main())


def test_who_writes_and_drains_for_ever_hears_of_the_end(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (_reader, writer, there):
            there.close()
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                async with asyncio.timeout(PATIENCE):
                    while True:
                        writer.write(b"x")
                        await writer.drain()

    run(main())


def test_drain_after_close_says_the_connection_is_lost(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (_reader, writer, _there):
            writer.close()
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()
            await writer.wait_closed()
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()

    run(main())


def test_wait_closed_may_be_awaited_by_several_and_again(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (_reader, writer, _there):
            waiting = [asyncio.create_task(writer.wait_closed()) for _ in range(3)]
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            writer.close()
            await asyncio.gather(*waiting)
            await writer.wait_closed()
            await writer.wait_closed()

    run(main())


def test_a_cancelled_wait_closed_cancels_it_for_all_as_in_asyncio(run: Run, streams: Any) -> None:
    """They wait for one and the same future."""

    async def main() -> None:
        async with connected(streams) as (reader, writer, _there):
            waiting = asyncio.create_task(writer.wait_closed())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            writer.close()
            assert await reader.read() == b""
            with pytest.raises(asyncio.CancelledError):
                await writer.wait_closed()
            writer.wait_closed = reader.readline  # what `connected` awaits

    run(main())


def test_a_writer_that_is_dropped_is_closed_and_complained_of(
    kind: Kind, run: Run, streams: Any
) -> None:
    new_enough(kind, (3, 13))

    async def main() -> None:
        here, there = socket.socketpair()
        with there:
            _reader, writer = await streams.open_connection(sock=here)
            transport = writer.transport
            with pytest.warns(ResourceWarning, match="^unclosed <StreamWriter transport="):
                del writer
                gc.collect()
            assert transport.is_closing()
            await asyncio.sleep(0)

    run(main())


def test_a_writer_that_is_dropped_after_its_loop_says_that(
    kind: Kind, loop: Loop, streams: Any
) -> None:
    new_enough(kind, (3, 13))
    here, there = socket.socketpair()
    _reader, writer = loop.run_until_complete(streams.open_connection(sock=here))
    loop.close()
    there.close()
    with pytest.warns(ResourceWarning) as caught:
        del writer
        gc.collect()
    assert "loop is closed" in [str(warning.message) for warning in caught]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del _reader
        gc.collect()


def test_a_closed_writer_is_dropped_in_silence(run: Run, streams: Any) -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        there.close()
        reader, writer = await streams.open_connection(sock=here)
        writer.close()
        await writer.wait_closed()
        refs = [weakref.ref(reader), weakref.ref(writer), weakref.ref(writer._protocol)]
        del reader, writer
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
        assert [ref() for ref in refs] == [None] * 3

    run(main())


def test_a_writer_made_by_hand(loop: Loop, streams: Any) -> None:
    class Transport(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[Any] = []

        def write(self, data: Any) -> None:
            self.calls.append(data)

        def is_closing(self) -> bool:
            return "close" in self.calls

        def close(self) -> None:
            self.calls.append("close")

    class Protocol(asyncio.streams.FlowControlMixin):
        def _get_close_waiter(self, stream: Any) -> Any:
            return done

    done: Any = loop.create_future()
    transport, protocol = Transport(), Protocol(loop=loop)
    writer = streams.StreamWriter(transport, protocol, None, loop)
    writer.write(b"hello")
    loop.run_until_complete(writer.drain())
    protocol.pause_writing()
    draining = loop.create_task(writer.drain())
    turn(loop, 3)
    assert not draining.done()
    protocol.resume_writing()
    loop.run_until_complete(draining)
    assert repr(writer) == f"<StreamWriter transport={transport!r}>"
    writer.close()
    done.set_exception(LookupError())
    with pytest.raises(LookupError):
        loop.run_until_complete(writer.wait_closed())
    assert transport.calls == [b"hello", "close"]
    with pytest.raises(AssertionError):
        streams.StreamWriter(transport, protocol, object(), loop)


def test_start_tls_hands_the_connection_over(kind: Kind, loop: Loop, streams: Any) -> None:
    class Transport(asyncio.Transport):
        def __init__(self, context: Any = None) -> None:
            super().__init__({"sslcontext": context})

        def is_closing(self) -> bool:
            return True

    asked: list[Any] = []

    async def start_tls(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        await asyncio.sleep(0)
        return encrypted

    plain, encrypted = Transport(), Transport("context")
    loop.start_tls = start_tls  # type: ignore[method-assign]
    reader = streams.StreamReader(loop=loop)
    protocol = streams.StreamReaderProtocol(reader, loop=loop)
    protocol.connection_made(plain)
    assert protocol.eof_received()
    writer = streams.StreamWriter(plain, protocol, reader, loop)
    loop.run_until_complete(writer.start_tls("context", server_hostname="name"))
    ((args, options),) = asked
    assert args == (plain, protocol, "context")
    assert options["server_hostname"] == "name"
    assert not options["server_side"]
    assert writer.transport is protocol._transport is encrypted
    if kind.is_saburo or sys.version_info >= (3, 14):
        assert reader._transport is encrypted
    assert protocol._over_ssl
    assert not protocol.eof_received()


# --- Servers. ---


@pytest.mark.as_since(3, 11, 4)
@pytest.mark.parametrize("how", ["coroutine", "function"])
def test_what_a_callback_raises_is_reported_and_the_connection_closed(
    kind: Kind, loop: Loop, streams: Any, reports: list[dict[str, Any]], how: str
) -> None:
    if how == "function":
        new_enough(kind, (3, 15))
    error = LookupError("in the callback")

    async def fail_later(reader: Any, writer: Any) -> None:
        await reader.readline()
        raise error

    def fail(_reader: Any, _writer: Any) -> None:
        raise error

    async def main() -> None:
        async with serving(streams, fail_later if how == "coroutine" else fail) as address:
            reader, writer = await streams.open_connection(*address)
            writer.write(b"hello\n")
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.run_until_complete(main())
        gc.collect()
    (report,) = reports
    assert report["message"] == "Unhandled exception in client_connected_cb"
    assert report["exception"] is error
    assert report["transport"].is_closing()


def test_a_callback_that_is_cancelled_closes_its_connection(
    kind: Kind, loop: Loop, streams: Any, reports: list[dict[str, Any]]
) -> None:
    new_enough(kind, (3, 13))

    async def give_up(reader: Any, writer: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await reader.read()

    async def main() -> None:
        async with serving(streams, give_up) as address:
            reader, writer = await streams.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.run_until_complete(main())
        gc.collect()
    assert reports == []


def test_a_callback_that_keeps_nothing_runs_to_its_end(run: Run, streams: Any) -> None:
    """Nobody but the loop holds its task, its reader and its writer."""

    async def answer(reader: Any, writer: Any) -> None:
        gc.collect()
        line = await reader.readline()
        gc.collect()
        await asyncio.sleep(0.001)
        gc.collect()
        writer.write(line)
        writer.close()

    async def main() -> None:
        async with serving(streams, answer) as address:
            reader, writer = await streams.open_connection(*address)
            gc.collect()
            writer.write(b"hello\n")
            assert await reader.read() == b"hello\n"
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_callback_that_is_no_coroutine_may_start_what_it_likes(run: Run, streams: Any) -> None:
    async def main() -> None:
        async def work(reader: Any, writer: Any) -> None:
            writer.write(await reader.readline())
            writer.close()

        tasks: set[Any] = set()
        callback = lambda reader, writer: tasks.add(asyncio.create_task(work(reader, writer)))  # noqa: E731
        async with serving(streams, callback) as address:
            reader, writer = await streams.open_connection(*address)
            writer.write(b"hello\n")
            assert await reader.read() == b"hello\n"
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_native_coroutine_may_be_the_callback(run: Run, streams: Any) -> None:
    async def main() -> None:
        seen: list[Any] = []

        def discard(reader: Any, writer: Any) -> Any:
            seen.append(writer)
            return reader.read()

        async with serving(streams, discard) as address:
            _reader, writer = await streams.open_connection(*address)
            await until(lambda: len(seen) == 1)
            task = seen[0]._protocol._task
            assert isinstance(task, asyncio.Task)
            writer.write(b"everything")
            writer.write_eof()
            assert await task == b"everything"
            seen[0].close()
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_server_knows_its_side_for_tls(run: Run, streams: Any) -> None:
    async def main() -> None:
        seen: list[Any] = []
        async with serving(streams, lambda reader, writer: seen.append(writer)) as address:
            _reader, writer = await streams.open_connection(*address)
            await until(lambda: len(seen) == 1)
            assert seen[0]._protocol._client_connected_cb is not None
            assert writer._protocol._client_connected_cb is None
            for each in (writer, seen[0]):
                each.close()
                await each.wait_closed()

    run(main())


# --- Ends. ---


def test_a_reset_reaches_reader_and_writer(run: Run, streams: Any) -> None:
    async def main() -> None:
        ended: list[Any] = []

        async def answer(reader: Any, writer: Any) -> None:
            for wait in (reader.read, writer.wait_closed, writer.drain):
                try:
                    await wait()
                except ConnectionResetError as error:
                    ended.append(error)
            writer.close()

        async with serving(streams, answer) as address:
            there = socket.create_connection(address)
            await asyncio.sleep(0.001)
            reset(there)
            await until(lambda: len(ended) == 3)
            assert ended[0] is ended[1] is ended[2]

    run(main())


def test_half_a_connection_goes_on(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (reader, writer, there):
            there.shutdown(socket.SHUT_WR)
            assert await reader.read() == b""
            assert not writer.is_closing()
            writer.write(b"still here")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert there.recv(100) == b"still here"

    run(main())


def test_closing_wakes_whoever_reads(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (reader, writer, _there):
            reading = asyncio.create_task(reader.read(5))
            lines = [reading]
            await asyncio.sleep(0)
            writer.close()
            assert await asyncio.gather(*lines) == [b""]
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.readexactly(1)

    run(main())


def test_unread_bytes_slow_the_sender_down(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams, limit=1000) as (reader, _writer, there):
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += there.send(b"x" * 4096)
                    for _ in range(3):
                        await asyncio.sleep(0)
            assert reader._paused
            there.shutdown(socket.SHUT_WR)
            assert len(await reader.read()) == sent
            assert not reader._paused

    run(main())


# --- The protocol by hand, and protocols of others. ---


def told(kind: Kind, calls: Callable[[Any, Any, Loop], Any]) -> str:
    """What becomes of calls of a protocol: the exception, or what is returned."""
    loop = kind.new_loop()
    try:
        reader = kind.streams.StreamReader(loop=loop)
        protocol = kind.streams.StreamReaderProtocol(reader, loop=loop)
        try:
            return repr(calls(protocol, reader, loop))
        except BaseException as error:
            return comparable(f"{type(error).__name__} {error}")
    finally:
        loop.close()


class Plain(asyncio.Transport):
    def is_closing(self) -> bool:
        return True


async def drained(protocol: Any) -> None:
    await protocol._drain_helper()


CALLS: dict[str, Callable[[Any, Any, Loop], Any]] = {
    "resume without pause": lambda p, r, loop: p.resume_writing(),
    "pause twice": lambda p, r, loop: (p.pause_writing(), p.pause_writing()),
    "connection made twice": lambda p, r, loop: (
        p.connection_made(Plain()),
        p.connection_made(Plain()),
    ),
    "data": lambda p, r, loop: (p.data_received(b"abc"), bytes(r._buffer)),
    "data after the end": lambda p, r, loop: (p.eof_received(), p.data_received(b"abc")),
    "end": lambda p, r, loop: (p.eof_received(), r.at_eof(), r.exception()),
    "lost": lambda p, r, loop: (
        p.connection_lost(None),
        r.at_eof(),
        p._closed.result(),
        p._stream_reader,
        p._transport,
    ),
    "lost by an error": lambda p, r, loop: (
        p.connection_lost(LookupError("x")),
        r.at_eof(),
        r.exception(),
        p._closed.exception(),
    ),
    "lost twice": lambda p, r, loop: (
        p.connection_lost(None),
        p.connection_lost(LookupError("x")),
        p._closed.result(),
        r.exception(),
    ),
    "lost by what is no exception": lambda p, r, loop: p.connection_lost("x"),
    "lost by a class of exceptions": lambda p, r, loop: (
        p.connection_lost(LookupError),
        p._closed.exception(),
    ),
    "drain": lambda p, r, loop: loop.run_until_complete(drained(p)),
    "drain when lost": lambda p, r, loop: (
        p.connection_lost(None),
        loop.run_until_complete(drained(p)),
    ),
    "close waiter": lambda p, r, loop: p._get_close_waiter(None) is p._closed,
    "attributes": lambda p, r, loop: (
        p._paused,
        p._connection_lost,
        p._over_ssl,
        p._task,
        p._transport,
        p._client_connected_cb,
        p._stream_reader is r,
        p._stream_reader_wr() is r,
        list(p._drain_waiters),
        p._source_traceback,
        p._loop is loop,
    ),
    "classes": lambda p, r, loop: (
        isinstance(p, asyncio.Protocol),
        isinstance(p, asyncio.StreamReaderProtocol),
        isinstance(p, asyncio.BufferedProtocol),
    ),
}


@pytest.mark.saburo_only
@pytest.mark.parametrize("calls", CALLS)
def test_a_protocol_does_what_asyncios_does(kind: Kind, calls: str) -> None:
    theirs = Kind("asyncio", "asyncio.new_event_loop()")
    assert told(kind, CALLS[calls]) == told(theirs, CALLS[calls])


def test_those_who_drain_hear_of_the_loss(loop: Loop, streams: Any) -> None:
    for error in (None, LookupError("x")):
        reader = streams.StreamReader(loop=loop)
        protocol = streams.StreamReaderProtocol(reader, loop=loop)
        protocol.pause_writing()
        draining = [loop.create_task(drained(protocol)) for _ in range(3)]
        turn(loop)
        draining[1].cancel()
        protocol.connection_lost(error)
        turn(loop, 2)
        assert draining[1].cancelled()
        assert [draining[index].exception() for index in (0, 2)] == [error, error]


def test_a_protocol_lets_go_of_a_reader_nobody_has(loop: Loop, streams: Any) -> None:
    reader = streams.StreamReader(loop=loop)
    protocol = streams.StreamReaderProtocol(reader, loop=loop)
    protocol.connection_made(Plain())
    ref = weakref.ref(reader)
    del reader
    gc.collect()
    assert ref() is None
    assert protocol._stream_reader is None
    protocol.data_received(b"into the void")
    assert protocol.eof_received()
    protocol.connection_lost(None)


def test_debug_mode_logs_back_pressure(
    loop: Loop, streams: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    reader = streams.StreamReader(loop=loop)
    protocol = streams.StreamReaderProtocol(reader, loop=loop)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        protocol.pause_writing()
        protocol.resume_writing()
    assert [re.sub("<.*>", "<>", record.getMessage()) for record in caplog.records] == [
        "<> pauses writing",
        "<> resumes writing",
    ]


def test_a_protocol_derived_from_asyncios_keeps_working(run: Run, streams: Any) -> None:
    class Counting(asyncio.StreamReaderProtocol):
        count = 0

        def data_received(self, data: bytes) -> None:
            self.count += len(data)
            super().data_received(data)

    async def main(reader_class: Any, writer_class: Any) -> None:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        with there:
            reader = reader_class(loop=loop)
            protocol = Counting(reader)
            transport, _ = await loop.create_connection(lambda: protocol, sock=here)
            writer = writer_class(transport, protocol, reader, loop)
            writer.write(b"hello\n")
            await writer.drain()
            await asyncio.sleep(0)
            assert there.recv(100) == b"hello\n"
            there.send(b"world\n")
            assert await reader.readline() == b"world\n"
            assert protocol.count == 6
            writer.close()
            await writer.wait_closed()

    for reader_class in (asyncio.StreamReader, streams.StreamReader):
        for writer_class in (asyncio.StreamWriter, streams.StreamWriter):
            run(main(reader_class, writer_class))


def test_a_protocol_derived_from_ours_keeps_working(run: Run, streams: Any) -> None:
    class Counting(streams.StreamReaderProtocol):  # type: ignore[misc]
        count = 0

        def data_received(self, data: bytes) -> None:
            self.count += len(data)
            super().data_received(data)

        async def _drain_helper(self) -> None:
            self.count += 1
            await super()._drain_helper()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        with there:
            reader = streams.StreamReader()
            protocol = Counting(reader)
            transport, _ = await loop.create_connection(lambda: protocol, sock=here)
            writer = streams.StreamWriter(transport, protocol, reader, loop)
            there.send(b"world\n")
            assert await reader.readline() == b"world\n"
            await writer.drain()
            assert protocol.count == 7
            writer.close()
            await writer.wait_closed()

    run(main())


# --- Re-entrancy. ---


def test_whoever_is_called_may_close_the_connection(run: Run, streams: Any) -> None:
    async def main() -> None:
        closed: list[Any] = []

        def close_at_once(reader: Any, writer: Any) -> None:
            writer.close()
            closed.append(reader)

        async with serving(streams, close_at_once) as address:
            reader, writer = await streams.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        assert len(closed) == 1

        async with connected(streams) as (reader, writer, there):
            reading = asyncio.create_task(reader.readline())
            await asyncio.sleep(0)
            reader._waiter.add_done_callback(lambda _waiter: writer.transport.abort())
            there.send(b"line\n")
            assert await reading == b"line\n"
            await writer.wait_closed()

    run(main())


# --- Garbage. ---


def test_a_connection_in_a_cycle_is_collected(kind: Kind, streams: Any) -> None:
    class Anchor:
        held: Any

    def cycle() -> tuple[weakref.ref[Any], socket.socket]:
        loop = kind.new_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        anchor = Anchor()
        here, there = socket.socketpair()
        reader, writer = loop.run_until_complete(streams.open_connection(sock=here))
        anchor.held = (loop, reader, writer, writer._protocol)
        writer.anchor = reader.anchor = writer._protocol.anchor = anchor
        writer._protocol.pause_writing()
        tasks = [loop.create_task(writer.drain()), loop.create_task(reader.readline())]
        tasks.append(loop.create_task(writer.wait_closed()))
        turn(loop)
        anchor.held += (tasks,)
        return weakref.ref(anchor), there

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        ref, there = cycle()
        for _ in range(3):
            gc.collect()
        assert ref() is None
        there.close()


# ---- methods that somebody has replaced ----


def test_methods_that_were_replaced_on_the_transport_are_the_ones_called(
    run: Run, streams: Any
) -> None:
    """Tests, and tools that count bytes, put their own into the instance."""

    async def main() -> None:
        async with connected(streams, limit=10) as (reader, writer, there):
            calls: list[Any] = []
            transport = writer.transport

            def spied(name: str) -> Callable[..., Any]:
                original = getattr(transport, name)

                def spy(*args: Any) -> Any:
                    calls.append((name, *args))
                    return original(*args)

                return spy

            transport.write = spied("write")
            transport.writelines = spied("writelines")
            transport.pause_reading = spied("pause_reading")
            transport.resume_reading = spied("resume_reading")
            writer.write(b"one")
            writer.writelines([b"two"])
            there.send(b"x" * 30)
            while not calls or calls[-1] != ("pause_reading",):
                await asyncio.sleep(0)
            assert await reader.readexactly(30) == b"x" * 30
            # By which asyncio's own writelines() sends in 3.11.
            assert [call for call in calls if call != ("write", b"two")] == [
                ("write", b"one"),
                ("writelines", [b"two"]),
                ("pause_reading",),
                ("resume_reading",),
            ]

    run(main())


def test_methods_that_were_replaced_on_the_reader_are_the_ones_called(
    run: Run, streams: Any
) -> None:
    async def main() -> None:
        async with connected(streams) as (reader, _writer, there):
            calls: list[Any] = []
            feed_data, feed_eof = reader.feed_data, reader.feed_eof
            reader.feed_data = lambda data: (calls.append(data), feed_data(data.upper()))
            reader.feed_eof = lambda: (calls.append("eof"), feed_eof())
            there.send(b"tea")
            there.shutdown(socket.SHUT_WR)
            assert await reader.read() == b"TEA"
            assert calls == [b"tea", "eof"]

    run(main())


def test_a_protocol_whose_drain_was_replaced_is_asked(run: Run, streams: Any) -> None:
    async def main() -> None:
        async with connected(streams) as (_reader, writer, _there):

            async def drain_helper() -> None:
                raise ZeroDivisionError

            writer.transport.get_protocol()._drain_helper = drain_helper
            with pytest.raises(ZeroDivisionError):
                await writer.drain()

    run(main())
