"""What bad input gets: the type and the message of asyncio's exception, side by side."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import dataclasses
import math
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import WRAPS_STOP_ITERATION, outcome, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


async def coroutine(value: Any = None) -> Any:
    return value


def closed(loop: Loop) -> Loop:
    loop.close()
    return loop


def running(call: Callable[[Loop], Any]) -> Callable[[Loop], Any]:
    """The call, made from within the running loop."""

    def inside(loop: Loop) -> Any:
        async def main() -> Any:
            return call(loop)

        return loop.run_until_complete(main())

    return inside


def awaiting(call: Callable[[Loop], Any]) -> Callable[[Loop], Any]:
    """What the call returns, awaited on the loop."""

    def inside(loop: Loop) -> Any:
        async def main() -> Any:
            return await call(loop)

        return loop.run_until_complete(main())

    return inside


def discarding(call: Callable[[Loop, Any], Any]) -> Callable[[Loop], Any]:
    """The call, with a coroutine that is closed afterwards as nobody has awaited it."""

    def inside(loop: Loop) -> Any:
        given = coroutine()
        try:
            return call(loop, given)
        finally:
            given.close()

    return inside


def other_loops_future(loop: Loop) -> Any:
    other = asyncio.new_event_loop()
    future = other.create_future()
    other.close()
    return future


def nested(loop: Loop) -> Any:
    other = asyncio.new_event_loop()
    try:
        with_closing = coroutine()
        try:
            return running(lambda _loop: other.run_until_complete(with_closing))(loop)
        finally:
            with_closing.close()
    finally:
        other.close()


async def agen() -> Any:
    yield 1


Case = Callable[[Loop], Any]

CASES: dict[str, Case] = {
    # A closed loop
    "closed: call_soon": lambda loop: closed(loop).call_soon(print),
    "closed: call_soon_threadsafe": lambda loop: closed(loop).call_soon_threadsafe(print),
    "closed: call_later": lambda loop: closed(loop).call_later(1, print),
    "closed: call_at": lambda loop: closed(loop).call_at(1, print),
    "closed: run_forever": lambda loop: closed(loop).run_forever(),
    "closed: run_until_complete": discarding(
        lambda loop, given: closed(loop).run_until_complete(given)
    ),
    "closed: create_task": discarding(lambda loop, given: closed(loop).create_task(given)),
    "closed: create_future": lambda loop: closed(loop).create_future().done(),
    "closed: run_in_executor": lambda loop: closed(loop).run_in_executor(None, print),
    "closed: add_reader": lambda loop: closed(loop).add_reader(0, print),
    "closed: add_writer": lambda loop: closed(loop).add_writer(0, print),
    "closed: remove_reader": lambda loop: closed(loop).remove_reader(0),
    "closed: remove_writer": lambda loop: closed(loop).remove_writer(0),
    "closed: add_signal_handler": lambda loop: closed(loop).add_signal_handler(10, print),
    "closed: remove_signal_handler": lambda loop: closed(loop).remove_signal_handler(10),
    "closed: stop": lambda loop: closed(loop).stop(),
    "closed: close": lambda loop: closed(loop).close(),
    "closed: time": lambda loop: type(closed(loop).time()),
    "closed: is_running": lambda loop: closed(loop).is_running(),
    "closed: get_debug": lambda loop: closed(loop).get_debug(),
    "closed: set_debug": lambda loop: closed(loop).set_debug(True),
    "closed: set_exception_handler": lambda loop: closed(loop).set_exception_handler(None),
    # Runs within runs
    "running: run_forever": running(lambda loop: loop.run_forever()),
    "running: run_until_complete": discarding(
        lambda loop, given: running(lambda loop: loop.run_until_complete(given))(loop)
    ),
    "running: another loop": nested,
    "running: close": running(lambda loop: loop.close()),
    "running: asyncio.run": discarding(
        lambda loop, given: running(lambda _loop: asyncio.run(given))(loop)
    ),
    # Wrong things to run
    "run_until_complete(None)": lambda loop: loop.run_until_complete(None),  # type: ignore[arg-type]
    "run_until_complete(42)": lambda loop: loop.run_until_complete(42),  # type: ignore[arg-type]
    "run_until_complete(function)": lambda loop: loop.run_until_complete(coroutine),  # type: ignore[arg-type]
    "run_until_complete(async generator)": lambda loop: loop.run_until_complete(agen()),
    "run_until_complete(foreign future)": lambda loop: loop.run_until_complete(
        other_loops_future(loop)
    ),
    "run_until_complete()": lambda loop: loop.run_until_complete(),  # type: ignore[call-arg]
    # Tasks
    "create_task(None)": lambda loop: loop.create_task(None),  # type: ignore[arg-type]
    "create_task(42)": lambda loop: loop.create_task(42),  # type: ignore[arg-type]
    "create_task(function)": lambda loop: loop.create_task(coroutine),  # type: ignore[arg-type]
    "create_task(future)": lambda loop: loop.create_task(loop.create_future()),  # type: ignore[arg-type]
    "create_task(async generator)": lambda loop: loop.create_task(agen()),
    "set_task_factory(1)": lambda loop: loop.set_task_factory(1),  # type: ignore[arg-type]
    "await of a foreign future": awaiting(other_loops_future),
    "await of oneself": awaiting(lambda loop: asyncio.current_task()),
    "await of an int": awaiting(lambda loop: 42),
    "gather of a foreign future": awaiting(
        lambda loop: asyncio.gather(other_loops_future(loop), loop.create_future())
    ),
    "wait of coroutines": discarding(
        lambda loop, given: awaiting(lambda loop: asyncio.wait([given]))(loop)
    ),
    "wait of nothing": awaiting(lambda loop: asyncio.wait([])),
    "wait_for(None)": awaiting(lambda loop: asyncio.wait_for(None, 1)),  # type: ignore[arg-type]
    "shield(None)": awaiting(lambda loop: asyncio.shield(None)),  # type: ignore[arg-type]
    # Futures
    "result of a pending future": lambda loop: loop.create_future().result(),
    "exception of a pending future": lambda loop: loop.create_future().exception(),
    "add_done_callback()": lambda loop: loop.create_future().add_done_callback(),  # type: ignore[call-arg]
    "set_exception(42)": lambda loop: loop.create_future().set_exception(42),  # type: ignore[arg-type]
    "set_exception(StopIteration)": lambda loop: loop.create_future().set_exception(StopIteration),
    # Times
    "call_later(None)": lambda loop: loop.call_later(None, print),  # type: ignore[arg-type]
    "call_at(None)": lambda loop: loop.call_at(None, print),  # type: ignore[arg-type]
    "call_later(text)": lambda loop: loop.call_later("1", print),  # type: ignore[arg-type]
    "call_later(object)": lambda loop: type(loop.call_later(object(), print)),  # type: ignore[arg-type]
    "call_later(inf)": lambda loop: loop.call_later(math.inf, print).when(),
    "call_later(-inf)": lambda loop: loop.call_later(-math.inf, print).when(),
    "call_later(nan)": lambda loop: math.isnan(loop.call_later(math.nan, print).when()),
    "call_later(-1)": lambda loop: loop.call_later(-1, print).cancelled(),
    "call_at(inf)": lambda loop: loop.call_at(math.inf, print).when(),
    "call_at(-1)": lambda loop: loop.call_at(-1, print).when(),
    "call_at(True)": lambda loop: loop.call_at(True, print).when(),
    "call_later(huge int)": lambda loop: loop.call_later(10**400, print),
    "call_later()": lambda loop: type(outcome(lambda: loop.call_later())),  # type: ignore[call-arg]
    "sleep(nan)": awaiting(lambda loop: asyncio.sleep(math.nan)),
    "sleep(text)": awaiting(lambda loop: asyncio.sleep("1")),  # type: ignore[call-overload]
    "sleep(-1)": awaiting(lambda loop: asyncio.sleep(-1, "slept")),
    # Callbacks
    "call_soon with a strange context": lambda loop: (
        type(loop.call_soon(print, context=contextvars.Context())).__name__
    ),
    "call_soon with an unknown keyword": lambda loop: outcome(
        lambda: loop.call_soon(print, nonsense=1)  # type: ignore[call-arg]
    )[0],
    "call_soon()": lambda loop: outcome(lambda: loop.call_soon())[0],  # type: ignore[call-arg]
    # Executors
    "set_default_executor(None)": lambda loop: loop.set_default_executor(None),  # type: ignore[arg-type]
    "set_default_executor(Executor)": lambda loop: loop.set_default_executor(
        concurrent.futures.Executor()
    ),
    "run_in_executor(42)": lambda loop: loop.run_in_executor(42, print),  # type: ignore[arg-type]
    "run_coroutine_threadsafe(42)": lambda loop: asyncio.run_coroutine_threadsafe(42, loop),  # type: ignore[arg-type]
    # Signals
    "add_signal_handler(SIGKILL)": lambda loop: loop.add_signal_handler(9, print),
    "add_signal_handler(0)": lambda loop: loop.add_signal_handler(0, print),
    "add_signal_handler(1000)": lambda loop: loop.add_signal_handler(1000, print),
    "add_signal_handler(-1)": lambda loop: loop.add_signal_handler(-1, print),
    "add_signal_handler(text)": lambda loop: loop.add_signal_handler("INT", print),  # type: ignore[arg-type]
    "add_signal_handler(coroutine function)": lambda loop: loop.add_signal_handler(10, coroutine),
    "remove_signal_handler(text)": lambda loop: loop.remove_signal_handler("INT"),  # type: ignore[arg-type]
    "remove_signal_handler(1000)": lambda loop: loop.remove_signal_handler(1000),
    "remove_signal_handler(10)": lambda loop: loop.remove_signal_handler(10),
    # Exception handlers
    "set_exception_handler(1)": lambda loop: loop.set_exception_handler(1),  # type: ignore[arg-type]
    "get_exception_handler": lambda loop: loop.get_exception_handler(),
    "call_exception_handler()": lambda loop: outcome(
        lambda: loop.call_exception_handler()  # type: ignore[call-arg]
    )[0],
    # Names
    "getaddrinfo of nonsense": awaiting(
        lambda loop: loop.getaddrinfo("127.0.0.1", "no such service")
    ),
    "getnameinfo of nonsense": awaiting(lambda loop: loop.getnameinfo(("nonsense", 1))),
    # Sockets
    "sock_recv of a closed socket": awaiting(lambda loop: loop.sock_recv(closed_socket(), 1)),
    "sock_sendall of text": awaiting(lambda loop: loop.sock_sendall(an_open_socket(), "text")),  # type: ignore[arg-type]
    "sock_recv of a file": awaiting(lambda loop: loop.sock_recv(42, 1)),  # type: ignore[arg-type]
    "add_reader(closed socket)": lambda loop: loop.add_reader(closed_socket(), print),
    # Generators
    "shutdown_asyncgens": awaiting(lambda loop: loop.shutdown_asyncgens()),
}

if not WRAPS_STOP_ITERATION:
    del CASES["set_exception(StopIteration)"]

_sockets: list[socket.socket] = []


def closed_socket() -> socket.socket:
    each = socket.socket()
    each.setblocking(False)
    each.close()
    return each


def an_open_socket() -> socket.socket:
    one, two = socket.socketpair()
    one.setblocking(False)
    _sockets.extend((one, two))
    return one


def told(loop: Loop, case: Case) -> list[Any]:
    """The outcome, and what the loop's exception handler heard meanwhile."""
    heard: list[Any] = []
    loop.set_exception_handler(
        lambda _loop, context: heard.append((context["message"], repr(context.get("exception"))))
    )
    try:
        result = outcome(lambda: case(loop))
        if not loop.is_closed():
            turn(loop, 2)
        return [result, heard]
    finally:
        for each in _sockets:
            each.close()
        _sockets.clear()
        if not loop.is_closed():
            loop.close()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_bad_input_gets_what_asyncio_gives(loop: Loop, name: str) -> None:
    expected = told(asyncio.new_event_loop(), CASES[name])
    assert told(loop, CASES[name]) == expected


