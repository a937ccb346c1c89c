"""From samples to rows: one measure of one case on every loop, and its verdict.

Every ratio is "times as good as": above 1 is better, for time and memory alike.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benches import units
from benches.case import CASES, Case, Group, Measure, Sample
from benches.goals import BEST_RIVAL, Goal, Goals
from benches.loops import SUBJECT, YARDSTICK

# A shared machine only adds to processor time: the least sample is the nearest to the loop's own.
# Switches between threads vary in both directions, and so does memory.
STATISTICS: dict[Measure, tuple[str, Callable[[Iterable[float]], float]]] = {
    Measure.CPU: ("best", min),
    Measure.WALL: ("median", statistics.median),
    Measure.MEMORY: ("median", statistics.median),
}

# A load that is busy for a greater share of the time cannot be told from one that is the limit.
BUSY = 0.9


class Verdict(StrEnum):
    """How a row stands to its goal."""

    MET = "met"
    MISSED = "missed"
    NO_GOAL = "no goal"
    # The subject, or the loop its goal speaks of, has no figure.
    UNKNOWN = "unknown"


@dataclass
class Cell:
    """One case on one loop: a sample for each round, or why there is none."""

    samples: list[Sample] = field(default_factory=list)
    failure: str | None = None
    # What the loop says that it does not have. It is no failure to have less than asyncio.
    lacking: str | None = None

    @property
    def empty(self) -> bool:
        return self.failure is not None or self.lacking is not None

    @property
    def load(self) -> float | None:
        """Of the rounds' median."""
        shares = [sample.load for sample in self.samples if sample.load is not None]
        return statistics.median(shares) if shares else None

    def figures(self, measure: Measure) -> list[float]:
        """Empty if it failed in any round: such a loop has no figure at all."""
        if self.empty:
            return []
        return [value for sample in self.samples if (value := sample.of(measure)) is not None]


Cells = Mapping[tuple[str, str], Cell]
"""By case and loop."""


