"""Pods are let go slowly, oldest first, by any number of replicas."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollout_starts import pod, pods
from watchbudget.rollout.letgo import PER_SECOND, REPEAT, LetGo
from watchbudget.rollout.model import Start, Why


def due(starts: list[Start]) -> list[tuple[Start, Why]]:
    return [(start, Why.NO_PROGRESS) for start in starts]


def test_the_oldest_first_five_at_once():
    starts = [pod(f"p{number}", held_since=100.0 - number) for number in range(20)]
    freed = LetGo().choose(200, due(starts))
    assert [each.uid for each in freed] == ["p19", "p18", "p17", "p16", "p15"]
    assert {each.why for each in freed} == {Why.NO_PROGRESS}


def test_one_that_is_still_held_goes_again_after_a_while():
    let_go, starts = LetGo(), pods(1)
    for now, expected in ((0, 1), (1, 0), (REPEAT - 0.1, 0), (REPEAT, 1)):
        let_go.see(now, {"p0000"}, set())
        assert len(let_go.choose(now, due(starts))) == expected


def test_those_let_go_elsewhere_count():
    let_go = LetGo()
    held = {start.uid for start in pods(20)}
    let_go.see(0, held, set())
    let_go.see(1, held - {"p0000", "p0001", "p0002"}, set())
    assert len(let_go.choose(1, due(pods(20)[3:]))) == 2


def test_those_that_got_a_permit_do_not():
    let_go = LetGo()
    held = {start.uid for start in pods(20)}
    let_go.see(0, held, set())
    let_go.see(1, held - {"p0000", "p0001"}, {"p0000", "p0001"})
    assert len(let_go.choose(1, due(pods(20)[2:]))) == PER_SECOND


def test_what_changes_next():
    let_go, starts = LetGo(), pods(6)
    held = {start.uid for start in starts}
    assert let_go.next_change() is None
    let_go.see(7, held, set())
    let_go.choose(7, due(starts))
    assert let_go.next_change() == 8
    let_go.see(8, held, set())
    let_go.choose(8, due(starts))
    assert let_go.next_change() == 7 + REPEAT  # all are on their way
    let_go.see(9, set(), set())
    let_go.choose(9, ())
    assert let_go.next_change() is None


@given(
    st.integers(1, 4),
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 0.7)), min_size=1, max_size=120),
)
def test_five_in_any_second_however_many_replicas_and_nobody_is_forgotten(replicas, count, passes):
    """Each replica passes when it likes, and sees what the others have done."""
    all_let_go = [LetGo() for _ in range(replicas)]
    held = {start.uid: start for start in pods(count)}
    now, left = 0.0, []
    for let_go in all_let_go:
        let_go.see(now, held.keys(), set())
    for number, later in [*passes, *((turn % replicas, 0.25) for turn in range(4 * count))]:
        now += later
        let_go = all_let_go[number % replicas]
        let_go.see(now, held.keys(), set())
        for freed in let_go.choose(now, due(list(held.values()))):
            del held[freed.uid]
            left.append(now)
    assert all(sum(begin <= when < begin + 1 for when in left) <= PER_SECOND for begin in left)
    assert not held
