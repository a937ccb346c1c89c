"""The recorded counts: a file for each CPython, which names the builds they are true for."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benches.count.counts import Counts

FOLDER = Path(__file__).with_name("record")

HEAD = """\
# What an operation costs: instructions, system calls, allocations.
# Written by `make count COUNT=--record`; the commit that changes a figure says why.
"""


@dataclass(frozen=True)
class Record:
    # What was built and by what, by name: see `benches.count.builds`.
    builds: dict[str, str]
    counts: dict[str, Counts]

    def differences(self, builds: Mapping[str, str]) -> list[str]:
        """Where other builds are not those of the record."""
        return [
            f"{what} is {builds.get(what)}, in the record {recorded}"
            for what, recorded in self.builds.items()
            if builds.get(what) != recorded
        ]

    def dumps(self) -> str:
        """As TOML."""
        builds = [f"{what} = {json.dumps(text)}" for what, text in self.builds.items()]
        width = max((len(name) for name in self.counts), default=0)
        counts = [
            f"{name:{width}} = [{instructions:.1f}, {system_calls:.3f}, {allocations:.3f}]"
            for name, (instructions, system_calls, allocations) in self.counts.items()
        ]
        return "\n".join([HEAD, "[builds]", *builds, "", "[counts]", *counts, ""])


def loads(text: str) -> Record:
    tables = tomllib.loads(text)
    return Record(tables["builds"], {name: Counts(*row) for name, row in tables["counts"].items()})


def path() -> Path:
    """The file of this version of CPython."""
    return FOLDER / "cpython{}.{}.toml".format(*sys.version_info[:2])


def read() -> Record | None:
    try:
        return loads(path().read_text("utf-8"))
    except FileNotFoundError:
        return None


def write(record: Record) -> None:
    FOLDER.mkdir(exist_ok=True)
    path().write_text(record.dumps(), "utf-8")
