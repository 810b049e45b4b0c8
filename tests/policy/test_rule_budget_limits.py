"""over-pod-limit, over-node-limit, over-total-limit: at the limit is within it, one byte above is over."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policy_samples import CACHE, OPTION, budget, context, declared, demand, fleet, only, rules_of
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.demand.model import Watches
from watchbudget.policy.context import Context
from watchbudget.policy.rules import RULES

BY_ID = {rule.id: rule for rule in RULES}
CASES = [
    ("over-pod-limit", "cachePerPod", CACHE, {}),
    ("over-node-limit", "cachePerNode", 3 * CACHE, {"node_bytes": 3 * CACHE}),
    ("over-total-limit", "cacheTotal", 300 * CACHE, {"total_bytes": 300 * CACHE}),
]


@pytest.mark.parametrize(("rule", "field", "cost", "sums"), CASES)
class TestEach:
    def of(self, field: str, limit: int, sums: dict[str, int], *demands: object) -> Context:
        return context(*demands, of=budget(limits={field: limit}), **sums)  # type: ignore[arg-type]

    def test_fires_above_and_not_at_the_limit(self, rule: str, field: str, cost: int, sums: dict[str, int]):
        check = BY_ID[rule].check
        assert check(self.of(field, cost, sums)) is None
        material = check(self.of(field, cost - 1, sums))
        assert material is not None
        assert "the budget allows" in material.message

    def test_says_up_to_where_more_is_possible(self, rule: str, field: str, cost: int, sums: dict[str, int]):
        check = BY_ID[rule].check
        sure = check(self.of(field, cost - 1, sums))
        unsure = check(self.of(field, cost - 1, sums, demand(), demand(NETWORK_POLICIES, Watches.DEPENDS)))
        assert sure is not None
        assert unsure is not None
        more = "5.6 GiB" if rule == "over-total-limit" else "57 MiB"
        assert f", up to {more}" in unsure.message
        assert f", up to {more}" not in sure.message

    def test_the_remedy_is_to_watch_less(self, rule: str, field: str, cost: int, sums: dict[str, int]):
        material = BY_ID[rule].check(self.of(field, cost - 1, sums, demand(narrowing=OPTION)))
        assert material is not None
        assert "watch_namespaces: false" in material.remedy.text
        assert material.freed_bytes == 100 * CACHE

    def test_without_a_limit_nothing_is_too_much(
        self, rule: str, field: str, cost: int, sums: dict[str, int]
    ):
        assert BY_ID[rule].check(replace(self.of(field, 1024, sums), budget=budget())) is None

    def test_who_adds_nothing_is_not_blamed(self, rule: str, field: str, cost: int, sums: dict[str, int]):
        assert BY_ID[rule].check(self.of(field, 1024, sums, demand(selector="a=b"))) is None


def test_no_pods_are_on_no_node():
    limited = budget(limits={"cachePerNode": 1024})
    assert BY_ID["over-node-limit"].check(context(of=limited, nodes=0, node_bytes=CACHE)) is None


def test_sums_are_those_of_what_the_budget_governs_alone():
    mine, other = declared("mine", labels={"team": "a"}), declared("other")
    limited = budget(
        limits={"cachePerNode": 2 * CACHE - 1, "cacheTotal": 200 * CACHE - 1},
        daemonSetSelector={"matchLabels": {"team": "a"}},
    )
    everything = budget(limits={"cachePerNode": 10 * CACHE, "cacheTotal": 200 * CACHE - 1})
    assert "over-total-limit" not in rules_of(only(fleet(mine), limited))
    from policy_samples import audit  # noqa: PLC0415 - beside what it shows

    narrow = audit(fleet(mine, other), limited).totals.findings
    wide = audit(fleet(mine, other), everything).totals.findings
    assert "over-total-limit" not in narrow
    assert wide["over-total-limit"] == 2
