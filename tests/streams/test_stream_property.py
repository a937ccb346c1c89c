"""Random uses of a StreamReader: each call, wait and pause as asyncio's own reader has them.

asyncio's reader is the model. A run is a list of steps drawn from a seed: feeding in pieces, reads
of every kind in tasks, cancellations, exceptions, the end. A failure prints its seed; run it again
with

    SABURO_SEED=<seed> pytest tests/streams/test_stream_property.py
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Any

import pytest
from support.both_loops import Kind, comparable, turn

SEEDS = range(400)
if "SABURO_SEED" in os.environ:
    SEEDS = range(int(os.environ["SABURO_SEED"]), int(os.environ["SABURO_SEED"]) + 1)
STEPS = 40
ALPHABET = b"ab\n;"
"""Few enough for separators to come about, also in halves."""

THEIRS = Kind("asyncio", "asyncio.new_event_loop()")


class Transport:
    def __init__(self, trace: list[str], *, can_pause: bool) -> None:
        self.trace = trace
        self.can_pause = can_pause

    def pause_reading(self) -> None:
        self.trace.append("pause")
        if not self.can_pause:
            raise NotImplementedError

    def resume_reading(self) -> None:
        self.trace.append("resume")

    def __repr__(self) -> str:
        return "<Transport>"


class Program:
    """One reader, used at random; what becomes of it is the trace."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.draw = random.Random(seed)
        self.trace: list[str] = []
        self.loop = kind.new_loop()
        self.reader = kind.streams.StreamReader(self.draw.choice([1, 2, 5, 20, 65536]), self.loop)
        self.transport = Transport(self.trace, can_pause=self.draw.random() < 0.8)
        if self.draw.random() < 0.9:
            self.reader.set_transport(self.transport)
        self.reads: list[Any] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.ended = False
        self.held: list[bytearray] = []
        """Buffers that a library has kept."""

    def run(self) -> list[str]:
        try:
            for _ in range(STEPS):
                self.step()
                turn(self.loop, self.draw.randrange(3))
                self.look()
            if not self.ended:
                self.reader.feed_eof()
            turn(self.loop, 10)
            for task in self.tasks:
                task.cancel()
            turn(self.loop, 5)
            self.look()
        finally:
            for read in self.reads:
                read.close()  # that of a task cancelled before it began was never awaited
            self.loop.close()
        return self.trace

    def look(self) -> None:
        buffers = [bytes(buffer) for buffer in (self.reader._buffer, *self.held)]
        state = f"{self.reader.at_eof()} {buffers} {self.reader!r}"
        # Who wakes a task is told in other words by a task that runs itself.
        self.trace.append(comparable(state.partition(" waiter=")[0]))

    def step(self) -> None:
        actions = [self.feed] * 5 + [self.read] * 5 + [self.cancel, self.poke]
        if self.draw.random() < 0.03:
            actions = [self.end, self.fail, self.recover]
        action = self.draw.choice(actions)
        self.trace.append(action.__name__)
        action()

    def data(self, most: int) -> bytes:
        return bytes(self.draw.choices(ALPHABET, k=self.draw.randint(1, most)))

    def feed(self) -> None:
        if not self.ended:
            data: Any = self.data(self.draw.choice([3, 12]))
            self.reader.feed_data(self.draw.choice([bytes, bytearray, memoryview])(data))

    def read(self) -> None:
        draw, reader = self.draw, self.reader
        size = draw.choice([0, 1, 2, 3, 7, 30])
        reads: list[Any] = [
            lambda: reader.read(size),
            lambda: reader.read(),
            lambda: reader.readexactly(size),
            lambda: reader.readline(),
            lambda: reader.__anext__(),
        ]
        separator: Any = self.data(3)
        if sys.version_info >= (3, 13) and draw.random() < 0.5:
            separator = tuple(self.data(3) for _ in range(draw.randint(1, 3)))
        reads += [lambda: reader.readuntil(separator)] * 2
        self.reads.append(draw.choice(reads)())
        self.tasks.append(self.loop.create_task(self.noted(len(self.tasks), self.reads[-1])))

    async def noted(self, number: int, read: Any) -> None:
        try:
            self.trace.append(f"{number} reads {await read!r}")
        except BaseException as error:
            attributes = {
                name: getattr(error, name, None) for name in ("partial", "expected", "consumed")
            }
            self.trace.append(f"{number} {error!r} {attributes} {error.__context__!r}")
            if isinstance(error, asyncio.CancelledError):
                raise

    def cancel(self) -> None:
        if self.tasks:
            self.draw.choice(self.tasks).cancel()

    def poke(self) -> None:
        """What a library may do that reaches inside."""
        kind = self.draw.randrange(6)
        if kind == 4:
            self.held.append(self.reader._buffer)
        elif kind == 5:
            self.held.clear()
        elif kind == 0:
            del self.reader._buffer[: self.draw.randrange(4)]
        elif kind == 1:
            self.reader._buffer.extend(self.data(3))
        elif kind == 2:
            self.reader._wakeup_waiter()
        else:
            self.reader._maybe_resume_transport()

    def end(self) -> None:
        self.ended = True
        self.reader.feed_eof()

    def fail(self) -> None:
        self.reader.set_exception(ConnectionResetError("gone"))

    def recover(self) -> None:
        self.reader._exception = None


@pytest.mark.saburo_only
def test_a_reader_used_at_random_does_as_asyncios(kind: Kind) -> None:
    for seed in SEEDS:
        expected = Program(THEIRS, seed).run()
        assert Program(kind, seed).run() == expected, f"SABURO_SEED={seed}"
