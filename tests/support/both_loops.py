"""The same test on two loops: what differs between them is in this file only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS_ON = os.environ.get("SABURO_TESTS_ON", "both")
"""`asyncio` proves the tests themselves where saburo is not built yet; nothing else skips it.
`saburo` leaves asyncio's part out, on a debug build of a CPython: asyncio is the same as ever."""

PATIENCE = 30.0
"""Seconds after which something that should happen is taken not to. Never a measure of speed."""


@dataclass(frozen=True)
class Kind:
    """One of the loops under test."""

    name: str
    factory: str
    """The expression that makes a loop; the modules that it names are imported first."""

    @property
    def is_saburo(self) -> bool:
        return self.name != "asyncio"

    @property
    def has_native_tasks(self) -> bool:
        return self.name == "saburo"

    def new_loop(self) -> asyncio.AbstractEventLoop:
        if self.is_saburo:
            import saburo

            names = {"saburo": saburo}
        else:
            names = {"asyncio": asyncio}
        loop: asyncio.AbstractEventLoop = eval(self.factory, names)
        return loop

    @property
    def streams(self) -> Any:
        """The module that has StreamReader, open_connection and the like."""
        if self.is_saburo:
            import saburo

            return saburo
        return asyncio

    def script(self, source: str) -> str:
        """`source` as a program in which `new_loop()` makes a loop of this kind."""
        module = "saburo" if self.is_saburo else "asyncio"
        head = f"import asyncio, {module}\ndef new_loop():\n    return {self.factory}\n"
        return head + textwrap.dedent(source)

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs an unchanged asyncio program on this loop."""
        runner = ["-m", "saburo", "run"] if self.is_saburo else []
        return [sys.executable, *runner, *arguments]

    def run_script(self, source: str, *flags: str, **options: Any) -> Finished:
        return finished([sys.executable, "-W", "error", *flags, "-c", self.script(source)], options)

    def run_program(self, *arguments: str, **options: Any) -> Finished:
        return finished(self.command(*arguments), options)

    def start_script(self, source: str, *flags: str) -> subprocess.Popen[str]:
        """A script that talks to the test through its pipes, unbuffered."""
        return subprocess.Popen(
            [sys.executable, "-u", "-W", "error", *flags, "-c", self.script(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


Finished = subprocess.CompletedProcess[str]
StartScript = Callable[..., subprocess.Popen[str]]


def _wraps_stop_iteration() -> bool:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    try:
        future.set_exception(StopIteration())
    except TypeError:
        return False
    else:
        return isinstance(future.exception(), RuntimeError)
    finally:
        loop.close()


WRAPS_STOP_ITERATION = _wraps_stop_iteration()
"""`set_exception(StopIteration())` sets a RuntimeError, here as in saburo. Early releases of 3.11
and 3.12 raise a TypeError instead, and a task that awaits the future waits for ever."""

KINDS = [
    Kind("asyncio", "asyncio.new_event_loop()"),
    Kind("saburo", "saburo.new_event_loop()"),
    Kind("saburo-stdlib-tasks", 'saburo.Loop(tasks="stdlib")'),
]


def finished(command: list[str], options: dict[str, Any]) -> Finished:
    options = {"capture_output": True, "text": True, "timeout": PATIENCE * 2, **options}
    return subprocess.run(command, check=False, **options)


def children() -> set[int]:
    """The child processes that were not reaped yet: those that run, and zombies."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        # The thread may have ended.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            listed = Path(f"/proc/self/task/{thread}/children").read_text()
            found.update(map(int, listed.split()))
    return found


def streams_of(loop: asyncio.AbstractEventLoop) -> Any:
    """The module whose streams go with a loop."""
    if type(loop).__module__ == "saburo":
        import saburo

        return saburo
    return asyncio


def turn(loop: asyncio.AbstractEventLoop, count: int = 1) -> None:
    """Runs the loop for `count` turns: each a poll without waiting and one batch of callbacks."""
    for _ in range(count):
        loop.stop()
        loop.run_forever()


def run_until(loop: asyncio.AbstractEventLoop, condition: Callable[[], bool]) -> None:
    """Runs the loop until `condition` holds; fails after PATIENCE."""
    deadline = loop.time() + PATIENCE

    def look() -> None:
        if condition() or loop.time() > deadline:
            loop.stop()
        else:
            loop.call_later(0.001, look)

    look()
    loop.run_forever()
    assert condition()


def outcome(call: Callable[[], Any]) -> tuple[str, str]:
    """The result or error of a call, as text that can be compared between two loops."""
    try:
        result = call()
    except BaseException as error:
        return type(error).__name__, comparable(str(error))
    return "returned", comparable(repr(result))


def comparable(text: str) -> str:
    """`text` without what differs from run to run or between the loops' source files."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x…", text)
    text = re.sub(r"\b(?:Base)?(?:Event)?Loop\.(?=\w+\(\) )", "Loop.", text)
    # In a loop written in Python the frame is the loop's, in a native one its caller's.
    text = re.sub(r"\b(at|created at) [^ >,\]]+:\d+", r"\1 …", text)
    text = re.sub(r"\bTask-\d+", "Task-…", text)
    return re.sub(r"\bfd=\d+", "fd=…", text)


def as_asyncio(text: str) -> str:
    """`text` with the names of saburo's modules replaced by those of asyncio's."""
    return text.replace("saburo._saburo.", "_asyncio.")
