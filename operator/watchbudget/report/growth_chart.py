"""Geometry of the growth chart: the fleet's memory over the number of objects, and where limits break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from watchbudget.api.quantity import format_bytes, round_two_digits
from watchbudget.api.resources import GroupResource
from watchbudget.policy.model import Audit
from watchbudget.report.charts import WIDTH, Tick, byte_ticks, nice_ticks
from watchbudget.report.limits import Break, breaking_points
from watchbudget.report.what_if import Point
from watchbudget.report.words import name, shorten

__all__ = ["Dot", "GrowthChart", "Mark", "growth_chart"]

MARKS = 6
"""Broken limits that are marked; the table beside the chart tells all of them."""

LEFT, RIGHT, TOP, PLOT = 84, 40, 16, 300
_LABEL = 17


class Dot(Struct, frozen=True):
    """A judged point."""

    x: float
    y: float
    tooltip: str


class Mark(Struct, frozen=True):
    """A memory limit that breaks here."""

    x: float
    label_y: float
    label: str
    to_the_left: bool


class GrowthChart(Struct, frozen=True):
    """Lines are SVG point lists; `up_to` is empty where nothing is uncertain."""

    height: float
    bottom: float
    top: float
    line: str
    area: str
    up_to: str
    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    unmarked: int
    x_title: str
    today: float


def growth_chart(points: Sequence[Point], labels: Mapping[GroupResource, str]) -> GrowthChart | None:
    """The chart of points with today's nodes; None where there is nothing to draw a line of."""
    points = [point for point in points if point.node_factor == 1]
    axis = _axis(points[0].audit) if points else None
    if axis is None or len(points) < 2 or not points[-1].audit.totals.cache_total_up_to:
        return None
    label, today = labels[axis[0]], axis[1]
    marks = breaking_points([(point.factor, point.audit) for point in points])
    shown = marks[:MARKS]
    top = TOP + _LABEL * len(shown)
    bottom = top + PLOT
    most = max(point.audit.totals.cache_total_up_to for point in points)
    y_ticks = byte_ticks(most)
    x_ticks = [tick for tick in nice_ticks(points[-1].factor * today) if tick <= points[-1].factor * today]

    def x(objects: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * objects / (points[-1].factor * today)

    def y(size: float) -> float:
        return bottom - PLOT * size / y_ticks[-1][0]

    dots = [
        Dot(
            x(point.factor * today),
            y(point.audit.totals.cache_total),
            f"{round(point.factor * today):,} {label}: {format_bytes(point.audit.totals.cache_total)}",
        )
        for point in points
    ]
    line = " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in dots)
    unsure = any(point.audit.totals.cache_total_up_to > point.audit.totals.cache_total for point in points)
    up_to = " ".join(
        f"{x(point.factor * today):.1f},{y(point.audit.totals.cache_total_up_to):.1f}" for point in points
    )
    return GrowthChart(
        height=bottom + 48,
        bottom=bottom,
        top=top,
        line=line,
        area=f"{dots[0].x:.1f},{bottom} {line} {dots[-1].x:.1f},{bottom}",
        up_to=up_to if unsure else "",
        dots=tuple(dots),
        x_ticks=tuple(Tick(x(tick), f"{round(tick):,}") for tick in x_ticks),
        y_ticks=tuple(Tick(y(size), label) for size, label in y_ticks),
        marks=tuple(
            _mark(item, x(item.factor * today), TOP + _LABEL * index, already=item.factor <= points[0].factor)
            for index, item in enumerate(shown)
        ),
        unmarked=len(marks) - len(shown),
        x_title=label,
        today=x(today),
    )


def _axis(audit: Audit) -> tuple[GroupResource, int] | None:
    """The resource that costs the fleet most, and how many of it there are today."""
    costs: dict[GroupResource, int] = {}
    for judgement in audit.judgements:
        for line in judgement.bill.lines:
            costs[line.resource] = costs.get(line.resource, 0) + line.cache_bytes * judgement.bill.nodes
    counts = {entry.resource: entry.objects for entry in audit.fleet.census.resources if entry.objects}
    known = [resource for resource in costs if resource in counts]
    if not known:
        return None
    resource = max(known, key=lambda each: (costs[each], each))
    return resource, counts[resource]


def _mark(item: Break, x: float, label_y: float, *, already: bool) -> Mark:
    where = shorten(name("/".join(item.key)), 40)
    when = "breaks already" if already else f"breaks at about {round_two_digits(item.objects):,}"
    return Mark(x, label_y, f"{where}: limit {format_bytes(item.limit_bytes)} {when}", x > WIDTH * 0.6)
