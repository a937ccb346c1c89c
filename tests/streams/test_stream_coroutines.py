"""What reader.read() returns is a coroutine: awaited once, closed, and missed if forgotten."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import gc
import inspect
import io
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind, outcome, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def reader(loop: Loop, streams: Any) -> Any:
    return streams.StreamReader(loop=loop)


class Silent(asyncio.Transport):
    """A transport that does nothing, and is closing when it is told so."""

    closing = False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


@pytest.fixture
def writer(loop: Loop, streams: Any, reader: Any) -> Any:
    protocol = streams.StreamReaderProtocol(reader, loop=loop)
    transport = Silent()
    protocol.connection_made(transport)
    writer = streams.StreamWriter(transport, protocol, reader, loop)
    yield writer
    transport.close()


Calls = dict[str, Callable[[Any, Any], Any]]

CALLS: Calls = {
    "StreamReader.read": lambda reader, writer: reader.read(5),
    "StreamReader.readline": lambda reader, writer: reader.readline(),
    "StreamReader.readuntil": lambda reader, writer: reader.readuntil(b";"),
    "StreamReader.readexactly": lambda reader, writer: reader.readexactly(5),
    "StreamReader.__anext__": lambda reader, writer: reader.__anext__(),
    "StreamReader._wait_for_data": lambda reader, writer: reader._wait_for_data("test"),
    "StreamWriter.drain": lambda reader, writer: writer.drain(),
    "StreamWriter.wait_closed": lambda reader, writer: writer.wait_closed(),
    "FlowControlMixin._drain_helper": lambda reader, writer: writer._protocol._drain_helper(),
}


@pytest.fixture(params=CALLS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def call(name: str, reader: Any, writer: Any) -> Callable[[], Any]:
    """Makes a coroutine that has something to wait for."""
    writer._protocol.pause_writing()
    return lambda: CALLS[name](reader, writer)


def test_it_passes_for_a_coroutine(call: Callable[[], Any]) -> None:
    coroutine = call()
    assert isinstance(coroutine, collections.abc.Coroutine)
    assert isinstance(coroutine, collections.abc.Awaitable)
    assert not isinstance(coroutine, collections.abc.Iterator)
    assert asyncio.iscoroutine(coroutine)
    assert inspect.isawaitable(coroutine)
    assert inspect.iscoroutine(coroutine)
    assert inspect.getcoroutinelocals(coroutine) is not None
    coroutine.close()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_it_has_the_name_of_its_method(name: str, call: Callable[[], Any]) -> None:
    coroutine = call()
    assert coroutine.__name__ == name.rpartition(".")[2]
    assert coroutine.__qualname__ == name
    assert repr(coroutine).startswith(f"<coroutine object {name} at 0x")
    coroutine.close()


def test_nothing_happens_before_it_is_awaited(reader: Any, writer: Any) -> None:
    reader.feed_data(b"a;b\n")
    coroutines = [call(reader, writer) for call in CALLS.values()]
    assert repr(reader).startswith("<StreamReader 4 bytes")
    assert reader._waiter is None
    for coroutine in coroutines:
        coroutine.close()
    assert repr(reader).startswith("<StreamReader 4 bytes")


def test_what_is_there_is_returned_in_the_first_step(reader: Any) -> None:
    reader.feed_data(b"a line\nand; so on")
    for coroutine, expected in [
        (reader.readline(), b"a line\n"),
        (reader.readuntil(b";"), b"and;"),
        (reader.readexactly(2), b" s"),
        (reader.read(100), b"o on"),
    ]:
        with pytest.raises(StopIteration) as stop:
            coroutine.send(None)
        assert stop.value.value == expected


def test_it_is_awaited_once(loop: Loop, reader: Any, writer: Any) -> None:
    reader.feed_data(b"12345")

    async def main() -> None:
        for coroutine in (reader.read(5), writer.drain()):
            await coroutine
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                await coroutine
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                coroutine.send(None)
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                coroutine.throw(LookupError())
            coroutine.close()

    loop.run_until_complete(main())


def test_it_is_not_awaited_twice_at_once(loop: Loop, call: Callable[[], Any]) -> None:
    coroutine = call()

    async def await_it() -> None:
        await coroutine

    first, second = loop.create_task(await_it()), loop.create_task(await_it())
    turn(loop)
    assert str(second.exception()) == "coroutine is being awaited already"
    first.cancel()
    turn(loop, 2)


def test_one_that_is_never_awaited_is_complained_of(name: str, call: Callable[[], Any]) -> None:
    with pytest.warns(RuntimeWarning) as caught:
        call()
        gc.collect()
    assert [str(warning.message) for warning in caught] == [f"coroutine '{name}' was never awaited"]
    assert caught[0].filename == __file__


def test_one_that_is_closed_is_not(call: Callable[[], Any]) -> None:
    coroutine = call()
    coroutine.close()
    coroutine.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coroutine.send(None)


def test_the_complaint_says_where_it_was_made_in_debug_mode(kind: Kind) -> None:
    async def main() -> None:
        kind.streams.StreamReader().read(5)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=kind.new_loop, debug=True) as runner:
            runner.run(main())
    message = str(caught[0].message)
    assert message.startswith("coroutine 'StreamReader.read' was never awaited\n")
    assert "Coroutine created at (most recent call last)" in message
    assert "kind.streams.StreamReader().read(5)" in message


def test_one_that_waits_is_closed_when_it_is_let_go_of(reader: Any, writer: Any) -> None:
    coroutine = reader.read(5)
    coroutine.send(None)
    assert reader._waiter is not None
    del coroutine
    assert reader._waiter is None
    writer._protocol.pause_writing()
    draining = writer.drain()
    draining.send(None)
    assert len(writer._protocol._drain_waiters) == 1
    del draining
    assert len(writer._protocol._drain_waiters) == 0


def test_an_exception_thrown_in_comes_out(call: Callable[[], Any]) -> None:
    for begun in (False, True):
        coroutine = call()
        if begun:
            coroutine.send(None)
        error = LookupError("thrown")
        with pytest.raises(LookupError) as raised:
            coroutine.throw(error)
        assert raised.value is error
        with pytest.raises(RuntimeError, match="cannot reuse"):
            coroutine.send(None)


def test_a_stop_iteration_raised_in_it_is_not_its_return(loop: Loop, reader: Any) -> None:
    reader.set_exception(StopIteration(5))
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration") as raised:
        loop.run_until_complete(reader.read(5))
    assert isinstance(raised.value.__cause__, StopIteration)


def test_what_is_sent_into_one_that_has_not_begun_is_nothing(call: Callable[[], Any]) -> None:
    coroutine = call()
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        coroutine.send(5)
    coroutine.close()


def test_resumed_too_early_it_says_so(reader: Any) -> None:
    coroutine = reader.read(5)
    future = coroutine.send(None)
    assert asyncio.isfuture(future)
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        coroutine.send(None)
    assert reader._waiter is None


def test_it_does_not_run_inside_itself(loop: Loop, streams: Any) -> None:
    seen: list[Any] = []

    class Sneaky(Silent):
        def pause_reading(self) -> None:
            pass

        def resume_reading(self) -> None:
            seen.append(outcome(lambda: coroutine.send(None)))
            seen.append(outcome(lambda: coroutine.close()))

    reader = streams.StreamReader(limit=1, loop=loop)
    reader.set_transport(Sneaky())
    reader.feed_data(b"12345")
    coroutine = reader.read(5)
    assert loop.run_until_complete(coroutine) == b"12345"
    assert seen == [("ValueError", "coroutine already executing")] * 2


def test_tasks_and_timeouts_take_it(loop: Loop, reader: Any) -> None:
    async def main() -> list[Any]:
        loop.call_soon(reader.feed_data, b"one\ntwo;three four five")
        return [
            await asyncio.create_task(reader.readline()),
            await asyncio.wait_for(reader.readuntil(b";"), 30),
            *await asyncio.gather(reader.readexactly(6), reader.read(5)),
            await asyncio.shield(reader.read(100)),
        ]

    expected = [b"one\n", b"two;", b"three ", b"four ", b"five"]
    assert loop.run_until_complete(main()) == expected


def test_it_runs_on_a_task_of_either_kind(loop: Loop, reader: Any) -> None:
    tasks: list[Any] = [asyncio.Task]
    if type(loop).__module__ == "saburo":
        import saburo

        tasks.append(saburo.Task)
    for task_class in tasks:
        task = task_class(reader.readline(), loop=loop)
        turn(loop)
        reader.feed_data(b"line\n")
        assert loop.run_until_complete(task) == b"line\n"
        task = task_class(reader.readline(), loop=loop)
        turn(loop)
        reader.set_exception(LookupError())
        with pytest.raises(LookupError):
            loop.run_until_complete(task)
        reader._exception = None
        task = task_class(reader.readline(), loop=loop)
        turn(loop)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are there from 3.12 on")
def test_an_eager_task_takes_it(loop: Loop, reader: Any) -> None:
    async def main() -> None:
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        reader.feed_data(b"12345")
        task = asyncio.create_task(reader.read(3))
        assert task.done()
        assert task.result() == b"123"
        assert await reader.read(3) == b"45"
        task = asyncio.create_task(reader.read(3))
        assert not task.done()
        reader.feed_data(b"678")
        assert await task == b"678"

    loop.run_until_complete(main())


def test_a_task_of_it_can_be_looked_at(loop: Loop, name: str, call: Callable[[], Any]) -> None:
    task = loop.create_task(call(), name="mine")
    assert f"coro=<{name}()" in repr(task)
    turn(loop)
    assert f"coro=<{name}()" in repr(task)
    assert "wait_for=<Future pending" in repr(task)
    assert len(task.get_stack()) <= 1
    out = io.StringIO()
    task.print_stack(file=out)
    assert "mine" in out.getvalue()
    assert not task.get_coro().cr_running  # type: ignore[union-attr]
    task.cancel()
    turn(loop, 2)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are there from 3.14 on")
def test_the_call_graph_passes_over_it(loop: Loop, call: Callable[[], Any]) -> None:
    async def caller() -> None:
        await call()

    async def main() -> None:
        coroutine: Any
        for coroutine in (caller(), call()):
            task = asyncio.create_task(coroutine)
            await asyncio.sleep(0)
            out = io.StringIO()
            asyncio.print_call_graph(task, file=out)  # type: ignore[attr-defined]
            graph = asyncio.capture_call_graph(task)  # type: ignore[attr-defined]
            assert graph.future is task
            if coroutine.__qualname__.endswith("caller"):
                assert "in async test_the_call_graph" in out.getvalue()
            task.cancel()
            await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_its_state_can_be_asked_for(reader: Any) -> None:
    coroutine = reader.read(5)
    assert not coroutine.cr_running
    assert coroutine.cr_origin is None
    coroutine.send(None)
    assert not coroutine.cr_running
    assert coroutine.cr_suspended
    coroutine.close()
    assert not coroutine.cr_suspended
    assert coroutine.cr_frame is None


@pytest.mark.saburo_only  # Python's own keep their arguments on 3.12, if they end by an exception
def test_one_that_has_ended_holds_nothing(loop: Loop, streams: Any) -> None:
    reader = streams.StreamReader(loop=loop)
    reader.feed_data(b"12345")
    ended = [reader.read(1), reader.readexactly(1), reader.read(-1), reader.readuntil(b";")]
    for coroutine in ended[:2]:
        loop.run_until_complete(coroutine)
    ended[2].close()
    ended[3].send(None)
    with contextlib.suppress(LookupError):
        ended[3].throw(LookupError)
    ref = weakref.ref(reader)
    del reader, coroutine
    gc.collect()
    assert ref() is None
    assert len(ended) == 4


def test_a_waiting_task_in_a_cycle_is_collected(kind: Kind) -> None:
    class Anchor:
        reader: Any
        task: Any

    def cycle() -> weakref.ref[Any]:
        loop = kind.new_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        anchor = Anchor()
        anchor.reader = kind.streams.StreamReader(loop=loop)
        anchor.reader.anchor = anchor
        anchor.task = loop.create_task(anchor.reader.read(5))
        turn(loop)
        loop.close()
        return weakref.ref(anchor)

    ref = cycle()
    for _ in range(3):
        gc.collect()
    assert ref() is None


class Behind:
    """A protocol that drains when the writer before it has."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def _drain_helper(self) -> Any:
        return self.writer.drain() if self.writer is not None else asyncio.sleep(0)


