"""`python -m benches.count`: counts the workloads and compares them with the record or a commit.

Ends with 1 if one of them costs more or less than it did, by more than `benches.count.compare`
allows.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import benches.count.workloads  # noqa: F401  (fills WORKLOADS)
from benches.count import base, builds, record
from benches.count.compare import Row, compare
from benches.count.counts import Counts
from benches.count.measure import CannotCount, Subject, measure
from benches.count.record import Record
from benches.count.workload import WORKLOADS

FIRST_LAYOUT = 0
OTHER_LAYOUTS = (1, 3)


@dataclass
class Side:
    """One of two saburos: the least that was counted of it, in all layouts so far."""

    # None where the counts are those of the record.
    subject: Subject | None
    counts: dict[str, Counts] = field(default_factory=dict)

    def count(self, names: Sequence[str], *layouts: int) -> None:
        if self.subject is None:
            return
        for layout in layouts:
            for name, counts in measure(names, self.subject, layout).items():
                self.counts[name] = counts.least(self.counts.get(name, counts))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    names = [
        name
        for name, workload in WORKLOADS.items()
        if workload.lacks() is None
        and any(fnmatch.fnmatch(name, pattern) for pattern in options.only)
    ]
    if options.list:
        for name in names:
            print(f"{name}: {WORKLOADS[name].about}")
        return 0
    here = builds.observe()
    recorded = record.read() or Record(here, {})
    differences = recorded.differences(here)
    for difference in differences:
        print(f"count: {difference}")
    judged = [name for name in names if WORKLOADS[name].judged]
    before = Side(None, recorded.counts)
    try:
        now = Side(base.here())
        if options.record:
            now.count(names, FIRST_LAYOUT, *OTHER_LAYOUTS)
        else:
            if options.base or differences:
                commit, subject = base.build(options.base)
                print(f"count: compared with {commit}")
                before = Side(subject)
            now.count(names, FIRST_LAYOUT)
            before.count(names, FIRST_LAYOUT)
            for layout in OTHER_LAYOUTS:
                moved = [
                    row.name for row in compare(before.counts, now.counts, judged) if row.moved()
                ]
                if moved:
                    print(f"count: once more, with other addresses: {' '.join(moved)}")
                    now.count(moved, layout)
                    before.count(moved, layout)
    except CannotCount as reason:
        print(f"count: {reason}", file=sys.stderr)
        return 1
    rows = compare(before.counts, now.counts, judged)
    _show(rows)
    if options.record:
        # In the order of the register, and without what is gone.
        both = {**recorded.counts, **now.counts}
        record.write(Record(here, {name: both[name] for name in WORKLOADS if name in both}))
        print(f"count: recorded in {record.path()}")
        return 0
    # What a commit lacks is new; what the record lacks was forgotten.
    failed = [
        row.name for row in rows if row.moved() or (row.before is None and not before.subject)
    ]
    if failed:
        print(f"count: changed: {' '.join(failed)}")
        print("count: if that is meant, `make count COUNT=--record`, and say why in the commit")
    return bool(failed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.count", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=["*"], metavar="NAME", help="these workloads (patterns)"
    )
    parser.add_argument(
        "--base", metavar="COMMIT", help="build and count this commit instead of reading the record"
    )
    parser.add_argument(
        "--record", action="store_true", help="write what was counted into the record"
    )
    parser.add_argument("--list", action="store_true", help="name the workloads, and count nothing")
    return parser.parse_args(arguments)


def _show(rows: Sequence[Row]) -> None:
    _line("per operation", "instructions", "change", "system calls", "allocations", "")
    for row in rows:
        now, before = row.now, row.before
        if before is None:
            change, calls, allocations = "", f"{now.system_calls:.3f}", f"{now.allocations:.3f}"
        else:
            change = f"{100 * (now.instructions / before.instructions - 1):+.2f}%"
            calls = _movement(before.system_calls, now.system_calls)
            allocations = _movement(before.allocations, now.allocations)
        _line(row.name, f"{now.instructions:,.0f}", change, calls, allocations, row.verdict)


def _line(name: str, instructions: str, change: str, calls: str, memory: str, verdict: str) -> None:
    line = f"{name:30} {instructions:>12} {change:>8}  {calls:>16}  {memory:>18}  {verdict}"
    print(line.rstrip())


def _movement(before: float, now: float) -> str:
    return f"{now:.3f}" if abs(now - before) < 0.0015 else f"{before:.3f} -> {now:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