MESSAGES = {
    "closed: call_soon": ("RuntimeError", "Event loop is closed"),
    "running: run_forever": ("RuntimeError", "This event loop is already running"),
    "running: another loop": (
        "RuntimeError",
        "Cannot run the event loop while another loop is running",
    ),
    "running: close": ("RuntimeError", "Cannot close a running event loop"),
    "create_task(42)": ("TypeError", "a coroutine was expected, got 42"),
    "result of a pending future": ("InvalidStateError", "Result is not set."),
    "add_signal_handler(text)": ("TypeError", "sig must be an int, not 'INT'"),
    "set_exception_handler(1)": ("TypeError", "A callable object or None is expected, got 1"),
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_the_commonest_messages_are_these(loop: Loop, name: str) -> None:
    """So that a mistake in the comparison itself cannot hide."""
    assert told(loop, CASES[name])[0] == MESSAGES[name]


def test_a_failing_exception_handler_is_reported_by_the_default_one(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_loop: Loop, _context: dict[str, Any]) -> None:
        raise LookupError("in the handler")

    loop.set_exception_handler(handler)
    loop.call_soon(lambda: 1 / 0)
    turn(loop)
    assert "Unhandled error in exception handler" in caplog.text
    assert "in the handler" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_an_exception_handler_leaves(loop: Loop, error: type[BaseException]) -> None:
    def handler(_loop: Loop, _context: dict[str, Any]) -> None:
        raise error

    loop.set_exception_handler(handler)
    loop.call_soon(lambda: 1 / 0)
    with pytest.raises(error):
        loop.run_forever()
    loop.set_exception_handler(None)


def test_the_default_handler_can_be_called(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.default_exception_handler({"message": "hello", "extra": 42, "exception": ValueError("v")})
    assert [record.getMessage() for record in caplog.records] == ["hello\nextra: 42"]
    caplog.clear()
    loop.call_exception_handler({})
    assert [record.getMessage() for record in caplog.records] == [
        "Unhandled exception in event loop"
    ]


def test_a_result_raised_while_an_error_is_handled_has_it_as_context(loop: Loop) -> None:
    failed, cancelled = loop.create_future(), loop.create_future()
    failed.set_exception(LookupError("outcome"))
    cancelled.cancel()

    async def wait_for(future: asyncio.Future[None]) -> None:
        try:
            raise OSError("handled")
        except OSError:
            await future

    for call in (failed.result, cancelled.result, cancelled.exception):
        with pytest.raises((LookupError, asyncio.CancelledError)) as caught:
            try:
                raise OSError("handled")
            except OSError:
                call()
        assert repr(caught.value.__context__) == "OSError('handled')"
    for future in (failed, cancelled):
        with pytest.raises((LookupError, asyncio.CancelledError)) as caught:
            loop.run_until_complete(wait_for(future))
        assert repr(caught.value.__context__) == "OSError('handled')"


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Refuses every change of an attribute, that of its traceback included."""

    number: int


def test_an_exception_that_refuses_attributes_arrives_like_any_other(loop: Loop) -> None:
    async def fail() -> None:
        raise Frozen(1)

    async def gathered() -> None:
        await asyncio.gather(fail())

    for awaitable in (loop.create_task(fail()), gathered(), asyncio.wait_for(fail(), 60)):
        with pytest.raises(Frozen) as caught:
            loop.run_until_complete(awaitable)
        assert caught.value.__traceback__ is not None
    future = loop.create_future()
    future.set_exception(Frozen(2))
    assert future.exception() == Frozen(2)
    with pytest.raises(Frozen):
        future.result()


def with_contexts(error: BaseException | None) -> list[str]:
    names = []
    while error is not None:
        names.append(type(error).__name__)
        error = error.__context__
    return names


def test_what_is_raised_while_another_exception_is_handled_has_it_for_its_context(
    new_loop: Any, streams: Any
) -> None:
    """As of what a function in Python raises."""

    def step(coroutine: Any) -> None:
        try:
            coroutine.send(None)
        finally:
            coroutine.close()

    async def main() -> dict[str, list[str]]:
        loop = asyncio.get_running_loop()
        told: list[Exception | None] = []

        class Datagrams(asyncio.DatagramProtocol):
            def error_received(self, exc: Exception) -> None:
                told.append(exc)

        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        endpoint, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        done, failed = loop.create_future(), loop.create_future()
        done.set_result(1)
        failed.set_exception(KeyError())
        broken, long, short = (streams.StreamReader(loop=loop, limit=4) for _ in range(3))
        broken.set_exception(KeyError())
        long.feed_data(b"more than four")
        short.feed_eof()
        calls: dict[str, Any] = {
            "write": lambda: transport.write("text"),  # type: ignore[arg-type]
            "writelines": lambda: transport.writelines([1]),  # type: ignore[list-item]
            "limits": lambda: transport.set_write_buffer_limits(1, 2),
            "sendto": lambda: endpoint.sendto("text"),  # type: ignore[arg-type]
            "sendto what is too long": lambda: endpoint.sendto(bytes(99_999), ("127.0.0.1", 9)),
            "set_result": lambda: done.set_result(2),
            "result": failed.result,
            "call_later": lambda: loop.call_later(None, int),  # type: ignore[arg-type]
            "add_reader": lambda: loop.add_reader(-1, int),
            "create_task": lambda: loop.create_task(1),  # type: ignore[arg-type]
            "run_forever": loop.run_forever,
            "read": lambda: step(broken.read(1)),
            "readline": lambda: step(long.readline()),
            "readexactly": lambda: step(short.readexactly(3)),
            "anext": lambda: step(short.__anext__()),
            "feed_data": lambda: short.feed_data(b"late"),
        }
        seen = {}
        for name, call in calls.items():
            try:
                try:
                    raise ZeroDivisionError
                except ZeroDivisionError:
                    call()
            except Exception as error:
                seen[name] = with_contexts(error)
            else:
                seen[name] = with_contexts(told.pop())
        transport.abort()
        endpoint.abort()
        theirs.close()
        await asyncio.sleep(0)
        return seen

    loop = new_loop()
    seen = loop.run_until_complete(main())
    loop.close()
    assert seen == {
        "write": ["TypeError", "ZeroDivisionError"],
        "writelines": ["TypeError", "ZeroDivisionError"],
        "limits": ["ValueError", "ZeroDivisionError"],
        "sendto": ["TypeError", "ZeroDivisionError"],
        "sendto what is too long": ["OSError", "ZeroDivisionError"],
        "set_result": ["InvalidStateError", "ZeroDivisionError"],
        "result": ["KeyError", "ZeroDivisionError"],
        "call_later": ["TypeError", "ZeroDivisionError"],
        "add_reader": ["ValueError", "ZeroDivisionError"],
        "create_task": ["TypeError", "ZeroDivisionError"],
        "run_forever": ["RuntimeError", "ZeroDivisionError"],
        "read": ["KeyError", "ZeroDivisionError"],
        "readline": ["ValueError", "LimitOverrunError", "ZeroDivisionError"],
        "readexactly": ["IncompleteReadError", "ZeroDivisionError"],
        "anext": ["StopAsyncIteration", "ZeroDivisionError"],
        "feed_data": ["AssertionError", "ZeroDivisionError"],
    }
