"""A ClusterRoleBinding that hands a DaemonSet a watch: who is warned of what."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller_reviews import body
from policy_samples import CALIBRATION, CENSUS, NOTHING_KNOWN, TODAY, budget, daemon_set, fleet
from watchbudget import cli
from watchbudget.api.budget import WatchBudget
from watchbudget.api.resources import NAMESPACES
from watchbudget.controller.admission import MOST_WARNINGS, Snapshot
from watchbudget.controller.bindings import MOST_JUDGED, warn_of_binding
from watchbudget.controller.review import AdmissionResponse, parse
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.inventory import manifests
from watchbudget.inventory.fleet import AccessReviews, Fleet
from watchbudget.inventory.rbac import Binding, LabelSelector, PolicyRule, Rbac, Role, Subject
from watchbudget.policy.judge import Judge, judge

KIND = {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRoleBinding"}
ALLOWED = AdmissionResponse(allowed=True)
WARN = budget("mild", enforcement={"action": "Warn"})
LOADED = replace(
    manifests.load([Path(cli.__file__).parent / "demo_agents.yaml"]),
    nodes=100,
    census=CENSUS,
    complete_rbac=True,
)
"""A Vector with two inputs, a Calico and a node exporter, as a cluster has them."""

UNBOUND = replace(LOADED, rbac=Rbac(LOADED.rbac.roles))


PODS = Role(None, "pods", (PolicyRule(("list", "watch"), ("",), ("pods",)),))


def binding(name: str = "vector", role: str = "vector", *subjects: dict[str, str]) -> dict[str, Any]:
    given = subjects or ({"kind": "ServiceAccount", "name": "vector", "namespace": "logging"},)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": list(given),
    }


def snapshot(of: Fleet, *budgets: WatchBudget, known: bool = True) -> Snapshot:
    catalogue = load_catalogue() if known else NOTHING_KNOWN
    bench = Judge(of, budgets or (WARN,), today=TODAY, catalogue=catalogue, calibration=CALIBRATION)
    return Snapshot(bench, bench.sums)


def told(raw: object, by: Snapshot | None, **fields: object) -> tuple[str, ...]:
    asked = {"kind": KIND, "object": raw, "namespace": "", "name": "vector"} | fields
    answer = warn_of_binding(parse(body(**asked)), by)
    assert answer == replace(ALLOWED, warnings=answer.warnings)  # never denied, never patched
    assert all(len(line) <= 256 and line.isprintable() for line in answer.warnings)
    return answer.warnings


GROUP = {"kind": "Group", "name": "system:serviceaccounts"}


def test_one_line_says_budget_daemon_set_resource_price_and_remedy():
    (line,) = told(binding(), snapshot(UNBOUND))
    assert line.startswith(
        "WatchBudget mild: vector lets DaemonSet logging/vector list and watch all namespaces: "
    )
    price = " per pod on 100 nodes. "
    assert price in line
    assert len(line.partition(price)[2]) > 40  # of the remedy


def test_the_price_is_what_the_audit_says_afterwards():
    (line,) = told(binding(), snapshot(UNBOUND))
    bound = Binding(
        None, "vector", "ClusterRole", "vector", (Subject("ServiceAccount", "vector", "logging"),)
    )
    after = replace(UNBOUND, rbac=Rbac(UNBOUND.rbac.roles, (bound,)))
    audit = judge(after, (WARN,), today=TODAY, catalogue=load_catalogue(), calibration=CALIBRATION)
    (vector,) = [each for each in audit.judgements if each.daemon_set.name == "vector"]
    (finding,) = [each for each in vector.findings if each.rule == "unselective-watch"]
    assert line.partition(" namespaces: ")[2].partition(" per pod")[0] in finding.message


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "User", "name": "system:serviceaccount:logging:vector"},
        {"kind": "Group", "name": "system:serviceaccounts:logging"},
        GROUP,
        {"kind": "Group", "name": "system:authenticated"},
    ],
)
def test_the_account_may_be_named_in_any_way(subject: dict[str, str]):
    assert any(
        "DaemonSet logging/vector" in line
        for line in told(binding("b", "vector", subject), snapshot(UNBOUND))
    )


@pytest.mark.parametrize(
    ("raw", "by"),
    [
        pytest.param(binding(role="missing"), snapshot(UNBOUND), id="a role that is not there yet"),
        pytest.param(binding(), snapshot(LOADED), id="it had that already"),
        pytest.param(
            binding(role="pods"), snapshot(replace(UNBOUND, rbac=Rbac((PODS,)))), id="nothing that is priced"
        ),
        pytest.param(
            binding("b", "vector", {"kind": "ServiceAccount", "name": "x", "namespace": "logging"}),
            snapshot(UNBOUND),
            id="an account of nobody",
        ),
        pytest.param(
            binding(
                "b", "vector", {"kind": "ServiceAccount", "name": "node-exporter", "namespace": "monitoring"}
            ),
            snapshot(UNBOUND),
            id="an agent that does not use its account",
        ),
        pytest.param(
            binding(), snapshot(UNBOUND, budget(enforcement={"action": "Annotate"})), id="nobody minds"
        ),
        pytest.param(
            binding(),
            snapshot(UNBOUND, budget(daemonSetSelector={"matchLabels": {"app": "other"}})),
            id="nobody governs it",
        ),
        pytest.param(
            binding(),
            snapshot(UNBOUND, budget(resources=[{"group": "", "resource": "pods"}])),
            id="nobody prices it",
        ),
        pytest.param(
            binding(),
            snapshot(
                UNBOUND,
                budget(
                    exemptions=[{"namespace": "logging", "name": "vector", "rules": ["*"], "reason": "r"}]
                ),
            ),
            id="it is exempted",
        ),
        pytest.param(binding(), None, id="nothing is read yet"),
    ],
)
def test_where_nothing_is_handed_out_that_anyone_minds_nothing_is_said(raw: object, by: Snapshot | None):
    assert told(raw, by) == ()


def test_an_aggregated_role_hands_out_what_it_will_be_made_of():
    part = Role(None, "part", (PolicyRule(("*",), ("",), ("*",)),), labels={"to": "whole"})
    whole = Role(None, "whole", (), aggregation=(LabelSelector((("to", "whole"),)),))
    (line,) = told(binding(role="whole"), snapshot(replace(UNBOUND, rbac=Rbac((part, whole)))))
    assert "logging/vector list and watch all namespaces" in line


def test_what_the_server_said_before_does_not_hide_what_is_about_to_be_granted():
    account = ("logging", "vector", NAMESPACES)
    no = AccessReviews("asked", {(*account, "list"): False, (*account, "watch"): False})
    (line,) = told(binding(), snapshot(replace(UNBOUND, access=no)))
    assert "logging/vector list and watch all namespaces" in line
    yes = AccessReviews("asked", {(*account, "list"): True, (*account, "watch"): True})
    assert told(binding(), snapshot(replace(UNBOUND, access=yes))) == ()
    # Of what the binding does not hand out the server's no holds: a path it denies stays denied.
    lists = Role(None, "lists", (PolicyRule(("list",), ("",), ("namespaces",)),))
    denied = replace(LOADED, access=no, rbac=replace(LOADED.rbac, roles=(*LOADED.rbac.roles, lists)))
    (line,) = told(binding("more", "lists"), snapshot(denied), name="more")
    assert "logging/vector list all namespaces" in line


def test_an_update_counts_what_it_adds():
    bound = binding("agents", "vector", {"kind": "ServiceAccount", "name": "other", "namespace": "logging"})
    there = Binding(None, "agents", "ClusterRole", "vector", (Subject("ServiceAccount", "other", "logging"),))
    by = snapshot(replace(UNBOUND, rbac=Rbac(UNBOUND.rbac.roles, (there,))))
    more = copy.deepcopy(bound)
    more["subjects"].append({"kind": "ServiceAccount", "name": "vector", "namespace": "logging"})
    rest = {"operation": "UPDATE", "oldObject": bound, "name": "agents"}
    assert len(told(more, by, **rest)) == 1
    assert told(bound, by, **rest) == ()
    # Letting go of a finalizer is an update too.
    more["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    assert told(more, by, **rest) == ()


def test_the_strictest_budget_speaks():
    (line,) = told(binding(), snapshot(UNBOUND, WARN, budget("strict")))
    assert line.startswith("WatchBudget strict: ")


def crowd(count: int) -> Snapshot:
    granted = budget("broad", enforcement={"action": "Deny", "minimumEvidence": "granted"})
    role = Role(None, "vector", (PolicyRule(("watch",), ("",), ("namespaces",)),))
    items = [daemon_set(name=f"agent-{n}", service_account=f"agent-{n}", nodes=n) for n in range(count)]
    return snapshot(fleet(*items, rbac=Rbac((role,)), complete_rbac=True), granted, known=False)


def test_a_group_that_names_all_is_bounded_and_says_so():
    lines = told(binding("all", "vector", GROUP), crowd(MOST_JUDGED + 30), name="all")
    assert len(lines) == MOST_WARNINGS + 2
    assert f"DaemonSet logging/agent-{MOST_JUDGED + 29} watch" in lines[0]  # on the most nodes
    assert lines[-2] == f"WatchBudget: and {MOST_JUDGED - MOST_WARNINGS} more"
    assert lines[-1] == "WatchBudget: ClusterRoleBinding all names 30 more DaemonSets, not judged here"
    assert sum(map(len, lines)) <= 4096


def test_only_those_named_are_judged():
    def work(count: int) -> int:
        by, calls = crowd(count), 0
        _ = by.bench.appraisals
        named = binding("b", "vector", {"kind": "ServiceAccount", "name": "agent-3", "namespace": "logging"})

        def counts(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(counts)
        try:
            assert len(told(named, by)) == 1
        finally:
            sys.setprofile(None)
        return calls

    work(10)  # what is done once
    assert work(410) - work(210) < 200 * 25  # looking for them, where judging takes a thousand calls


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES: list[Callable[[dict[str, Any], Any], None]] = [
    lambda raw, value: raw.update(metadata=value),
    lambda raw, value: raw["metadata"].update(name=value),
    lambda raw, value: raw.update(roleRef=value),
    lambda raw, value: raw["roleRef"].update(name=value),
    lambda raw, value: raw["roleRef"].update(kind=value),
    lambda raw, value: raw.update(subjects=value),
    lambda raw, value: raw["subjects"].append(value),
    lambda raw, value: raw["subjects"][0].update(name=value),
    lambda raw, value: raw.update(kind=value, apiVersion=value),
]
WHOLE = snapshot(UNBOUND)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), junk, st.sampled_from(["CREATE", "UPDATE", "DELETE", "CONNECT"]))
def test_hostile_input_never_raises(
    place: Callable[[dict[str, Any], Any], None], value: object, operation: str
):
    raw = binding()
    place(raw, value)
    told(raw, WHOLE, operation=operation, oldObject={})
    told(raw, WHOLE, operation=operation, oldObject={}, name="")


def test_the_longest_names_and_many_subjects_are_answered():
    long = binding("b" * 253, "vector", *[{"kind": "User", "name": f"u{n}"} for n in range(20_000)], GROUP)
    assert told(long, WHOLE, name="b" * 253)[0].startswith("WatchBudget mild: bbb")
