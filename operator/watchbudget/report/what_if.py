"""The same fleet with other counts of nodes and objects: where does it stop fitting?

Every point is a judgement of its own, made by the caller's `judged`, so what is shown is what the
rules would say then; nothing is extrapolated but the crossing between two points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.text import Text

from watchbudget.api.quantity import format_bytes, round_two_digits
from watchbudget.api.resources import GroupResource
from watchbudget.inventory.fleet import DaemonSet, Fleet, ResourceCensus
from watchbudget.policy.model import Audit, Verdict
from watchbudget.report.figures import short_label
from watchbudget.report.layout import Column, drawn, room
from watchbudget.report.limits import breaking_points, broken_limits
from watchbudget.report.plain_console import READABLE, Encodable
from watchbudget.report.sentences import EMPTY
from watchbudget.report.words import name, resource_labels, shorten

__all__ = ["Point", "grow", "growth_view", "render_growth", "vary"]

STORED_IF_NONE = 1000
"""Bytes per object where today there is none to measure, and what-if asks for some."""


class Point(Struct, frozen=True):
    """The audit of the fleet grown: `factor` times today's objects, `node_factor` times today's nodes."""

    factor: float
    node_factor: float
    audit: Audit

    def to_dict(self) -> dict[str, Any]:
        """The point as data, for programs. Sizes in bytes."""
        totals = self.audit.totals
        return {
            "objectsFactor": self.factor,
            "nodesFactor": self.node_factor,
            "nodes": self.audit.fleet.nodes,
            "objects": {str(entry.resource): entry.objects for entry in self.audit.fleet.census.resources},
            "cachePerNodeBytes": totals.cache_per_node,
            "cacheTotalBytes": totals.cache_total,
            "cacheTotalUpToBytes": totals.cache_total_up_to,
            "listBytesIfAllRestart": totals.list_bytes_if_all_restart,
            "denied": _denied(self.audit),
            "limitsBroken": ["/".join(item.daemon_set.key) for item in broken_limits(self.audit)],
        }


def vary(fleet: Fleet, nodes: int | None = None, objects: Mapping[GroupResource, int] | None = None) -> Fleet:
    """The fleet with that many nodes and objects.

    Each object keeps its mean size. A DaemonSet that runs on a share of the nodes keeps the share;
    one that runs anywhere runs at least once.
    """
    census = replace(
        fleet.census,
        resources=tuple(
            _resized(entry, (objects or {}).get(entry.resource, entry.objects))
            for entry in fleet.census.resources
        ),
    )
    if nodes is None:
        return replace(fleet, census=census)
    daemon_sets = tuple(_spread(item, fleet.nodes, nodes) for item in fleet.daemon_sets)
    return replace(fleet, census=census, daemon_sets=daemon_sets, nodes=nodes, nodes_source="flag")


def _resized(entry: ResourceCensus, objects: int) -> ResourceCensus:
    if objects == entry.objects:
        return entry
    if not entry.objects:
        return replace(
            entry, objects=objects, stored_bytes=objects * STORED_IF_NONE, source="flag", bytes_assumed=True
        )
    stored = -(-entry.stored_bytes * objects // entry.objects)
    return replace(entry, objects=objects, stored_bytes=stored, source="flag")


def _spread(daemon_set: DaemonSet, now: int, then: int) -> DaemonSet:
    if daemon_set.nodes is None:
        return daemon_set
    if not now:
        return replace(daemon_set, nodes=then)
    share = (daemon_set.nodes * then + now // 2) // now
    return replace(daemon_set, nodes=max(share, 1) if daemon_set.nodes and then else share)


def grow(
    audit: Audit,
    judged: Callable[[Fleet], Audit],
    factors: Sequence[float] = (1.0, 2.0, 5.0, 10.0),
    node_factors: Sequence[float] = (1.0,),
) -> tuple[Point, ...]:
    """Judge the fleet at every pair of factors, nodes outermost, each list ascending.

    `judged` is the judge that made the audit, with its budgets.
    """
    points: list[Point] = []
    fleet = audit.fleet
    for node_factor in sorted(set(node_factors)):
        for factor in sorted(set(factors)):
            objects = {entry.resource: round(entry.objects * factor) for entry in fleet.census.resources}
            nodes = None if node_factor == 1 else round(fleet.nodes * node_factor)
            same = factor == 1 and node_factor == 1
            points.append(Point(factor, node_factor, audit if same else judged(vary(fleet, nodes, objects))))
    return tuple(points)


def render_growth(points: Sequence[Point], console: Console) -> None:
    """Print the table of the points, and where memory limits break."""
    console.print(growth_view(points, console))


def growth_view(points: Sequence[Point], console: Console) -> RenderableType:
    """The table and, below it, at how many objects which DaemonSet's memory limit breaks."""
    if not points or not points[0].audit.judgements:
        return Text(EMPTY)
    labels = resource_labels(points[0].audit)
    columns = _columns(points, labels)
    for header in _GIVEN_UP:
        if room(columns, console.width) >= 0:
            break
        del columns[header]
    breaks = Constrain(_breaks(points, labels), READABLE)
    return Encodable(Group(drawn(tuple(columns.values())), "", breaks))


