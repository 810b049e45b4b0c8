"""A picture of a run: lists in flight and bystanders' waits over time, native and governed side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from math import log10

from storm.figures import Outcome
from storm.scenarios import SCENARIOS
from watchbudget.report.charts import nice_ticks

__all__ = ["draw"]

CELL, WIDTH, LEFT = 560, 470, 56
UPPER, LOWER, GAP, ROW = 90, 110, 26, 310
COLOURS = {"same level read": "#c2410c", "other level read": "#1d4ed8"}
FLOOR, CEILING = 0.001, 60.0
"""Of the latency axis, in seconds."""

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"
  font-family="sans-serif" font-size="11" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>"""

_LEGEND = f"""\
<text x="10" y="20">Above: lists in flight. Below: what a small read waited, in seconds.</text>
<text x="10" y="36"><tspan fill="{COLOURS["same level read"]}">Client in the agents' priority level</tspan>,
<tspan fill="{COLOURS["other level read"]}">client in another</tspan>. x: seconds since the change.</text>"""


@dataclass(frozen=True)
class _Scale:
    """Shared by a row, so that its pictures can be compared."""

    seconds: tuple[float, ...]
    lists: tuple[float, ...]

    def x(self, seconds: float) -> float:
        return LEFT + max(0.0, min(seconds / self.seconds[-1], 1.0)) * WIDTH

    def upper(self, lists: float) -> float:
        return UPPER * (1 - lists / self.lists[-1])

    @staticmethod
    def lower(seconds: float) -> float:
        share = log10(max(FLOOR, min(seconds, CEILING)) / FLOOR) / log10(CEILING / FLOOR)
        return UPPER + GAP + LOWER * (1 - share)


def draw(outcomes: Mapping[str, Outcome]) -> str:
    """Return an SVG document with a row for each native scenario and those that are compared with it."""
    rows = _rows(outcomes)
    width, height = CELL * max(map(len, rows), default=1), ROW * len(rows) + 50
    parts = [_HEAD.format(width=width, height=height), _LEGEND]
    for number, row in enumerate(rows):
        longest = max(each.curve[-1][0] for each in row)
        most = max(each.peak_in_flight for each in row)
        scale = _Scale(nice_ticks(max(longest, 1.0)), nice_ticks(max(most, 1)))
        for column, outcome in enumerate(row):
            parts.append(f'<g transform="translate({column * CELL},{number * ROW + 70})">')
            parts += _cell(outcome, scale)
            parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rows(outcomes: Mapping[str, Outcome]) -> list[list[Outcome]]:
    rows: dict[str, list[Outcome]] = {}
    for scenario in SCENARIOS:
        if scenario.name in outcomes:
            rows.setdefault(scenario.compare or scenario.name, []).append(outcomes[scenario.name])
    return list(rows.values())


def _cell(outcome: Outcome, scale: _Scale) -> Iterable[str]:
    title = f"{outcome.name}: {outcome.served_seconds:.0f} s, {outcome.refused} refused"
    yield f'<text x="{LEFT}" y="-10" font-weight="bold">{escape(title)}</text>'
    for tick in scale.lists:
        yield _line(scale.upper(tick), f"{tick:g}")
    for seconds in (0.001, 0.01, 0.1, 1.0, 10.0):
        yield _line(scale.lower(seconds), f"{seconds:g}")
    for tick in scale.seconds:
        yield (
            f'<text x="{scale.x(tick):.1f}" y="{UPPER + GAP + LOWER + 16}" '
            f'text-anchor="middle">{tick:g}</text>'
        )
    points, height = [f"{scale.x(0):.1f},{UPPER}"], 0
    for seconds, lists, *_ in outcome.curve:
        points += [f"{scale.x(seconds):.1f},{scale.upper(height):.1f}"]
        points += [f"{scale.x(seconds):.1f},{scale.upper(lists):.1f}"]
        height = lists
    points.append(f"{scale.x(outcome.curve[-1][0]):.1f},{UPPER}")
    yield f'<polygon points="{" ".join(points)}" fill="#0f766e" fill-opacity="0.55"/>'
    for series, colour in COLOURS.items():
        for due, seconds in outcome.dots.get(series, ()):
            if due >= 0:
                yield (
                    f'<circle cx="{scale.x(due):.1f}" cy="{scale.lower(seconds):.1f}" r="1.3" '
                    f'fill="{colour}" fill-opacity="0.6"/>'
                )


def _line(y: float, label: str) -> str:
    return (
        f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="#ddd"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )
