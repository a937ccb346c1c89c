"""A pipe that is written to: what leaves when, who is held back, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import gc
import os
import re
import socket
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import Kind, comparable
from support.pipes import KINDS, Recorder, bare_pipe, drain, ends, fill, unbuffered, write_pipe
from support.reports import collect_reports
from support.waiting import until, wait

Run = Callable[..., Any]


@pytest.mark.parametrize("kind_of_pipe", KINDS)
def test_bytes_leave_when_they_are_written(run: Run, kind_of_pipe: str, tmp_path: Path) -> None:
    async def main() -> None:
        reading, writing = ends(kind_of_pipe, tmp_path)
        transport, protocol = await write_pipe(writing)
        assert not os.get_blocking(writing.fileno())
        transport.write(b"1")
        assert drain(reading) == b"1"
        transport.write(bytearray(b"2"))
        transport.write(memoryview(b"-3-")[1:2])
        transport.write(b"")
        transport.writelines([b"4", bytearray(b"5"), memoryview(b"6")])
        assert drain(reading) == b"23456"
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert transport.is_closing()
        assert await wait(protocol.lost) is None
        assert protocol.calls == ["made", ("lost", type(None))]
        reading.close()

    run(main())


def test_each_write_is_a_system_call_of_its_own(run: Run) -> None:
    """Others may write to the same pipe: what is written in one piece arrives in one."""

    async def main() -> None:
        writing, reading = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        transport, protocol = await write_pipe(writing)
        for line in (b"one\n", b"two\n", b"three\n"):
            transport.write(line)
        transport.writelines([b"to", b"gether"])
        for expected in (b"one\n", b"two\n", b"three\n", b"together"):
            assert reading.recv(100) == expected
        transport.close()
        await wait(protocol.lost)
        reading.close()

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's devices")
def test_devices(run: Run) -> None:
    async def main() -> None:
        transport, protocol = await write_pipe(unbuffered("/dev/null", "wb"))
        transport.write(b"x" * 1_000_000)
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert await wait(protocol.lost) is None
        transport, protocol = await write_pipe(unbuffered("/dev/full", "wb"))
        transport.write(b"x")
        cause = await wait(protocol.lost)
        assert isinstance(cause, OSError)
        assert cause.errno == errno.ENOSPC

    run(main())


def test_what_is_no_pipe_is_refused_and_stays_open(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        message = "^Pipe transport is only for pipes, sockets and character devices$"
        with open(tmp_path / "file", "wb", 0) as file:
            with pytest.raises(ValueError, match=message):
                await write_pipe(file)
            os.fstat(file.fileno())

    run(main())


@pytest.mark.parametrize("data", ["text", 7, None, [b"x"]], ids=repr)
def test_what_is_not_bytes_is_refused(run: Run, data: Any) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        with pytest.raises(AssertionError, match=f"^{re.escape(repr(data))}$"):
            transport.write(data)
        transport.close()
        await wait(protocol.lost)
        reading.close()

    run(main())


def test_a_view_with_gaps_ends_the_pipe(run: Run) -> None:
    async def main() -> None:
        reports = collect_reports()
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        transport.write(memoryview(b"abcdef")[::2])
        assert isinstance(await wait(protocol.lost), BufferError)
        assert [report["message"] for report in reports] == ["Fatal write error on pipe transport"]
        reading.close()

    run(main())


# ---- what there is no room for ----


@pytest.mark.parametrize("kind_of_pipe", KINDS[:3])
def test_what_there_is_no_room_for_waits_in_order(
    run: Run, kind_of_pipe: str, tmp_path: Path
) -> None:
    async def main() -> None:
        reading, writing = ends(kind_of_pipe, tmp_path)
        transport, protocol = await write_pipe(writing)
        pieces: list[Any] = [os.urandom(length) for length in (100, 70_000, 1, 600_000, 3000)] * 3
        pieces += [b"%d," % number for number in range(1000)]
        sent = b"".join(pieces)
        for index, piece in enumerate(pieces):
            buffer: Any = (bytes, bytearray, lambda data: memoryview(bytearray(data)))[index % 3](
                piece
            )
            transport.write(buffer)
            if index % 3:
                buffer[:] = bytes(len(piece))
        waiting = transport.get_write_buffer_size()
        assert 0 < waiting < len(sent)
        assert f"polling bufsize={waiting}>" in repr(transport)
        received = bytearray()
        while len(received) < len(sent):
            received += drain(reading)
            await asyncio.sleep(0)
        assert received == sent
        await until(lambda: not transport.get_write_buffer_size())
        assert "idle bufsize=0>" in repr(transport)
        transport.close()
        await wait(protocol.lost)
        reading.close()

    run(main())


def test_the_protocol_pauses_above_the_high_mark_and_resumes_when_all_is_written(run: Run) -> None:
    """Not at the low mark: asyncio's pipes ask only once nothing is left."""

    async def main() -> None:
        class Watching(Recorder):
            def pause_writing(self) -> None:
                self.calls.append(("pause", self.transport.get_write_buffer_size()))

            def resume_writing(self) -> None:
                self.calls.append(("resume", self.transport.get_write_buffer_size()))

        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing, Watching)
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(high=200_000, low=100_000)
        assert transport.get_write_buffer_limits() == (100_000, 200_000)
        fill(transport)
        transport.write(b"x" * (200_000 - transport.get_write_buffer_size()))
        assert protocol.calls == ["made"]
        transport.write(b"x")
        transport.write(b"x")
        assert protocol.calls == ["made", ("pause", 200_001)]
        while transport.get_write_buffer_size():
            assert len(protocol.calls) == 2
            drain(reading)
            await asyncio.sleep(0)
        await until(lambda: len(protocol.calls) == 3)
        assert protocol.calls == ["made", ("pause", 200_001), ("resume", 0)]
        transport.close()
        await wait(protocol.lost)
        reading.close()

    run(main())


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (16384, 65536)),
        ({"high": 100}, (25, 100)),
        ({"low": 100}, (100, 400)),
        ({"high": 0}, (0, 0)),
        ({"high": 3, "low": 4}, "high (3) must be >= low (4) must be >= 0"),
        ({"high": -1}, "high (-1) must be >= low (-1) must be >= 0"),
    ],
)
def test_write_buffer_limits(run: Run, limits: dict[str, int], expected: Any) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        if isinstance(expected, str):
            with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
                transport.set_write_buffer_limits(**limits)
        else:
            transport.set_write_buffer_limits(**limits)
            assert transport.get_write_buffer_limits() == expected
        transport.close()
        await wait(protocol.lost)
        reading.close()

    run(main())


