"""`help` and `inspect.signature` know what methods take that are not written in Python."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import re
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

Loop = asyncio.AbstractEventLoop
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
DISPUTED = {"sock_recv"}
"""What asyncio's documentation and its loop name differently."""


def positional(function: Callable[..., Any]) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in POSITIONAL]


def check(one: object, documented: type) -> None:
    """That a method takes what the class in asyncio's documentation says, and maybe more."""
    for name in dir(documented):
        method = getattr(documented, name)
        if name.startswith("_") or name in DISPUTED or not callable(method):
            continue
        try:
            expected = positional(method)
        except ValueError:
            # asyncio itself does not tell.
            continue
        if isinstance(inspect.getattr_static(documented, name), classmethod | staticmethod):
            continue
        ours = positional(getattr(type(one), name))
        assert ours[: len(expected)] == expected, f"{documented.__name__}.{name}"


async def nothing() -> None:
    pass


KEYWORDS: dict[str, Callable[[Loop, Any, Any], object]] = {
    "call_soon": lambda loop, reader, writer: loop.call_soon(callback=print),
    "call_soon, nothing": lambda loop, reader, writer: loop.call_soon(),  # type: ignore[call-arg]
    "call_later": lambda loop, reader, writer: loop.call_later(
        delay=100, callback=print, context=contextvars.copy_context()
    ).cancel(),
    "call_later, nothing": lambda loop, reader, writer: loop.call_later(),  # type: ignore[call-arg]
    "call_later, no callback": lambda loop, reader, writer: loop.call_later(delay=1),  # type: ignore[call-arg]
    "call_at": lambda loop, reader, writer: loop.call_at(when=1e9, callback=print).cancel(),
    "create_task": lambda loop, reader, writer: loop.create_task(coro=nothing(), name="it"),
    "create_task, nothing": lambda loop, reader, writer: loop.create_task(name="it"),  # type: ignore[call-arg]
    "remove_reader": lambda loop, reader, writer: loop.remove_reader(fd=0),
    "remove_reader, nothing": lambda loop, reader, writer: loop.remove_reader(),  # type: ignore[call-arg]
    "add_reader, nothing": lambda loop, reader, writer: loop.add_reader(),  # type: ignore[call-arg]
    "set_task_factory": lambda loop, reader, writer: loop.set_task_factory(factory=None),
    "set_task_factory, two": lambda loop, reader, writer: loop.set_task_factory(None, None),  # type: ignore[call-arg]
    "feed_data": lambda loop, reader, writer: reader.feed_data(data=b"x"),
    "feed_data, nothing": lambda loop, reader, writer: reader.feed_data(),
    "feed_data, more": lambda loop, reader, writer: reader.feed_data(b"x", b"y"),
    "feed_data, another": lambda loop, reader, writer: reader.feed_data(b"x", more=1),
    "write": lambda loop, reader, writer: writer.write(data=b"x"),
    "write, another": lambda loop, reader, writer: writer.write(bytes=b"x"),
    "writelines": lambda loop, reader, writer: writer.writelines(data=[b"x"]),
    "transport.write": lambda loop, reader, writer: writer.transport.write(data=b"x"),
    "transport.writelines": lambda loop, reader, writer: writer.transport.writelines(
        list_of_data=[b"x"]
    ),
    "transport.set_protocol": lambda loop, reader, writer: writer.transport.set_protocol(
        protocol=writer.transport.get_protocol()
    ),
    "connection_lost": lambda loop, reader, writer: writer.transport.get_protocol().connection_lost(
        exc=None
    ),
}


def heard(loop: Loop, streams: Any, call: Callable[[Loop, Any, Any], object]) -> str:
    """What comes of a call, without the class whose method it is."""

    async def main() -> str:
        ours, theirs = socket.socketpair()
        with closing(theirs):
            reader, writer = await streams.open_connection(sock=ours)
            try:
                call(loop, reader, writer)
            except TypeError as error:
                return re.sub(r"\w+\.(?=\w+\(\))", "", str(error))
            finally:
                writer.close()
                await asyncio.sleep(0)
        return "no error"

    return loop.run_until_complete(main())


@pytest.mark.parametrize("name", KEYWORDS)
def test_arguments_come_by_keyword_as_in_asyncio(loop: Loop, streams: Any, name: str) -> None:
    with closing(asyncio.new_event_loop()) as theirs:
        expected = heard(theirs, asyncio, KEYWORDS[name])
    assert heard(loop, streams, KEYWORDS[name]) == expected


def test_of_loops_futures_tasks_and_handles(loop: Loop) -> None:
    check(loop, asyncio.AbstractEventLoop)
    check(loop.create_future(), asyncio.Future)
    task = loop.create_task(nothing())
    check(task, asyncio.Task)
    check(loop.call_soon(print), asyncio.Handle)
    check(timer := loop.call_later(100, print), asyncio.TimerHandle)
    timer.cancel()
    loop.run_until_complete(task)


def test_of_streams_and_transports(loop: Loop, streams: Any) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with closing(theirs):
            reader, writer = await streams.open_connection(sock=ours)
            check(reader, asyncio.StreamReader)
            check(writer, asyncio.StreamWriter)
            check(writer.transport, asyncio.Transport)
            writer.close()
            await writer.wait_closed()
        out, into = os.pipe()
        reading, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(out, "rb", 0))
        writing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(into, "wb", 0))
        endpoint, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        with closing(reading), closing(writing), closing(endpoint):
            check(reading, asyncio.ReadTransport)
            check(writing, asyncio.WriteTransport)
            check(endpoint, asyncio.DatagramTransport)

    loop.run_until_complete(main())
