"""The operator's metrics: names and units, and series that do not grow with the fleet."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from policy_samples import audit, budget, declared, fleet
from watchbudget.controller.metrics import MAX_BUDGETS, OperatorMetrics
from watchbudget.controller.probes import AdmissionMetrics
from watchbudget.policy.model import Audit


@pytest.fixture
def metrics() -> OperatorMetrics:
    registry = CollectorRegistry()
    AdmissionMetrics(registry)  # they share one
    return OperatorMetrics(registry)


def shown(metrics: OperatorMetrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (sample.name, *(f"{name}={text}" for name, text in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("watchbudget_")
    }


def judged(*names: str) -> Audit:
    mild = budget("mild", enforcement={"action": "Warn"})
    return audit(fleet(*(declared(name) for name in names)), mild, budget("strict"))


def test_a_judgement_is_shown(metrics: OperatorMetrics):
    result = judged("a", "b")
    metrics.judged(result, seconds=0.2, at=1_700_000_000.5)
    found = shown(metrics)
    assert found["watchbudget_daemonsets", "budget=mild", "verdict=warn"] == 2
    assert found["watchbudget_daemonsets", "budget=mild", "verdict=deny"] == 0
    assert found["watchbudget_daemonsets", "budget=strict", "verdict=deny"] == 2
    assert found["watchbudget_violating_daemonsets", "budget=strict"] == 2
    assert found["watchbudget_cache_worst_node_bytes", "budget=mild"] == result.totals.cache_per_node
    assert found["watchbudget_cache_all_nodes_bytes", "budget=mild"] == result.totals.cache_total
    assert found["watchbudget_census_objects", "group=", "resource=namespaces"] == 10_000
    assert (
        found["watchbudget_census_bytes", "group=networking.k8s.io", "resource=networkpolicies"] == 6_666_666
    )
    assert found["watchbudget_judgement_duration_seconds_count",] == 1
    assert found["watchbudget_last_judgement_timestamp_seconds",] == 1_700_000_000.5


def test_what_is_gone_is_not_shown_any_more(metrics: OperatorMetrics):
    metrics.judged(judged("a"), seconds=1, at=1)
    metrics.judged(audit(fleet(), budget("other")), seconds=1, at=2)
    budgets = {label for key in shown(metrics) for label in key if label.startswith("budget=")}
    assert budgets == {"budget=other"}


def test_counters_count(metrics: OperatorMetrics):
    metrics.leading.set(1)
    metrics.watch_restarts.inc()
    metrics.writes.labels("status").inc(3)
    metrics.write_failures.labels("status", "unavailable").inc()
    metrics.events_dropped.labels("rate").inc()
    found = shown(metrics)
    assert found["watchbudget_leading",] == 1
    assert found["watchbudget_watch_restarts_total",] == 1
    assert found["watchbudget_writes_total", "target=status"] == 3
    assert found["watchbudget_write_failures_total", "outcome=unavailable", "target=status"] == 1
    assert found["watchbudget_events_dropped_total", "reason=rate"] == 1


def test_series_do_not_grow_with_the_fleet(metrics: OperatorMetrics):
    metrics.judged(judged("a"), seconds=1, at=1)
    before = shown(metrics).keys()
    metrics.judged(judged(*(f"agent-{number}" for number in range(300))), seconds=1, at=2)
    assert shown(metrics).keys() == before


def test_a_flood_of_budgets_is_cut(metrics: OperatorMetrics):
    result = judged("a")
    many = tuple(replace(result.standings[0], budget=f"b{number}") for number in range(1000))
    metrics.judged(replace(result, standings=many), seconds=1, at=1)
    names = {label for key in shown(metrics) for label in key if label.startswith("budget=")}
    assert len(names) == MAX_BUDGETS


def test_names_follow_the_conventions(metrics: OperatorMetrics):
    """https://prometheus.io/docs/practices/naming/"""
    metrics.judged(judged("a"), seconds=1, at=1)
    for family in metrics.registry.collect():
        assert re.fullmatch("watchbudget(_[a-z]+)+", family.name), family.name
        assert family.documentation.endswith((".", "later.")), family.name
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), family.name
        assert not re.search("_milli|_kilo|_mega|_minutes|_percent|_ms|_kb", family.name), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
