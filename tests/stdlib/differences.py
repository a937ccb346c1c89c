"""The record of tests that may fail, and the verdict on a test in its light.

``expected_differences.toml`` holds entries of a kind, a reason and test names. A name is
``label.Class.method`` with shell wildcards, the label being a module, with ``@foreign`` behind it
for the round on CPython's loops. ``versions`` limits an entry to some versions of Python.
"""

from __future__ import annotations

import fnmatch
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

RECORD = Path(__file__).with_name("expected_differences.toml")

KINDS = frozenset({"white-box", "transports", "design", "environment"})


@dataclass(frozen=True)
class Difference:
    kind: str
    reason: str
    tests: tuple[str, ...]
    versions: frozenset[str]
    # The implementation it holds for: saburo, asyncio, or both.
    on: frozenset[str]

    def covers(self, test: str) -> bool:
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in self.tests)


def expected(
    on: str, version: tuple[int, int] = sys.version_info[:2], record: Path = RECORD
) -> list[Difference]:
    """The entries that hold for this implementation and version of Python."""
    entries = []
    for table in tomllib.loads(record.read_text("utf-8"))["difference"]:
        entry = Difference(
            kind=table["kind"],
            reason=table["reason"],
            tests=tuple(table["tests"]),
            versions=frozenset(table.get("versions", ())),
            on=frozenset(table.get("on", ("saburo",))),
        )
        if entry.kind not in KINDS:
            raise ValueError(f"{record.name}: {entry.kind!r} is not one of {sorted(KINDS)}")
        if on in entry.on and (not entry.versions or "{}.{}".format(*version) in entry.versions):
            entries.append(entry)
    return entries


def find(entries: list[Difference], test: str) -> Difference | None:
    """The first entry that names `test`."""
    return next((entry for entry in entries if entry.covers(test)), None)
