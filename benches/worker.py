"""A process that samples cases on one loop, and the parent's end of its pipes.

One process for each loop, because some loops patch asyncio when they are imported. It lives for the
whole run and samples one case when told to, so that rounds are interleaved across processes, one at
a time. Each way goes one JSON object a line; the worker ends when its input does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import asdict
from types import ModuleType, TracebackType
from typing import IO, Any, NamedTuple, Self

import benches.cases  # noqa: F401  (fills CASES)
from benches.case import CASES, Case, Sample, WrongResult
from benches.loops import CONTENDERS, Contender

SECONDS_TO_START = 60


class Failure(Exception):
    """The loop cannot do the case: a wrong result, an exception, a crash or a hang."""


class Greeting(NamedTuple):
    """What a worker tells about its loop as it starts."""

    version: str
    # Names below asyncio that are other objects since the loop was imported and made.
    replaced: list[str]


class Worker:
    """The parent's end. A worker that failed is ended, and started anew for its next case."""

    def __init__(self, loop: Contender) -> None:
        self.loop = loop
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        self._complaints.close()

    def start(self) -> Greeting:
        """Start the process and import the loop in it; raises Failure."""
        self._complaints.truncate(0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benches.worker", self.loop.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            bufsize=0,
        )
        return Greeting(**self._answer(SECONDS_TO_START))

    def sample(self, case: Case, operations: int) -> Sample:
        """Have the case run once; raises Failure."""
        if self._process is None:
            self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        command = json.dumps({"case": case.name, "operations": operations})
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            pass  # It died between two cases; the answer is the end of its output.
        return Sample(**self._answer(case.patience))

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout
        if not select.select([output], [], [], seconds)[0]:
            self._end()
            raise Failure(f"no answer within {seconds:g} s")
        line = output.readline()
        if not line:
            end = _end_of(self._process.wait())
            self._end()
            raise Failure(f"the process ended with {end}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "failure" in answer:
            # What it left behind in its process must not meet the next case.
            self._end()
            raise Failure(answer["failure"])
        return answer

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.communicate()

    def _last_words(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "without a word")


def _end_of(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def serve(loop: Contender) -> None:
    """The worker's end: sample what is asked for until the input ends."""
    commands, answers = _pipes_of_our_own()
    with commands, answers:
        _say(answers, _greeting(loop)._asdict())
        for line in commands:
            command = json.loads(line)
            _say(answers, _attempt(CASES[command["case"]], loop, command["operations"]))


def _attempt(case: Case, loop: Contender, operations: int) -> dict[str, Any]:
    try:
        return asdict(case.sample(loop, operations))
    except WrongResult as wrong:
        return {"failure": f"wrong result: {wrong}"}
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


def _pipes_of_our_own() -> tuple[IO[str], IO[str]]:
    """Move the pipes away from descriptors 0 and 1: cases print, and the processes that they start
    inherit those two."""
    commands, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return commands, answers


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(CONTENDERS[sys.argv[1]])