def test_lowering_the_limits_pauses(run: Run) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        fill(transport)
        transport.set_write_buffer_limits(high=0)
        assert protocol.calls == ["made", "pause"]
        transport.abort()
        await wait(protocol.lost)
        reading.close()

    run(main())


@pytest.mark.parametrize("how", ["close", "write_eof", "abort", "write"])
def test_what_resume_writing_does_counts(run: Run, kind: Kind, how: str) -> None:
    async def main() -> None:
        class Resuming(Recorder):
            def resume_writing(self) -> None:
                super().resume_writing()
                if how != "write":
                    getattr(self.transport, how)()
                elif self.calls.count("resume") == 1:
                    self.transport.write(b"more")

        collect_reports()  # asyncio ends the pipe once more than there is one
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing, Resuming)
        transport.set_write_buffer_limits(high=0)
        written = fill(transport)
        received = bytearray()
        while not protocol.lost.done():
            received += drain(reading)
            await asyncio.sleep(0)
            if how == "write" and received.endswith(b"more"):
                transport.close()
        received += drain(reading)
        assert len(received) == written + (4 if how == "write" else 0)
        assert protocol.calls == ["made", "pause", "resume", ("lost", type(None))]
        reading.close()

    run(main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_a_failing_throttle_is_reported_and_does_no_harm(run: Run, method: str) -> None:
    async def main() -> None:
        class Failing(Recorder):
            pass

        def fail(self: Failing) -> None:
            raise ValueError(method)

        setattr(Failing, method, fail)
        reports = collect_reports()
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing, Failing)
        transport.set_write_buffer_limits(high=0)
        written = fill(transport)
        received = bytearray()
        while len(received) < written:
            received += drain(reading)
            await asyncio.sleep(0)
        await until(lambda: reports)
        assert [report["message"] for report in reports] == [f"protocol.{method}() failed"]
        transport.close()
        assert await wait(protocol.lost) is None
        reading.close()

    run(main())


