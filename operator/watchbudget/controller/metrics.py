"""The operator's own metrics, beside those of admission. None has a label of a DaemonSet.

Names and units follow https://prometheus.io/docs/practices/naming/: base units, `_total` for what only grows,
and times as timestamps, from which an alert computes the age.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watchbudget.controller.start_metrics import StartMetrics
from watchbudget.inventory.fleet import Census
from watchbudget.policy.model import Audit, Standing

__all__ = ["MAX_BUDGETS", "OperatorMetrics"]

MAX_BUDGETS = 200
"""Budgets that have series of their own: more than anyone writes by hand; a runaway generator is cut."""

SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class OperatorMetrics:
    """What the controller counts and shows.

    Attributes:
        registry: where it is registered.
        leading: 1 in the replica that writes.
        leader_known: 1 in every replica that knows of a living leader.
        judgement_seconds: how long judgements of the whole fleet took.
        last_judgement: when the last one ended, seconds since 1970.
        last_census: when objects were last counted, seconds since 1970.
        certificate_expiry: when the certificate that is served ends, seconds since 1970.
        starts: all about staged starts.
        watch_restarts: how often the watches ended and were begun anew.
        queued: how many DaemonSets' lists the API server answers a few at a time; known to the leader.
        writes: writes that were done, by target.
        write_failures: those that were not, by target and outcome.
        events_dropped: events that were not written, by reason.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register everything; the registry is usually that of the admission server."""
        self.registry = registry
        self.leading = Gauge(
            "watchbudget_leading", "Whether this replica holds the Lease and writes.", registry=registry
        )
        self.leader_known = Gauge(
            "watchbudget_leader_known",
            "Whether this replica knows that somebody leads; while not, it holds no pods.",
            registry=registry,
        )
        self.judgement_seconds = Histogram(
            "watchbudget_judgement_duration_seconds",
            "Time to judge the whole fleet.",
            buckets=SECONDS,
            registry=registry,
        )
        self.last_judgement = Gauge(
            "watchbudget_last_judgement_timestamp_seconds",
            "When the whole fleet was last judged, seconds since 1970.",
            registry=registry,
        )
        self.last_census = Gauge(
            "watchbudget_last_census_timestamp_seconds",
            "When the objects of priced resources were last counted, seconds since 1970.",
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "watchbudget_certificate_expiry_timestamp_seconds",
            "When the certificate that admission is served with ends, seconds since 1970.",
            registry=registry,
        )
        self.watch_restarts = Counter(
            "watchbudget_watch_restarts",
            "Times that the watches of WatchBudgets, DaemonSets and RBAC ended and were begun anew.",
            registry=registry,
        )
        self.queued = Gauge(
            "watchbudget_queued_daemonsets",
            "DaemonSets whose lists the API server answers a few at a time.",
            registry=registry,
        )
        self.writes = Counter(
            "watchbudget_writes", "Writes to the API server that were done.", ("target",), registry=registry
        )
        self.write_failures = Counter(
            "watchbudget_write_failures",
            "Writes to the API server that were not done; what is still wanted is written later.",
            ("target", "outcome"),
            registry=registry,
        )
        self.events_dropped = Counter(
            "watchbudget_events_dropped",
            "Events that were not written: too many at once, or refused.",
            ("reason",),
            registry=registry,
        )
        self.starts = StartMetrics(registry, most=MAX_BUDGETS)
        self._judged = _Judged()
        registry.register(self._judged)

    def judged(self, audit: Audit, *, seconds: float, at: float) -> None:
        """Show a judgement. Any thread may call it.

        Args:
            audit: of the whole fleet.
            seconds: how long it took.
            at: when it ended, seconds since 1970.
        """
        self.judgement_seconds.observe(seconds)
        self.last_judgement.set(at)
        self._judged.shown = _Shown(audit.standings[:MAX_BUDGETS], audit.fleet.census)


class _Shown(Struct, frozen=True):
    standings: Sequence[Standing] = ()
    census: Census = Census()


class _Judged(Collector):
    """Series of the last judgement, made when asked for: one of a budget that is gone is gone at once."""

    def __init__(self) -> None:
        self.shown = _Shown()  # swapped as a whole, so that a scrape never sees half a judgement

    def collect(self) -> Iterator[Metric]:
        shown = self.shown
        by_budget: Mapping[str, tuple[str, str]] = {
            "watchbudget_cache_worst_node_bytes": (
                "cache_per_node",
                "Cache memory on the worst node, all governed DaemonSets together.",
            ),
            "watchbudget_cache_all_nodes_bytes": (
                "cache_total",
                "Cache memory on all nodes, all governed DaemonSets together.",
            ),
            "watchbudget_violating_daemonsets": (
                "violating",
                "DaemonSets with a finding at Annotate or above that is not exempted.",
            ),
        }
        for name, (attribute, meaning) in by_budget.items():
            family = GaugeMetricFamily(name, meaning, labels=("budget",))
            for standing in shown.standings:
                family.add_metric((standing.budget,), getattr(standing, attribute))
            yield family
        yield _verdicts(shown.standings)
        yield from _census(shown.census)


def _verdicts(standings: Sequence[Standing]) -> Metric:
    family = GaugeMetricFamily(
        "watchbudget_daemonsets", "Governed DaemonSets by the budget's verdict.", labels=("budget", "verdict")
    )
    for standing in standings:
        allowed = standing.governed - standing.warned - standing.denied
        for verdict, number in (("allow", allowed), ("warn", standing.warned), ("deny", standing.denied)):
            family.add_metric((standing.budget, verdict), number)
    return family


def _census(census: Census) -> Iterator[Metric]:
    objects = GaugeMetricFamily(
        "watchbudget_census_objects", "Objects of a priced resource.", labels=("group", "resource")
    )
    stored = GaugeMetricFamily(
        "watchbudget_census_bytes",
        "What the objects of a priced resource take where they are stored.",
        labels=("group", "resource"),
    )
    for entry in census.resources:
        labels = (entry.resource.group, entry.resource.resource)
        objects.add_metric(labels, entry.objects)
        stored.add_metric(labels, entry.stored_bytes)
    yield objects
    yield stored
