"""A report for the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from benches import table
from benches.loops import YARDSTICK
from benches.report import Report

GREEN, RED, DIM, BOLD = "32", "31", "2", "1"


def show(report: Report) -> None:
    for line in lines(report, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ):
        print(line)


def lines(report: Report, *, colour: bool = False) -> Iterator[str]:
    def paint(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colour else text

    header = report.header()
    width = max(len(name) for name, _ in header)
    for name, text in header:
        yield f"{name:{width}}  {text}"
    for group, rows in report.groups().items():
        yield ""
        yield paint(group, BOLD)
        # Without the yardstick there are no ratios.
        layout = table.ratios if YARDSTICK in report.loops else table.figures
        for index, line in enumerate(_aligned(layout(rows, report.loops))):
            yield paint(line, _colour(line) if index else DIM)
    for (case, loop), reason in report.failures.items():
        yield paint(f"FAILED {case} on {loop}: {reason}", RED)
    for (case, loop), reason in report.lacks.items():
        yield paint(f"lacking for {case} on {loop}: {reason}", DIM)
    if report.means:
        yield ""
        for index, line in enumerate(_aligned(table.geometric_means(report.means, report.loops))):
            yield paint(line, _colour(line) if index else DIM)
    yield ""
    yield report.summary()


def _colour(line: str) -> str:
    """By the words of the verdict, which stand last."""
    if "missed" in line or "behind" in line or table.FAILED in line:
        return RED
    return GREEN if "met" in line.split() or "met:" in line.split() else "0"


def _aligned(contents: table.Table) -> Iterator[str]:
    """Names and words to the left, numbers to the right."""
    cells = [contents.heading, *contents.lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [heading in table.WORDS for heading in contents.heading]
    for line in cells:
        yield "  ".join(_pad(*cell) for cell in zip(line, widths, left, strict=True)).rstrip()


def _pad(text: str, width: int, left: bool) -> str:
    return text.ljust(width) if left else text.rjust(width)
