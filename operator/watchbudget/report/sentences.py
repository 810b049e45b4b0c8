"""The sentences that table, page and explanation share: what was counted, and what it comes to."""

from __future__ import annotations

from watchbudget.api.quantity import format_bytes
from watchbudget.inventory.fleet import ResourceCensus
from watchbudget.policy.model import Audit
from watchbudget.report.figures import split
from watchbudget.report.words import counted, join_words, resource_labels

__all__ = ["EMPTY", "census_phrase", "census_source", "clean_sentence", "node_phrase", "total_sentences"]

EMPTY = "There is no DaemonSet here: nothing to price."

_SOURCES = {
    "metrics": "from the API server's metrics",
    "page": "from one small page of the list",
    "flag": "as given",
    "assumed": "ASSUMED",
}


def census_source(entry: ResourceCensus) -> str:
    """Where count and size come from; ASSUMED in capitals, because every figure rests on it."""
    source = _SOURCES[entry.source]
    return f"{source}, size ASSUMED" if entry.bytes_assumed and entry.source != "assumed" else source


def census_phrase(entry: ResourceCensus, label: str) -> str:
    """`10,000 namespaces (10 MiB stored, from the API server's metrics)`."""
    return f"{entry.objects:,} {label} ({format_bytes(entry.stored_bytes)} stored, {census_source(entry)})"


def node_phrase(audit: Audit) -> str:
    """`100 nodes (ASSUMED)`."""
    source = {"cluster": "in the cluster", "flag": "as given", "assumed": "ASSUMED"}[audit.fleet.nodes_source]
    return f"{counted(audit.fleet.nodes, 'node')} ({source})"


def clean_sentence(audit: Audit) -> str | None:
    """One line for all DaemonSets that cost nothing; None if there are none."""
    number = len(split(audit)[1])
    if not number:
        return None
    watched = join_words(resource_labels(audit).values(), "or") or "what is priced"
    if number == 1:
        return f"1 DaemonSet watches no {watched} and costs nothing."
    return f"{number:,} DaemonSets watch no {watched} and cost nothing."


def total_sentences(audit: Audit) -> str:
    """What the fleet spends, what the remedies would free, and what a restart of everything would ask for."""
    totals = audit.totals
    nodes = counted(audit.fleet.nodes, "node")
    if not totals.cache_total:
        unsure = totals.cache_total_up_to
        maybe = f", but {format_bytes(unsure)} on {nodes} if all that is uncertain does" if unsure else ""
        return f"Nothing here is known to watch what is priced{maybe}."
    spent = f"The fleet spends {format_bytes(totals.cache_total)} of memory on this on {nodes}"
    if totals.cache_total_up_to > totals.cache_total:
        spent += f" (up to {format_bytes(totals.cache_total_up_to)} with all that is uncertain)"
    spent += f", {format_bytes(totals.cache_per_node)} on each at worst"
    freed = totals.freed_by_remedies
    remedies = f"; the remedies would free {format_bytes(freed)}" if freed else ""
    lists = format_bytes(totals.list_bytes_if_all_restart)
    storm = f"If every pod restarted at once, the API server would be asked for {lists} of lists."
    return f"{spent}{remedies}. {storm}"
