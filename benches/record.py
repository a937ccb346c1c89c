"""Keeping a report: as data, as a page and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benches import chart, page
from benches.case import Group
from benches.environment import python_name
from benches.report import Report
from benches.rows import Mean, Row

FOLDER = Path(__file__).with_name("record")


def keep(report: Report, groups: Sequence[Group] = (), folder: Path = FOLDER) -> list[Path]:
    """Write the record of the day, in place of one of the same day, Python and groups."""
    folder.mkdir(exist_ok=True)
    stem = "-".join((report.environment.date.split()[0], python_name(), *groups))
    data, text, picture = (folder / f"{stem}.{ending}" for ending in ("json", "md", "svg"))
    data.write_text(as_json(report), "utf-8")
    text.write_text(page.markdown(report, chart=picture.name), "utf-8")
    picture.write_text(chart.svg(report), "utf-8")
    return [data, text, picture]


def as_json(report: Report) -> str:
    """Every sample, so that another statistic can be tried on it; seconds or bytes an operation."""
    tale = {
        "environment": {
            **asdict(report.environment),
            "loops": {name: hello._asdict() for name, hello in report.environment.loops.items()},
        },
        "rounds": report.rounds,
        "scale": report.scale,
        "summary": report.summary(),
        "rows": [_row(row, report.loops) for row in report.rows],
        "geometric_means": [_mean(mean, report.loops) for mean in report.means],
        "failures": [
            {"case": case, "loop": loop, "reason": reason}
            for (case, loop), reason in report.failures.items()
        ],
        "lacks": [
            {"case": case, "loop": loop, "reason": reason}
            for (case, loop), reason in report.lacks.items()
        ],
    }
    return json.dumps(tale, indent=1, ensure_ascii=False) + "\n"


def _row(row: Row, loops: Sequence[str]) -> dict[str, Any]:
    return {
        "case": row.case.name,
        "title": row.title,
        "group": row.case.group,
        "measure": row.measure,
        "loops": {
            loop: {
                "value": row.value(loop),
                "ratio": row.ratio(loop),
                "spread": row.spread(loop),
                "samples": row.figures[loop],
                "load": row.load.get(loop),
            }
            for loop in loops
            if loop in row.figures
        },
        "best_rival": row.best_rival,
        "behind": row.behind,
        "goal": None if row.goal is None else str(row.goal),
        "reached": row.reached or None,
        "verdict": row.verdict,
    }


def _mean(mean: Mean, loops: Sequence[str]) -> dict[str, Any]:
    return {
        "group": mean.group,
        "cases": [row.case.name for row in mean.rows],
        "loops": {loop: mean.ratio(loop) for loop in loops},
        "goal": mean.goal,
        "verdict": mean.verdict,
    }
