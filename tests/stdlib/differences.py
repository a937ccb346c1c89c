"""The record of tests that may fail or are not run: ``expected_differences.toml``, read.

Its first comment tells its form.
"""

from __future__ import annotations

import fnmatch
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("expected_differences.toml")

KINDS = frozenset({"white-box", "transports", "design", "no loop", "platform"})


@dataclass(frozen=True)
class Difference:
    kind: str
    reason: str
    tests: tuple[str, ...]
    # How long to wait for tests known to hang; None for the usual limit.
    seconds: float | None

    def covers(self, test: str) -> bool:
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in self.tests)


@dataclass(frozen=True)
class Record:
    """What the file says for one version of Python."""

    differences: tuple[Difference, ...]
    # Why, by name.
    modules_left_out: dict[str, str]
    classes_left_out: dict[str, str]

    def difference(self, test: str) -> Difference | None:
        """The entry that names `test`, if one does."""
        return next((entry for entry in self.differences if entry.covers(test)), None)


def of(on: str, version: tuple[int, int] = sys.version_info[:2], path: Path = PATH) -> Record:
    """The record for the implementation `on` and a version of Python.

    Nothing may differ where the standard library itself is under test.
    """
    tables = tomllib.loads(path.read_text("utf-8"))
    left_out = tables["left_out"]
    return Record(
        tuple(
            Difference(_kind(table), table["reason"], tuple(table["tests"]), table.get("seconds"))
            for table in tables["difference"]
            if on == "saburo" and _holds(table, version)
        ),
        {name: _why(table) for table in left_out for name in table.get("modules", ())},
        {name: _why(table) for table in left_out for name in table.get("classes", ())},
    )


def _holds(table: dict[str, Any], version: tuple[int, int]) -> bool:
    return "versions" not in table or "{}.{}".format(*version) in table["versions"]


def _kind(table: dict[str, Any]) -> str:
    kind: str = table["kind"]
    if kind not in KINDS:
        raise ValueError(f"{PATH.name}: {kind!r} is not one of {sorted(KINDS)}")
    return kind


def _why(table: dict[str, Any]) -> str:
    return f"{_kind(table)}: {table['reason']}"
