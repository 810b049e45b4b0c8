"""The judgement of a whole fleet: who governs whom, which verdict wins, what the totals say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from policy_samples import (
    CACHE,
    CALIBRATION,
    CENSUS,
    MIB,
    NOTHING_KNOWN,
    STORED,
    TODAY,
    audit,
    budget,
    daemon_set,
    declared,
    fleet,
    only,
    rules_of,
)
from watchbudget import cli
from watchbudget.api.budget import Metadata, WatchBudget
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.demand.model import Watches
from watchbudget.inventory import manifests
from watchbudget.inventory.fleet import (
    AccessReviews,
    Census,
    Container,
    Fleet,
    LimitRange,
    Problem,
    ResourceCensus,
    ServiceAccount,
    Source,
)
from watchbudget.inventory.rbac import Binding, PolicyRule, Rbac, Role, Subject
from watchbudget.policy.default_budget import default_budget
from watchbudget.policy.judge import Judge, judge
from watchbudget.policy.model import Action, Verdict

SMALL = Census((ResourceCensus(NAMESPACES, 500, 100_000, "metrics"),), (1, 36))
DEMO = Path(cli.__file__).parent / "demo_agents.yaml"
WATCHER = Rbac(
    roles=(Role(None, "agent", (PolicyRule(("list", "watch"), ("",), ("namespaces",)),)),),
    bindings=(
        Binding(None, "agent", "ClusterRole", "agent", (Subject("ServiceAccount", "agent", "logging"),)),
    ),
)


def test_a_daemon_set_that_watches_nothing_has_no_findings_whatever_is_asked():
    every_rule = [{"name": rule, "action": "Deny"} for rule in ("node-selector-missing", "over-pod-limit")]
    strict = budget(
        limits={"cachePerPod": "1Ki"},
        enforcement={"action": "Deny", "minimumEvidence": "granted", "rules": every_rule},
    )
    accounts = (ServiceAccount("logging", "agent"),)
    judgement = only(fleet(daemon_set(), service_accounts=accounts), strict)
    assert [demand.watches for demand in judgement.demands] == [Watches.NO, Watches.NO]
    assert (judgement.findings, judgement.verdict) == ((), Verdict.ALLOW)
    assert judgement.bill.cache_per_pod_up_to == 0


def test_the_default_budget_warns():
    judgement = only(fleet(declared()), default_budget())
    assert rules_of(judgement) == ["memory-limit-missing", "unselective-watch"]
    assert {finding.budget for finding in judgement.findings} == {"default"}
    assert judgement.verdict is Verdict.WARN


def test_audit_and_annotate_let_everything_pass():
    for action in ("Audit", "Annotate"):
        judgement = only(fleet(declared()), budget(enforcement={"action": action}))
        assert judgement.findings
        assert judgement.verdict is Verdict.ALLOW


class TestEvidence:
    """Permission alone, or an owner's word, count as the budget says."""

    def test_permission_alone_counts_only_where_granted_is_enough(self):
        one = fleet(daemon_set(), rbac=WATCHER)
        usual = only(one, budget())
        assert (usual.findings, usual.bill.cache_per_pod) == ((), 0)
        assert usual.bill.cache_per_pod_up_to > 0
        strict = only(one, budget(enforcement={"action": "Deny", "minimumEvidence": "granted"}))
        assert rules_of(strict) == ["memory-limit-missing", "unselective-watch"]
        assert strict.bill == usual.bill  # what is shown stays what is known

    def test_limits_count_what_the_budget_counts(self):
        one = fleet(daemon_set(), rbac=WATCHER)
        limited = {"limits": {"cachePerPod": "1Mi"}}
        assert "over-pod-limit" not in rules_of(only(one, budget(**limited)))
        granted = {"action": "Deny", "minimumEvidence": "granted"}
        assert "over-pod-limit" in rules_of(only(one, budget(**limited, enforcement=granted)))

    def test_a_declaration_is_not_enough_where_observation_is_asked_for(self):
        asked = budget(enforcement={"action": "Deny", "minimumEvidence": "observed"})
        judgement = only(fleet(declared()), asked)
        assert (judgement.findings, judgement.verdict) == ((), Verdict.ALLOW)

    def test_a_word_that_weakens_counts_only_where_it_is_trusted(self):
        one = fleet(declared(watches='{"namespaces": "none"}'), rbac=WATCHER)
        granted = {"action": "Deny", "minimumEvidence": "granted"}
        doubting = budget("doubting", enforcement=granted)
        trusting = budget("trusting", enforcement=granted | {"trustDeclarations": True})
        assert only(one, trusting).findings == ()
        assert only(one, doubting).findings
        both = only(one, trusting, doubting)
        assert {finding.budget for finding in both.findings} == {"doubting"}
        assert both.bill.cache_per_pod_up_to > 0  # shown as the doubting one sees it

    def test_a_declaration_that_cannot_be_read_is_a_problem(self):
        result = audit(fleet(declared(watches="[]")), budget())
        assert any("watchbudget.io/watches" in (problem.field or "") for problem in result.problems)


