"""What counts as a watch: `yes` with enough evidence, the rest only where permission alone counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import CACHE, CALIBRATION, CENSUS, GRANT, demand
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.demand.model import Demand, Evidence, Watches
from watchbudget.policy.watched import bill_under, counts_as_watch


@pytest.mark.parametrize("minimum", list(Evidence))
@pytest.mark.parametrize("evidence", list(Evidence))
def test_yes_counts_from_the_minimum_on(minimum: Evidence, evidence: Evidence):
    assert counts_as_watch(demand(evidence=evidence), (), minimum) is (evidence.value >= minimum.value)


@pytest.mark.parametrize("watches", [Watches.DEPENDS, Watches.UNKNOWN])
@pytest.mark.parametrize("minimum", list(Evidence))
def test_uncertain_counts_only_where_permission_alone_does(watches: Watches, minimum: Evidence):
    uncertain = demand(watches=watches, evidence=Evidence.GRANTED)
    assert counts_as_watch(uncertain, (GRANT,), minimum) is (minimum is Evidence.GRANTED)


@pytest.mark.parametrize(
    "grants",
    [
        (),
        (replace(GRANT, resource=NETWORK_POLICIES),),
        (replace(GRANT, scope="named", names=("a",)),),
        (replace(GRANT, scope="namespaces", namespaces=("a",)),),
        (replace(GRANT, confirmed=False),),
    ],
    ids=["none", "of another resource", "by name", "in a namespace", "denied by the server"],
)
def test_without_a_cluster_wide_permission_uncertain_never_counts(grants: tuple):
    uncertain = demand(watches=Watches.UNKNOWN, evidence=Evidence.GRANTED)
    assert not counts_as_watch(uncertain, grants, Evidence.GRANTED)


def test_no_never_counts():
    for minimum in Evidence:
        assert not counts_as_watch(demand(watches=Watches.NO, evidence=Evidence.OBSERVED), (GRANT,), minimum)


def test_what_counts_is_the_certain_part_of_the_bill():
    demands = (demand(), demand(NETWORK_POLICIES, Watches.UNKNOWN, evidence=Evidence.GRANTED))
    grants = (GRANT, replace(GRANT, resource=NETWORK_POLICIES))
    watched, bill = bill_under(demands, grants, Evidence.CATALOGUE, CENSUS, 10, CALIBRATION)
    assert (watched, bill.cache_per_pod, bill.cache_per_pod_up_to) == (demands[:1], CACHE, 2 * CACHE)
    watched, bill = bill_under(demands, grants, Evidence.GRANTED, CENSUS, 10, CALIBRATION)
    assert (watched, bill.cache_per_pod) == (demands, 2 * CACHE)
    watched, bill = bill_under(demands, grants, Evidence.OBSERVED, CENSUS, 10, CALIBRATION)
    assert (watched, bill.cache_per_pod, bill.cache_per_pod_up_to) == ((), 0, 2 * CACHE)


@given(st.builds(demand, watches=st.sampled_from(list(Watches)), evidence=st.sampled_from(list(Evidence))))
def test_a_weaker_minimum_never_counts_less(uncertain: Demand):
    counted = [counts_as_watch(uncertain, (GRANT,), minimum) for minimum in Evidence]
    assert counted == sorted(counted, reverse=True)
