"""A program under test: its lines as they come, and an end to it whatever becomes of the test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.both_loops import PATIENCE, Kind

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

TROUBLE = re.compile(r"Traceback|Warning|Exception ignored|never retrieved|was destroyed")
"""What no program may print that is not expected to: a leak is told of like this, at the end."""


def loop_factory(kind: Kind) -> str:
    """How uvicorn's command line, and others like it, name this kind of loop."""
    return "saburo:new_event_loop" if kind.is_saburo else "asyncio:new_event_loop"


class Program:
    """A running process whose stdout and stderr are one stream of lines."""

    def __init__(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
            | dict(environment or {}),
            text=True,
        )
        self.output = ""
        """All that it has said so far."""

    def expect(self, pattern: str) -> re.Match[str]:
        """Reads on to the first line that has `pattern`; fails with the output if none has."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"ended with {self.process.wait()} and without {pattern!r}:\n{self.output}")

    def send(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self, number: signal.Signals | None = None) -> int:
        """Waits for its end, after a signal if one is given; returns the exit code."""
        if number is not None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.output += rest
        return self.process.returncode

    def check(self, *, but_for: str | None = None) -> None:
        """That it told of nothing left behind; lines that match `but_for` are not looked at."""
        lines = self.output.splitlines()
        kept = [line for line in lines if but_for is None or not re.fullmatch(but_for, line)]
        assert not TROUBLE.search("\n".join(kept)), self.output

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with self.process:  # closes its pipes and waits
            pass


def python(kind: Kind, *arguments: str | Path) -> list[str]:
    """The command line of an unchanged asyncio program, on this kind of loop."""
    return kind.command(*map(str, arguments))


def module(kind: Kind, *arguments: str | Path) -> list[str]:
    """The command line of a program that chooses the loop by itself."""
    del kind
    return [sys.executable, "-m", *map(str, arguments)]
