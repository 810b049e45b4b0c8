"""Whose turn it is."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout_starts import AGENT, OTHER, pod, pods
from watchbudget.rollout.books import Account, Ledger, Rules
from watchbudget.rollout.fair import CRITICAL_SHARE, PASSED_OVER, VACANT_FIRST, Turns, Waiting, first_in_line
from watchbudget.rollout.model import Ceiling, Key, Start, Terms

BIG: Key = ("agents", "big")


def waiting(
    key: Key, starts: list[Start], *budgets: str, list_bytes: int = 0, critical: bool = False
) -> Waiting:
    names = budgets or ("default",)
    rules = Rules.of(Terms(names, list_bytes=list_bytes), {name: Ceiling() for name in names})
    return Waiting(starts, rules, critical=critical)


def ledger(*budgets: str, most: int = 1000, most_bytes: int = 10**12) -> Ledger:
    return Ledger({name: Account(most, most_bytes) for name in budgets or ("default",)})


class TestFirstInLine:
    def test_vacant_nodes_then_those_that_wait_longest(self):
        starts = [
            pod("young", held_since=50),
            pod("old", held_since=10),
            pod("vacant-young", held_since=40, vacant=True),
            pod("vacant-old", held_since=20, vacant=True),
        ]
        assert [start.uid for start in first_in_line(starts, 3)] == ["vacant-old", "vacant-young", "old"]

    def test_nobody_waits_for_ever_behind_vacant_nodes(self):
        starts = [pod("old", held_since=0), pod("new", held_since=VACANT_FIRST + 1, vacant=True)]
        assert first_in_line(starts, 1)[0].uid == "old"


class TestTurns:
    def test_whoever_has_least_in_flight_goes_first(self):
        books = ledger()
        books.in_flight[AGENT] = 5
        shared = {AGENT: waiting(AGENT, pods(9, key=AGENT)), OTHER: waiting(OTHER, pods(9, "o", key=OTHER))}
        chosen, _ = Turns().share_out(shared, books, 7)
        assert Counter(start.daemon_set for start in chosen) == {OTHER: 6, AGENT: 1}
        assert books.in_flight == {AGENT: 6, OTHER: 6}

    def test_turn_by_turn_where_there_is_room_for_one(self):
        turns, order = Turns(), []
        for number in range(6):
            shared = {
                AGENT: waiting(AGENT, [pod(f"a{number}", key=AGENT)]),
                OTHER: waiting(OTHER, [pod(f"o{number}", key=OTHER)]),
            }
            chosen, _ = turns.share_out(shared, ledger(), 1)
            order.append(chosen[0].daemon_set)
        assert order == [AGENT, OTHER] * 3

    def test_network_plugins_get_more_and_others_something(self):
        shared = {
            AGENT: waiting(AGENT, pods(99, key=AGENT)),
            OTHER: waiting(OTHER, pods(99, "o", key=OTHER), critical=True),
        }
        chosen, _ = Turns().share_out(shared, ledger(), 50)
        share = Counter(start.daemon_set for start in chosen)
        assert share[OTHER] == CRITICAL_SHARE * share[AGENT]

    def test_a_full_budget_keeps_nobody_else(self):
        books = Ledger({"full": Account(5, 10**9, taken=5), "free": Account(5, 10**9)})
        shared = {
            AGENT: waiting(AGENT, pods(9), "full"),
            OTHER: waiting(OTHER, pods(9, "o", key=OTHER), "free"),
        }
        chosen, _ = Turns().share_out(shared, books, 9)
        assert {start.daemon_set for start in chosen} == {OTHER}
        assert len(chosen) == 5

    def test_a_permit_is_taken_in_every_budget(self):
        books = ledger("x", "y")
        books.accounts["y"].most = 2
        chosen, _ = Turns().share_out({AGENT: waiting(AGENT, pods(9), "x", "y")}, books, 9)
        assert len(chosen) == 2
        assert books.accounts["x"].taken == 2

    def test_no_more_bytes_than_there_are(self):
        books = ledger(most_bytes=100)
        chosen, _ = Turns().share_out({AGENT: waiting(AGENT, pods(9), list_bytes=30)}, books, 9)
        assert len(chosen) == 3

    def test_a_larger_list_alone(self):
        books = ledger(most_bytes=100)
        shared = {BIG: waiting(BIG, pods(3, "b", key=BIG), list_bytes=500)}
        assert len(Turns().share_out(shared, books, 9)[0]) == 1
        assert Turns().share_out({AGENT: waiting(AGENT, pods(3), list_bytes=1)}, books, 9)[0] == []


def serve(
    turns: Turns, running: list[Start], demand: dict[Key, tuple[int, tuple[str, ...]]], accounts: dict
) -> list:
    """One pass: everybody always has pods to start, and the longest running one has just ended."""
    books = Ledger({name: Account(*its) for name, its in accounts.items()})
    rules = {
        key: waiting(key, pods(3, key[1], key=key), *budgets, list_bytes=size)
        for key, (size, budgets) in demand.items()
    }
    sizes = [demand[start.daemon_set][0] for start in running]
    for start in running:
        books.take(start, rules[start.daemon_set].rules)
    chosen, _ = turns.share_out(rules, books, 25)
    sizes += [demand[start.daemon_set][0] for start in chosen]
    for account in books.accounts.values():
        assert account.taken <= account.most
        assert account.bytes <= account.most_bytes or account.bytes in sizes  # a single one
    return chosen


def test_a_large_list_is_not_starved_by_small_ones():
    turns, running, served = Turns(), [], []
    for _ in range(400):
        chosen = serve(
            turns,
            running,
            {AGENT: (20, ("default",)), BIG: (90, ("default",))},
            {"default": (1000, 100)},
        )
        served += [start.daemon_set for start in chosen]
        running = [*running, *chosen][1:]
    waits = [index for index, key in enumerate(served) if key == BIG]
    assert len(served) > 5 * len(waits)  # nor are the small ones by the large one
    assert len(waits) >= 400 // (PASSED_OVER + 20)
    assert max(after - before for before, after in zip([0, *waits], waits, strict=False)) <= PASSED_OVER + 10


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(st.integers(0, 150), st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True)),
        min_size=2,
    ),
    st.integers(1, 6),
)
def test_nobody_starves_whatever_budgets_and_lists_they_share(drawn, most):
    """Everybody always has pods to start; sooner or later each is served, again and again."""
    demand = {("agents", name): (size, tuple(budgets)) for name, (size, budgets) in drawn.items()}
    turns, running, served = Turns(), [], Counter()
    passes = 250
    for _ in range(passes):
        chosen = serve(turns, running, demand, dict.fromkeys("xyz", (most, 100)))
        served.update(start.daemon_set for start in chosen)
        running = [*running, *chosen][1:]
    assert all(served[key] >= 2 for key in demand), served
