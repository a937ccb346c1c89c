"""What a workload is, and the register of all of them.

A workload does a stated number of operations on a new loop. It is counted twice, with few and with
many: what does not depend on the number, as making the loop, falls out of the difference.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from benches.case import CASES, CoroutineCase, FactoryCase, WrongResult
from benches.loops import LoopFactory

Body = Callable[[int], Coroutine[Any, Any, int]]


@dataclass(frozen=True)
class Workload:
    """Does few operations, or many. This class itself is one of the engine's, without Python."""

    name: str
    about: str
    few: int
    many: int
    # With threads the figures depend on who is faster: they are shown, and nothing is concluded.
    judged: bool = True
    since: tuple[int, int] = (3, 11)

    def lacks(self) -> str | None:
        """What this interpreter is too old for."""
        if sys.version_info[:2] < self.since:
            return "needs Python {}.{}".format(*self.since)
        return None


@dataclass(frozen=True)
class PythonWorkload(Workload):
    """`run` does so many operations and returns how many it saw finish."""

    run: Callable[[int, LoopFactory], int] = field(kw_only=True)

    def do(self, operations: int, factory: LoopFactory) -> None:
        """Run, and raise WrongResult if the work was not done."""
        seen = self.run(operations, factory)
        if seen != operations:
            raise WrongResult(f"{self.name}: {seen} operations were seen, not {operations}")


WORKLOADS: dict[str, Workload] = {}

# How the names of the engine's begin here; its program knows them without.
ENGINE = "engine_"


def register(new: Workload) -> None:
    assert new.about, f"{new.name} must say what it counts"
    assert new.name not in WORKLOADS, f"two workloads are called {new.name}"
    assert new.few < new.many, new.name
    WORKLOADS[new.name] = new


def workload(few: int, many: int, **options: Any) -> Callable[[Body], Body]:
    """Register a coroutine function; its docstring says what an operation is."""

    def decorate(body: Body) -> Body:
        about = " ".join((body.__doc__ or "").split())
        register(PythonWorkload(body.__name__, about, few, many, run=_in_a_loop(body), **options))
        return body

    return decorate


def from_case(name: str, few: int, many: int, **options: Any) -> None:
    """Register what `python -m benches` times under this name."""
    case = CASES[name]
    assert few % case.step == many % case.step == 0, f"{name} goes in steps of {case.step}"
    if isinstance(case, CoroutineCase):
        assert not case.idle_socket, f"{name} has its socket from the case"
        run = _in_a_loop(case.body)
    else:
        assert isinstance(case, FactoryCase), f"{name} needs processes of its own"
        run = case.body
    register(PythonWorkload(name, case.about, few, many, since=case.since, run=run, **options))


def _in_a_loop(body: Body) -> Callable[[int, LoopFactory], int]:
    def run(operations: int, factory: LoopFactory) -> int:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(body(operations))

    return run
