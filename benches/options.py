"""The command line of `python -m benches`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from benches.case import CASES, Case, Group
from benches.loops import CONTENDERS, Contender


@dataclass(frozen=True)
class Options:
    cases: list[Case]
    # Why further cases are left out, by name.
    left_out: dict[str, str]
    loops: list[Contender]
    # The loops were named, so that one that is missing is an error.
    loops_named: bool
    rounds: int
    scale: float
    only_list: bool
    json: Path | None
    record: bool
    # Only these groups of cases; empty for all.
    groups: list[Group]


def parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m benches",
        description="Compare event loops on the same unchanged asyncio code.",
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="samples of each case on each loop (5)")
    add("--scale", type=float, default=1.0, metavar="F", help="times the work of a sample (1)")
    add("--only", nargs="+", metavar="NAME", help="these cases; a NAME may be a pattern: 'wait*'")
    add(
        "--groups",
        nargs="+",
        default=[],
        metavar="GROUP",
        choices=list(dict.fromkeys(case.group for case in CASES.values())),
        help="these groups of cases: %(choices)s",
    )
    add(
        "--loops",
        nargs="+",
        metavar="LOOP",
        choices=list(CONTENDERS),
        help="default: all there are",
    )
    add("--slow", action="store_true", help="also the cases that take minutes and gigabytes")
    add("--list", action="store_true", help="list the cases and their goals, measure nothing")
    add("--json", type=Path, metavar="PATH", help="write everything, each sample too, to PATH")
    add(
        "--record",
        action="store_true",
        help="write benches/record/DATE-PYTHON[-GROUPS].{json,md,svg}",
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be above 0")
    if options.record and options.only:
        parser.error("a record is of whole groups: --record and --only exclude each other")
    names = [
        name
        for name in _chosen(options.only, parser)
        if not options.groups or CASES[name].group in options.groups
    ]
    left_out = {name: why for name in names if (why := CASES[name].obstacle()) is not None}
    if not options.only and not options.slow and not options.list:
        left_out |= {name: "only with --slow" for name in names if CASES[name].slow}
    return Options(
        cases=[CASES[name] for name in names if name not in left_out],
        left_out=left_out,
        loops=[CONTENDERS[name] for name in dict.fromkeys(options.loops or CONTENDERS)],
        loops_named=options.loops is not None,
        rounds=options.rounds,
        scale=options.scale,
        only_list=options.list,
        json=options.json,
        record=options.record,
        groups=options.groups,
    )


def _chosen(patterns: Sequence[str] | None, parser: argparse.ArgumentParser) -> list[str]:
    if patterns is None:
        return list(CASES)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in CASES):
            parser.error(f"no case is called {pattern!r}; see --list")
    return [name for name in CASES if any(fnmatchcase(name, pattern) for pattern in patterns)]
