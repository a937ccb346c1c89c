"""Debug mode: what another thread may not do to a loop, as a table."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


class Table:
    """What another thread calls, each with what can be seen of it afterwards."""

    REFUSED = (
        "call_soon",
        "call_later",
        "call_at",
        "create_task",
        "ensure_future",
        "result with a callback",
        "exception with a callback",
        "cancel with a callback",
        "callback of one that is done",
        "result for a task",
        "cancel a task",
        "event",
        "queue",
        "feed a reader",
        "close a transport",
        "abort a transport",
        "close a datagram endpoint",
        "close a pipe",
    )
    ALLOWED = (
        "call_soon_threadsafe",
        "create_future",
        "result without a callback",
        "cancel a handle",
        "cancel a timer",
        "add_reader",
        "remove_reader",
        "run_in_executor",
        "stop reading",
        "time",
        "is_running",
        "set_debug",
        "set_exception_handler",
        "set_task_factory",
        "close a server",
    )

    def __init__(self, loop: Loop, streams: Any) -> None:
        self.loop, self.streams = loop, streams
        self.calls: dict[str, Callable[[], Any]] = {}
        self.afterwards: dict[str, Callable[[], Any]] = {}
        self.stack = contextlib.ExitStack()

    def add(self, name: str, call: Callable[[], Any], afterwards: Callable[[], Any] = int) -> None:
        self.calls[name], self.afterwards[name] = call, afterwards

    def future(self, done: bool = False) -> asyncio.Future[Any]:
        future = self.loop.create_future()
        if done:
            future.set_result(1)
        else:
            future.add_done_callback(repr)
        return future

    def scheduling(self) -> None:
        loop = self.loop
        self.add("call_soon", lambda: loop.call_soon(int))
        self.add("call_later", lambda: loop.call_later(0, int))
        self.add("call_at", lambda: loop.call_at(0, int))
        self.add("call_soon_threadsafe", lambda: loop.call_soon_threadsafe(int))
        self.add("create_future", loop.create_future)
        self.add("time", loop.time)
        self.add("is_running", loop.is_running)
        self.add("set_debug", lambda: loop.set_debug(True))
        self.add("set_exception_handler", lambda: loop.set_exception_handler(lambda *_: None))
        self.add("set_task_factory", lambda: loop.set_task_factory(None))
        handle, timer = loop.call_soon(int), loop.call_later(1000, int)
        self.add("cancel a handle", handle.cancel, handle.cancelled)
        self.add("cancel a timer", timer.cancel, timer.cancelled)
        ours, theirs = socket.socketpair()
        self.stack.enter_context(ours)
        self.stack.enter_context(theirs)
        loop.add_reader(theirs, int)
        self.add("add_reader", lambda: loop.add_reader(ours, int), lambda: loop.remove_reader(ours))
        remove = functools.partial(loop.remove_reader, theirs)
        self.add("remove_reader", remove, remove)
        self.add("run_in_executor", lambda: loop.run_in_executor(None, int))

    def tasks(self) -> None:
        loop = self.loop

        async def nothing() -> None:
            pass

        def refused(make: Callable[[Any], object]) -> None:
            coro = nothing()
            try:
                make(coro)
            finally:
                coro.close()

        self.add("create_task", lambda: refused(loop.create_task))
        self.add(
            "ensure_future", lambda: refused(functools.partial(asyncio.ensure_future, loop=loop))
        )
        one, two, three, four, done = (self.future(n == 4) for n in range(5))
        self.add("result with a callback", lambda: one.set_result(1), lambda: repr(one.result()))
        self.add(
            "exception with a callback",
            lambda: two.set_exception(KeyError()),
            lambda: repr(two.exception()),
        )
        self.add("cancel with a callback", three.cancel, three.cancelled)
        four.remove_done_callback(repr)
        self.add("result without a callback", lambda: four.set_result(1), four.result)
        self.add("callback of one that is done", lambda: done.add_done_callback(repr))

    def waiting(self) -> None:
        loop = self.loop
        event: asyncio.Event = asyncio.Event()
        queue: asyncio.Queue[int] = asyncio.Queue()
        reader = self.streams.StreamReader(loop=loop)
        awaited = loop.create_future()

        async def wait_for(awaitable: Any) -> None:
            await awaitable

        def cancellable(awaitable: Any) -> asyncio.Task[None]:
            task = loop.create_task(wait_for(awaitable))
            self.stack.callback(task.cancel)
            return task

        cancellable(awaited)
        cancellable(event.wait())
        cancellable(queue.get())
        cancellable(reader.read(1))
        task = cancellable(loop.create_future())
        self.add("result for a task", lambda: awaited.set_result(1), awaited.done)
        self.add("cancel a task", task.cancel, task.cancelling)
        self.add("event", event.set, event.is_set)
        self.add("queue", lambda: queue.put_nowait(1), queue.qsize)
        self.add("feed a reader", lambda: reader.feed_data(b"x"), lambda: bytes(reader._buffer))

    async def transports(self) -> None:
        loop = self.loop
        for name, attribute in (("close a transport", "close"), ("abort a transport", "abort")):
            ours, theirs = socket.socketpair()
            self.stack.enter_context(theirs)
            stream, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            self.stack.callback(self.end, stream)
            self.add(name, getattr(stream, attribute), stream.is_closing)
        ours, theirs = socket.socketpair()
        self.stack.enter_context(theirs)
        reading, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        self.stack.callback(reading.abort)
        self.add("stop reading", reading.pause_reading, reading.is_reading)
        endpoint, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        self.stack.callback(self.end, endpoint)
        self.add("close a datagram endpoint", endpoint.close, endpoint.is_closing)
        read, write = os.pipe()
        self.stack.callback(os.close, write)
        pipe = os.fdopen(read, "rb", 0)
        transport, _ = await loop.connect_read_pipe(asyncio.Protocol, pipe)
        self.stack.callback(self.end, transport)
        self.add("close a pipe", transport.close, transport.is_closing)
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        self.add("close a server", server.close, server.is_serving)

    def end(self, transport: Any) -> None:
        """One whose close() was refused has begun to close, and never will by itself."""
        transport._call_connection_lost(
            *(() if type(self.loop).__module__ == "saburo" else (None,))
        )


def test_a_table_of_calls_from_another_thread(loop: Loop, streams: Any) -> None:
    """Refused is what asyncio's call_soon() is behind; and that is what was asked for last."""
    message = "Non-thread-safe operation invoked on an event loop other than the current one"
    loop.set_debug(True)
    table = Table(loop, streams)
    seen: dict[str, Any] = {}

    def call_all() -> None:
        for name, call in table.calls.items():
            try:
                call()
                seen[name] = "allowed"
            except RuntimeError as error:
                seen[name] = str(error)

    async def main() -> None:
        loop.set_exception_handler(lambda *_: None)  # tasks that could not be queued
        table.scheduling()
        table.tasks()
        table.waiting()
        await asyncio.sleep(0)
        await table.transports()
        with table.stack:
            thread = threading.Thread(target=call_all)
            thread.start()
            thread.join()
            afterwards.update({name: look() for name, look in table.afterwards.items()})
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    afterwards: dict[str, Any] = {}
    loop.run_until_complete(main())
    assert {name for name, what in seen.items() if what == message} == set(table.REFUSED)
    assert {name for name, what in seen.items() if what == "allowed"} == set(table.ALLOWED)
    # Each is as far as it came.
    assert {name: what for name, what in afterwards.items() if what != 0} == {
        "cancel a handle": True,
        "cancel a timer": True,
        "add_reader": True,
        "result with a callback": "1",
        "exception with a callback": "KeyError()",
        "cancel with a callback": True,
        "result without a callback": 1,
        "result for a task": True,
        "cancel a task": 1,
        "event": True,
        "queue": 1,
        "feed a reader": b"x",
        "close a transport": True,
        "abort a transport": True,
        "close a datagram endpoint": True,
        "close a pipe": True,
    }