def chain(loop: Loop, streams: Any, length: int) -> list[Any]:
    """Writers, each of which drains when the one before it has; the first is None."""
    writers: list[Any] = [None]
    for _ in range(length):
        writers.append(streams.StreamWriter(Silent(), Behind(writers[-1]), None, loop))
    return writers


@pytest.mark.many_objects
def test_very_many_that_wait_for_one_another_are_an_error_not_a_crash(
    loop: Loop, streams: Any
) -> None:
    writers = chain(loop, streams, 50_000)
    assert loop.run_until_complete(writers[100].drain()) is None
    with pytest.raises(RecursionError):
        loop.run_until_complete(writers[-1].drain())
    for writer in writers[1:]:
        writer.transport.close()


@pytest.mark.many_objects
def test_a_chain_too_deep_for_the_stack_leaves_nothing_unawaited(
    new_loop: Callable[[], Loop], streams: Any
) -> None:
    failures: list[Any] = []

    def nested(depth: int, body: Callable[[], None]) -> int:
        """Calls it this many calls of C deeper: the chain meets the end at another place."""
        if depth == 0:
            body()
            return 0
        return max([depth], key=lambda _: nested(depth - 1, body))

    def run() -> None:
        loop = new_loop()
        writers = chain(loop, streams, 16_000)

        def drain() -> None:
            try:
                loop.run_until_complete(writers[-1].drain())
            except RecursionError as failure:
                failures.append(failure)

        for depth in range(40):
            nested(depth, drain)
        for writer in writers[1:]:
            writer.transport.close()
        loop.close()

    size = threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert len(failures) == 40
    # A coroutine that nobody awaited would be complained of by now, and warnings are errors here.
    failures.clear()
    gc.collect()