# ---- the end ----


@pytest.mark.parametrize("how", ["close", "write_eof"])
def test_closing_writes_everything_first(run: Run, how: str) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        assert transport.can_write_eof()
        written = fill(transport)
        getattr(transport, how)()
        transport.close()
        transport.write_eof()
        assert transport.is_closing()
        transport.write(b"too late")
        received = bytearray()
        while not protocol.lost.done():
            assert not writing.closed
            received += drain(reading)
            await asyncio.sleep(0)
        received += drain(reading)
        assert len(received) == written
        assert set(received) == set(b"x")
        assert protocol.calls == ["made", ("lost", type(None))]
        assert writing.closed
        reading.close()

    run(main())


def test_abort_does_not(run: Run) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        written = fill(transport)
        waiting = transport.get_write_buffer_size()
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert await wait(protocol.lost) is None
        assert len(drain(reading)) == written - waiting
        reading.close()

    run(main())


@pytest.mark.saburo_only
def test_aborting_what_has_ended_does_nothing(run: Run) -> None:
    """asyncio calls connection_lost of None, or raises an AttributeError about it."""

    async def main() -> None:
        reports = collect_reports()
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        transport.close()
        transport.abort()
        await wait(protocol.lost)
        await asyncio.sleep(0)
        transport.abort()
        assert protocol.calls == ["made", ("lost", type(None))]
        assert not reports
        reading.close()

    run(main())


@pytest.mark.parametrize("kind_of_pipe", KINDS[:3])
def test_a_reader_that_goes_ends_an_idle_pipe(run: Run, kind_of_pipe: str, tmp_path: Path) -> None:
    async def main() -> None:
        reading, writing = ends(kind_of_pipe, tmp_path)
        _transport, protocol = await write_pipe(writing)
        reading.close()
        assert await wait(protocol.lost) is None
        assert protocol.calls == ["made", ("lost", type(None))]
        await asyncio.sleep(0)
        with pytest.raises((OSError, ValueError)):
            os.fstat(writing.fileno())

    run(main())


@pytest.mark.parametrize("closing", [False, True])
def test_a_reader_that_goes_breaks_what_waits(run: Run, closing: bool) -> None:
    async def main() -> None:
        reports = collect_reports()
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        fill(transport)
        if closing:
            transport.close()
        reading.close()
        assert isinstance(await wait(protocol.lost), BrokenPipeError)
        assert transport.get_write_buffer_size() == 0
        assert protocol.calls == ["made", ("lost", BrokenPipeError)]
        assert not reports

    run(main())


