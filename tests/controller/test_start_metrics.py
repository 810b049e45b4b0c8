"""What staged starts show: by whom, and that it neither grows with the fleet nor counts twice."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from watchbudget.controller.pod_writes import Written
from watchbudget.controller.start_metrics import OUTCOMES, PAUSES, REASONS, StartMetrics
from watchbudget.rollout.model import (
    BudgetNumbers,
    Freed,
    News,
    Outcome,
    Pass,
    Pause,
    Signals,
    Why,
)

KEY = ("logging", "agent")
SILENT = Signals()


@pytest.fixture
def metrics() -> StartMetrics:
    return StartMetrics(CollectorRegistry(), most=3)


def shown(metrics: StartMetrics) -> dict[str, float]:
    """Value by series, as Prometheus writes one."""
    registry = CollectorRegistry()
    registry.register(metrics)
    for own in (metrics.ended, metrics.let_go, metrics.probe_seconds, metrics.probe_errors):
        registry.register(own)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        sample.name + "".join(f"{{{name}={text}}}" for name, text in sorted(sample.labels.items())): (
            sample.value
        )
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_how_a_budget_stands_is_shown(metrics: StartMetrics):
    numbers = BudgetNumbers(in_flight=4, held=296, permits=20, blocked=2, list_bytes=4_000_000)
    metrics.observe(Pass(limit=32, in_flight=7, budgets={"platform": numbers}), SILENT, leading=True)
    found = shown(metrics)
    assert found["watchbudget_starts_in_flight{budget=platform}"] == 4
    assert found["watchbudget_starts_held{budget=platform}"] == 296
    assert found["watchbudget_starts_permits{budget=platform}"] == 20
    assert found["watchbudget_starts_blocked{budget=platform}"] == 2
    assert found["watchbudget_starts_list_bytes{budget=platform}"] == 4_000_000
    assert found["watchbudget_cluster_starts_limit"] == 32
    assert found["watchbudget_cluster_starts_in_flight"] == 7


def test_a_standby_shows_what_it_sees_and_not_what_it_guesses(metrics: StartMetrics):
    paused = {KEY: Pause("CrashLooping", "by what a standby knows")}
    numbers = BudgetNumbers(in_flight=4, held=296, permits=8)
    result = Pass(limit=8, budgets={"platform": numbers}, pauses=paused)
    metrics.observe(result, SILENT, leading=True)
    metrics.observe(result, SILENT, leading=False)
    names = {series.partition("{")[0] for series in shown(metrics)}
    assert {"watchbudget_starts_held", "watchbudget_starts_in_flight"} <= names
    assert names.isdisjoint(
        {
            "watchbudget_starts_permits",
            "watchbudget_cluster_starts_limit",
            "watchbudget_starts_paused_daemonsets",
        }
    )


def test_starts_are_counted_by_the_leader_alone(metrics: StartMetrics):
    news = tuple(News(str(outcome), KEY, "node-1", outcome) for outcome in Outcome)
    metrics.observe(Pass(news=(*news, news[0])), SILENT, leading=True)
    metrics.observe(Pass(news=news), SILENT, leading=False)
    found = shown(metrics)
    assert found["watchbudget_starts_total{outcome=ready}"] == 2
    for outcome in ("failed", "timed_out", "blocked", "recovered", "gone"):
        assert found[f"watchbudget_starts_total{{outcome={outcome}}}"] == 1


def test_whoever_lets_pods_go_counts_them(metrics: StartMetrics):
    freed = (Freed("1", Why.NO_PROGRESS), Freed("2", Why.NO_PROGRESS), Freed("3", Why.NOT_GATED))
    for each in freed:
        metrics.freed(each.why)
    found = shown(metrics)
    assert found["watchbudget_starts_let_go_total{reason=no_progress}"] == 2
    assert found["watchbudget_starts_let_go_total{reason=not_gated}"] == 1
    assert found["watchbudget_starts_let_go_total{reason=not_judged}"] == 0


def test_what_the_api_server_shows_is_counted(metrics: StartMetrics):
    metrics.observe(Pass(), Signals(latency=0.03), leading=True)
    metrics.observe(Pass(), Signals(refused=3, timeouts=1), leading=True)
    found = shown(metrics)
    assert found["watchbudget_api_probe_seconds_count"] == 1
    assert found["watchbudget_api_probe_seconds_bucket{le=0.05}"] == 1
    assert found["watchbudget_api_probe_seconds_bucket{le=0.025}"] == 0
    assert found["watchbudget_api_errors_total{reason=refused}"] == 3
    assert found["watchbudget_api_errors_total{reason=timed_out}"] == 1


def test_pauses_are_counted_by_reason(metrics: StartMetrics):
    pauses = {("ns", str(number)): Pause(PAUSES[number % 2], "why") for number in range(5)}
    metrics.observe(Pass(pauses=pauses), SILENT, leading=True)
    found = shown(metrics)
    counts = [found[f"watchbudget_starts_paused_daemonsets{{reason={reason}}}"] for reason in PAUSES]
    assert counts == [3, 2, 0, 0]


def test_writes_are_shown_as_they_are_when_asked(metrics: StartMetrics):
    assert "watchbudget_pod_writes_total{outcome=done}" not in shown(metrics)
    written = Written()
    metrics.count(written)
    written.done, written.failed = 5, 1
    found = shown(metrics)
    assert found["watchbudget_pod_writes_total{outcome=done}"] == 5
    assert found["watchbudget_pod_writes_total{outcome=failed}"] == 1


def test_a_budget_that_is_gone_is_not_shown_and_a_flood_is_cut(metrics: StartMetrics):
    many = {f"b{number}": BudgetNumbers() for number in range(100)}
    metrics.observe(Pass(budgets=many), SILENT, leading=True)
    assert sum(series.startswith("watchbudget_starts_held") for series in shown(metrics)) == 3
    metrics.observe(Pass(budgets={"b1": BudgetNumbers()}), SILENT, leading=True)
    held = [series for series in shown(metrics) if series.startswith("watchbudget_starts_held")]
    assert held == ["watchbudget_starts_held{budget=b1}"]


def test_every_outcome_and_reason_there_is_has_a_label():
    assert set(OUTCOMES) == set(Outcome)
    assert set(REASONS) == set(Why)
    assert all(re.fullmatch("[a-z_]+", label) for label in (*OUTCOMES.values(), *REASONS.values()))
