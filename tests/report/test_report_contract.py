"""The AuditReport: names and types that others rely on, whatever the manifests held."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from report.report_samples import HOSTILE, audit, calico, hostile, sample, unsure, vector
from watchbudget.report.contract import all_problems, audit_report, to_json, to_yaml
from watchbudget.report.schema import AuditReport, schema_text

ROOT = Path(__file__).resolve().parents[2]

TEXT, NUMBER, FLAG = str, int, bool
OPTIONAL_TEXT, OPTIONAL_NUMBER = (str, type(None)), (int, type(None))
RESOURCE = {"group": TEXT, "resource": TEXT}

PROMISED: dict[str, Any] = {
    "apiVersion": TEXT,
    "kind": TEXT,
    "census": [{**RESOURCE, "objects": NUMBER, "bytes": NUMBER, "source": TEXT}],
    "daemonSets": [
        {
            "namespace": TEXT,
            "name": TEXT,
            "serviceAccount": TEXT,
            "identity": TEXT,
            "nodes": NUMBER,
            "grants": [{**RESOURCE, "verbs": [TEXT], "scope": TEXT, "path": [TEXT]}],
            "demands": [
                {
                    **RESOURCE,
                    "watches": TEXT,
                    "evidence": TEXT,
                    "watchersPerPod": NUMBER,
                    "selector": OPTIONAL_TEXT,
                    "reason": TEXT,
                }
            ],
            "memory": {"limitComplete": FLAG, "limitBytes": OPTIONAL_NUMBER},
            "updateStrategy": {"type": TEXT, "maxUnavailable": OPTIONAL_TEXT, "maxSurge": OPTIONAL_TEXT},
            "bill": {
                "cachePerPodBytes": NUMBER,
                "peakPerPodBytes": NUMBER,
                "listBytesPerStart": NUMBER,
                "seatsPerStart": NUMBER,
                "cacheTotalBytes": NUMBER,
                "calibration": OPTIONAL_TEXT,
            },
            "findings": [
                {
                    "rule": TEXT,
                    "budget": TEXT,
                    "action": TEXT,
                    "message": TEXT,
                    "remedy": {"text": TEXT, "patch": [dict]},
                }
            ],
            "verdict": TEXT,
        }
    ],
    "totals": {
        "daemonSets": NUMBER,
        "cachePerNodeBytes": NUMBER,
        "cacheTotalBytes": NUMBER,
        "listBytesIfAllRestart": NUMBER,
        "findings": dict,
    },
}
"""Field names, nesting and types as they were promised. Written out by hand: they may not follow a rename."""


def check(value: object, promised: object, path: str = "") -> None:
    if isinstance(promised, dict):
        assert isinstance(value, dict), path
        for key, inner in promised.items():
            assert key in value, f"{path}.{key} is missing"
            check(value[key], inner, f"{path}.{key}")
    elif isinstance(promised, list):
        assert isinstance(value, list), path
        for index, item in enumerate(value):
            check(item, promised[0], f"{path}[{index}]")
    else:
        assert isinstance(promised, type | tuple)
        assert isinstance(value, promised), f"{path} is {type(value)}"
        assert promised is not int or not isinstance(value, bool), path


def test_every_promised_field_is_there_with_its_type() -> None:
    report = audit_report(sample())
    check(report, PROMISED)
    assert (report["apiVersion"], report["kind"]) == ("watchbudget.io/v1alpha1", "AuditReport")
    assert any(entry["findings"] for entry in report["daemonSets"])  # else the loop above saw nothing
    assert any(entry["grants"] for entry in report["daemonSets"])


def test_figures_of_the_bill_are_those_of_the_judgement() -> None:
    judgement = calico()
    entry = audit_report(audit([judgement]))["daemonSets"][0]
    bill = judgement.bill
    assert entry["bill"]["cachePerPodBytes"] == bill.cache_per_pod > 0
    assert entry["bill"]["cacheTotalBytes"] == bill.cache_per_pod * 100
    assert [line["cacheBytes"] for line in entry["bill"]["lines"]] == [
        each.cache_bytes for each in bill.lines
    ]
    assert entry["memory"] == {
        "limitComplete": True,
        "limitBytes": 64 << 20,
        "watchingLimitBytes": 64 << 20,
        "missing": [],
    }
    assert entry["demands"][0]["selector"] is None


def test_what_is_uncertain_stands_apart() -> None:
    entry = audit_report(audit([unsure()]))["daemonSets"][0]
    assert entry["demands"][0]["watches"] == "unknown"
    assert entry["demands"][0]["evidence"] == "granted"
    assert entry["bill"]["cachePerPodBytes"] == 0
    assert entry["bill"]["upTo"]["cachePerPodBytes"] == entry["bill"]["lines"][0]["cacheBytes"] > 0


def test_an_exempted_finding_is_shown_with_its_reason() -> None:
    findings = audit_report(audit([calico()]))["daemonSets"][0]["findings"]
    assert {each["rule"]: each["exempted"] for each in findings} == {
        "memory-limit-below-peak": None,
        "duplicate-watch": "known, until spring",
    }


def test_the_dearest_line_names_the_calibration_and_nothing_watched_names_none() -> None:
    report = audit_report(sample())
    by_name = {entry["name"]: entry["bill"] for entry in report["daemonSets"]}
    assert by_name["vector"]["calibration"] == vector().bill.lines[0].calibration
    assert by_name["clean-0"]["calibration"] is None


def test_problems_of_reading_and_judging_come_once_with_errors_first() -> None:
    whole = sample()
    warning = whole.fleet.problems[0]
    error = replace(warning, severity="error", message="truncated")
    both = replace(whole, problems=(warning, error))
    assert [problem.message for problem in all_problems(both)] == ["truncated", "no such ClusterRole"]
    assert [each["severity"] for each in audit_report(both)["problems"]] == ["error", "warning"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_texts_survive_the_way_to_json_and_yaml_and_back(text: str) -> None:
    whole = hostile(text)
    report = audit_report(whole)
    assert json.loads(to_json(whole)) == report
    assert yaml.safe_load(to_yaml(whole)) == report
    assert to_json(whole).isascii()
    assert to_yaml(whole).isascii()
    assert "\x1b" not in to_yaml(whole)
    stored = "\ufffdhalf" if text == "\ud800half" else text
    assert report["daemonSets"][0]["name"] == stored


@given(st.text(st.characters(), max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_a_report_that_its_own_schema_accepts(text: str) -> None:
    whole = hostile(text)
    again = AuditReport.model_validate_json(to_json(whole))
    assert again.model_dump(by_alias=True) == audit_report(whole)


def test_the_same_audit_gives_the_same_bytes_in_whatever_order_rules_were_counted() -> None:
    whole = sample()
    turned = dict(reversed(list(whole.totals.findings.items())))
    assert len(turned) > 1
    assert to_json(replace(whole, totals=replace(whole.totals, findings=turned))) == to_json(whole)


def test_an_empty_fleet_has_a_report_too() -> None:
    report = audit_report(audit())
    check(report, PROMISED)
    assert report["daemonSets"] == []
    assert report["totals"]["findings"] == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: report.pop("totals"),
        lambda report: report.update(surprise=1),
        lambda report: report["daemonSets"][0].update(verdict="maybe"),
        lambda report: report["daemonSets"][0]["bill"].update(cacheTotalBytes="much"),
    ],
    ids=["field missing", "field unknown", "word unknown", "wrong type"],
)
def test_the_schema_refuses_what_is_no_report(spoil: Callable[[dict[str, Any]], None]) -> None:
    report = audit_report(sample())
    spoil(report)
    with pytest.raises(ValidationError):
        AuditReport.model_validate(report)


def test_the_schema_under_docs_is_the_present_one() -> None:
    stored = (ROOT / "docs" / "audit-report.schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), (
        "stale; write watchbudget.report.schema.schema_text() to docs/audit-report.schema.json"
    )