class TestGoverning:
    @pytest.mark.parametrize(
        ("selector", "governed"),
        [
            ({}, True),
            ({"matchLabels": {"app": "agent"}}, True),
            ({"matchLabels": {"app": "other"}}, False),
            ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["agent"]}]}, False),
        ],
    )
    def test_by_the_daemon_sets_labels(self, selector: dict, governed: bool):
        judgement = only(fleet(declared(labels={"app": "agent"})), budget(daemonSetSelector=selector))
        assert bool(judgement.findings) is governed

    @pytest.mark.parametrize(
        ("selector", "governed"),
        [
            ({"matchLabels": {"kubernetes.io/metadata.name": "logging"}}, True),
            ({"matchLabels": {"kubernetes.io/metadata.name": "other"}}, False),
            ({"matchLabels": {"tier": "infra"}}, True),
            ({"matchLabels": {"tier": "apps"}}, False),
        ],
    )
    def test_by_the_namespaces_labels_its_name_implied(self, selector: dict, governed: bool):
        one = fleet(declared(), namespace_labels={"logging": {"tier": "infra"}})
        result = audit(one, budget(namespaceSelector=selector))
        assert bool(result.judgements[0].findings) is governed
        assert result.problems == ()

    def test_unknown_labels_of_a_namespace_are_a_problem_said_once(self):
        two = fleet(declared("a"), declared("b"))
        result = audit(two, budget(namespaceSelector={"matchLabels": {"tier": "infra"}}))
        assert not any(judgement.findings for judgement in result.judgements)
        (problem,) = result.problems
        assert problem.severity == "warning"
        assert "labels of namespace logging are not known" in problem.message
        assert problem.object == "WatchBudget test"

    def test_the_name_is_known_even_where_labels_are_not(self):
        by_name = {"matchLabels": {"kubernetes.io/metadata.name": "logging"}}
        result = audit(fleet(declared()), budget(namespaceSelector=by_name))
        assert result.judgements[0].findings
        assert result.problems == ()

    def test_what_no_budget_governs_is_priced_and_not_judged(self):
        elsewhere = budget(daemonSetSelector={"matchLabels": {"app": "other"}})
        for budgets in ((), (elsewhere,)):
            judgement = only(fleet(declared()), *budgets)
            assert (judgement.findings, judgement.verdict) == ((), Verdict.ALLOW)
            assert judgement.bill.cache_per_pod > 0


