"""Counts workloads on the saburo that this interpreter imports, or on one of another folder.

A process is started so that nothing in it depends on the day: below callgrind, without address
randomisation, with strings that hash alike, an environment of our own, and a clock and a memory of
our own (`shims/`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benches.count.counts import Counts
from benches.count.workload import ENGINE, WORKLOADS, PythonWorkload

SHIMS = Path(__file__).with_name("shims")
ROOT = Path(__file__).parents[2]

Totals = Mapping[str, Sequence[int]]


class CannotCount(Exception):
    """Something that counting needs is not there, or a workload failed."""


class Subject(NamedTuple):
    """A saburo that is counted."""

    # Where it is imported from, if not from where the environment has it.
    package: Path | None
    # The program that drives the engine without Python; older commits have none.
    engine: Path | None


def measure(names: Sequence[str], subject: Subject, layout: int = 0) -> dict[str, Counts]:
    """Count these workloads.

    In another layout objects have other addresses, and other names collide in the interpreter's
    cache of methods.
    """
    for tool in ("valgrind", "setarch", "cc"):
        if shutil.which(tool) is None:
            raise CannotCount(
                f"{tool} is not installed (Debian: apt-get install valgrind gcc util-linux)"
            )
    ours = [name for name in names if isinstance(WORKLOADS[name], PythonWorkload)]
    engines = [name for name in names if name not in ours]
    # Always the same: even the text of a path moves what is allocated after it.
    place = Path(sys.prefix, "count")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        run = Run(place, _compiled(place), subject, layout)
        totals = run.python(ours) if ours else {}
        if subject.engine is not None:
            totals |= run.engine(subject.engine, engines)
    finally:
        shutil.rmtree(place)
    return {name: per_operation(name, totals) for name in names if f"{name} many" in totals}


def per_operation(name: str, totals: Totals) -> Counts:
    """What an operation took, from what few and many did."""
    workload = WORKLOADS[name]
    few, many = totals[f"{name} few"], totals[f"{name} many"]
    operations = workload.many - workload.few
    return Counts(*((more - less) / operations for less, more in zip(few, many, strict=True)))


class Run(NamedTuple):
    """How a process is started whose operations are counted."""

    place: Path
    shims: Path
    subject: Subject
    layout: int

    def python(self, names: Sequence[str]) -> dict[str, Sequence[int]]:
        """One process for all: callgrind leaves a file for each, and a line has the allocations."""
        command = [sys.executable, "-m", "benches.count.inside"]
        output = self._start(command, "--instr-atstart=no", input=" ".join(names))
        files = (read_dump(path.read_text()) for path in self.place.glob("counts.*"))
        instructions = dict(total for total in files if total is not None)
        lines = (line.rpartition(" ") for line in output.splitlines())
        return {what: (*instructions[what], int(requests)) for what, _, requests in lines}

    def engine(self, program: Path, names: Sequence[str]) -> dict[str, Sequence[int]]:
        """A process for each number of operations: it has nothing to import."""
        totals: dict[str, Sequence[int]] = {}
        for workload in (WORKLOADS[name] for name in names):
            for what, operations in (("few", workload.few), ("many", workload.many)):
                command = [str(program), workload.name.removeprefix(ENGINE), str(operations)]
                requests = int(self._start(command, COUNT_REPORT="yes"))
                dump = (self.place / "counts").read_text()
                totals[f"{workload.name} {what}"] = (*read_totals(dump), requests)
        return totals

    def _start(self, command: Sequence[str], *options: str, input: str = "", **more: str) -> str:
        paths = [path for path in (self.subject.package, ROOT) if path is not None]
        environment = {
            "PATH": os.defpath,
            "LC_ALL": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "LD_PRELOAD": str(self.shims),
            "COUNT_SHIMS": str(self.shims),
            "COUNT_LAYOUT": str(self.layout),
            **more,
        }
        callgrind = [
            "setarch", "-R", "valgrind", "--quiet", "--tool=callgrind",
            "--collect-systime=yes", "--dump-line=no",
            f"--callgrind-out-file={self.place / 'counts'}",
        ]  # fmt: skip
        # Elsewhere, because the working folder would be first on the path of `python -m`.
        done = subprocess.run(
            [*callgrind, *options, *command],
            env=environment, cwd="/", input=input, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
            raise CannotCount(f"{command[0]} ended with exit code {done.returncode}")
        return done.stdout


def _compiled(place: Path) -> Path:
    library = place / "shims.so"
    sources = [str(path) for path in sorted(SHIMS.glob("*.c"))]
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), *sources, "-ldl"]
    if subprocess.run(command).returncode != 0:
        raise CannotCount("the shims do not compile: are valgrind's headers there?")
    return library


def read_dump(text: str) -> tuple[str, tuple[int, int]] | None:
    """What was counted, its instructions and its system calls, from a file of callgrind's.

    >>> read_dump("desc: Trigger: Client Request: x few\\ntotals: 70 3 1")
    ('x few', (70, 3))
    >>> read_dump("desc: Trigger: Program termination\\ntotals: 70 3 1")
    """
    what = text.partition("desc: Trigger: Client Request: ")[2].partition("\n")[0]
    return (what, read_totals(text)) if what else None


def read_totals(text: str) -> tuple[int, int]:
    """Instructions and system calls; callgrind leaves out zeros at the end.

    >>> read_totals("totals: 70")
    (70, 0)
    """
    totals = text.partition("\ntotals: ")[2] or text.partition("totals: ")[2]
    instructions, system_calls, *_ = *(int(number) for number in totals.split()), 0
    return instructions, system_calls
