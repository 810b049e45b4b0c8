"""Metrics of staged starts: how the passes go, and what the API server shows meanwhile.

What only the leader knows (limit, permits, pauses, outcomes) only the leader shows, so that a standby's guess
stands beside nothing. What every replica sees in the pods' labels (held, in flight, blocked) each of them
shows: whoever waits can then be seen even while nobody leads.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct, field
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watchbudget.rollout.model import BudgetNumbers, Outcome, Pass, Signals, Why

__all__ = ["PAUSES", "StartMetrics", "Writes"]

PROBE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""From an idle server on the same machine up to the probe's timeout."""

PAUSES = ("Paused", "BudgetPaused", "StartsFailing", "CrashLooping")
"""Reasons of a pause (`rollout.model.Pause`), as series that are always there."""

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.READY: "ready",
    Outcome.FAILED: "failed",
    Outcome.TIMED_OUT: "timed_out",
    Outcome.BLOCKED: "blocked",
    Outcome.RECOVERED: "recovered",
    Outcome.GONE: "gone",
}

REASONS: Mapping[Why, str] = {
    Why.NO_PROGRESS: "no_progress",
    Why.NOT_GATED: "not_gated",
    Why.NOT_JUDGED: "not_judged",
}


class Writes(Protocol):
    """What is asked of `pod_writes.Written`: both only ever grow."""

    done: int
    failed: int


class StartMetrics(Collector):
    """What is counted and shown of starts. Passes come in one thread, scrapes in another.

    Attributes:
        ended: starts by what they came to.
        let_go: pods let go without a permit, by reason.
        probe_seconds: how long the API server took for our own small request.
        probe_errors: our own requests about starts that it refused or did not answer in time.
    """

    def __init__(self, registry: CollectorRegistry, *, most: int) -> None:
        """Register everything.

        Args:
            registry: where.
            most: budgets that have series of their own; the others are cut.
        """
        self._most = most
        self._shown = _Shown()  # swapped as a whole, so that a scrape never sees half a pass
        self._writes: Writes | None = None
        self.ended = Counter(
            "watchbudget_starts",
            "Starts of pods that were given a permit, by what they came to.",
            ("outcome",),
            registry=registry,
        )
        self.let_go = Counter(
            "watchbudget_starts_let_go",
            "Held pods that were let go without a permit, by reason.",
            ("reason",),
            registry=registry,
        )
        self.probe_seconds = Histogram(
            "watchbudget_api_probe_seconds",
            "Time of a small request of our own to the API server, a new connection included.",
            buckets=PROBE_SECONDS,
            registry=registry,
        )
        self.probe_errors = Counter(
            "watchbudget_api_errors",
            "Probes and writes to pods that the API server refused (429) or did not answer in time.",
            ("reason",),
            registry=registry,
        )
        for outcome in OUTCOMES.values():
            self.ended.labels(outcome)
        for reason in REASONS.values():
            self.let_go.labels(reason)
        for reason in ("refused", "timed_out"):
            self.probe_errors.labels(reason)
        registry.register(self)

    def observe(self, result: Pass, signals: Signals, *, leading: bool) -> None:
        """Take in a pass.

        Args:
            result: what it came to.
            signals: what it was given.
            leading: whether this replica gave permits in it. Starts are counted by the leader alone.
                What is let go is counted by `freed`.
        """
        if signals.latency is not None:
            self.probe_seconds.observe(signals.latency)
        self.probe_errors.labels("refused").inc(signals.refused)
        self.probe_errors.labels("timed_out").inc(signals.timeouts)
        if leading:
            for news in result.news:
                self.ended.labels(OUTCOMES[news.outcome]).inc()
        self._shown = _Shown(
            budgets={name: result.budgets[name] for name in sorted(result.budgets)[: self._most]},
            limit=result.limit if leading else None,
            in_flight=result.in_flight,
            paused=Tally(pause.reason for pause in result.pauses.values()) if leading else None,
        )

    def freed(self, why: Why) -> None:
        """A pod was let go without a permit."""
        self.let_go.labels(REASONS[why]).inc()

    def count(self, writes: Writes) -> None:
        """Show these from now on."""
        self._writes = writes

    def collect(self) -> Iterator[Metric]:
        """The series of the newest pass."""
        shown = self._shown
        for name, attribute, meaning in _BY_BUDGET:
            family = GaugeMetricFamily(name, meaning, labels=("budget",))
            if attribute != "permits" or shown.limit is not None:
                for budget, numbers in shown.budgets.items():
                    family.add_metric((budget,), getattr(numbers, attribute))
            yield family
        limit = GaugeMetricFamily(
            "watchbudget_cluster_starts_limit", "Starts at once that the API server is believed to bear."
        )
        if shown.limit is not None:
            limit.add_metric((), shown.limit)
        yield limit
        yield GaugeMetricFamily(
            "watchbudget_cluster_starts_in_flight",
            "Pods with a permit that are not done starting, of all budgets together.",
            value=shown.in_flight,
        )
        paused = GaugeMetricFamily(
            "watchbudget_starts_paused_daemonsets",
            "DaemonSets of which nothing more is started, by reason.",
            labels=("reason",),
        )
        if shown.paused is not None:
            for reason in PAUSES:
                paused.add_metric((reason,), shown.paused[reason])
        yield paused
        yield self._written()

    def _written(self) -> Metric:
        family = CounterMetricFamily(
            "watchbudget_pod_writes", "Writes to pods: gates, labels, deletions.", labels=("outcome",)
        )
        if self._writes is not None:
            family.add_metric(("done",), self._writes.done)
            family.add_metric(("failed",), self._writes.failed)
        return family


_BY_BUDGET = (
    ("watchbudget_starts_held", "held", "Pods that wait for a permit."),
    ("watchbudget_starts_in_flight", "in_flight", "Pods with a permit that are not done starting."),
    ("watchbudget_starts_blocked", "blocked", "Pods that could not use their permit and gave it back."),
    ("watchbudget_starts_permits", "permits", "Pods that may be starting at once at present."),
    ("watchbudget_starts_list_bytes", "list_bytes", "What the starts in flight ask of the API server."),
)


class _Shown(Struct, frozen=True):
    budgets: Mapping[str, BudgetNumbers] = field(default_factory=dict)
    limit: int | None = None
    in_flight: int = 0
    paused: Mapping[str, int] | None = None
