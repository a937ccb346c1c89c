"""A report as a picture: for each row a bar of the subject's ratio to the yardstick.

The scale is logarithmic, so that twice as good and half as good are equally long. A picture has no
reader's style sheet to go by: it brings its own background, and colours for light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from benches import table, units
from benches.loops import SUBJECT, YARDSTICK
from benches.report import Report
from benches.rows import Row, Verdict

WIDTH = 1060
MARGIN = 24
TITLES_END = 386
BARS_END = 858
ROW = 22
BAR = 12
HEAD = 112

STYLE = """\
text { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
text { fill: #1f2328; font-variant-numeric: tabular-nums; }
.page { fill: #ffffff; stroke: #d1d9e0; }
.heading { font-size: 18px; font-weight: 600; }
.group { font-weight: 600; }
.quiet { fill: #59636e; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: #e4e8ec; }
.one { stroke: #818b98; }
.met { fill: #1b8570; }
.missed { fill: #d9730d; }
.none { fill: #8fa3bf; }
.goal { stroke: #1f2328; stroke-width: 2; }
.rival { fill: #ffffff; stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .page { fill: #0d1117; stroke: #3d444d; }
  .quiet { fill: #9198a1; }
  .grid { stroke: #252b33; }
  .one { stroke: #7d8590; }
  .met { fill: #2fb397; }
  .missed { fill: #e8842c; }
  .none { fill: #5f7491; }
  .goal { stroke: #f0f6fc; }
  .rival { fill: #0d1117; stroke: #f0f6fc; }
}"""


@dataclass(frozen=True)
class Scale:
    """Whole powers of two, wide enough for everything that is drawn."""

    low: int
    high: int

    @classmethod
    def around(cls, ratios: Sequence[float]) -> Scale:
        logarithms = [math.log2(ratio) for ratio in ratios]
        return cls(math.floor(min(-1, *logarithms)), math.ceil(max(2, *logarithms)))

    def x(self, ratio: float) -> float:
        share = (math.log2(ratio) - self.low) / (self.high - self.low)
        return TITLES_END + share * (BARS_END - TITLES_END)

    def ticks(self) -> list[float]:
        return [2.0**power for power in range(self.low, self.high + 1)]

    def label(self, tick: float) -> str:
        """Where the ticks stand close together, only every other one has a label."""
        power = round(math.log2(tick))
        if power % 2 and self.high - self.low > 8:
            return ""
        if power == 0:
            return YARDSTICK
        return f"{2**power} ×" if power > 0 else f"1/{2**-power} ×"


def svg(report: Report) -> str:
    scale = Scale.around(list(_drawn(report.rows)))
    groups = report.groups()
    height = HEAD + ROW * (len(report.rows) + 2 * len(groups)) + MARGIN
    body = [*_head(report), *_grid(scale, height)]
    y = float(HEAD)
    for group, rows in groups.items():
        y += ROW
        body.append(_text(MARGIN, y, group, "group"))
        y += ROW
        for row in rows:
            body += _row(row, y, scale)
            y += ROW
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    frame = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"'
    lines = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(_title())}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="page" {frame}/>',
        *body,
        "</svg>",
    )
    return "\n".join(lines) + "\n"


def _title() -> str:
    return f"{SUBJECT} against {YARDSTICK}: how many times as good"


def _drawn(rows: Sequence[Row]) -> Iterator[float]:
    for row in rows:
        rival = row.ratio(row.best_rival) if row.best_rival else None
        yield from (
            ratio for ratio in (row.ratio(SUBJECT), _goal_ratio(row), rival) if ratio is not None
        )


def _goal_ratio(row: Row) -> float | None:
    """Where the goal stands on the scale, whatever loop it speaks of."""
    most, base = row.goal_value, row.value(YARDSTICK)
    return base / most if most and base else None


def _head(report: Report) -> Iterator[str]:
    about = report.environment
    yield _text(MARGIN, 36, _title(), "heading")
    yield _text(
        MARGIN, 57, f"{about.python}, {about.machine}, {about.kernel}, {about.date}", "quiet"
    )
    x = float(MARGIN)
    for kind, text in (("met", "goal met"), ("missed", "goal missed"), ("none", "no goal")):
        yield f'<rect class="{kind}" x="{x}" y="71" width="18" height="{BAR}" rx="2"/>'
        yield _text(x + 25, 81.5, text, "quiet")
        x += 118
    yield _goal_mark(x + 2, 77)
    yield _text(x + 12, 81.5, "goal", "quiet")
    yield _rival_mark(x + 66, 77)
    yield _text(x + 78, 81.5, "best of the other loops", "quiet")


def _grid(scale: Scale, height: int) -> Iterator[str]:
    top, bottom = HEAD + 6, height - MARGIN + 4
    for tick in scale.ticks():
        x = scale.x(tick)
        kind = "one" if tick == 1 else "grid"
        yield f'<line class="{kind}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'
        yield _text(x, HEAD, scale.label(tick), "quiet middle")


def _row(row: Row, y: float, scale: Scale) -> Iterator[str]:
    """`y` is the base line of the text; everything else is centred on the text's middle."""
    middle = y - 4.5
    yield _text(TITLES_END - 12, y, row.title, "end")
    ratio = row.ratio(SUBJECT)
    if ratio is not None:
        left, right = sorted((scale.x(1), scale.x(ratio)))
        width = max(right - left, 1)
        yield (
            f'<rect class="{_kind(row)}" x="{left:.1f}" y="{middle - BAR / 2}" '
            f'width="{width:.1f}" height="{BAR}" rx="2"/>'
        )
    if row.best_rival is not None and (rival := row.ratio(row.best_rival)) is not None:
        yield _rival_mark(scale.x(rival), middle, row.best_rival)
    if (goal := _goal_ratio(row)) is not None:
        yield _goal_mark(scale.x(goal), middle, str(row.goal))
    result = table.absence(row, SUBJECT) or units.ratio(ratio)
    yield _text(BARS_END + 62, y, result, "end")
    words = [row.verdict.value] if row.verdict is not Verdict.NO_GOAL else []
    yield _text(BARS_END + 74, y, ", ".join(words + ["behind"] * row.behind), "quiet")


def _kind(row: Row) -> str:
    kinds = {Verdict.MET: "met", Verdict.MISSED: "missed"}
    return kinds.get(row.verdict, "none")


def _goal_mark(x: float, middle: float, title: str = "") -> str:
    line = f'<line class="goal" x1="{x:.1f}" y1="{middle - 9}" x2="{x:.1f}" y2="{middle + 9}">'
    return f"{line}<title>{escape(title)}</title></line>"


def _rival_mark(x: float, middle: float, title: str = "") -> str:
    circle = f'<circle class="rival" cx="{x:.1f}" cy="{middle}" r="3.5">'
    return f"{circle}<title>{escape(title)}</title></circle>"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
