"""A pipe that is read: what comes in, how it ends, and who is told."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import gc
import os
import re
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import comparable, run_until
from support.pipes import KINDS, Recorder, bare_pipe, ends, read_pipe, received, unbuffered
from support.reports import collect_reports
from support.waiting import until, wait

Run = Callable[..., Any]


@pytest.mark.parametrize("kind_of_pipe", KINDS)
def test_bytes_and_the_end_come_in(run: Run, kind_of_pipe: str, tmp_path: Path) -> None:
    async def main() -> None:
        reading, writing = ends(kind_of_pipe, tmp_path)
        transport, protocol = await read_pipe(reading)
        assert not os.get_blocking(transport.get_extra_info("pipe").fileno())
        os.write(writing.fileno(), b"first")
        await until(lambda: protocol.received == b"first")
        os.write(writing.fileno(), b", second")
        await until(lambda: protocol.received == b"first, second")
        assert protocol.calls == ["made", "data"]
        writing.close()
        cause = await wait(protocol.lost)
        if kind_of_pipe == "terminal" and sys.platform == "linux":
            # A terminal whose other end was closed answers with an error.
            assert isinstance(cause, OSError)
            assert cause.errno == errno.EIO
        else:
            assert cause is None
            assert protocol.calls == ["made", "data", "eof", ("lost", type(None))]
        assert transport.is_closing()
        await asyncio.sleep(0)
        with pytest.raises((OSError, ValueError)):
            os.fstat(reading.fileno())

    run(main())


def test_megabytes_come_in_order(run: Run) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        _transport, protocol = await read_pipe(reading)
        data = os.urandom(1 << 20) * 16
        loop = asyncio.get_running_loop()

        def write_all() -> None:
            with writing:
                view = memoryview(data)
                while view:
                    view = view[os.write(writing.fileno(), view) :]

        await asyncio.gather(loop.run_in_executor(None, write_all), wait(protocol.lost))
        assert protocol.received == data
        await loop.shutdown_default_executor()

    run(main())


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_no_pipe_is_refused_and_stays_open(run: Run, what: str, tmp_path: Path) -> None:
    class Folder:
        def __init__(self) -> None:
            self.number = os.open(tmp_path, os.O_RDONLY)

        def fileno(self) -> int:
            return self.number

        def close(self) -> None:
            os.close(self.number)

    async def main() -> None:
        (tmp_path / "file").write_text("text")
        pipe: Any = unbuffered(tmp_path / "file", "rb") if what == "file" else Folder()
        with pytest.raises(ValueError, match=r"^Pipe transport is for pipes/sockets only\.$"):
            await read_pipe(pipe)
        os.fstat(pipe.fileno())
        pipe.close()

    run(main())


@pytest.mark.saburo_only
def test_a_pipe_that_is_closed_is_refused_by_its_own_words(run: Run) -> None:
    """asyncio does so, too, but leaves half a transport behind that fails again as it is freed."""

    async def main() -> None:
        reading, writing = bare_pipe()
        reading.close()
        with pytest.raises(ValueError, match="closed file"):
            await read_pipe(reading)
        number = os.dup(writing.fileno())
        os.close(number)

        class Gone:
            def fileno(self) -> int:
                return number

        with pytest.raises(OSError, match="Bad file descriptor"):
            await read_pipe(Gone())
        writing.close()

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="epoll watches no /dev/null")
def test_a_device_that_cannot_be_watched_is_reported(run: Run) -> None:
    async def main() -> None:
        reports = collect_reports()
        transport, protocol = await read_pipe(unbuffered("/dev/null", "rb"))
        assert [type(report["exception"]) for report in reports] == [PermissionError]
        transport.close()
        assert await wait(protocol.lost) is None

    run(main())


# ---- reading and not reading ----


@pytest.mark.as_since(3, 11, 4)
def test_pausing_keeps_what_arrives_for_later(run: Run) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await read_pipe(reading)
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        writing.write(b"later")
        await asyncio.sleep(0.01)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        await received(protocol)
        assert protocol.received == b"later"
        transport.pause_reading()
        writing.close()
        await asyncio.sleep(0.01)
        assert not transport.is_closing()
        transport.resume_reading()
        assert await wait(protocol.lost) is None
        assert not transport.is_reading()
        transport.pause_reading()
        transport.resume_reading()

    run(main())


def test_pausing_in_data_received_holds_at_once(run: Run) -> None:
    async def main() -> None:
        class Pausing(Recorder):
            def data_received(self, data: bytes) -> None:
                self.calls.append(len(data))
                self.transport.pause_reading()

        reading, writing = bare_pipe()
        transport, protocol = await read_pipe(reading, Pausing)
        writing.write(b"1")
        await until(lambda: len(protocol.calls) == 2)
        writing.write(b"23")
        await asyncio.sleep(0.01)
        assert protocol.calls == ["made", 1]
        transport.resume_reading()
        await until(lambda: len(protocol.calls) == 3)
        assert protocol.calls == ["made", 1, 2]
        transport.close()
        await wait(protocol.lost)
        writing.close()

    run(main())


@pytest.mark.as_since(3, 11, 4)
def test_pausing_in_connection_made_reads_nothing(run: Run) -> None:
    async def main() -> None:
        class Pausing(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                transport.pause_reading()

        reading, writing = bare_pipe()
        writing.write(b"x")
        transport, protocol = await read_pipe(reading, Pausing)
        await asyncio.sleep(0.01)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        await received(protocol)
        transport.close()
        await wait(protocol.lost)
        writing.close()

    run(main())


# ---- what goes wrong ----


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_what_a_callback_raises_is_reported_and_the_pipe_goes_on(run: Run, method: str) -> None:
    async def main() -> None:
        class Failing(Recorder):
            pass

        def fail(self: Failing, *args: Any) -> None:
            getattr(Recorder, method)(self, *args)
            raise ValueError(len(self.received))

        setattr(Failing, method, fail)
        reports = collect_reports()
        reading, writing = bare_pipe()
        _transport, protocol = await read_pipe(reading, Failing)
        for length in (1, 2):
            writing.write(b"x")
            await received(protocol, length)
        writing.close()
        assert await wait(protocol.lost) is None
        assert protocol.calls == ["made", "data", "eof", ("lost", type(None))]
        expected = ["1", "2"] if method == "data_received" else ["2"]
        assert [str(report["exception"]) for report in reports] == expected
        assert all(report["message"].startswith("Exception in callback") for report in reports)

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
        _transport, protocol = await read_pipe(reading, Failing)
        writing.write(b"x")
        await received(protocol)
        writing.close()
        await wait(protocol.lost)
        await asyncio.sleep(0)
        assert [str(report["exception"]) for report in reports] == [method]
        assert reading.closed

    run(main())


def test_an_error_of_reading_is_reported_and_ends_the_pipe(run: Run, tmp_path: Path) -> None:
    """Unlike a terminal's EIO, which every terminal ends with, it says something."""

    async def main() -> None:
        reports = collect_reports()
        ours, theirs = ends("sockets", tmp_path)
        transport, protocol = await read_pipe(ours)
        # Nobody will have read that.
        os.write(ours.fileno(), b"unread")
        theirs.close()
        cause = await wait(protocol.lost)
        assert isinstance(cause, ConnectionResetError)
        assert protocol.calls == ["made", ("lost", ConnectionResetError)]
        assert [report["message"] for report in reports] == ["Fatal read error on pipe transport"]
        assert reports[0]["exception"] is cause
        assert reports[0]["transport"] is transport
        assert reports[0]["protocol"] is protocol

    run(main())


