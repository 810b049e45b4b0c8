"""The worst node: never below a node that could exist, never above everything on one node."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from watchbudget.policy.nodes import Ledger, Share


def ledger(*shares: Share) -> Ledger:
    return Ledger.of((("ns", str(number)), share) for number, share in enumerate(shares))


LINUX, WINDOWS = (("os", "linux"),), (("os", "windows"),)


def test_without_selectors_everything_meets():
    sums = ledger(Share(10, 5), Share(7, 2))
    assert (sums.worst_node, sums.node_of(()), sums.total) == (17, 17, 64)


def test_different_values_of_a_label_never_meet():
    sums = ledger(Share(10, 5, LINUX), Share(7, 2, WINDOWS), Share(1, 7))
    assert sums.worst_node == 11
    assert sums.node_of(LINUX) == 11
    assert sums.node_of(WINDOWS) == 8
    assert sums.node_of(()) == 11  # may run on either: the dearer one counts
    assert sums.node_of((("os", "plan9"),)) == 1


def test_the_label_that_tells_most_nodes_apart_counts():
    pools = [Share(size, 5, (*LINUX, ("pool", name))) for name, size in (("a", 3), ("b", 5), ("c", 2))]
    assert ledger(*pools).worst_node == 5


def test_a_daemon_set_without_pods_costs_nothing():
    sums = ledger(Share(10, 0), Share(10, 0, LINUX), Share(1, 1))
    assert (sums.worst_node, sums.total) == (1, 1)


def test_replacing_takes_the_old_share_out():
    before = Ledger.of([(("ns", "a"), Share(10, 5)), (("ns", "b"), Share(1, 5))])
    after = before.replacing(("ns", "a"), Share(4, 5))
    assert (after.worst_node, after.total) == (5, 25)
    assert (before.worst_node, before.total) == (11, 55)
    assert before.replacing(("ns", "new"), Share(2, 5)).worst_node == 13


def test_nothing_costs_nothing():
    assert (Ledger().worst_node, Ledger().total, Ledger().node_of(LINUX)) == (0, 0, 0)


selectors = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3).map(
    lambda labels: tuple(labels.items())
)
shares = st.lists(st.builds(Share, st.integers(0, 100), st.integers(0, 3), selectors), max_size=7)


def cost_of_node(labels: dict[str, str], placed: list[Share]) -> int:
    return sum(
        share.cache_per_pod
        for share in placed
        if share.nodes and all(labels.get(label) == value for label, value in share.node_selector)
    )


@given(shares)
def test_no_possible_node_costs_more_than_the_worst(placed: list[Share]):
    sums = ledger(*placed)
    for values in itertools.product("xyz", repeat=3):
        labels = dict(zip("abc", values, strict=True))
        cost = cost_of_node(labels, placed)
        assert cost <= sums.worst_node
        for share in placed:
            if all(labels.get(label) == value for label, value in share.node_selector):
                assert cost <= sums.node_of(share.node_selector) <= sums.worst_node
    assert sums.worst_node <= sum(share.cache_per_pod for share in placed)


@given(shares, st.integers(1, 50), st.data())
def test_dearer_pods_and_more_nodes_never_lower_a_sum(placed: list[Share], more: int, data: st.DataObject):
    if not placed:
        return
    chosen = data.draw(st.integers(0, len(placed) - 1))
    share = placed[chosen]
    grown = [*placed]
    grown[chosen] = Share(share.cache_per_pod + more, share.nodes + more, share.node_selector)
    before, after = ledger(*placed), ledger(*grown)
    assert after.worst_node >= before.worst_node
    assert after.total >= before.total
    assert all(after.node_of(each.node_selector) >= before.node_of(each.node_selector) for each in placed)


@given(shares, st.randoms())
def test_order_does_not_matter(placed: list[Share], random):
    shuffled = [*placed]
    random.shuffle(shuffled)
    assert ledger(*placed).worst_node == ledger(*shuffled).worst_node


keyed = st.lists(
    st.tuples(
        st.tuples(st.just("ns"), st.sampled_from("klmn")),
        st.builds(Share, st.integers(0, 3), st.integers(0, 2), selectors),
    ),
    max_size=8,
)


@given(keyed, keyed)
def test_replacing_one_after_the_other_is_a_ledger_built_anew(
    first: list[tuple[tuple[str, str], Share]], then: list[tuple[tuple[str, str], Share]]
):
    expected, sums = [*first], Ledger.of(first)
    for key, share in then:
        before = figures(sums)
        replaced = sums.replacing(key, share)
        assert figures(sums) == before  # whoever judges by it must not see it change
        sums = replaced
        expected = [*(entry for entry in expected if entry[0] != key), (key, share)]
        assert figures(sums) == figures(Ledger.of(expected))


def figures(of: Ledger) -> list[int]:
    asked = [tuple(zip("abcd", values, strict=False)) for values in itertools.product("xyz", repeat=3)]
    asked += [((label, value),) for label in "abcd" for value in "xyzw"]
    return [of.total, of.worst_node, of.node_of(()), *map(of.node_of, asked)]


def test_replacing_may_change_the_label_that_others_are_told_apart_by():
    both = Share(5, 1, (("a", "x"), ("b", "x")))
    before = ledger(both, Share(7, 1, (("a", "y"),)), Share(3, 1, (("b", "y"),)))
    # b is as good as a, and comes later: `both` is entered there. A third value of a turns that round.
    assert (before.worst_node, before.node_of((("a", "y"),))) == (12, 12)
    after = before.replacing(("ns", "new"), Share(1, 1, (("a", "z"),)))
    assert (after.worst_node, after.node_of((("a", "y"),))) == (10, 10)
