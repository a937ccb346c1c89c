"""For tests of pipes: protocols that record their calls, pipes of every kind."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import socket
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.waiting import until


class Recorder(asyncio.Protocol):
    """Records every call; a test can wait for the last one."""

    transport: Any

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.received = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.received += data

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", type(exc)))
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


async def received(protocol: Recorder, length: int = 1) -> None:
    await until(lambda: len(protocol.received) >= length)


async def read_pipe(pipe: Any, factory: Callable[[], Any] = Recorder) -> tuple[Any, Any]:
    return await asyncio.get_running_loop().connect_read_pipe(factory, pipe)


async def write_pipe(pipe: Any, factory: Callable[[], Any] = Recorder) -> tuple[Any, Any]:
    return await asyncio.get_running_loop().connect_write_pipe(factory, pipe)


def unbuffered(path: Path | str, mode: str) -> Any:
    return open(path, mode, 0)


def bare_pipe() -> tuple[Any, Any]:
    """Both ends of a pipe, as files that are not buffered."""
    reading, writing = os.pipe()
    return open(reading, "rb", 0), open(writing, "wb", 0)


def ends(kind: str, folder: Path) -> tuple[Any, Any]:
    """A reading and a writing end of a kind of pipe."""
    match kind:
        case "pipe":
            return bare_pipe()
        case "FIFO":
            os.mkfifo(folder / "fifo")
            reading = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
            writing = os.open(folder / "fifo", os.O_WRONLY)
            return open(reading, "rb", 0), open(writing, "wb", 0)
        case "sockets":
            return socket.socketpair()
        case _:
            try:
                reading, writing = pty.openpty()
            except OSError as error:
                pytest.skip(f"no terminals here: {error}")
            tty.setraw(writing)
            return open(reading, "rb", 0), open(writing, "wb", 0)


KINDS = ["pipe", "FIFO", "sockets", "terminal"]


def drain(reading: Any) -> bytes:
    """What is there, from an end that does not block."""
    os.set_blocking(reading.fileno(), False)
    whole = bytearray()
    while True:
        try:
            data = os.read(reading.fileno(), io.DEFAULT_BUFFER_SIZE)
        except BlockingIOError:
            break
        if not data:
            break
        whole += data
    return bytes(whole)


def fill(transport: Any) -> int:
    """Writes to a pipe until something waits, or it is closed; how many bytes in all."""
    written = 0
    while not transport.get_write_buffer_size() and not transport.is_closing():
        transport.write(b"x" * 10_000)
        written += 10_000
    return written
