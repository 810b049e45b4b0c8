"""The arithmetic of a bill, with its numbers, so that a reader can check it with a calculator."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import ceil

from watchbudget.api.quantity import format_bytes
from watchbudget.api.resources import GroupResource
from watchbudget.cost.calibration import Calibration, Row
from watchbudget.cost.model import Line
from watchbudget.policy.model import Audit, Judgement
from watchbudget.report.figures import limit_bytes, needed_bytes
from watchbudget.report.sentences import census_source
from watchbudget.report.steps import Item, Step
from watchbudget.report.words import TIMES, counted, join_words, name, prose

__all__ = ["cost_step", "fit_step", "start_step"]


def cost_step(
    judgement: Judgement, audit: Audit, calibration: Calibration, labels: Mapping[GroupResource, str]
) -> Step:
    """Objects × (overhead + factor × stored bytes) × watchers, per pod, then times nodes."""
    bill = judgement.bill
    items: list[Item] = []
    used = dict.fromkeys((_row(calibration, line), line.assumed, line.assumed_because) for line in bill.lines)
    items += [_measured(calibration, row, because, assumed=assumed) for row, assumed, because in used if row]
    for line in bill.lines:
        items += _line(line, audit, _row(calibration, line), labels[line.resource])
    certain = [line for line in bill.lines if line.certain]
    if len(certain) > 1:
        parts = " + ".join(f"{line.cache_bytes:,}" for line in certain)
        items.append(Item("sum", f"per pod: {parts} B = {_both(bill.cache_per_pod)}"))
    nodes = counted(bill.nodes, "node")
    if certain:
        items.append(
            Item("sum", f"all nodes: {bill.cache_per_pod:,} B {TIMES} {nodes} = {_both(bill.cache_total)}")
        )
    if bill.cache_per_pod_up_to > bill.cache_per_pod:
        times = f"{bill.cache_per_pod_up_to:,} B {TIMES} {nodes}"
        items.append(
            Item("sum", f"if all that is uncertain watches: {times} = {_both(bill.cache_total_up_to)}")
        )
    for resource in bill.unpriced:
        label = labels.get(resource, name(str(resource)))
        items.append(
            Item("warn", f"{label}: nobody counted them, so they have no price. The figures are too low.")
        )
    if audit.fleet.nodes_source == "assumed":
        items.append(Item("warn", "The number of nodes is ASSUMED."))
    return Step("What does that cost?", tuple(items))


def _measured(calibration: Calibration, row: Row, because: str | None, *, assumed: bool) -> Item:
    how = calibration.measured
    library = "Its client library is"
    if assumed:
        why = f" ({prose(because)})" if because else ""
        library = f"ASSUMED: what its client library costs is not known{why}. Priced as the nearest measured,"
    return Item(
        "text",
        f"{library} {row.title}. Measured for it: {row.overhead_bytes:,} bytes for each object and "
        f"{_plain(row.factor)} for each stored byte, ±{how.error_percent}% (row {row.id}; {how.date}, "
        f"Kubernetes {how.kubernetes}, {how.machine}).",
    )


def _line(line: Line, audit: Audit, row: Row | None, label: str) -> list[Item]:
    known = audit.fleet.census.of(line.resource)
    source = f", {census_source(known)}" if known else ""
    doubt = "" if line.certain else " Whether all are cached is not certain: this is a ceiling."
    stored = f"{line.stored_bytes:,} bytes stored{source}"
    counts = Item("text", f"{label}: {line.objects:,} objects, {stored}.{doubt}")
    if row is None:
        by = f"by row {name(line.calibration)}"
        return [counts, Item("sum", f"{label}: {_both(line.cache_bytes)} per pod, {by}")]
    overhead, held = line.objects * row.overhead_bytes, ceil(row.factor * line.stored_bytes)
    times = f"{counted(line.watchers, 'watcher')} {TIMES} ({overhead:,} + {held:,}) B"
    return [
        counts,
        Item("sum", f"overhead: {line.objects:,} {TIMES} {row.overhead_bytes:,} B = {overhead:,} B"),
        Item("sum", f"stored: {_plain(row.factor)} {TIMES} {line.stored_bytes:,} B = {held:,} B"),
        Item("sum", f"{times} = {_both(line.cache_bytes)}"),
    ]


def start_step(judgement: Judgement) -> Step:
    """What one start, and a start of all, asks of the API server."""
    bill = judgement.bill
    title, size = "What does a start ask for?", bill.list_bytes_per_start
    if not size:
        up_to = format_bytes(bill.list_bytes_per_start_up_to)
        return Step(title, (Item("text", f"Nothing for certain; up to {up_to} of lists."),))
    lists = " + ".join(
        f"{line.watchers} {TIMES} {line.stored_bytes:,}" for line in bill.lines if line.certain
    )
    times = f"{size:,} B {TIMES} {counted(bill.nodes, 'node')}"
    seats = counted(bill.seats_per_start, "seat")
    return Step(
        title,
        (
            Item("sum", f"lists of one start: {lists} B = {_both(size)}"),
            Item("sum", f"if all start at once: {times} = {_both(bill.list_bytes_if_all_restart)}"),
            Item("text", f"The lists of one start take {seats} of the API server's priority and fairness."),
        ),
    )


def fit_step(judgement: Judgement, calibration: Calibration) -> Step:
    """Whether a re-list in a running pod stays below the memory limit."""
    items = _peak_sums(judgement, calibration)
    needed, limit, memory = needed_bytes(judgement), limit_bytes(judgement), judgement.memory
    if limit is None:
        missing = join_words(name(container) for container in memory.missing)
        who = f"{'Container' if len(memory.missing) == 1 else 'Containers'} {missing} without memory limit"
        lead = f"{who}: nothing" if memory.missing else "There is no memory limit: nothing"
        items.append(Item("warn", f"{lead} stops it before the node runs out of memory."))
    elif needed > limit:
        short = format_bytes(needed - limit)
        lead = f"The memory limit is {_both(limit)}, {short} too small"
        items.append(Item("deny", f"{lead}: a re-list may kill the pod, which starts and lists again."))
    else:
        fits = ", and holds that" if needed else ""
        items.append(Item("text", f"The memory limit is {_both(limit)}{fits}."))
    return Step("Does it fit?", tuple(items))


def _peak_sums(judgement: Judgement, calibration: Calibration) -> list[Item]:
    bill = judgement.bill
    if not bill.peak_per_pod:
        up_to = format_bytes(bill.peak_per_pod_up_to + bill.base_bytes)
        return [Item("text", f"Nothing is certain to be cached. If it is, a re-list needs up to {up_to}.")]
    items = [Item("text", "When a running pod lists again, the old and the new copy are in memory together.")]
    for line in bill.lines:
        row = _row(calibration, line)
        if line.certain and row:
            times = f"{_plain(row.relist_peak)} {TIMES} {line.cache_bytes:,} B"
            items.append(Item("sum", f"peak: {times} = {line.peak_bytes:,} B"))
    sums = f"{bill.peak_per_pod:,} B + {bill.base_bytes:,} B of an idle process"
    items.append(Item("sum", f"needed: {sums} = {_both(needed_bytes(judgement))}"))
    return items


def _row(calibration: Calibration, line: Line) -> Row | None:
    try:
        return calibration.row(line.calibration)
    except KeyError:
        return None


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _both(size: int) -> str:
    """Exact, and as people say it."""
    return f"{size:,} B ({format_bytes(size)})"
