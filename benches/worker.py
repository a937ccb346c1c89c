"""A process that samples cases on one loop, and the parent's end of its pipes.

One process for each loop, because some loops patch asyncio when they are imported. It lives for the
whole run and samples one case when told to, so that rounds are interleaved across processes, one at
a time.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

import benches.cases  # noqa: F401  (fills CASES)
from benches.case import CASES, Case, Sample, WrongResult
from benches.child import Child, Failure, Lacking, answer, pipes_of_our_own
from benches.loops import CONTENDERS, Contender

SECONDS_TO_START = 60


class Greeting(NamedTuple):
    """What a worker tells about its loop as it starts."""

    version: str
    # Names below asyncio that are other objects since the loop was imported and made.
    replaced: list[str]


class Worker:
    """The parent's end. A worker that failed is ended, and started anew for its next case."""

    def __init__(self, loop: Contender) -> None:
        self.loop = loop
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def start(self) -> Greeting:
        """Start the process and import the loop in it; raises Failure."""
        # With a group of its own, so that a sample's servers and clients go when it does.
        command = [sys.executable, "-m", "benches.worker", self.loop.name]
        self._child = Child(command, leader=True)
        return Greeting(**self._answer(SECONDS_TO_START))

    def sample(self, case: Case, operations: int) -> Sample:
        """Have the case run once; raises Failure."""
        if self._child is None:
            self.start()
        assert self._child is not None
        self._child.say(json.dumps({"case": case.name, "operations": operations}))
        return Sample(**self._answer(case.patience))

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._child is not None
        try:
            return self._child.hear(seconds)
        except Failure:
            # The next case must not run in a process in which one has failed.
            self._end()
            raise

    def _end(self) -> None:
        if self._child is None:
            return
        child, self._child = self._child, None
        child.close()


def serve(loop: Contender) -> None:
    """The worker's end: sample what is asked for until the input ends."""
    commands, answers = pipes_of_our_own()
    with commands, answers:
        answer(answers, **_greeting(loop)._asdict())
        for line in commands:
            command = json.loads(line)
            answer(answers, **_attempt(CASES[command["case"]], loop, command["operations"]))


def _attempt(case: Case, loop: Contender, operations: int) -> dict[str, Any]:
    try:
        return asdict(case.sample(loop, operations))
    except WrongResult as wrong:
        return {"failure": f"wrong result: {wrong}"}
    except Lacking as lacking:
        return {"lacking": str(lacking)}
    except Failure as failure:
        return {"failure": str(failure)}
    except BaseException as error:  # some loops raise panics that are no Exception
        traceback.print_exc()
        return {"failure": f"{type(error).__name__}: {error}"}


def _greeting(loop: Contender) -> Greeting:
    import asyncio

    before = _contents(asyncio)
    loop.factory()().close()
    after = _contents(asyncio)
    replaced = sorted(name for name, value in before.items() if after.get(name) is not value)
    return Greeting(loop.version(), replaced)


def _contents(package: ModuleType) -> dict[str, object]:
    """Everything public in the package and its modules, by full name."""
    return {
        f"{name}.{attribute}": value
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == package.__name__
        for attribute, value in vars(module).items()
        if not attribute.startswith("_")
    }


if __name__ == "__main__":
    serve(CONTENDERS[sys.argv[1]])