class TestSeveralBudgets:
    def test_each_judges_alone_and_the_strictest_wins(self):
        warns, denies = budget("warns", enforcement={"action": "Warn"}), budget("denies")
        judgement = only(fleet(declared()), warns, denies)
        assert judgement.verdict is Verdict.DENY
        assert [(finding.budget, finding.action) for finding in judgement.findings] == [
            ("denies", Action.DENY),
            ("denies", Action.DENY),
            ("warns", Action.WARN),
            ("warns", Action.WARN),
        ]

    def test_an_exemption_silences_only_its_own(self):
        exempt = [{"namespace": "logging", "name": "agent", "rules": ["*"], "reason": "known"}]
        judgement = only(fleet(declared()), budget("lenient", exemptions=exempt), budget("strict"))
        silenced = {finding.budget for finding in judgement.findings if finding.exempted}
        assert silenced == {"lenient"}
        assert judgement.verdict is Verdict.DENY
        assert only(fleet(declared()), budget("lenient", exemptions=exempt)).verdict is Verdict.ALLOW

    def test_a_budget_prices_its_own_resources_alone(self):
        policies = [{"group": "networking.k8s.io", "resource": "networkpolicies"}]
        other = budget("other", resources=policies)
        assert only(fleet(declared()), other).findings == ()
        pods = GroupResource("", "pods")
        own = budget("pods", resources=[{"group": "", "resource": "pods"}], limits={"cachePerPod": "1Mi"})
        census = Census((*CENSUS.resources, ResourceCensus(pods, 10_000, 10**8, "flag")))
        judgement = only(fleet(declared(watches='{"pods": "all"}'), census=census), own, budget("usual"))
        assert {finding.budget for finding in judgement.findings} == {"pods"}
        assert [demand.resource for demand in judgement.demands] == [pods, NAMESPACES, NETWORK_POLICIES]

    def test_sums_are_each_budgets_own(self):
        two = fleet(declared("a", labels={"team": "x"}), declared("b"))
        narrow = budget(
            "narrow",
            daemonSetSelector={"matchLabels": {"team": "x"}},
            limits={"cacheTotal": "5Gi"},  # what one of the two takes fits, both do not
        )
        wide = budget("wide", limits={"cacheTotal": "5Gi"})
        found = {
            (judgement.daemon_set.name, finding.budget)
            for judgement in audit(two, narrow, wide).judgements
            for finding in judgement.findings
            if finding.rule == "over-total-limit"
        }
        assert found == {("a", "wide"), ("b", "wide")}


class TestAudit:
    def test_worst_first(self):
        tight = (Container("agent", "x", memory_limit=MIB),)
        roomy = (Container("agent", "x", memory_limit=2**40),)
        only_limits = budget(
            enforcement={"action": "Deny", "rules": [{"name": "unselective-watch", "action": "Off"}]}
        )
        items = (
            declared("clean", watches="{}"),
            declared("small", containers=roomy, nodes=10),
            declared("large", containers=roomy, nodes=50),
            declared("denied", containers=tight, nodes=1),
            declared("a-large", containers=roomy, nodes=50),
        )
        order = [judgement.daemon_set.name for judgement in audit(fleet(*items), only_limits).judgements]
        assert order == ["denied", "a-large", "large", "small", "clean"]

    def test_totals(self):
        items = (declared("a", nodes=10), declared("b", nodes=5), daemon_set(name="c"))
        totals = audit(fleet(*items), budget()).totals
        per_pod = only(fleet(declared()), budget()).bill.cache_per_pod
        assert totals.daemon_sets == 3
        assert totals.cache_per_node == 2 * per_pod
        assert totals.cache_total == 15 * per_pod
        assert totals.list_bytes_if_all_restart == 15 * STORED
        assert totals.findings == {"memory-limit-missing": 2, "unselective-watch": 2}
        assert totals.freed_by_remedies == 0

    def test_exempted_findings_are_not_counted(self):
        exempt = [{"namespace": "logging", "name": "a", "rules": ["unselective-watch"], "reason": "known"}]
        totals = audit(fleet(declared("a")), budget(exemptions=exempt)).totals
        assert totals.findings == {"memory-limit-missing": 1}

    def test_an_unknown_number_of_nodes_is_the_fleets(self):
        known, unknown = only(fleet(declared(nodes=3))), only(fleet(declared()))
        assert (known.bill.nodes, unknown.bill.nodes) == (3, 100)

    def test_a_missing_census_is_a_problem_and_not_a_price_of_nothing(self):
        result = audit(fleet(declared("a"), declared("b"), census=Census()), budget())
        assert [judgement.bill.unpriced for judgement in result.judgements] == [
            (NAMESPACES, NETWORK_POLICIES)
        ] * 2
        messages = [problem.message for problem in result.problems]
        assert len(messages) == 2
        assert messages[0].startswith("there is no count of namespaces: watches of it are not priced")
        assert rules_of(result.judgements[0]) == ["memory-limit-missing", "unselective-watch"]

    def test_the_fleets_own_problems_stay(self):
        problem = Problem(Source("a.yaml"), "broken")
        assert audit(fleet(problems=(problem,)), budget()).problems == (problem,)

    def test_an_empty_fleet(self):
        result = audit(fleet(), budget())
        assert (result.judgements, result.totals.cache_total, result.budgets) == ((), 0, ("test",))

    def test_the_namespaces_default_limit_is_heeded(self):
        ranges = (LimitRange("logging", "default", 2**40),)
        judgement = only(fleet(declared(), limit_ranges=ranges), budget())
        assert rules_of(judgement) == ["unselective-watch"]

    def test_two_of_one_name_are_both_judged(self):
        twins = fleet(declared(nodes=1), declared(nodes=2))
        result = audit(twins, budget(limits={"cacheTotal": 3 * CACHE}))
        assert [judgement.bill.nodes for judgement in result.judgements] == [2, 1]
        assert result.totals.cache_total == 3 * result.judgements[0].bill.cache_per_pod


