"""The tables of a report, as cells of text: the terminal and the page lay them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benches import units
from benches.loops import SUBJECT, YARDSTICK
from benches.rows import Mean, Row

FAILED = "failed"
LACKS = "lacks"

MEAN = "geometric mean"
FIGURE = "per operation"
WORDS = ("", MEAN, FIGURE, "best rival", "goal", "verdict")
"""Headings of columns that are set to the left; the others hold numbers."""


class Table(NamedTuple):
    heading: list[str]
    lines: list[list[str]]


def ratios(rows: Iterable[Row], loops: Sequence[str]) -> Table:
    """The yardstick's figure, how many times as good the others are, and the verdict."""
    others = _others(loops)
    heading = ["", YARDSTICK, *others, "spread", "best rival", "goal", "verdict"]
    return Table(heading, [_ratio_line(row, others) for row in rows])


def figures(rows: Iterable[Row], loops: Sequence[str]) -> Table:
    """What one operation took on every loop."""
    lines = [
        [row.title]
        + [absence(row, loop) or units.quantity(row.value(loop), row.measure) for loop in loops]
        for row in rows
    ]
    return Table([FIGURE, *loops], lines)


def geometric_means(means: Iterable[Mean], loops: Sequence[str]) -> Table:
    others = _others(loops)
    heading = [MEAN, "cases", *others, "goal", "verdict"]
    return Table(heading, [_mean_line(mean, others) for mean in means])


def absence(row: Row, loop: str) -> str:
    """Why the loop has no figure, in a word."""
    if loop in row.failed:
        return FAILED
    return LACKS if loop in row.lacking else ""


def _others(loops: Sequence[str]) -> list[str]:
    """The subject last, beside its spread and verdict."""
    others = [loop for loop in loops if loop not in (YARDSTICK, SUBJECT)]
    return [*others, SUBJECT] if SUBJECT in loops else others


def _ratio_line(row: Row, others: Iterable[str]) -> list[str]:
    def cell(loop: str) -> str:
        return absence(row, loop) or units.ratio(row.ratio(loop))

    figure = units.quantity(row.value(YARDSTICK), row.measure)
    base = absence(row, YARDSTICK) or figure
    goal = "" if row.goal is None else str(row.goal)
    return [row.title, base, *map(cell, others), _spread(row), _rival(row), goal, _verdict(row)]


def _spread(row: Row) -> str:
    spread = row.spread(SUBJECT)
    return units.MISSING if spread is None else "{}–{}".format(*map(units.ratio, spread))


def _rival(row: Row) -> str:
    if row.best_rival is None:
        return units.MISSING
    return f"{units.ratio(row.ratio(row.best_rival))} {row.best_rival}"


def _verdict(row: Row) -> str:
    reached = f": {row.reached}" if row.reached else ""
    remarks = [", behind"] * row.behind + [", the load's limit"] * row.load_is_limit
    return row.verdict + reached + "".join(remarks)


def _mean_line(mean: Mean, others: Iterable[str]) -> list[str]:
    def cell(loop: str) -> str:
        text = units.ratio(mean.ratio(loop))
        return text if mean.over(loop) == len(mean.rows) else f"{text} ({mean.over(loop)})"

    cases = f"{len(mean.rows)} of {mean.cases}"
    goal = "" if mean.goal is None else f"{mean.goal:g}"
    return [mean.group, cases, *map(cell, others), goal, mean.verdict]
