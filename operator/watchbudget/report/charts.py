"""Geometry of the page's charts: numbers in, positions out. The template draws them as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log10

from msgspec import Struct

from watchbudget.api.quantity import format_bytes
from watchbudget.api.resources import GroupResource
from watchbudget.policy.model import Audit
from watchbudget.report.words import shorten, title

__all__ = ["Bar", "BarChart", "Segment", "Tick", "bar_chart", "byte_ticks", "nice_ticks"]

SHOWN = 12
"""Bars of the chart: the worst, as many as a person compares at a glance."""

WIDTH, LEFT, RIGHT = 960, 250, 150
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_ROW, _TOP = 32, 8


class Tick(Struct, frozen=True):
    """A mark on an axis and what stands beside it."""

    at: float
    label: str


class Segment(Struct, frozen=True):
    """A piece of a bar: one resource's cache on all nodes; hatched where it is not certain."""

    x: float
    width: float
    colour: int
    certain: bool
    tooltip: str


class Bar(Struct, frozen=True):
    """One DaemonSet."""

    y: float
    label: str
    full: str
    value: str
    end: float
    segments: tuple[Segment, ...]


class BarChart(Struct, frozen=True):
    """What the worst DaemonSets cost on all nodes together."""

    height: float
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    legend: tuple[tuple[int, str], ...]
    uncertain: bool
    left_out: int


def byte_ticks(maximum: int) -> tuple[tuple[float, str], ...]:
    """Positions in bytes from 0 to at least the maximum, all labelled in the unit of the largest."""
    power = 0
    while maximum >= 1024 ** (power + 1) and power < len(_UNITS) - 1:
        power += 1
    unit = 1024**power
    return tuple((tick * unit, f"{tick:g} {_UNITS[power]}") for tick in nice_ticks(maximum / unit))


def nice_ticks(maximum: float) -> tuple[float, ...]:
    """Round numbers from 0 to at least the maximum, four to nine of them."""
    if maximum <= 0:
        return (0.0, 1.0)
    rough = maximum / 7
    power = 10.0 ** floor(log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
    return tuple(round(step * index, 12) for index in range(ceil(maximum / step) + 1))


def bar_chart(audit: Audit, labels: Mapping[GroupResource, str]) -> BarChart | None:
    """The chart, or None where nothing costs anything."""
    costly = [judgement for judgement in audit.judgements if judgement.bill.cache_total_up_to]
    costly.sort(key=lambda judgement: (-judgement.bill.cache_total, -judgement.bill.cache_total_up_to))
    if not costly:
        return None
    shown = costly[:SHOWN]
    colours = {resource: index for index, resource in enumerate(labels)}
    ticks = byte_ticks(max(judgement.bill.cache_total_up_to for judgement in shown))
    scale = (WIDTH - LEFT - RIGHT) / ticks[-1][0]
    bars = []
    for index, judgement in enumerate(shown):
        bill, x = judgement.bill, float(LEFT)
        segments = []
        for line in sorted(bill.lines, key=lambda line: (not line.certain, colours[line.resource])):
            total = line.cache_bytes * bill.nodes
            doubt = "" if line.certain else ", not certain"
            tooltip = f"{labels[line.resource]}: {format_bytes(total)}{doubt}"
            segments.append(Segment(x, total * scale, colours[line.resource], line.certain, tooltip))
            x += total * scale
        values = [format_bytes(bill.cache_total)] if bill.cache_total else []
        if bill.cache_total_up_to > bill.cache_total:
            values.append(f"≤ {format_bytes(bill.cache_total_up_to)}")
        full = title(judgement)
        bars.append(Bar(_TOP + index * _ROW, shorten(full, 32), full, ", ".join(values), x, tuple(segments)))
    used = {line.resource for judgement in shown for line in judgement.bill.lines}
    return BarChart(
        height=_TOP + len(shown) * _ROW + 28,
        bars=tuple(bars),
        ticks=tuple(Tick(LEFT + size * scale, label) for size, label in ticks),
        legend=tuple((colours[resource], labels[resource]) for resource in labels if resource in used),
        uncertain=any(not line.certain for judgement in shown for line in judgement.bill.lines),
        left_out=len(costly) - len(shown),
    )
