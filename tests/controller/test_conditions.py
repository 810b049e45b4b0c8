"""What conditions say: reasons, and messages that stand alone and stay put."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import CENSUS, audit, budget, declared, fleet
from watchbudget.api.budget import BudgetError, parse_budget
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.controller.conditions import (
    Claim,
    accepted,
    census_fresh,
    compliant,
    refused,
    within_budget,
)
from watchbudget.demand.model import Evidence
from watchbudget.inventory.fleet import Census, ResourceCensus
from watchbudget.policy.model import Ranked, Standing, Verdict

MIB = 2**20
BOTH = (NAMESPACES, NETWORK_POLICIES)


def told(claim: Claim) -> tuple[str, str]:
    return claim.status, claim.reason


def ranked(name: str, *rules: str) -> Ranked:
    return Ranked("logging", name, Verdict.DENY, Evidence.CATALOGUE, 3, 1, 3, rules)


def test_names_the_first_violators_and_counts_the_others():
    standing = Standing(
        "b", governed=23, violating=5, violators=(ranked("a", "duplicate-watch"), ranked("b", "x", "y"))
    )
    claim = compliant(standing)
    assert told(claim) == ("False", "Findings")
    assert claim.message == (
        "5 of 23 governed DaemonSets have findings: logging/a (duplicate-watch), logging/b (x, y) and 3 more"
    )


@pytest.mark.parametrize(
    ("standing", "reason", "message"),
    [
        (Standing("b"), "NothingGoverned", "The budget's selectors match no DaemonSet"),
        (Standing("b", governed=1), "NoFindings", "None of 1 governed DaemonSet has a finding that counts"),
        (
            Standing("b", governed=4, exempted=2),
            "NoFindings",
            "None of 4 governed DaemonSets has a finding that counts; 2 with exempted findings",
        ),
        (
            Standing("b", governed=4, audited=3),
            "OnlyAudited",
            (
                "3 of 4 governed DaemonSets have findings that are only reported, by action Audit of the "
                "budget or of a rule"
            ),
        ),
        (
            Standing(
                "b", governed=9, audited=4, worst=(ranked("a", "x"), ranked("quiet"), ranked("b", "x", "y"))
            ),
            "OnlyAudited",
            (
                "4 of 9 governed DaemonSets have findings that are only reported, by action Audit of the "
                "budget or of a rule: logging/a (x), logging/b (x, y) and 2 more"
            ),
        ),
    ],
)
def test_compliant(standing: Standing, reason: str, message: str):
    claim = compliant(standing)
    assert told(claim) == ("True", reason)
    assert claim.message == message


@pytest.mark.parametrize("standing", [Standing("b"), Standing("b", governed=1, violating=1)])
def test_what_could_not_be_read_is_said(standing: Standing):
    assert compliant(standing, unread=2).message.endswith("; 2 objects could not be read and judged")


def test_a_limit_exceeded_names_figure_and_limit():
    of = budget(limits={"cachePerPod": "16Mi", "cachePerNode": "32Mi", "cacheTotal": "1Ti"})
    (standing,) = audit(fleet(declared()), of).standings
    claim = within_budget(of, standing)
    assert told(claim) == ("False", "OverLimits")
    assert claim.message == (
        "Caches of governed DaemonSets take 39Mi in a pod (16Mi allowed), 39Mi on a node (32Mi allowed); "
        "within the limit: 3.8Gi on all nodes (1Ti allowed)"
    )


@pytest.mark.parametrize(
    ("field", "reason"),
    [("cachePerPod", "OverPodLimit"), ("cachePerNode", "OverNodeLimit"), ("cacheTotal", "OverTotalLimit")],
)
def test_one_limit_exceeded_is_the_reason(field: str, reason: str):
    of = budget(limits={field: "1Mi"})
    (standing,) = audit(fleet(declared()), of).standings
    assert told(within_budget(of, standing)) == ("False", reason)
    exemption = {"namespace": "logging", "name": "agent", "rules": ["*"], "reason": "known"}
    exempting = budget(limits={field: "1Mi"}, exemptions=[exemption])
    (standing,) = audit(fleet(declared()), exempting).standings
    assert told(within_budget(exempting, standing)) == ("False", reason)
    assert compliant(standing).status == "True"


def test_no_limits_and_all_kept():
    assert told(within_budget(budget(), Standing("b"))) == ("True", "NoLimits")
    of = budget(limits={"cachePerNode": "1500Mi"})
    claim = within_budget(of, Standing("b", cache_per_node=31 * MIB))
    assert told(claim) == ("True", "WithinLimits")
    assert claim.message == "Caches of governed DaemonSets take 31Mi on a node (1500Mi allowed)"


def test_a_limit_that_no_rule_holds_is_not_called_kept():
    off = {"action": "Deny", "rules": [{"name": "over-node-limit", "action": "Off"}]}
    of = budget(limits={"cachePerNode": "32Mi"}, enforcement=off)
    (standing,) = audit(fleet(declared()), of).standings
    claim = within_budget(of, standing)
    assert told(claim) == ("True", "WithinLimits")
    assert claim.message.endswith("39Mi on a node (not held against 32Mi: over-node-limit is off)")


@given(st.integers(1024, 2**50), st.integers(1024, 2**50))
def test_rounding_never_turns_the_comparison_round(size: int, limit: int):
    over = {"over-node-limit": 1} if size > limit else {}
    of = budget(limits={"cachePerNode": limit})
    message = within_budget(of, Standing("b", cache_per_node=size, over=over)).message
    assert ("just over" in message) <= (size > limit)
    assert ("nearly" in message) <= (size <= limit)


def test_fresh_whatever_the_age_says_the_same():
    claims = {census_fresh(BOTH, CENSUS, age, 900) for age in (0.0, 10.0, 900.0)}
    (claim,) = claims
    assert told(claim) == ("True", "Read")
    assert claim.message == "The counts of namespaces and networkpolicies are recent"


def test_stale_says_since_when_and_the_same_for_ever():
    old = Census(tuple(replace(entry, read_at="2026-11-24T11:00:00Z") for entry in CENSUS.resources))
    (claim,) = {census_fresh(BOTH, old, age, 900) for age in (901.0, 5000.0)}
    assert told(claim) == ("False", "Stale")
    assert "2026-11-24T11:00:00Z" in claim.message


@pytest.mark.parametrize(
    ("census", "age", "expected", "word"),
    [
        (CENSUS, None, ("Unknown", "NotRead"), "not been read"),
        (Census(CENSUS.resources[:1]), 1.0, ("False", "NotCounted"), "no count of networkpolicies;"),
        (Census((ResourceCensus(NAMESPACES, 1, 1, "assumed"),)), 1.0, ("False", "NotCounted"), "networkp"),
        (
            Census(tuple(replace(entry, source="assumed") for entry in CENSUS.resources)),
            1.0,
            ("False", "Assumed"),
            "namespaces and networkpolicies",
        ),
        (
            Census((CENSUS.resources[0], replace(CENSUS.resources[1], bytes_assumed=True))),
            1.0,
            ("True", "SizeAssumed"),
            "size of networkpolicies",
        ),
        (
            Census((CENSUS.resources[0], replace(CENSUS.resources[1], objects=0, served=False))),
            1.0,
            ("False", "NotServed"),
            "serves no networkpolicies (spec.resources)",
        ),
    ],
)
def test_census_fresh(census: Census, age: float | None, expected: tuple[str, str], word: str):
    claim = census_fresh(BOTH, census, age, 900)
    assert told(claim) == expected
    assert word in claim.message


def test_a_refused_budget_names_its_fields():
    raw = {
        "apiVersion": "watchbudget.io/v1alpha1",
        "kind": "WatchBudget",
        "metadata": {"name": "b"},
        "spec": {"enforcement": {"action": "Explode"}, "limits": {"cachePerRack": "1Gi"}},
    }
    with pytest.raises(BudgetError) as caught:
        parse_budget(raw)
    claim = refused(caught.value)
    assert told(claim) == ("False", "Invalid")
    assert "spec.enforcement.action" in claim.message
    assert "spec.limits.cachePerRack" in claim.message


def test_what_the_judgement_did_without_stands_beside_accepted():
    assert accepted(("labels of x are not known",)).message == (
        "The budget is in force; labels of x are not known"
    )


@given(st.text(max_size=300), st.integers(1, 40))
def test_messages_are_bounded(text: str, number: int):
    standing = Standing("b", governed=9, violating=9, violators=(ranked(text * 10, *[text] * number),) * 3)
    assert len(compliant(standing).message) <= 1024
    assert len(accepted([text] * 200).message) <= 1024
    many = tuple(GroupResource("g", f"{text}{index}") for index in range(50))
    assert len(census_fresh(many, Census(), 1, 900).message) <= 1024
