"""`help` and `inspect.signature` know what methods take that are not written in Python."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

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
