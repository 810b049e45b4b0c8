"""Where a fleet stands under each budget: counts, sums, who is named; and that the size stays bounded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import CACHE, CALIBRATION, NOTHING_KNOWN, TODAY, audit, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.api.quantity import round_two_digits
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.judge import Judge
from watchbudget.policy.model import Judgement, Standing, Verdict
from watchbudget.policy.standing import MAX_VIOLATORS, standings_of

EXEMPTION = {"namespace": "logging", "name": "agent", "rules": ["*"], "reason": "known"}


def standing(*items: DaemonSet, of: WatchBudget | None = None, nodes: int = 100) -> Standing:
    (found,) = audit(fleet(*items, nodes=nodes), of or budget()).standings
    return found


def test_counts():
    found = standing(
        declared("agent"),
        declared("other"),
        declared("silent", '{"namespaces": "none", "networkpolicies.networking.k8s.io": "none"}'),
        declared("elsewhere", labels={"team": "b"}),
        of=budget(
            daemonSetSelector={"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
            exemptions=[EXEMPTION],
        ),
    )
    assert (found.governed, found.watching, found.violating, found.exempted) == (3, 2, 1, 1)
    assert (found.denied, found.warned, found.audited) == (1, 0, 0)
    # nothing is known of what `silent` may watch: its owner's word does not count
    assert found.uncertain == 1
    assert [each.name for each in found.violators] == ["other"]


def test_findings_below_annotate_violate_nothing():
    found = standing(declared(), of=budget(enforcement={"action": "Audit"}))
    assert (found.violating, found.audited, found.denied) == (0, 1, 0)
    annotated = standing(declared(), of=budget(enforcement={"action": "Annotate"}))
    assert (annotated.violating, annotated.audited, annotated.warned) == (1, 0, 0)


def test_violators_are_named_with_what_counts():
    rules = [{"name": "unselective-watch", "action": "Audit"}]
    found = standing(declared(), of=budget(enforcement={"action": "Warn", "rules": rules}))
    (violator,), (worst,) = found.violators, found.worst
    assert "unselective-watch" in worst.findings
    assert violator.findings
    assert set(violator.findings) == set(worst.findings) - {"unselective-watch"}


def test_each_budget_judges_by_itself():
    mild, strict = budget("mild", enforcement={"action": "Warn"}), budget("strict")
    found = audit(fleet(declared()), mild, strict).standings
    assert [each.budget for each in found] == ["mild", "strict"]
    assert [(each.warned, each.denied) for each in found] == [(1, 0), (0, 1)]
    assert [each.worst[0].verdict for each in found] == [Verdict.WARN, Verdict.DENY]


def test_an_exceeded_limit_is_counted_even_if_exempted():
    found = standing(declared(), of=budget(limits={"cachePerPod": "1Mi"}, exemptions=[EXEMPTION]))
    assert found.over == {"over-pod-limit": 1}
    assert found.findings == {}
    assert found.violating == 0


def test_sums_are_those_of_the_bills():
    result = audit(fleet(declared("a"), declared("b", node_selector=(("zone", "x"),)), nodes=50), budget())
    (found,) = result.standings
    bills = [each.bill for each in result.judgements]
    assert found.cache_total == sum(bill.cache_total for bill in bills)
    assert found.cache_per_node == sum(bill.cache_per_pod for bill in bills) > CACHE
    assert found.cache_per_pod == max(bill.cache_per_pod for bill in bills)
    assert found.cache_total_up_to == sum(bill.cache_total_up_to for bill in bills) > found.cache_total
    assert found.cache_per_node_up_to > found.cache_per_node
    assert found.list_bytes_if_all_restart == sum(bill.list_bytes_if_all_restart for bill in bills)


def test_of_several_remedies_of_one_daemon_set_the_best_counts_unless_exempted():
    of, items = budget(), fleet(declared("a"), declared("b"))
    bench = Judge(items, [of], today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)
    appraisals = [bench.appraise(item) for item in items.daemon_sets]
    ledgers = bench.ledgers(appraisals)

    def freeing(appraisal: Appraisal, exempted: str | None) -> Judgement:
        judgement = bench.judgement(appraisal, ledgers)
        (first, second) = judgement.findings
        findings = (replace(first, freed_bytes=7), replace(second, freed_bytes=9, exempted=exempted))
        return replace(judgement, findings=findings)

    judged = [(each, freeing(each, why)) for each, why in zip(appraisals, (None, "known"), strict=True)]
    (found,) = standings_of([of], judged, ledgers)
    assert found.freed_by_remedies == 9 + 7


def test_without_budgets_there_is_no_standing():
    assert audit(fleet(declared())).standings == ()


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5000), max_size=40), st.randoms())
def test_the_named_are_few_the_dearest_and_in_one_order(nodes: list[int], chance: object):
    items = [declared(f"agent-{index:02}", nodes=number) for index, number in enumerate(nodes)]
    found = standing(*items)
    assert len(found.worst) == min(10, len(items))
    assert len(found.violators) == min(MAX_VIOLATORS, len(items))
    totals = [round_two_digits(each.cache_total) for each in found.worst]
    assert totals == sorted(totals, reverse=True)
    if totals:
        left = {item.name for item in items} - {each.name for each in found.worst}
        dearest_left = max((item.nodes or 0 for item in items if item.name in left), default=0)
        assert dearest_left <= max(each.nodes for each in found.worst) * 1.06 + 1
    chance.shuffle(items)  # type: ignore[attr-defined]
    assert standing(*items) == found
