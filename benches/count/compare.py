"""Whether counts are what they were.

Instructions may move by 2 % either way: the layout of memory and of the code moves them by less.
System calls and allocations repeat exactly, but for what happens every so many turns. A count that
became better must be recorded as well: else the next one could become worse by as much.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from benches.count.counts import Counts

INSTRUCTIONS = 0.02  # of what it was
CALLS = 0.05  # system calls or allocations, in an operation
CALLS_OF_MANY = 0.001  # of what it was, where an operation has hundreds


class Verdict(StrEnum):
    SAME = ""
    MORE = "MORE"
    LESS = "LESS"
    NEW = "new"
    SHOWN = "threads: not judged"


@dataclass(frozen=True)
class Row:
    """One workload, before and now."""

    name: str
    before: Counts | None
    now: Counts
    verdict: Verdict

    def moved(self) -> bool:
        return self.verdict in (Verdict.MORE, Verdict.LESS)


def compare(
    before: Mapping[str, Counts], now: Mapping[str, Counts], judged: Collection[str]
) -> list[Row]:
    """Judge what was counted now; workloads that are not judged are only set side by side."""
    rows = []
    for name, counts in now.items():
        was = before.get(name)
        if name not in judged:
            verdict = Verdict.SHOWN
        elif was is None:
            verdict = Verdict.NEW
        else:
            verdict = judge(was, counts)
        rows.append(Row(name, was, counts, verdict))
    return rows


def judge(before: Counts, now: Counts) -> Verdict:
    """More if any of the counts is more, even if others are less."""
    changes = [
        _beyond(before.instructions, now.instructions, INSTRUCTIONS * before.instructions),
        *(
            _beyond(was, is_, max(CALLS, CALLS_OF_MANY * was))
            for was, is_ in zip(before[1:], now[1:], strict=True)
        ),
    ]
    if max(changes) > 0:
        return Verdict.MORE
    return Verdict.LESS if min(changes) < 0 else Verdict.SAME


def _beyond(before: float, now: float, margin: float) -> int:
    if abs(now - before) <= margin:
        return 0
    return 1 if now > before else -1