def test_an_interrupt_in_a_callback_ends_the_run_and_nothing_is_lost(
    loop: asyncio.AbstractEventLoop,
) -> None:
    class Interrupting(Recorder):
        def eof_received(self) -> None:
            super().eof_received()
            raise KeyboardInterrupt

    reading, writing = bare_pipe()
    _transport, protocol = loop.run_until_complete(read_pipe(reading, Interrupting))
    writing.write(b"x")
    writing.close()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert protocol.calls == ["made", "data", "eof"]
    run_until(loop, protocol.lost.done)
    assert protocol.calls[-1] == ("lost", type(None))
    assert reading.closed


# ---- the end ----


@pytest.mark.as_since(3, 11, 4)
def test_closing_in_every_callback(run: Run) -> None:
    async def main() -> None:
        for method in ("connection_made", "data_received", "eof_received", "connection_lost"):

            class Closing(Recorder):
                pass

            def call(self: Any, *args: Any, method: str = method) -> None:
                getattr(Recorder, method)(self, *args)
                self.transport.close()

            setattr(Closing, method, call)
            reading, writing = bare_pipe()
            writing.write(b"x")
            transport, protocol = await read_pipe(reading, Closing)
            if method != "data_received":
                writing.close()
            assert await wait(protocol.lost) is None
            writing.close()
            assert protocol.calls.count(("lost", type(None))) == 1
            await asyncio.sleep(0)
            assert reading.closed
            assert transport.is_closing()
            transport.close()

    run(main())


def test_the_pipe_is_closed_once_and_by_its_own_close(run: Run) -> None:
    class Pipe:
        closed = 0

        def __init__(self, file: Any) -> None:
            self.file = file

        def fileno(self) -> int:
            number: int = self.file.fileno()
            return number

        def close(self) -> None:
            self.closed += 1
            self.file.close()

    async def main() -> None:
        reading, writing = bare_pipe()
        pipe = Pipe(reading)
        transport, protocol = await read_pipe(pipe)
        assert transport.get_extra_info("pipe") is pipe
        transport.close()
        assert pipe.closed == 0
        await wait(protocol.lost)
        await asyncio.sleep(0)
        transport.close()
        assert pipe.closed == 1
        writing.close()

    run(main())


# ---- what it is, and what it says of itself ----


