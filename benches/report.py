"""All that a run found out, ready to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benches.case import Case, Group
from benches.environment import Environment
from benches.goals import Goals
from benches.loops import SUBJECT
from benches.rows import STATISTICS, Cells, Mean, Row, Verdict, means, rows


@dataclass(frozen=True)
class Report:
    environment: Environment
    rounds: int
    scale: float
    loops: Sequence[str]
    rows: list[Row]
    means: list[Mean]
    # What failed, and why, by case and loop.
    failures: dict[tuple[str, str], str]
    # What a loop does not have, likewise.
    lacks: dict[tuple[str, str], str]

    def groups(self) -> dict[Group, list[Row]]:
        """The rows by group, both in their order."""
        groups: dict[Group, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.case.group, []).append(row)
        return groups

    def header(self) -> list[tuple[str, str]]:
        how = f"{self.rounds} rounds, interleaved, scale {self.scale:g}"
        statistic = ", ".join(f"{name} {measure}" for measure, (name, _) in STATISTICS.items())
        return [
            *self.environment.lines(),
            ("rounds", how),
            ("figures", f"{statistic} of the rounds"),
        ]

    def losses(self) -> list[Row]:
        """Rows whose goal was missed, or in which a rival is better."""
        return [
            row
            for row in self.rows
            if row.behind or row.verdict is Verdict.MISSED or SUBJECT in row.failed | row.lacking
        ]

    def summary(self) -> str:
        """One line: how many goals were met."""
        verdicts = [row.verdict for row in self.rows]
        behind = sum(row.behind for row in self.rows)
        return (
            f"{verdicts.count(Verdict.MET)} goals met, {verdicts.count(Verdict.MISSED)} missed; "
            f"a rival is better in {behind} of {len(self.rows)} rows"
            + (f"; {len(self.failures)} failures" if self.failures else "")
            + (f"; {len(self.lacks)} cells empty for want of a feature" if self.lacks else "")
        )


def compile_report(
    environment: Environment,
    *,
    rounds: int,
    scale: float,
    loops: Sequence[str],
    cases: Sequence[Case],
    cells: Cells,
    goals: Goals,
) -> Report:
    found = list(rows(cases, loops, cells, goals))
    failures = {key: cell.failure for key, cell in cells.items() if cell.failure is not None}
    lacks = {key: cell.lacking for key, cell in cells.items() if cell.lacking is not None}
    found_means = list(means(found, goals))
    return Report(environment, rounds, scale, loops, found, found_means, failures, lacks)