def test_writing_to_a_broken_pipe_ends_it(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        reports = collect_reports()
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        reading.close()
        transport.write(b"for nobody")
        assert transport.is_closing()
        assert isinstance(await wait(protocol.lost), BrokenPipeError)
        assert protocol.calls == ["made", ("lost", BrokenPipeError)]
        assert not reports
        for _ in range(4):
            transport.write(b"x")
        assert not caplog.records
        transport.write(b"x")
        assert [record.getMessage() for record in caplog.records] == [
            "pipe closed by peer or os.write(pipe, data) raised exception."
        ]

    run(main())


def test_writing_in_vain_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        transport.close()
        for _ in range(5):
            transport.write(b"x")
        assert not caplog.records
        transport.write(b"x")
        assert caplog.records[0].levelname == "WARNING"
        await wait(protocol.lost)
        assert drain(reading) == b""
        reading.close()

    run(main())


def test_a_socket_that_answers_is_closed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        reading, writing = ends("sockets", tmp_path)
        _transport, protocol = await write_pipe(writing)
        reading.send(b"?")
        assert await wait(protocol.lost) is None
        reading.close()

    run(main())


def test_closing_in_every_callback(run: Run, kind: Kind) -> None:
    async def main() -> None:
        for method in ("connection_made", "pause_writing", "connection_lost"):
            if method == "connection_made" and not kind.is_saburo:
                continue  # asyncio would watch the closed descriptor, whoever has it by then
            for how in ("close", "write_eof", "abort"):
                if (method, how) == ("connection_lost", "abort") and not kind.is_saburo:
                    continue  # asyncio would tell it again and again

                class Closing(Recorder):
                    pass

                def call(self: Any, *args: Any, method: str = method, how: str = how) -> None:
                    getattr(Recorder, method)(self, *args)
                    getattr(self.transport, how)()

                setattr(Closing, method, call)
                reading, writing = bare_pipe()
                transport, protocol = await write_pipe(writing, Closing)
                if method == "pause_writing":
                    transport.set_write_buffer_limits(high=0)
                    fill(transport)
                elif method == "connection_lost":
                    transport.close()
                while not protocol.lost.done():
                    drain(reading)
                    await asyncio.sleep(0)
                assert protocol.calls.count(("lost", type(None))) == 1
                await asyncio.sleep(0)
                assert writing.closed
                reading.close()

    run(main())


@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_what_the_first_or_last_call_raises_is_reported(run: Run, method: str) -> None:
    async def main() -> None:
        class Failing(Recorder):
            pass

        def fail(self: Failing, *args: Any) -> None:
            getattr(Recorder, method)(self, *args)
            raise ValueError(method)

        setattr(Failing, method, fail)
        reports = collect_reports()
        reading, writing = bare_pipe()
        _transport, protocol = await write_pipe(writing, Failing)
        reading.close()
        await wait(protocol.lost)
        await asyncio.sleep(0)
        assert [str(report["exception"]) for report in reports] == [method]
        assert writing.closed

    run(main())


# ---- what it is, and what it says of itself ----


def test_it_is_an_asyncio_transport(run: Run) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        assert isinstance(transport, asyncio.WriteTransport)
        assert isinstance(transport, asyncio.Transport)
        with pytest.raises(NotImplementedError):
            transport.pause_reading()
        assert transport.get_protocol() is protocol
        assert transport.get_extra_info("pipe") is writing
        assert transport.get_extra_info("colour", "blue") == "blue"
        other = Recorder()
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        number = writing.fileno()
        assert re.sub(r"^<\S+", "<…", repr(transport)) == f"<… fd={number} idle bufsize=0>"
        transport.close()
        shown = re.sub(r"^<\S+", "<…", repr(transport))
        assert shown == f"<… closing fd={number} idle bufsize=0>"
        assert await wait(other.lost) is None
        assert re.sub(r"^<\S+", "<…", repr(transport)) == f"<… closed fd={number} closed>"
        reading.close()

    run(main())


def test_callbacks_run_in_the_context_of_their_cause(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> None:
        class Looking(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                self.seen = [variable.get()]
                variable.set("lost")

            def connection_lost(self, exc: Exception | None) -> None:
                self.seen.append(variable.get())
                super().connection_lost(exc)

        for cause in ("closing", "reader"):
            variable.set("made")
            reading, writing = bare_pipe()
            transport, protocol = await write_pipe(writing, Looking)
            variable.set("closing")
            if cause == "closing":
                transport.close()
            else:
                reading.close()
            await wait(protocol.lost)
            assert protocol.seen == ["made", "closing" if cause == "closing" else "made"]
            reading.close()

    run(main())


@pytest.mark.parametrize("debug", [False, True])
def test_debug_mode_says_the_same(run: Run, caplog: pytest.LogCaptureFixture, debug: bool) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_debug(debug)
        caplog.set_level("DEBUG", "asyncio")
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        reading.close()
        await wait(protocol.lost)
        reading, writing = bare_pipe()
        transport, protocol = await write_pipe(writing)
        reading.close()
        transport.write(b"x")
        await wait(protocol.lost)
        said = [
            (record.levelname, re.sub(r"<.*>:? ", "", comparable(record.getMessage())))
            for record in caplog.records
        ]
        expected = [
            ("INFO", "was closed by peer"),
            ("DEBUG", "Fatal write error on pipe transport"),
        ]
        seen = [line for line in said if "peer" in line[1] or "Fatal" in line[1]]
        assert seen == (expected if debug else [])

    run(main())


# ---- nothing is left ----


def test_one_that_is_forgotten_says_so_and_closes_its_pipe(
    loop: asyncio.AbstractEventLoop,
) -> None:
    reading, writing = bare_pipe()
    transport, protocol = loop.run_until_complete(write_pipe(writing))
    number = writing.fileno()
    loop.close()
    del transport, protocol
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    messages = [str(w.message) for w in caught if "unclosed transport" in str(w.message)]
    assert len(messages) == 1
    assert f"fd={number} open>" in messages[0]
    assert writing.closed
    reading.close()


def test_an_ended_one_is_freed_without_the_collector(run: Run) -> None:
    async def main() -> None:
        gc.disable()
        try:
            reading, writing = bare_pipe()
            transport, protocol = await write_pipe(writing)
            reading.close()
            await wait(protocol.lost)
            await asyncio.sleep(0)
            gone = weakref.ref(transport)
            protocol.transport = None
            del transport, protocol
            assert gone() is None
        finally:
            gc.enable()

    run(main())


def test_a_cycle_through_an_open_one_and_its_loop_is_collected(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = new_loop()
    reading, writing = bare_pipe()
    transport, protocol = loop.run_until_complete(write_pipe(writing))
    fill(transport)
    protocol.loop = loop
    gone = [weakref.ref(thing) for thing in (loop, transport, protocol, writing)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        del loop, transport, protocol, writing
        gc.collect()
    assert [ref() for ref in gone] == [None] * 4
    reading.close()


def test_bytes_reach_the_pipe_they_were_meant_for(run: Run) -> None:
    """Descriptors are closed and opened anew as fast as they can be, with events under way."""

    async def main() -> None:
        for round_ in range(100):
            pipes = []
            for number in range(4):
                reading, writing = bare_pipe()
                transport, protocol = await write_pipe(writing)
                transport.write(b"%d-%d" % (round_, number))
                if number % 2:
                    fill(transport)
                pipes.append((reading, transport, protocol))
            # A writable event, or one of a reader that has gone, may be on its way.
            pipes[round_ % 4][1].abort()
            pipes[(round_ + 1) % 4][0].close()
            reading, writing = bare_pipe()
            replaced, other = await write_pipe(writing)
            replaced.write(b"new")
            assert drain(reading) == b"new"
            assert other.calls == ["made"]
            replaced.close()
            reading.close()
            for number, (reading, transport, protocol) in enumerate(pipes):
                if not reading.closed:
                    assert drain(reading).startswith(b"%d-%d" % (round_, number))
                transport.close()
                while not protocol.lost.done():
                    if not reading.closed:
                        drain(reading)
                    await asyncio.sleep(0)
                reading.close()
            await wait(other.lost)

    run(main())
