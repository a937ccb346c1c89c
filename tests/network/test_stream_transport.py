"""A connection: what is written, what is read, who is told what, and in which order."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import re
import socket
import sys
import tracemalloc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind
from support.pipes import Recorder

Run = Callable[..., Any]
HIGH = 64 * 1024


async def connect(
    factory: Callable[[], Any] = Recorder, kind: int = socket.SOCK_STREAM
) -> tuple[Any, Any, socket.socket]:
    """A transport, its protocol, and the bare socket at the other end, which does not block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    theirs.setblocking(False)
    loop: Any = asyncio.get_running_loop()
    if kind == socket.SOCK_STREAM:
        transport, protocol = await loop.create_connection(factory, sock=ours)
        return transport, protocol, theirs
    # For sockets that keep the borders of messages: one message for each system call.
    waiter = loop.create_future()
    protocol = factory()
    transport = loop._make_socket_transport(ours, protocol, waiter)
    await waiter
    return transport, protocol, theirs


async def close(transport: Any, protocol: Recorder, theirs: socket.socket) -> None:
    transport.abort()
    await protocol.lost
    theirs.close()


async def read_all(theirs: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    whole = bytearray()
    while data := await loop.sock_recv(theirs, 1 << 20):
        whole += data
    return bytes(whole)


# ---- what leaves together ----


@pytest.mark.saburo_only  # asyncio sends a part of them on some versions
@pytest.mark.parametrize("lines", [[b"a", 7], (bytearray(b"b" * 600), 5), [b"c" * 600, "d"]])
def test_lines_of_which_one_has_no_bytes_are_not_sent_in_part(run: Run, lines: Any) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        with pytest.raises(TypeError):
            transport.writelines(lines)
        transport.write(b"next")
        await asyncio.sleep(0)
        assert theirs.recv(1000) == b"next"
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.saburo_only
def test_what_is_written_in_a_turn_leaves_in_one_system_call(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect(kind=socket.SOCK_SEQPACKET)
        for index in range(100):
            transport.write(b"%02d" % index)
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        transport.write(b"x" * 1000)
        with pytest.raises(BlockingIOError):
            theirs.recv(1 << 20)
        await asyncio.sleep(0)
        expected = b"".join(b"%02d" % index for index in range(100)) + b"abc" + b"x" * 1000
        assert theirs.recv(1 << 20) == expected
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.saburo_only
def test_more_than_the_high_water_mark_leaves_at_once(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        transport.set_write_buffer_limits(high=10)
        transport.write(b"0123456789")
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        transport.write(b"x")
        assert theirs.recv(100) == b"0123456789x"
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.parametrize("size", [1, 500, 600, 40_000])
def test_lists_of_any_length_arrive_in_order(run: Run, size: int) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        expected = bytearray()
        reading = asyncio.create_task(read_all(theirs))
        for count in (1, 2, 100, 300, 0):
            pieces = [b"%03d" % index + b"x" * size for index in range(count)]
            transport.write(b"before")
            transport.writelines(pieces)
            transport.writelines(iter([*pieces, b""]))
            transport.write(b"after")
            expected += b"before" + b"".join(pieces) * 2 + b"after"
        transport.close()
        await protocol.lost
        assert await reading == expected
        theirs.close()

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("method", ["write", "writelines"])
def test_what_is_above_the_mark_by_itself_leaves_at_once(run: Run, method: str) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        transport.write(b"before")
        data = b"x" * (HIGH + 1)
        getattr(transport, method)(data if method == "write" else [data[:HIGH], data[HIGH:]])
        assert theirs.recv(8) == b"beforexx"
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.saburo_only
def test_four_times_the_default_mark_gathers_if_there_is_room(run: Run) -> None:
    async def main() -> None:
        # A connection over TCP, whose buffers are larger than those of a Unix socket.
        with socket.create_server(("127.0.0.1", 0)) as server:
            loop: Any = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(Recorder, *server.getsockname())
            theirs, _ = server.accept()
        room = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        if room < 8 * HIGH:
            pytest.skip(f"the kernel's buffer has {room} bytes")
        theirs.setblocking(False)
        for _ in range(4):
            transport.write(b"x" * HIGH)
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        transport.write(b"x")
        assert theirs.recv(100) == b"x" * 100
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.parametrize("limits", [{}, {"high": HIGH}])
def test_small_writes_pause_at_the_mark(run: Run, limits: dict[str, int]) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        if limits:
            transport.set_write_buffer_limits(**limits)
        while "pause" not in protocol.calls:
            transport.write(b"x" * 1000)
        assert HIGH < transport.get_write_buffer_size() <= HIGH + 1000
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.parametrize("how", ["size", "close", "abort", "write_eof"])
def test_whoever_could_tell_sends_it_first(run: Run, how: str) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        transport.write(b"hello ")
        transport.write(b"world")
        if how == "size":
            assert transport.get_write_buffer_size() == 0
        else:
            getattr(transport, how)()
        assert theirs.recv(100) == b"hello world"
        await close(transport, protocol, theirs)

    run(main())


def test_what_is_written_outside_of_a_run_leaves_at_once(
    loop: asyncio.AbstractEventLoop,
) -> None:
    transport, protocol, theirs = loop.run_until_complete(connect())
    transport.write(b"now")
    assert theirs.recv(100) == b"now"
    loop.run_until_complete(close(transport, protocol, theirs))


def test_what_the_last_turn_has_written_is_sent(loop: asyncio.AbstractEventLoop) -> None:
    transport, protocol, theirs = loop.run_until_complete(connect())
    loop.call_soon(transport.write, b"late")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert theirs.recv(100) == b"late"
    loop.run_until_complete(close(transport, protocol, theirs))


def test_an_interrupted_turn_sends_what_it_has_written(loop: asyncio.AbstractEventLoop) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    transport, protocol, theirs = loop.run_until_complete(connect())
    loop.call_soon(transport.write, b"before")
    loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert theirs.recv(100) == b"before"
    loop.run_until_complete(close(transport, protocol, theirs))


def test_a_buffer_that_changes_after_write_was_copied(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        for size in (5, 600, 5000, 3 * HIGH):
            data = bytearray(b"a" * size)
            transport.write(data)
            data[:] = b"b" * size
        transport.write_eof()
        received = await read_all(theirs)
        assert received == b"a" * (5 + 600 + 5000 + 3 * HIGH)
        await close(transport, protocol, theirs)

    run(main())


def test_pieces_of_all_sizes_arrive_in_order(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        expected = bytearray()
        reading = asyncio.create_task(read_all(theirs))
        for index, size in enumerate([1, 511, 512, 513, 4096, 0, 70_000, 3, 200_000] * 20):
            piece = bytes([index % 251]) * size
            expected += piece
            if index % 3:
                transport.write(piece)
            else:
                transport.writelines([piece[: size // 2], memoryview(piece)[size // 2 :]])
            if index % 7 == 0:
                await asyncio.sleep(0)
        transport.close()
        await protocol.lost
        assert await reading == expected
        theirs.close()

    run(main())


# ---- flow control ----


def test_the_protocol_pauses_above_the_high_mark_and_resumes_at_the_low_one(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        loop: Any = asyncio.get_running_loop()
        transport.set_write_buffer_limits(high=1000, low=500)
        assert transport.get_write_buffer_limits() == (500, 1000)
        while transport.get_write_buffer_size() == 0:
            transport.write(b"x" * 100_000)
        assert protocol.calls == ["made", "pause"]
        transport.write(b"x" * 100)
        assert protocol.calls == ["made", "pause"]
        while protocol.calls[-1] != "resume":
            await loop.sock_recv(theirs, 1 << 20)
        assert transport.get_write_buffer_size() <= 500
        await close(transport, protocol, theirs)

    run(main())


def test_the_write_that_finds_no_room_pauses_and_so_does_the_byte_above_the_mark(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        transport.write(b"x" * (1 << 20))
        assert protocol.calls == ["made", "pause"]
        assert transport.get_write_buffer_size() > HIGH
        await close(transport, protocol, theirs)

        transport, protocol, theirs = await connect()
        # Until the kernel is known to be full.
        transport.set_write_buffer_limits(high=1 << 30)
        while transport.get_write_buffer_size() == 0:
            transport.write(b"x" * 1000)
        transport.set_write_buffer_limits()
        transport.write(b"x" * (HIGH - transport.get_write_buffer_size()))
        assert protocol.calls == ["made"]
        transport.write(b"x")
        assert protocol.calls == ["made", "pause"]
        await close(transport, protocol, theirs)

    run(main())


def test_exactly_the_high_mark_is_not_above_it(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        while transport.get_write_buffer_size() == 0:
            transport.set_write_buffer_limits(high=1 << 30)
            transport.write(b"x" * 100_000)
        waiting = transport.get_write_buffer_size()
        transport.set_write_buffer_limits(high=waiting)
        assert "pause" not in protocol.calls
        transport.set_write_buffer_limits(high=waiting - 1)
        assert protocol.calls[-1] == "pause"
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (HIGH // 4, HIGH)),
        ({"high": 100}, (25, 100)),
        ({"low": 100}, (100, 400)),
        ({"high": 0}, (0, 0)),
        ({"high": 7, "low": 7}, (7, 7)),
        ({"high": 1, "low": 2}, "high (1) must be >= low (2) must be >= 0"),
        ({"high": -1}, "high (-1) must be >= low (-1) must be >= 0"),
        ({"low": -4}, "high (-16) must be >= low (-4) must be >= 0"),
        ({"high": 10.0}, (2, 10)),
        ({"high": 0, "low": -(2**64)}, f"high (0) must be >= low ({-(2**64)}) must be >= 0"),
        ({"high": float("inf")}, "high (inf) must be >= low (nan) must be >= 0"),
    ],
)
def test_write_buffer_limits(run: Run, limits: dict[str, Any], expected: Any) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        if isinstance(expected, str):
            with pytest.raises(ValueError, match=re.escape(expected)):
                transport.set_write_buffer_limits(**limits)
        else:
            transport.set_write_buffer_limits(**limits)
            assert transport.get_write_buffer_limits() == expected
        await close(transport, protocol, theirs)

    run(main())


def test_lower_limits_do_not_pause_for_what_there_is_room_for(run: Run) -> None:
    """What was written in the same turn is still to be sent; nobody would ever resume."""

    async def main() -> None:
        transport, protocol, theirs = await connect()
        transport.write(b"x" * 1000)
        transport.set_write_buffer_limits(high=0)
        await asyncio.sleep(0)
        assert "pause" not in protocol.calls
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.parametrize("high", [2**200, float("inf")])
def test_a_protocol_may_ask_never_to_be_paused(run: Run, high: float) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        transport.set_write_buffer_limits(high=high, low=0)
        transport.write(bytes(10_000_000))
        assert "pause" not in protocol.calls
        assert transport.get_write_buffer_limits()[1] >= 2**62
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_a_failing_throttle_is_reported_and_does_no_harm(run: Run, method: str) -> None:
    class Failing(Recorder):
        def pause_writing(self) -> None:
            if method == "pause_writing":
                raise ZeroDivisionError

        def resume_writing(self) -> None:
            if method == "resume_writing":
                raise ZeroDivisionError

    async def main() -> None:
        contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: contexts.append(context)
        )
        transport, protocol, theirs = await connect(Failing)
        transport.write(b"x" * 10_000_000)
        transport.write_eof()
        assert len(await read_all(theirs)) == 10_000_000
        assert [context["message"] for context in contexts] == [f"protocol.{method}() failed"]
        assert isinstance(contexts[0]["exception"], ZeroDivisionError)
        assert contexts[0]["transport"] is transport
        assert contexts[0]["protocol"] is protocol
        await close(transport, protocol, theirs)

    run(main())


# ---- reading ----


def test_pausing_keeps_what_arrives_for_later(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        theirs.send(b"waiting")
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.received == b""
        transport.resume_reading()
        transport.resume_reading()
        while protocol.received != b"waiting":
            await asyncio.sleep(0)
        await close(transport, protocol, theirs)

    run(main())


def test_pausing_in_data_received_holds_at_once(run: Run) -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async def main() -> None:
        transport, protocol, theirs = await connect(Pausing)
        theirs.send(b"one")
        while not protocol.received:
            await asyncio.sleep(0)
        theirs.send(b"two")
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.received == b"one"
        await close(transport, protocol, theirs)

    run(main())


def test_much_and_little_arrive_in_order_and_keep_no_spare_memory(run: Run) -> None:
    """Where much has come, room is made for as much again, whatever comes then."""

    class Keeping(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.pieces: list[bytes] = []

        def data_received(self, data: bytes) -> None:
            self.pieces.append(data)

    async def main() -> None:
        _, protocol, theirs = await connect(Keeping)
        loop = asyncio.get_running_loop()
        sizes = (100_000, 1, 50_000, 150_000, 150_000, 600, 1, 100_000)
        sent = [os.urandom(size) for size in sizes]
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number, data in enumerate(sent, 1):
                await loop.sock_sendall(theirs, data)
                whole = sum(map(len, sent[:number]))
                while sum(map(len, protocol.pieces)) < whole:
                    await asyncio.sleep(0)
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert b"".join(protocol.pieces) == b"".join(sent)
        assert all(protocol.pieces)
        assert kept < whole + 100_000
        theirs.shutdown(socket.SHUT_WR)
        assert await protocol.lost is None
        theirs.close()

    run(main())


def test_end_of_stream_closes_unless_the_protocol_keeps_it(run: Run) -> None:
    class Keeping(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    async def main() -> None:
        transport, protocol, theirs = await connect()
        theirs.shutdown(socket.SHUT_WR)
        assert await protocol.lost is None
        assert protocol.calls == ["made", "eof", ("lost", type(None))]
        theirs.close()

        transport, protocol, theirs = await connect(Keeping)
        theirs.shutdown(socket.SHUT_WR)
        while protocol.calls[-1] != "eof":
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.calls == ["made", "eof"]
        transport.write(b"answer")
        transport.close()
        assert await read_all(theirs) == b"answer"
        await protocol.lost
        theirs.close()

    run(main())


def test_a_buffered_protocol_reads_into_its_own_memory(run: Run) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.memory = bytearray(4)
            self.received = bytearray()
            self.lost = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            assert sizehint == -1
            return self.memory

        def buffer_updated(self, nbytes: int) -> None:
            assert 0 < nbytes <= 4
            self.received += self.memory[:nbytes]

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    async def main() -> None:
        _transport, protocol, theirs = await connect(Buffered)
        theirs.send(b"0123456789")
        theirs.close()
        assert await protocol.lost is None
        assert protocol.received == b"0123456789"

    run(main())


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (bytearray(), RuntimeError, "Fatal error: protocol.get_buffer() call failed."),
        (b"read only", TypeError, "Fatal read error on socket transport"),
        (None, TypeError, "Fatal error: protocol.get_buffer() call failed."),
    ],
)
def test_a_bad_buffer_ends_the_connection(
    run: Run, answer: Any, error: type[Exception], message: str
) -> None:
    class Bad(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.lost = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> Any:
            return answer

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    async def main() -> None:
        contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: contexts.append(context)
        )
        _transport, protocol, theirs = await connect(Bad)
        theirs.send(b"x")
        exc = await protocol.lost
        assert isinstance(exc, error | BufferError)
        assert [context["message"] for context in contexts] == [message]
        theirs.close()

    run(main())


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_what_a_protocol_raises_ends_the_connection(run: Run, method: str) -> None:
    def fail(self: Any, *args: Any) -> None:
        raise ZeroDivisionError("mine")

    async def main() -> None:
        contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: contexts.append(context)
        )
        failing = type("Failing", (Recorder,), {method: fail})
        transport, protocol, theirs = await connect(failing)
        theirs.send(b"x")
        theirs.shutdown(socket.SHUT_WR)
        exc = await protocol.lost
        assert str(exc) == "mine"
        [context] = contexts
        assert context["message"] == f"Fatal error: protocol.{method}() call failed."
        assert context["exception"] is exc
        assert context["transport"] is transport
        assert context["protocol"] is protocol
        theirs.close()

    run(main())


@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_what_the_first_or_last_call_raises_is_reported(run: Run, method: str) -> None:
    async def main() -> None:
        contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: contexts.append(context)
        )

        def fail(self: Any, argument: Any) -> None:
            getattr(Recorder, method)(self, argument)
            raise ZeroDivisionError("mine")

        failing = type("Failing", (Recorder,), {method: fail})
        transport, protocol, theirs = await connect(failing)
        theirs.send(b"x")
        while not protocol.received:
            await asyncio.sleep(0)
        transport.close()
        await protocol.lost
        await asyncio.sleep(0)
        assert [str(context["exception"]) for context in contexts] == ["mine"]
        assert await read_all(theirs) == b""  # closed all the same
        theirs.close()

    run(main())


def test_a_reset_is_told_to_the_protocol_once(run: Run) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        loop: Any = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
        theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        assert isinstance(await protocol.lost, ConnectionResetError)
        assert protocol.calls == ["made", ("lost", ConnectionResetError)]
        assert transport.is_closing()
        listener.close()

    run(main())


# ---- the end ----


def test_close_sends_everything_first_and_abort_does_not(run: Run) -> None:
    async def main() -> None:
        for how in ("close", "abort"):
            transport, protocol, theirs = await connect()
            transport.write(b"x" * 5_000_000)
            getattr(transport, how)()
            assert transport.is_closing()
            assert not transport.is_reading()
            received = await read_all(theirs)
            assert (len(received) == 5_000_000) == (how == "close")
            assert await protocol.lost is None
            theirs.close()

    run(main())


def test_writes_in_vain_are_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        theirs.close()
        transport.write(b"x")
        transport.write(b"x")
        assert isinstance(await protocol.lost, BrokenPipeError)
        before = len(caplog.records)
        for _ in range(10):
            transport.write(b"x")
        assert {record.getMessage() for record in caplog.records[before:]} == {
            "socket.send() raised exception."
        }

    run(main())


def test_after_write_eof(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        assert transport.can_write_eof()
        transport.write(b"last")
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError) as raised:
            transport.write(b"more")
        assert str(raised.value) == "Cannot call write() after write_eof()"
        with pytest.raises(
            RuntimeError, match=r"Cannot call write(lines)?\(\) after write_eof\(\)"
        ):
            transport.writelines([b"more"])
        assert await read_all(theirs) == b"last"
        theirs.send(b"still heard")
        while not protocol.received:
            await asyncio.sleep(0)
        await close(transport, protocol, theirs)

    run(main())


@pytest.mark.parametrize("data", ["text", 1, None, [b"x"]])
def test_what_is_not_bytes_is_refused(run: Run, data: Any) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        with pytest.raises(TypeError) as raised:
            transport.write(data)
        assert "data argument must be a bytes" in str(raised.value)
        assert repr(type(data).__name__) in str(raised.value)
        await close(transport, protocol, theirs)

    run(main())


def test_closing_in_every_callback(run: Run) -> None:
    async def main() -> None:
        for method in ("connection_made", "data_received", "eof_received", "connection_lost"):

            def act(self: Any, *args: Any, method: str = method) -> Any:
                answer = getattr(Recorder, method)(self, *args)
                self.transport.close()
                self.transport.abort()
                self.transport.close()
                return answer

            closing = type("Closing", (Recorder,), {method: act})
            _transport, protocol, theirs = await connect(closing)
            try:
                theirs.send(b"x")
                theirs.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # closed already
            await protocol.lost
            assert protocol.calls.count(("lost", type(None))) == 1
            theirs.close()

    run(main())


# ---- what it says of itself ----


def test_it_is_an_asyncio_transport(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        made: object = transport
        assert isinstance(made, asyncio.Transport)
        assert issubclass(type(transport), asyncio.ReadTransport)
        assert issubclass(type(transport), asyncio.WriteTransport)
        assert not isinstance(made, asyncio.DatagramTransport)
        assert transport.get_protocol() is protocol
        other = Recorder()
        other.calls.append("other")
        transport.set_protocol(other)
        theirs.send(b"for the other")
        while not other.received:
            await asyncio.sleep(0)
        transport.set_protocol(protocol)
        await close(transport, protocol, theirs)
        assert "closed" in repr(transport)

    run(main())


def test_extra_info_on_tcp(run: Run) -> None:
    async def main() -> None:
        for host in ("127.0.0.1", "::1"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, 0), family=family)
            loop: Any = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(
                Recorder, host, listener.getsockname()[1]
            )
            theirs, address = listener.accept()
            assert transport.get_extra_info("peername") == listener.getsockname()
            assert transport.get_extra_info("sockname") == address
            assert transport.get_extra_info("nothing") is None
            assert transport.get_extra_info("nothing", "default") == "default"
            sock = transport.get_extra_info("socket")
            assert isinstance(sock, asyncio.trsock.TransportSocket)
            assert sock is transport.get_extra_info("socket")
            assert sock.family == family
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await close(transport, protocol, theirs)
            assert transport.get_extra_info("peername") == listener.getsockname()
            assert transport.get_extra_info("sockname") == address
            assert sock.fileno() == -1
            listener.close()

    run(main())


def test_extra_info_of_accepted_connections(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        accepted: list[Any] = []

        class Server(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                accepted.append(self)

        loop: Any = asyncio.get_running_loop()
        path = os.fspath(tmp_path / "socket")
        for server in (
            await loop.create_server(Server, "127.0.0.1", 0),
            await loop.create_unix_server(Server, path),
        ):
            client = socket.socket(server.sockets[0].family)
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            while not accepted:
                await asyncio.sleep(0)
            protocol = accepted.pop()
            info = protocol.transport.get_extra_info
            assert info("peername") == client.getsockname()
            assert info("sockname") == server.sockets[0].getsockname()
            sock = info("socket")
            assert sock.family == client.family
            if client.family == socket.AF_INET:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.close()
            await protocol.lost
            assert sock.fileno() == -1
            assert info("socket") is sock
            server.close()
            await server.wait_closed()

    run(main())


def test_the_descriptor_is_for_the_transport_alone(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        loop: Any = asyncio.get_running_loop()
        fd = transport.get_extra_info("socket").fileno()
        for method, args in (
            ("add_reader", (fd, print)),
            ("add_writer", (fd, print)),
            ("remove_reader", (fd,)),
            ("remove_writer", (fd,)),
        ):
            with pytest.raises(RuntimeError) as raised:
                getattr(loop, method)(*args)
            assert str(raised.value) == f"File descriptor {fd} is used by transport {transport!r}"
        transport.close()
        assert loop.remove_reader(fd) is False
        await protocol.lost
        theirs.close()

    run(main())


# ---- contexts ----


def test_callbacks_of_a_client_run_in_the_context_it_was_made_in(run: Run, kind: Kind) -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen: list[str] = []

    class Protocol(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            seen.append(var.get())
            var.set("by connection_made")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            seen.append(var.get())
            var.set("by data_received")

    async def main() -> None:
        var.set("creation")
        transport, protocol, theirs = await connect(Protocol)
        var.set("later")
        for count in (1, 2):
            theirs.send(b"x")
            while len(protocol.received) < count:
                await asyncio.sleep(0)
        # One context for a connection: asyncio's rule since 3.15, saburo's on every version.
        one = kind.is_saburo or sys.version_info >= (3, 15)
        made = "by connection_made" if one else "creation"
        assert seen == ["creation", made, "by data_received"]
        await close(transport, protocol, theirs)

    run(main())


# ---- garbage ----


def test_an_ended_connection_is_freed_without_the_collector(run: Run) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connect()
        await close(transport, protocol, theirs)
        del protocol.transport
        gone = weakref.ref(protocol)
        del protocol
        assert gone() is None
        assert transport.get_protocol() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


@pytest.mark.saburo_only
def test_a_cycle_through_an_open_connection_and_its_loop_is_collected(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = new_loop()
    transport, protocol, theirs = loop.run_until_complete(connect())
    transport.get_extra_info("socket")
    transport.write(b"x" * 10_000_000)
    gone = [weakref.ref(loop), weakref.ref(protocol), weakref.ref(transport)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
        del loop, transport, protocol
        gc.collect()
    assert any("unclosed transport" in str(warning.message) for warning in caught)
    del caught  # a warning about something holds it
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]
    theirs.close()


@pytest.mark.saburo_only
def test_a_server_that_is_forgotten_goes_with_its_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = new_loop()
    server: Any = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    gone = weakref.ref(loop)
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del loop, server
        gc.collect()
    assert gone() is None


# ---- recycled descriptors ----


def test_bytes_reach_the_connection_they_were_meant_for(run: Run) -> None:
    """Descriptors are closed and opened anew as fast as can be, in every order."""

    async def main() -> None:
        class Echo(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                self.transport.write(data)

        loop: Any = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def client(number: int) -> None:
            for attempt in range(20):
                transport, protocol = await loop.create_connection(Recorder, "127.0.0.1", port)
                message = b"%d:%d;" % (number, attempt) * (1 + number % 5)
                transport.write(message)
                if (number + attempt) % 3 == 0:
                    transport.abort()
                    continue
                while len(protocol.received) < len(message):
                    await asyncio.sleep(0)
                assert protocol.received == message
                transport.close()

        await asyncio.gather(*(client(number) for number in range(20)))
        server.close()
        await server.wait_closed()

    run(main())
