"""From what was recorded to the figures of the table: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from os import cpu_count
from typing import Any

from watchbudget.localcluster.play.bystander import Sample
from watchbudget.localcluster.play.curves import percentile

__all__ = ["Latency", "Outcome", "latencies", "latency"]


@dataclass(frozen=True, slots=True)
class Latency:
    """What one series of a bystander's requests waited, in seconds; failed: refused, or no answer."""

    requests: int
    p50: float
    p99: float
    most: float
    failed: int


@dataclass
class Outcome:
    """The figures of one scenario.

    Attributes:
        name: Of the scenario.
        finished: Whether every pod that should be was Ready before the time was up.
        pods: How many were to be started.
        served_seconds: From the change until the last first list was served.
        ready_seconds: From the change until the last pod was Ready.
        lists: How many were served.
        refused: Lists answered with 429.
        failed: Lists that failed otherwise, connections included.
        peak_in_flight: Most lists sent and not yet answered at one time.
        list_seconds: Time a served list took, from its last sending; p50, p99, most.
        wire_bytes: Of all lists.
        rss_before: Resident bytes of the API server at the change.
        rss_growth: Its peak above that.
        cpu: CPU seconds by process, the API server first; `rest of the machine` is what others used.
        missing_node_seconds: Sum over nodes and DaemonSets of the time without a Ready agent.
        idle: The bystanders before the change.
        bystanders: During it.
        curve: For the plot: seconds since the change, with lists in flight, resident bytes of the API server,
            nodes with a Ready agent, pods held and pods with a permit.
        dots: For the plot: by series, seconds since the change and latency.
    """

    name: str
    finished: bool
    pods: int
    served_seconds: float
    ready_seconds: float
    lists: int
    refused: int
    failed: int
    peak_in_flight: int
    list_seconds: Latency
    wire_bytes: int
    rss_before: int
    rss_growth: int
    cpu: dict[str, float]
    missing_node_seconds: float
    idle: dict[str, Latency]
    bystanders: dict[str, Latency]
    curve: list[tuple[float, int, int, int, int, int]] = field(default_factory=list)
    dots: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def disturbance(self) -> float:
        """The share of the processors' time that went to others."""
        return self.cpu["rest of the machine"] / (
            max(self.served_seconds, self.ready_seconds) * (cpu_count() or 1)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def latency(samples: Iterable[tuple[float, bool]]) -> Latency:
    """Summarise durations, each with whether it succeeded; failed ones count with the time they took."""
    pairs = list(samples)
    seconds = [each for each, _ in pairs]
    return Latency(
        requests=len(pairs),
        p50=percentile(seconds, 0.5),
        p99=percentile(seconds, 0.99),
        most=max(seconds, default=0.0),
        failed=sum(not succeeded for _, succeeded in pairs),
    )


def latencies(samples: Iterable[Sample], begin: float, end: float) -> dict[str, Latency]:
    """Summarise the requests that were due between two times: by client, and by client and kind."""
    found: dict[str, list[tuple[float, bool]]] = {}
    for sample in samples:
        if begin <= sample.due < end:
            for series in (sample.client, f"{sample.client} {sample.kind}"):
                found.setdefault(series, []).append((sample.seconds, 200 <= sample.status < 300))
    return {series: latency(pairs) for series, pairs in sorted(found.items())}
