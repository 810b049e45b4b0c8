"""duplicate-watch: two copies of the same thing in one pod."""

from __future__ import annotations

from policy_samples import CACHE, OPTION, context, demand
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.demand.model import AgentMatch, Watches
from watchbudget.policy.rules.duplicate_watch import RULE


def test_one_copy_of_each_resource_is_no_duplicate():
    assert RULE.check(context(demand(), demand(NETWORK_POLICIES))) is None


def test_several_watchers_are_counted_and_all_but_one_are_to_spare():
    material = RULE.check(context(demand(watchers_per_pod=3)))
    assert material is not None
    assert material.message == "every pod keeps 3 copies of the namespaces, 57 MiB more than one would take"
    assert material.freed_bytes == 100 * 2 * CACHE


def test_two_containers_that_watch_the_same_are_a_duplicate():
    other = demand(agent=AgentMatch("o", "Other", "other", None))
    material = RULE.check(context(demand(), other))
    assert material is not None
    assert "2 copies of the namespaces" in material.message
    assert material.freed_bytes == 100 * CACHE


def test_an_option_that_ends_the_watch_frees_all_copies():
    material = RULE.check(context(demand(watchers_per_pod=3, narrowing=OPTION)))
    assert material is not None
    assert material.freed_bytes == 100 * 3 * CACHE
    assert "watch_namespaces: false" in material.remedy.text


def test_what_does_not_count_is_no_copy():
    unsure = demand(watches=Watches.DEPENDS, watchers_per_pod=5)
    assert RULE.check(context(demand(), unsure)) is None


def test_copies_of_a_selection_are_named_without_a_price():
    material = RULE.check(context(demand(watchers_per_pod=2, selector="a=b")))
    assert material is not None
    assert material.message == "every pod keeps 2 copies of the namespaces"
    assert material.freed_bytes == 0
