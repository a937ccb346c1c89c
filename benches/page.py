"""A report as a Markdown page: everything, the losses first."""

from __future__ import annotations

from collections.abc import Iterator

from benches import table
from benches.loops import SUBJECT, YARDSTICK
from benches.report import Report

_HOW_TO_READ = f"""\
In the tables the first figure is what one operation takes on {YARDSTICK}; then how many times as
good each loop is in the same run, for time and memory alike: above 1 is better than {YARDSTICK}.
*Spread* is the least and the greatest ratio of {SUBJECT} in the rounds, *best rival* the best other
loop, and *behind* says that it is better than {SUBJECT}. How it is measured:
[benches/README.md](../README.md)."""


def markdown(report: Report, chart: str | None = None) -> str:
    """`chart` is the address of the chart, to be shown above the tables."""
    return "\n".join(_lines(report, chart)) + "\n"


def _lines(report: Report, chart: str | None) -> Iterator[str]:
    yield f"# {SUBJECT} and other event loops, {report.environment.date.split()[0]}"
    yield ""
    yield report.summary() + "."
    yield ""
    yield from _table(table.Table(["", ""], [list(line) for line in report.header()]))
    if chart is not None:
        yield ""
        yield f"![How many times as good as {YARDSTICK}]({chart})"
    yield ""
    yield _HOW_TO_READ
    yield ""
    yield "## Losses"
    yield ""
    yield from _losses(report)
    for group, rows in report.groups().items():
        yield ""
        yield f"## {group.capitalize()}"
        yield ""
        yield from _table(table.ratios(rows, report.loops))
        yield ""
        yield from _table(table.figures(rows, report.loops))
    if report.means:
        yield ""
        yield "## Geometric means"
        yield ""
        yield f"Of the ratios to {YARDSTICK}, over the first measure of each case with a goal."
        yield ""
        yield from _table(table.geometric_means(report.means, report.loops))
    yield ""
    yield "## What the cases do"
    yield ""
    for case in {row.case.name: row.case for row in report.rows}.values():
        yield f"- **{case.title}** (`{case.name}`): {case.about}"


def _losses(report: Report) -> Iterator[str]:
    losses = report.losses()
    if not losses and not report.failures and not report.lacks:
        yield "None."
    for (case, loop), reason in report.failures.items():
        yield f"- `{case}` **failed** on {loop}: {reason}"
    for (case, loop), reason in report.lacks.items():
        yield f"- `{case}` needs what {loop} **lacks**: {reason}"
    if losses:
        if report.failures or report.lacks:
            yield ""
        yield from _table(table.ratios(losses, report.loops))


def _table(contents: table.Table) -> Iterator[str]:
    yield _line(contents.heading)
    yield (
        "|"
        + "|".join("--" if heading in table.WORDS else "--:" for heading in contents.heading)
        + "|"
    )
    for line in contents.lines:
        yield _line(line)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
