"""The table of DaemonSets: which columns fit, and what stands in them.

Numbers are never cut: where the width does not do, whole columns go, the least telling
first, and names lose their middle. What goes from here still stands in the JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.text import Text

from watchbudget.api.quantity import format_bytes
from watchbudget.api.resources import GroupResource
from watchbudget.cost.model import Bill
from watchbudget.demand.model import Demand, Watches
from watchbudget.policy.model import Judgement, Verdict
from watchbudget.report.figures import about, limit_bytes, merged, needed_bytes, short_label
from watchbudget.report.layout import Column, drawn, room
from watchbudget.report.plain_console import Glyphs, glyphs
from watchbudget.report.words import name, shorten

__all__ = ["VERDICT_STYLES", "daemon_set_table"]

VERDICT_STYLES = {Verdict.DENY: "bold red", Verdict.WARN: "yellow", Verdict.ALLOW: "green"}

_ROOM_FOR_NAMES = 24
"""Cells a name should have before a column is given up for it: `kube-system/calico-node` and one."""

_STEPS = ("stack PEAK / LIMIT", "EVIDENCE", "FINDINGS", "NODES", "PEAK / LIMIT", "WATCHES", "PER POD")
"""What is given up, in this order, to gain that room."""


def daemon_set_table(
    judgements: Sequence[Judgement], labels: Mapping[GroupResource, str], console: Console
) -> RenderableType:
    """The table, in the order given, as wide as the console at most, with a legend for the signs it used."""
    signs = glyphs(console)
    columns = {column.header: column for column in _columns(judgements, labels, signs)}
    names = [name("/".join(judgement.daemon_set.key)) for judgement in judgements]
    natural = max(len("DAEMONSET"), *map(len, names))
    for step in _STEPS:
        if room(columns, console.width) >= min(natural, _ROOM_FOR_NAMES):
            break
        if step.startswith("stack"):
            columns["PEAK / LIMIT"] = _stacked(columns["PEAK / LIMIT"])
        else:
            del columns[step]
    width = max(min(room(columns, console.width), natural), 1)
    named = Column("DAEMONSET"[:width], tuple(Text(_fitted(text, width), style="bold") for text in names))
    verdict, *others = columns.values()
    table = drawn((verdict, named, *others))
    legend = _legend(columns, signs)
    return Group(table, "", Text(legend, style="dim")) if legend else table


def _fitted(text: str, width: int) -> str:
    """The name on one line if it fits, else namespace and name on a line each."""
    if len(text) <= width:
        return text
    namespace, _, short = text.partition("/")
    return f"{shorten(namespace + '/', width)}\n{shorten(short, width)}"


def _stacked(column: Column) -> Column:
    cells = tuple(Text(cell.plain.replace(" / ", "\n/ "), style=cell.style) for cell in column.cells)
    return Column("PEAK\n/ LIMIT", cells, column.justify)


def _columns(
    judgements: Sequence[Judgement], labels: Mapping[GroupResource, str], signs: Glyphs
) -> list[Column]:
    def column(header: str, cells: list[Text], justify: Literal["left", "right"] = "left") -> Column:
        return Column(header, tuple(cells), justify)

    bills = [judgement.bill for judgement in judgements]
    return [
        column(
            "VERDICT", [Text(str(item.verdict), style=VERDICT_STYLES[item.verdict]) for item in judgements]
        ),
        column("WATCHES", [_watches(item, labels, signs) for item in judgements]),
        column("EVIDENCE", [_evidence(item) for item in judgements]),
        column(
            "PER POD",
            [_at_most(bill, bill.cache_per_pod, bill.cache_per_pod_up_to, signs) for bill in bills],
            "right",
        ),
        column("PEAK / LIMIT", [_peak(item, signs) for item in judgements], "right"),
        column("NODES", [Text(f"{bill.nodes:,}") for bill in bills], "right"),
        column(
            "TOTAL",
            [_at_most(bill, bill.cache_total, bill.cache_total_up_to, signs) for bill in bills],
            "right",
        ),
        column("FINDINGS", [_findings(item) for item in judgements], "right"),
    ]


def _told(judgement: Judgement) -> list[Demand]:
    return [demand for demand in judgement.demands if demand.watches is not Watches.NO]


def _watches(judgement: Judgement, labels: Mapping[GroupResource, str], signs: Glyphs) -> Text:
    lines = []
    for demand in _told(judgement):
        part = "some " if demand.selector is not None else ""
        times = f" {signs.times}{demand.watchers_per_pod}" if demand.watchers_per_pod > 1 else ""
        doubt = "" if demand.watches is Watches.YES else " ?"
        lines.append(f"{part}{shorten(short_label(labels[demand.resource]), 24)}{times}{doubt}")
    return Text("\n".join(lines) or "none")


def _evidence(judgement: Judgement) -> Text:
    return Text("\n".join(str(demand.evidence) for demand in _told(judgement)))


def _at_most(bill: Bill, certain: int, up_to: int, signs: Glyphs) -> Text:
    text = Text(f"{about(bill)}{format_bytes(certain)}" if certain or not up_to else "")
    if up_to > certain:
        text.append("\n" if text else "").append(f"{signs.at_most} {format_bytes(up_to)}", style="dim")
    return text


def _peak(judgement: Judgement, signs: Glyphs) -> Text:
    bill, limit, needed = judgement.bill, limit_bytes(judgement), needed_bytes(judgement)
    against = format_bytes(limit) if limit is not None else "none"
    if needed:
        tight = limit is not None and limit < needed
        return Text(f"{format_bytes(needed)} / {against}", style="bold red" if tight else "")
    if bill.peak_per_pod_up_to:
        up_to = bill.peak_per_pod_up_to + bill.base_bytes
        return Text(f"{signs.at_most} {format_bytes(up_to)} / {against}", style="dim")
    return Text("")


def _findings(judgement: Judgement) -> Text:
    counting = [item for item in merged(judgement.findings) if item.finding.exempted is None]
    return Text(str(len(counting)) if counting else "")


def _legend(columns: Mapping[str, Column], signs: Glyphs) -> str:
    def used(sign: str) -> bool:
        return any(sign in cell.plain for column in columns.values() for cell in column.cells)

    notes = []
    if used(" ?"):
        notes.append("? it may watch, and we do not know whether it does.")
    if used(signs.at_most):
        notes.append(f"{signs.at_most} with all that is uncertain counted as a watch.")
    return " ".join(notes)