class TestAdmission:
    """One DaemonSet at a time, against the sums of the rest: the same word as the audit's."""

    def judge(self, of, *budgets):  # noqa: ANN002
        return Judge(of, budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)

    def test_the_webhooks_word_is_the_audits(self):
        limited = budget(limits={"cachePerNode": "100Mi", "cacheTotal": "5Gi"})
        items = (declared("a"), declared("b"), daemon_set(name="c"), declared("d", nodes=0))
        of = fleet(*items)
        bench = self.judge(of, limited, default_budget())
        ledgers = bench.ledgers(map(bench.appraise, items))
        by_name = {each.daemon_set.name: each for each in audit(of, limited, default_budget()).judgements}
        for item in items:
            assert bench.judge_one(item, ledgers) == by_name[item.name]

    def test_a_new_one_adds_to_the_sums_and_a_changed_one_takes_its_own_place(self):
        limited = budget(limits={"cacheTotal": "8Gi"})  # holds two of 3.9 GiB each, not three
        there = declared("a"), declared("b")
        bench = self.judge(fleet(*there), limited)
        ledgers = bench.ledgers(map(bench.appraise, there))
        over = "over-total-limit"
        assert over not in rules_of(bench.judge_one(declared("b"), ledgers))
        assert over in rules_of(bench.judge_one(declared("new"), ledgers))
        assert over in rules_of(bench.judge_one(declared("b", nodes=101 * 2), ledgers))
        assert over not in rules_of(bench.judge_one(replace(declared("new"), nodes=0), ledgers))