def test_it_is_an_asyncio_transport(run: Run) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await read_pipe(reading)
        assert isinstance(transport, asyncio.ReadTransport)
        assert not isinstance(transport, asyncio.WriteTransport)
        assert transport.get_protocol() is protocol
        assert transport.get_extra_info("pipe") is reading
        assert transport.get_extra_info("colour") is None
        assert transport.get_extra_info("colour", "blue") == "blue"
        other = Recorder()
        other.connection_made(transport)
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        writing.write(b"x")
        await received(other)
        number = reading.fileno()
        transport.close()
        assert re.sub(r"^<\S+", "<…", repr(transport)) == f"<… closing fd={number} idle>"
        assert await wait(other.lost) is None
        assert re.sub(r"^<\S+", "<…", repr(transport)) == f"<… closed fd={number} closed>"
        assert transport.get_extra_info("pipe") is reading
        writing.close()

    run(main())


def test_its_repr_says_whether_it_is_read(run: Run) -> None:
    async def main() -> None:
        reading, writing = bare_pipe()
        transport, protocol = await read_pipe(reading)
        number = reading.fileno()
        assert re.sub(r"^<\S+", "<…", repr(transport)) == f"<… fd={number} polling>"
        transport.pause_reading()
        assert re.sub(r"^<\S+", "<…", repr(transport)) == f"<… fd={number} idle>"
        transport.close()
        await wait(protocol.lost)
        writing.close()

    run(main())


def test_callbacks_run_in_the_context_it_was_made_in(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> None:
        class Looking(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                self.seen = [variable.get()]
                variable.set("lost")

            def data_received(self, data: bytes) -> None:
                self.seen.append(variable.get())
                variable.set("after data")
                super().data_received(data)

            def eof_received(self) -> None:
                self.seen.append(variable.get())
                variable.set("lost as well")

            def connection_lost(self, exc: Exception | None) -> None:
                self.seen.append(variable.get())
                super().connection_lost(exc)

        variable.set("made")
        reading, writing = bare_pipe()
        _transport, protocol = await read_pipe(reading, Looking)
        variable.set("elsewhere")
        writing.write(b"x")
        writing.close()
        await wait(protocol.lost)
        assert protocol.seen == ["made", "made", "after data", "after data"]

    run(main())


@pytest.mark.parametrize("debug", [False, True])
def test_debug_mode_says_the_same(run: Run, caplog: pytest.LogCaptureFixture, debug: bool) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_debug(debug)
        caplog.set_level("DEBUG", "asyncio")
        reading, writing = bare_pipe()
        transport, protocol = await read_pipe(reading)
        transport.pause_reading()
        transport.resume_reading()
        writing.close()
        await wait(protocol.lost)
        said = [
            (record.levelname, re.sub(r"<.*> ", "", comparable(record.getMessage())))
            for record in caplog.records
            if " connected: " not in record.getMessage()
        ]
        expected = [
            ("DEBUG", "pauses reading"),
            ("DEBUG", "resumes reading"),
            ("INFO", "was closed by peer"),
        ]
        assert [line for line in said if "reading" in line[1] or "peer" in line[1]] == (
            expected if debug else []
        )

    run(main())


# ---- nothing is left ----


def test_one_that_is_forgotten_says_so_and_closes_its_pipe(
    loop: asyncio.AbstractEventLoop,
) -> None:
    reading, writing = bare_pipe()
    transport, protocol = loop.run_until_complete(read_pipe(reading))
    number = reading.fileno()
    loop.close()
    del transport, protocol
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    messages = [str(w.message) for w in caught if "unclosed transport" in str(w.message)]
    assert len(messages) == 1
    assert f"fd={number} open>" in messages[0]
    assert reading.closed
    writing.close()


def test_an_ended_one_is_freed_without_the_collector(run: Run) -> None:
    async def main() -> None:
        gc.disable()
        try:
            reading, writing = bare_pipe()
            transport, protocol = await read_pipe(reading)
            writing.close()
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
    transport, protocol = loop.run_until_complete(read_pipe(reading))
    protocol.loop = loop
    gone = [weakref.ref(thing) for thing in (loop, transport, protocol, reading)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        del loop, transport, protocol, reading
        gc.collect()
    assert [ref() for ref in gone] == [None] * 4
    writing.close()


def test_bytes_reach_the_pipe_they_were_meant_for(run: Run) -> None:
    """Descriptors are closed and opened anew as fast as they can be, with events under way."""

    async def main() -> None:
        for round_ in range(100):
            pipes = []
            for number in range(4):
                reading, writing = bare_pipe()
                transport, protocol = await read_pipe(reading)
                pipes.append((transport, protocol, writing, b"%d-%d" % (round_, number)))
            for _, _, writing, mark in pipes:
                writing.write(mark)
            # Its event may be on its way: nobody else gets it.
            pipes[round_ % 4][0].close()
            reading, other_end = bare_pipe()
            replaced, other = await read_pipe(reading)
            for index, (transport, protocol, writing, mark) in enumerate(pipes):
                if index != round_ % 4:
                    await received(protocol)
                assert bytes(protocol.received) in (b"", mark)
                transport.close()
                writing.close()
            replaced.close()
            await wait(other.lost)
            assert not other.received
            other_end.close()

    run(main())
