"""A process that answers with one JSON object a line: the parent's end, and the child's.

Everything that is measured, or loads what is measured, is such a process. A child ends when its
input does, or is killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Self


class Failure(Exception):
    """The loop cannot do the case: a wrong result, an exception, a crash or a hang."""


class Lacking(Failure):
    """The loop raises an error that says that it lacks what the case measures."""


class Child:
    """The parent's end. A context manager that ends the process."""

    def __init__(self, command: Sequence[str], *, leader: bool = False) -> None:
        """A child that leads a process group is ended together with its own children."""
        self._leader = leader
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                bufsize=0,
                start_new_session=leader,
            )
        except BaseException:
            self._complaints.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, however busy it is. May be called again."""
        if self._complaints.closed:
            return
        if self._leader:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # It has ended, and so have its children.
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            pass  # It has ended; the answer is the end of its output.

    def hear(self, seconds: float) -> dict[str, Any]:
        """The next answer; raises Failure if there is none, or if the answer is a failure."""
        assert self._process.stdout is not None
        output = self._process.stdout
        if not select.select([output], [], [], seconds)[0]:
            raise Failure(f"no answer within {seconds:g} s")
        line = output.readline()
        if not line:
            end = _end_of(self._process.wait())
            raise Failure(f"the process ended with {end}: {self.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "lacking" in answer:
            raise Lacking(answer["lacking"])
        if "failure" in answer:
            raise Failure(answer["failure"])
        return answer

    def answers_within(self, seconds: float) -> bool:
        """Whether there is another answer, or it has ended."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def last_words(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "without a word")


def _end_of(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def pipes_of_our_own() -> tuple[IO[str], IO[str]]:
    """The child's end: its input and its output. They are not descriptors 0 and 1, because cases
    print, and the processes that they start inherit those two."""
    commands, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return commands, answers


def answer(answers: IO[str], **what: Any) -> None:
    """The child's end: sends one answer."""
    print(json.dumps(what), file=answers, flush=True)