@dataclass(frozen=True)
class Row:
    case: Case
    measure: Measure
    goal: Goal | None
    # A figure for each round, of the loops that have them.
    figures: dict[str, list[float]]
    failed: frozenset[str]
    lacking: frozenset[str] = frozenset()
    # The share of the time in which the load was busy, of the loops that had one.
    load: dict[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The case's, with the measure where the case has several."""
        if len(self.case.measures) == 1:
            return self.case.title
        return f"{self.case.title}: {self.measure}"

    def value(self, loop: str) -> float | None:
        """What an operation takes on the loop."""
        if not self.figures.get(loop):
            return None
        return STATISTICS[self.measure][1](self.figures[loop])

    def ratio(self, loop: str, of: str = YARDSTICK) -> float | None:
        ours, theirs = self.value(loop), self.value(of)
        return theirs / ours if ours and theirs is not None else None

    def spread(self, loop: str, of: str = YARDSTICK) -> tuple[float, float] | None:
        """The least and the greatest ratio of two samples of the same round."""
        pairs = zip(self.figures.get(loop, ()), self.figures.get(of, ()), strict=False)
        ratios = [theirs / ours for ours, theirs in pairs if ours]
        return (min(ratios), max(ratios)) if ratios else None

    @property
    def best_rival(self) -> str | None:
        rivals = [
            (value, loop)
            for loop in self.figures
            if loop != SUBJECT and (value := self.value(loop)) is not None
        ]
        return min(rivals)[1] if rivals else None

    @property
    def behind(self) -> bool:
        """Whether a rival is better than the subject."""
        ratio = self.ratio(SUBJECT, self.best_rival) if self.best_rival else None
        return ratio is not None and ratio < 1

    @property
    def load_is_limit(self) -> bool:
        """Whether the subject's figure is rather its load's: throughput, with a load that never
        waits for it."""
        return self.measure is Measure.WALL and self.load.get(SUBJECT, 0) > BUSY

    @property
    def goal_value(self) -> float | None:
        """The most an operation may take, by the goal and this run's figures."""
        if self.goal is None:
            return None
        if self.goal.at_most is not None:
            return self.goal.at_most
        of = self.best_rival if self.goal.of == BEST_RIVAL else self.goal.of
        theirs = self.value(of) if of else None
        if theirs is None:
            return None
        if self.goal.plus is not None:
            return theirs + self.goal.plus
        assert self.goal.times is not None
        return theirs / self.goal.times

    @property
    def verdict(self) -> Verdict:
        if self.goal is None:
            return Verdict.NO_GOAL
        ours, most = self.value(SUBJECT), self.goal_value
        if ours is None or most is None:
            return Verdict.UNKNOWN
        if self.goal.never_over is not None and max(self.figures[SUBJECT]) > self.goal.never_over:
            return Verdict.MISSED
        return Verdict.MET if ours <= most else Verdict.MISSED

    @property
    def reached(self) -> str:
        """The number that the verdict is about, where it is not the ratio to the yardstick."""
        if self.goal is None or self.verdict is Verdict.UNKNOWN:
            return ""
        ours = self.value(SUBJECT)
        assert ours is not None
        if self.goal.at_most is not None:
            return units.quantity(ours, self.measure)
        if self.goal.of == YARDSTICK:
            return ""
        if self.goal.plus is not None:
            theirs = self.value(self.goal.of)
            assert theirs is not None
            sign = "+" if ours >= theirs else "−"
            return f"{self.goal.of} {sign} {units.seconds(abs(ours - theirs))}"
        of = self.best_rival if self.goal.of == BEST_RIVAL else self.goal.of
        assert of is not None
        text = f"{units.ratio(self.ratio(SUBJECT, of))} × {of}"
        if self.goal.never_over is not None:
            text += f", {units.seconds(max(self.figures[SUBJECT]))} at worst"
        return text


def rows(cases: Sequence[Case], loops: Sequence[str], cells: Cells, goals: Goals) -> Iterator[Row]:
    """One row for each measure of each case."""
    for case in cases:
        for measure in case.measures:
            figures = {loop: cells[case.name, loop].figures(measure) for loop in loops}
            yield Row(
                case,
                measure,
                goals.of.get((case.name, measure)),
                {loop: numbers for loop, numbers in figures.items() if numbers},
                frozenset(loop for loop in loops if cells[case.name, loop].failure is not None),
                frozenset(loop for loop in loops if cells[case.name, loop].lacking is not None),
                {loop: load for loop in loops if (load := cells[case.name, loop].load) is not None},
            )


@dataclass(frozen=True)
class Mean:
    """The geometric mean of a group: of the first measure of each case that has a goal."""

    group: Group
    rows: list[Row]
    # How many cases there are with a goal, measured in this run or not.
    cases: int
    goal: float | None

    def ratio(self, loop: str) -> float | None:
        """Over the rows in which the loop has a figure."""
        ratios = self._ratios(loop)
        return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else None

    def over(self, loop: str) -> int:
        return len(self._ratios(loop))

    @property
    def verdict(self) -> Verdict:
        ours = self.ratio(SUBJECT)
        if self.goal is None:
            return Verdict.NO_GOAL
        if ours is None or self.over(SUBJECT) < len(self.rows):
            return Verdict.UNKNOWN
        return Verdict.MET if ours >= self.goal else Verdict.MISSED

    def _ratios(self, loop: str) -> list[float]:
        return [ratio for row in self.rows if (ratio := row.ratio(loop)) is not None]


def means(rows: Sequence[Row], goals: Goals) -> Iterator[Mean]:
    """One mean for each group in which something with a goal was measured."""
    by_group: dict[Group, list[Row]] = {}
    for row in rows:
        if row.goal is not None and row.measure is row.case.measures[0]:
            by_group.setdefault(row.case.group, []).append(row)
    for group, chosen in by_group.items():
        cases = {name for name, _ in goals.of if CASES[name].group == group}
        yield Mean(group, chosen, len(cases), goals.geometric_mean.get(group))