class TestAgain:
    """A judge that goes on, as the operator's does after every event."""

    def bench(self, of: Fleet, *budgets: WatchBudget) -> Judge:
        return Judge(of, budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)

    def kept(self, before: Judge, after: Judge) -> list[str]:
        """The DaemonSets whose judgement was not made again."""
        old = {id(judgement) for judgement in before.audit().judgements}
        return sorted(each.daemon_set.name for each in after.audit().judgements if id(each) in old)

    def test_what_did_not_change_is_not_judged_again(self):
        one, two, three = declared("one"), declared("two"), declared("three")
        before = self.bench(fleet(one, two), budget())
        after = before.again(fleet(one, replace(two, nodes=3), three), (budget(),), today=TODAY)
        assert self.kept(before, after) == ["one"]
        # A census that counted the same is the same, whenever it was read.
        read = tuple(replace(each, read_at="2026-11-24T10:00:00Z") for each in CENSUS.resources)
        later = after.again(
            replace(after.fleet, census=replace(CENSUS, resources=read)), after.budgets, today=TODAY
        )
        assert self.kept(after, later) == ["one", "three", "two"]

    def test_a_limit_on_all_together_is_held_against_those_that_did_not_change(self):
        limited = budget(limits={"cacheTotal": "4Gi"})
        one, two = declared("one"), declared("two")
        before = self.bench(fleet(one), limited)
        assert all(each.rule != "over-total-limit" for each in before.audit().judgements[0].findings)
        after = before.again(fleet(one, two), (limited,), today=TODAY)
        assert self.kept(before, after) == []
        for judgement in after.audit().judgements:
            assert "over-total-limit" in rules_of(judgement)

    @pytest.mark.parametrize(
        "change",
        [
            {"nodes": 300},
            {"census": replace(SMALL, server_version=(1, 33))},
            {"census": CENSUS},
            {"rbac": WATCHER},
            {"access": AccessReviews("asked", {("logging", "agent", NAMESPACES, "watch"): True})},
            {"complete_rbac": True},
            {"service_accounts": (ServiceAccount("logging", "agent", automount=False),)},
            {"limit_ranges": (LimitRange("logging", "default", 60 * MIB),)},
            {"namespace_labels": {"logging": {"team": "x"}}},
            {"shared_accounts": {("logging", "agent"): ("Deployment other",)}},
            {"daemon_sets": (declared("agent"), declared("other"))},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_whatever_else_changes_is_heeded(self, change: dict[str, Any]):
        item = daemon_set()
        courts = (
            budget(
                "broad",
                enforcement={"action": "Deny", "minimumEvidence": "granted"},
                limits={"cacheTotal": "1Ki"},
            ),
            budget("narrow", namespaceSelector={"matchLabels": {"team": "x"}}),
        )
        granted = {"rbac": WATCHER} if "shared_accounts" in change else {}
        there = fleet(item, declared("sure"), nodes=100, census=SMALL, **granted)
        if "daemon_sets" in change:
            change = {"daemon_sets": (*there.daemon_sets, *change["daemon_sets"][1:])}
        before, now = self.bench(there, *courts), replace(there, **change)
        anew = self.bench(now, *courts).audit()
        assert anew.judgements != before.audit().judgements
        assert before.again(now, courts, today=TODAY).audit() == anew

    def test_budgets_and_the_day_are_heeded(self):
        entry = {"namespace": "logging", "name": "agent", "rules": ["*"], "reason": "r", "until": str(TODAY)}
        there, until = fleet(declared()), budget(exemptions=[entry])
        before = self.bench(there, until)
        assert before.audit().judgements[0].verdict is Verdict.ALLOW
        later = before.again(there, (until,), today=TODAY + timedelta(days=1))
        assert later.audit().judgements[0].verdict is Verdict.DENY
        assert before.again(there, (budget(),), today=TODAY).audit().judgements[0].verdict is Verdict.DENY
        # What is reported in a budget is no part of how it judges.
        reported = until.model_copy(update={"metadata": Metadata(name="test", generation=7)})
        assert self.kept(before, before.again(there, (reported,), today=TODAY)) == ["agent"]

    def test_configuration_that_arrives_later_is_heeded(self):
        loaded = replace(manifests.load([DEMO]), nodes=100, census=CENSUS)
        rest: Any = {"today": TODAY, "catalogue": load_catalogue(), "calibration": CALIBRATION}
        without = Judge(replace(loaded, config_maps=()), (budget(),), **rest)
        assert without.audit() != judge(loaded, (budget(),), **rest)
        assert without.again(loaded, (budget(),), today=TODAY).audit() == judge(loaded, (budget(),), **rest)


@pytest.mark.parametrize("step", ["appraise", "_judge"])
def test_one_that_cannot_be_judged_by_a_fault_of_ours_is_set_apart(
    step: str, monkeypatch: pytest.MonkeyPatch
):
    made = getattr(Judge, step)

    def fails_on_one(self: Judge, item: object) -> object:
        if getattr(item, "daemon_set", item).name == "odd":
            raise KeyError("no such thing")
        return made(self, item)

    monkeypatch.setattr(Judge, step, fails_on_one)
    three = fleet(declared(name="one"), declared(name="odd"), declared(name="two"))
    found = audit(three, budget(enforcement={"action": "Warn"}))
    assert {each.daemon_set.name for each in found.judgements} == {"one", "two"}
    assert found.standings[0].governed == found.standings[0].violating == 2
    (problem,) = [each for each in found.problems if each.object and "odd" in each.object]
    assert problem.severity == "error"
    assert "a fault of watchbudget; please report it: KeyError at test_judge.py:" in problem.message
    monkeypatch.undo()
    assert len(audit(three, budget()).judgements) == 3
