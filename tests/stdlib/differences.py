"""The record of tests that may fail or are not run: ``expected_differences.toml``, read.

Its first comment tells its form.
"""

from __future__ import annotations

import fnmatch
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("expected_differences.toml")

KINDS = frozenset({"white-box", "design", "no loop", "platform"})


@dataclass(frozen=True)
class Difference:
    kind: str
    reason: str
    tests: tuple[str, ...]

    def covers(self, test: str) -> bool:
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in self.tests)


@dataclass(frozen=True)
class Record:
    """What the file says for one version of Python."""

    differences: tuple[Difference, ...]
    # Why, by name.
    modules_left_out: dict[str, str]
    classes_left_out: dict[str, str]
    tests_left_out: dict[str, str]

    def difference(self, test: str) -> Difference | None:
        """The entry that names `test`, if one does."""
        return next((entry for entry in self.differences if entry.covers(test)), None)

    def patterns(self) -> Iterator[str]:
        """What stands for tests, in all entries."""
        for entry in self.differences:
            yield from entry.tests


def of(on: str, version: tuple[int, int] = sys.version_info[:2], path: Path = PATH) -> Record:
    """The record for the implementation `on` and a version of Python.

    Nothing may differ where the standard library itself is under test.
    """
    tables = tomllib.loads(path.read_text("utf-8"))
    left_out = [table for table in tables["left_out"] if _holds(table, version)]
    return Record(
        tuple(
            Difference(_kind(table), table["reason"], tuple(table["tests"]))
            for table in tables["difference"]
            if on == "saburo" and _holds(table, version)
        ),
        {name: _why(table) for table in left_out for name in table.get("modules", ())},
        {name: _why(table) for table in left_out for name in table.get("classes", ())},
        {name: _why(table) for table in left_out for name in table.get("tests", ())},
    )


def label_of(pattern: str) -> str:
    """The job a pattern, or a test's name, belongs to: it has to name one."""
    label = pattern.partition(".")[0]
    if "*" in label:
        raise ValueError(f"{PATH.name}: {pattern!r} does not name its module")
    return label


def _holds(table: dict[str, Any], version: tuple[int, int]) -> bool:
    since, until = _version(table.get("since", "3.0")), _version(table.get("until", "3.99"))
    return since <= version <= until


def _version(text: str) -> tuple[int, int]:
    major, minor = map(int, text.split("."))
    return major, minor


def _kind(table: dict[str, Any]) -> str:
    kind: str = table["kind"]
    if kind not in KINDS:
        raise ValueError(f"{PATH.name}: {kind!r} is not one of {sorted(KINDS)}")
    return kind


def _why(table: dict[str, Any]) -> str:
    return f"{_kind(table)}: {table['reason']}"
