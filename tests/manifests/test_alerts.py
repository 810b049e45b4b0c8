"""The alerts: each asks for metrics that exist, and leads to a section of the runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from documents import ROOT, anchors, metric_types
from manifests.installation import MANIFESTS, built, daemon_set, one
from watchbudget.controller.start_metrics import OUTCOMES, PAUSES, REASONS
from watchbudget.localcluster import LocalCluster

FAILED_OPEN = "apiserver_admission_webhook_fail_open_count"
"""The one metric that is not ours."""

GROUPS = yaml.safe_load((MANIFESTS / "components" / "prometheus" / "alerts.yaml").read_text())["spec"][
    "groups"
]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])

NAME = re.compile(r"\b(?:watchbudget|apiserver)_\w+")
SELECTOR = re.compile(r"(\w+)\{(\w+)=~?\"([^\"]*)\"\}")


@every_rule
def test_it_asks_for_metrics_that_exist(rule: dict[str, Any]):
    asked = set(NAME.findall(re.sub(r"\"[^\"]*\"", "", rule["expr"])))
    assert asked
    assert asked <= metric_types().keys() | {FAILED_OPEN}


@every_rule
def test_it_leads_to_the_runbook_and_says_how_urgent_it_is(rule: dict[str, Any]):
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / page)
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")


def test_names_differ():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("WatchBudget[A-Za-z]+", name) for name in names)


def test_the_values_of_labels_that_are_asked_for_exist():
    known = {
        ("watchbudget_starts_total", "outcome"): set(OUTCOMES.values()),
        ("watchbudget_starts_let_go_total", "reason"): set(REASONS.values()),
        ("watchbudget_starts_paused_daemonsets", "reason"): set(PAUSES),
        ("watchbudget_pod_writes_total", "outcome"): {"done", "failed"},
        ("watchbudget_write_failures_total", "outcome"): {"gone", "refused", "unavailable"},
    }
    asked = [found for rule in RULES for found in SELECTOR.findall(rule["expr"]) if found[0] != FAILED_OPEN]
    assert asked
    for metric, label, values in asked:
        assert set(values.split("|")) <= known[metric, label]


def test_they_are_part_of_the_component(kubectl: Path):
    rule = one(built(kubectl, "overlays/prometheus"), "PrometheusRule")
    assert rule["spec"]["groups"] == GROUPS


def test_the_api_server_counts_what_nobody_answered(installed: LocalCluster):
    item = daemon_set("unanswered")
    installed.request("POST", "/apis/apps/v1/namespaces/default/daemonsets?dryRun=All", item)
    text = installed.request("GET", "/metrics").body.decode()
    (line,) = [line for line in text.splitlines() if line.startswith(FAILED_OPEN) and "judge." in line]
    (pattern,) = [values for rule in RULES for name, _, values in SELECTOR.findall(rule["expr"])
                  if name == FAILED_OPEN]  # fmt: skip
    (name,) = re.findall(r'name="([^"]+)"', line)
    assert re.fullmatch(pattern, name)
