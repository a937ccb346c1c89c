"""Counts workloads on the saburo that this interpreter imports, or on one of another folder.

The process is started so that nothing in it depends on the day: below callgrind, without address
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

from benches.count.counts import Counts
from benches.count.workload import WORKLOADS

SHIMS = Path(__file__).with_name("shims")
ROOT = Path(__file__).parents[2]

Totals = Mapping[str, Sequence[int]]


class CannotCount(Exception):
    """Something that counting needs is not there, or a workload failed."""


def measure(
    names: Sequence[str], package: Path | None = None, layout: int = 0
) -> dict[str, Counts]:
    """Count these workloads; `package` is where saburo is imported from, if not the environment's.

    In another layout objects have other addresses, and other names collide in the interpreter's
    cache of methods.
    """
    for tool in ("valgrind", "setarch", "cc"):
        if shutil.which(tool) is None:
            raise CannotCount(
                f"{tool} is not installed (Debian: apt-get install valgrind gcc util-linux)"
            )
    # Always the same: even the text of a path moves what is allocated after it.
    place = Path(sys.prefix, "count")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        steady = _compiled(place)
        requests = _run(names, package, layout, place, steady)
        instructions = _dumps(place)
    finally:
        shutil.rmtree(place)
    totals = {what: (*instructions[what], requests[what]) for what in requests}
    return {name: per_operation(name, totals) for name in names}


def per_operation(name: str, totals: Totals) -> Counts:
    """What an operation took, from what few and many did."""
    workload = WORKLOADS[name]
    few, many = totals[f"{name} few"], totals[f"{name} many"]
    operations = workload.many - workload.few
    return Counts(*((more - less) / operations for less, more in zip(few, many, strict=True)))


def _compiled(place: Path) -> Path:
    library = place / "steady.so"
    sources = [str(path) for path in sorted(SHIMS.glob("*.c"))]
    if (
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), *sources, "-ldl"]
        ).returncode
        != 0
    ):
        raise CannotCount("the shims do not compile: are valgrind's headers there?")
    return library


def _run(
    names: Sequence[str], package: Path | None, layout: int, place: Path, steady: Path
) -> dict[str, int]:
    """Run the workloads below callgrind, which leaves a file for each; returns the allocations."""
    environment = {
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join(str(path) for path in (package, ROOT) if path is not None),
        "LD_PRELOAD": str(steady),
        "COUNT_STEADY": str(steady),
        "COUNT_LAYOUT": str(layout),
    }
    command = [
        "setarch", "-R",
        "valgrind", "--quiet", "--tool=callgrind",
        "--instr-atstart=no", "--collect-systime=yes", "--dump-line=no",
        f"--callgrind-out-file={place / 'counts'}",
        sys.executable, "-m", "benches.count.inside",
    ]  # fmt: skip
    # Elsewhere, because the working folder would be first on the path of `python -m`.
    done = subprocess.run(
        command, env=environment, cwd="/", input=" ".join(names), stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise CannotCount(f"the workloads ended with exit code {done.returncode}")
    lines = (line.rpartition(" ") for line in done.stdout.splitlines())
    return {what: int(requests) for what, _, requests in lines}


def _dumps(place: Path) -> dict[str, tuple[int, int]]:
    return dict(
        total
        for path in place.glob("counts.*")
        if (total := read_dump(path.read_text())) is not None
    )


def read_dump(text: str) -> tuple[str, tuple[int, int]] | None:
    """What was counted, its instructions and its system calls, from a file of callgrind's.

    >>> read_dump("desc: Trigger: Client Request: x few\\ntotals: 70 3 1")
    ('x few', (70, 3))
    >>> read_dump("desc: Trigger: Program termination\\ntotals: 70 3 1")
    """
    what, totals = "", [0]
    for line in text.splitlines():
        if line.startswith("desc: Trigger: Client Request: "):
            what = line.partition("Client Request: ")[2]
        elif line.startswith("totals: "):
            totals = [int(number) for number in line.split()[1:]]
    # Trailing zeros are left out.
    instructions, system_calls, *_ = *totals, 0
    return (what, (instructions, system_calls)) if what else None
