"""For tests of datagrams: endpoints, bare sockets, a peer that is full."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.both_loops import Kind
from support.waiting import wait


class Recorder(asyncio.DatagramProtocol):
    """Records every call; a test can wait for one."""

    transport: Any

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.calls.append(data)
        self.received.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.calls.append(type(exc))
        self.errors.put_nowait(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", type(exc)))
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


async def endpoint(factory: Callable[[], Any] = Recorder, /, **options: Any) -> tuple[Any, Any]:
    if not options:
        options["local_addr"] = ("127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(factory, **options)
    return transport, protocol


async def close(*transports: Any) -> None:
    for transport in transports:
        transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def bare(family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> socket.socket:
    """A datagram socket that does not block, at an address of its own."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(address)
    return sock


def takes_empty(kind: Kind) -> bool:
    """Whether this loop sends empty datagrams."""
    return kind.is_saburo or sys.version_info >= (3, 13)


def header(kind: Kind) -> int:
    """The bytes that each waiting datagram counts beside its own."""
    if kind.is_saburo or sys.version_info >= (3, 14):
        return 8
    if sys.version_info >= (3, 13):
        pytest.skip("this asyncio adds headers, and forgets to take them off again")
    return 0


class Full:
    """An endpoint whose peer, a Unix socket, is full, and that has some waiting."""

    def __init__(self, folder: Path, factory: Callable[[], Any] = Recorder) -> None:
        self.peer = bare(socket.AF_UNIX, os.fspath(folder / "peer"))
        self.factory = factory
        self.sent: list[bytes] = []
        self.received = 0

    async def open(self, **limits: int) -> tuple[Any, Any]:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.transport, self.protocol = await endpoint(self.factory, sock=sock)
        if limits:
            self.transport.set_write_buffer_limits(**limits)
        while not self.transport.get_write_buffer_size():
            self.send()
        return self.transport, self.protocol

    def send(self) -> None:
        data = b"%06d" % len(self.sent) + b"." * 94
        self.sent.append(data)
        self.transport.sendto(data, self.peer.getsockname())

    async def receive_all(self) -> list[bytes]:
        """All that was sent, also while this waits."""
        loop = asyncio.get_running_loop()
        received: list[bytes] = []
        while len(received) + self.received < len(self.sent):
            received.append(await wait(loop.sock_recv(self.peer, 1000)))
        self.received += len(received)
        return received