_GIVEN_UP = ("DENIED", "LIMITS\nBROKEN", "PER NODE", "ALL\nRESTART")
"""Columns that go where the width does not do, in this order; the broken limits are told below as well."""


def _columns(points: Sequence[Point], labels: Mapping[GroupResource, str]) -> dict[str, Column]:
    def column(header: str, cells: Iterable[str]) -> Column:
        return Column(header, tuple(Text(cell) for cell in cells), "right")

    audits = [point.audit for point in points]
    columns = {  # keyed apart from the headers: a resource may be called nodes
        f"objects {index}": column(
            shorten(short_label(labels[entry.resource]), 16).upper(),
            (f"{audit.fleet.census.resources[index].objects:,}" for audit in audits),
        )
        for index, entry in enumerate(audits[0].fleet.census.resources)
    }
    figures = (
        column("NODES", (f"{audit.fleet.nodes:,}" for audit in audits)),
        column("PER NODE", (format_bytes(audit.totals.cache_per_node) for audit in audits)),
        column("TOTAL", (format_bytes(audit.totals.cache_total) for audit in audits)),
        column("ALL\nRESTART", (format_bytes(audit.totals.list_bytes_if_all_restart) for audit in audits)),
        column("DENIED", (str(_denied(audit) or "") for audit in audits)),
        column("LIMITS\nBROKEN", (str(len(broken_limits(audit)) or "") for audit in audits)),
    )
    return columns | {each.header: each for each in figures}


def _denied(audit: Audit) -> int:
    return sum(judgement.verdict is Verdict.DENY for judgement in audit.judgements)


def _breaks(points: Sequence[Point], labels: Mapping[GroupResource, str]) -> RenderableType:
    first = [point for point in points if point.node_factor == points[0].node_factor]
    breaking = breaking_points([(point.factor, point.audit) for point in first])
    if not breaking:
        biggest = f"{first[-1].factor:g}"
        return Text(f"No memory limit breaks up to {biggest} times today's objects.")
    lines: list[RenderableType] = [Text("Memory limits break, if all counts grow alike:", style="bold")]
    for item in breaking:
        who, limit = name("/".join(item.key)), format_bytes(item.limit_bytes)
        count = f"{round_two_digits(item.objects):,} {labels[item.resource]}"
        where = f"breaks at about {count}, {item.factor:.1f} times today's"
        if item.factor <= first[0].factor:
            where = f"is broken already, at {item.objects:,} {labels[item.resource]}"
        lines.append(Padding(Text(f"{who}: its limit of {limit} {where}", overflow="fold"), (0, 0, 0, 2)))
    return Group(*lines)
