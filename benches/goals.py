"""The goals of `goals.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benches import units
from benches.case import CASES, Group, Measure
from benches.loops import CONTENDERS, YARDSTICK

BEST_RIVAL = "best rival"


@dataclass(frozen=True)
class Goal:
    """What one measure of one case must reach."""

    # Exactly one of these three: a factor, seconds, or bytes.
    times: float | None = None
    plus: float | None = None
    at_most: float | None = None
    # In seconds, and for the worst round rather than the typical one.
    never_over: float | None = None
    of: str = YARDSTICK

    def __post_init__(self) -> None:
        assert [self.times, self.plus, self.at_most].count(None) == 2, self
        assert self.of == BEST_RIVAL or self.of in CONTENDERS, self

    def __str__(self) -> str:
        of = "" if self.of == YARDSTICK else f" {self.of}"
        if self.at_most is not None:
            return f"at most {units.quantity(self.at_most, Measure.MEMORY)}"
        if self.plus is not None:
            text = f"{self.of} + {units.seconds(self.plus)}"
        elif self.times == 1:
            text = f"as good as {self.of}"
        else:
            text = f"{self.times:g}{of and ' ×'}{of}"
        if self.never_over is not None:
            text += f", never over {units.seconds(self.never_over)}"
        return text


class Goals(NamedTuple):
    of: dict[tuple[str, Measure], Goal]
    geometric_mean: dict[Group, float]


def load() -> Goals:
    """Read the goals. A goal for a case or a measure that does not exist is a mistake."""
    tables = tomllib.loads(Path(__file__).with_name("goals.toml").read_text("utf-8"))
    means = tables.pop("geometric_mean")
    goals = {}
    for group, cases in tables.items():
        for name, measures in cases.items():
            case = CASES[name]
            assert case.group == group, f"{name} is in group {case.group}"
            for measure, goal in measures.items():
                assert measure in case.measures, f"{name} does not measure {measure}"
                goals[name, Measure(measure)] = _goal(goal)
    return Goals(goals, means)


def _goal(value: float | dict[str, Any]) -> Goal:
    return Goal(**value) if isinstance(value, dict) else Goal(times=value)
