"""`coro.__await__()` is an iterator; generators marked by types.coroutine may `yield from coro`."""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
import socket
import types
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

Loop = asyncio.AbstractEventLoop


class Wrapped:
    """As others wrap an awaitable."""

    def __init__(self, awaitable: Any) -> None:
        self.awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self.awaitable.__await__())


@types.coroutine
def marked(awaitable: Any) -> Generator[Any, Any, Any]:
    return (yield from awaitable)


async def by_hand(awaitable: Any) -> Any:
    """As compilers of Python do it."""

    class Driven:
        def __await__(self) -> Generator[Any, Any, Any]:
            iterator = awaitable.__await__()
            value = None
            while True:
                try:
                    value = yield iterator.send(value)
                except StopIteration as stop:
                    return stop.value

    return await Driven()


HOW: list[Callable[[Any], Any]] = [
    Wrapped,
    marked,
    by_hand,
    lambda awaitable: asyncio.wait_for(Wrapped(awaitable), 60),
    lambda awaitable: asyncio.wait_for(marked(awaitable), 60),
]


class Made:
    """Every coroutine that need not be Python's, each by a name, and what lets it go on."""

    def __init__(self, loop: Loop, streams: Any) -> None:
        self.loop, self.streams = loop, streams
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.reader = streams.StreamReader(loop=loop)

    def coroutines(self) -> dict[str, tuple[Callable[[], Any], Callable[[], Any], Any]]:
        reader, loop = self.reader, self.loop
        feed = lambda: reader.feed_data(b"ab\n")  # noqa: E731
        send = lambda: self.far.send(b"ab\n")  # noqa: E731
        return {
            "read": (lambda: reader.read(3), feed, b"ab\n"),
            "readline": (reader.readline, feed, b"ab\n"),
            "readuntil": (lambda: reader.readuntil(b"\n"), feed, b"ab\n"),
            "readexactly": (lambda: reader.readexactly(3), feed, b"ab\n"),
            "anext": (reader.__anext__, feed, b"ab\n"),
            "sock_recv": (lambda: loop.sock_recv(self.near, 3), send, b"ab\n"),
            "sock_sendall": (lambda: loop.sock_sendall(self.near, b"x"), int, None),
        }

    def close(self) -> None:
        self.near.close()
        self.far.close()


NAMES = ["read", "readline", "readuntil", "readexactly", "anext", "sock_recv", "sock_sendall"]


@pytest.fixture
def made(loop: Loop, streams: Any) -> Iterator[Made]:
    made = Made(loop, streams)
    yield made
    made.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", range(len(HOW)))
@pytest.mark.parametrize("waits", [False, True])
def test_one_can_be_wrapped(loop: Loop, made: Made, name: str, how: int, waits: bool) -> None:
    make, go_on, result = made.coroutines()[name]

    async def main() -> Any:
        if waits:
            loop.call_soon(go_on)
        else:
            go_on()
        return await HOW[how](make())

    assert loop.run_until_complete(main()) == result


@pytest.mark.parametrize("how", range(len(HOW)))
def test_so_can_drain(loop: Loop, streams: Any, how: int) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with theirs:
            _, writer = await streams.open_connection(sock=ours)
            writer.write(b"x")
            await HOW[how](writer.drain())
            assert await loop.sock_recv(theirs, 1) == b"x"
            writer.close()
            await HOW[how](writer.wait_closed())

    loop.run_until_complete(main())


@pytest.mark.parametrize("how", range(len(HOW)))
def test_so_can_a_future(loop: Loop, how: int) -> None:
    async def main() -> None:
        future = loop.create_future()
        loop.call_soon(future.set_result, 5)
        assert await HOW[how](future) == 5
        assert await HOW[how](loop.create_task(asyncio.sleep(0, 6))) == 6

    loop.run_until_complete(main())


@pytest.mark.parametrize("name", NAMES)
def test_what_await_gives_is_an_iterator(made: Made, name: str) -> None:
    coroutine = made.coroutines()[name][0]()
    iterator = coroutine.__await__()
    assert isinstance(iterator, collections.abc.Generator)
    assert iter(iterator) is iterator
    for method in ("send", "throw", "close", "__next__"):
        assert callable(getattr(iterator, method))
    iterator.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        iterator.send(None)


@pytest.mark.parametrize("name", NAMES)
def test_a_coroutine_itself_is_none(made: Made, name: str) -> None:
    coroutine: Any = made.coroutines()[name][0]()
    assert isinstance(coroutine, collections.abc.Coroutine)
    assert not isinstance(coroutine, collections.abc.Iterable)
    assert not hasattr(coroutine, "__iter__")
    assert not hasattr(coroutine, "__next__")
    with pytest.raises(TypeError, match="'coroutine' object is not iterable"):
        list(coroutine)  # type: ignore[call-overload]

    def unmarked() -> Any:
        yield from coroutine  # type: ignore[misc]

    with pytest.raises(TypeError, match="cannot 'yield from' a coroutine object"):
        next(unmarked())
    coroutine.close()


@pytest.mark.parametrize("how", range(3))
def test_exceptions_and_the_end_pass_through(loop: Loop, made: Made, how: int) -> None:
    async def main() -> None:
        task = loop.create_task(asyncio.wait_for(HOW[how](made.reader.read(1)), 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        made.reader.set_exception(KeyError("k"))
        with pytest.raises(KeyError):
            await HOW[how](made.reader.read(1))

    loop.run_until_complete(main())


def test_it_throws_and_closes_what_it_drives(made: Made) -> None:
    coroutine = made.reader.read(1)
    iterator = coroutine.__await__()
    assert asyncio.isfuture(next(iterator))
    assert coroutine.cr_running is False
    with pytest.raises(ZeroDivisionError):
        iterator.throw(ZeroDivisionError())
    coroutine = made.reader.read(1)
    iterator = coroutine.__await__()
    next(iterator)
    iterator.close()
    with pytest.raises(RuntimeError, match="cannot reuse"):
        next(iterator)
    coroutine = made.reader.read(1)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        coroutine.__await__().send(1)
    coroutine.close()


@pytest.mark.parametrize("name", NAMES)
def test_its_state_can_be_asked_for(made: Made, name: str) -> None:
    coroutine = made.coroutines()[name][0]()
    coroutine.close()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert not coroutine.cr_running
    assert coroutine.cr_origin is None
