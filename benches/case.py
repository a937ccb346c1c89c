"""What a case is, and the register of all of them.

A case does a stated number of operations and returns how many it saw finish, or a sum over their
results: a loop that does less than the others fails the case instead of winning it.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib.util
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from benches.loops import Contender, LoopFactory

Group = str
SCHEDULING: Group = "scheduling"
THREADS: Group = "threads"


class Measure(StrEnum):
    """What of a sample is compared. Processor time is steadier than wall time on a shared machine;
    wall time is right where waiting is the thing measured."""

    CPU = "cpu"
    WALL = "wall"
    MEMORY = "memory"


@dataclass(frozen=True)
class Sample:
    """One run of one case on one loop, per operation: seconds, seconds, bytes."""

    wall: float
    cpu: float
    memory: float | None = None
    # The share of the time in which the load, where there is one, was busy.
    load: float | None = None

    def of(self, measure: Measure) -> float | None:
        value: float | None = getattr(self, measure.value)
        return value


class WrongResult(Exception):
    """The loop did not do the work: its time must not be compared."""


@dataclass(frozen=True)
class Case(ABC):
    """A workload; `operations` is a multiple of `step`, the smallest amount that is a whole."""

    name: str
    title: str
    about: str
    group: Group
    operations: int
    step: int = 1
    measures: tuple[Measure, ...] = (Measure.CPU,)
    since: tuple[int, int] = (3, 11)
    module: str | None = None
    # Cases of many seconds run fewer rounds than the user asked for, and only when they are named.
    rounds: int | None = None
    slow: bool = False
    # A loop that has not answered after so many seconds hangs.
    patience: float = 120

    @abstractmethod
    def sample(self, loop: Contender, operations: int) -> Sample:
        """Run once, in this process, and check the result."""

    def obstacle(self) -> str | None:
        """Why the case cannot run on this interpreter, if it cannot."""
        if sys.version_info[:2] < self.since:
            return "needs Python {}.{}".format(*self.since)
        if self.module is not None and importlib.util.find_spec(self.module) is None:
            return f"needs {self.module}"
        return None

    def scaled(self, factor: float) -> int:
        return max(1, round(self.operations * factor / self.step)) * self.step

    def verified(self, result: int, operations: int, *, wall: float, cpu: float) -> Sample:
        if result != operations:
            raise WrongResult(f"{result} operations were seen, {operations} were asked for")
        return Sample(wall / operations, cpu / operations)


@dataclass(frozen=True)
class CoroutineCase(Case):
    """Runs inside a new loop; making and closing the loop is not timed."""

    body: Callable[[int], Coroutine[Any, Any, int]] = field(kw_only=True)
    idle_socket: bool = False

    def sample(self, loop: Contender, operations: int) -> Sample:
        async def timed() -> Sample:
            with _idle_socket() if self.idle_socket else _nothing():
                wall, cpu = time.perf_counter(), time.process_time()
                result = await self.body(operations)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            return self.verified(result, operations, wall=wall, cpu=cpu)

        with asyncio.Runner(loop_factory=loop.factory()) as runner:
            # The collector stays on, as in programs; a sample starts with no young generation.
            gc.collect()
            return runner.run(timed())


@dataclass(frozen=True)
class FactoryCase(Case):
    """Makes its own loops."""

    body: Callable[[int, LoopFactory], int] = field(kw_only=True)

    def sample(self, loop: Contender, operations: int) -> Sample:
        factory = loop.factory()
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        result = self.body(operations, factory)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return self.verified(result, operations, wall=wall, cpu=cpu)


@dataclass(frozen=True)
class ProcessCase(Case):
    """Starts processes of its own and measures them itself."""

    body: Callable[[int, Contender], Sample] = field(kw_only=True)

    def sample(self, loop: Contender, operations: int) -> Sample:
        return self.body(operations, loop)


CASES: dict[str, Case] = {}


def coroutine_case(
    title: str, *, with_idle_socket: bool = False, group: Group = SCHEDULING, **options: Any
) -> Callable[[Callable[[int], Coroutine[Any, Any, int]]], None]:
    """Register a coroutine function as a case; its docstring says what it measures.

    With `with_idle_socket`, register a twin that has a silent socket registered with the loop:
    a loop may skip the poll call when it watches nothing, and most programs watch something.
    """

    def register(body: Callable[[int], Coroutine[Any, Any, int]]) -> None:
        case = CoroutineCase(**head(body, title), group=group, body=body, **options)
        CASES[case.name] = case
        if with_idle_socket:
            twin = replace(
                case, name=f"{case.name}_socket", title=f"{title}, socket open", idle_socket=True
            )
            CASES[twin.name] = twin

    return register


def factory_case(
    title: str, *, group: Group = SCHEDULING, **options: Any
) -> Callable[[Callable[[int, LoopFactory], int]], None]:
    """Register a function that is given the loop's factory."""

    def register(body: Callable[[int, LoopFactory], int]) -> None:
        case = FactoryCase(**head(body, title), group=group, body=body, **options)
        CASES[case.name] = case

    return register


def process_case(
    title: str, *, group: Group = SCHEDULING, **options: Any
) -> Callable[[Callable[[int, Contender], Sample]], Callable[[int, Contender], Sample]]:
    """Register a function that starts processes and returns what they used."""

    def register(body: Callable[[int, Contender], Sample]) -> Callable[[int, Contender], Sample]:
        case = ProcessCase(**head(body, title), group=group, body=body, **options)
        CASES[case.name] = case
        return body

    return register


def head(body: Callable[..., Any], title: str) -> dict[str, Any]:
    about = " ".join((body.__doc__ or "").split())
    assert about, f"{body.__name__} must say what it measures"
    assert body.__name__ not in CASES, f"two cases are called {body.__name__}"
    return {"name": body.__name__, "title": title, "about": about}


@contextmanager
def _idle_socket() -> Iterator[None]:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        # By number: rloop 0.5 takes no socket objects here.
        loop.add_reader(ours.fileno(), functools.partial(print, "the idle socket woke up"))
        try:
            yield
        finally:
            loop.remove_reader(ours.fileno())


@contextmanager
def _nothing() -> Iterator[None]:
    yield
