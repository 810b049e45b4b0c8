"""Waves: old pods go one by one as permits allow, and never more than the cap at once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from watchbudget.rollout.model import Ceiling, DaemonSetNumbers, Key, Phase, Signals, Start, Terms
from watchbudget.rollout.pacer import Pacer
from watchbudget.rollout.roll import DaemonPod, Roll
from watchbudget.rollout.waves import RESERVED, Reserved, Wave, Waves

KEY = ("logging", "agent")
TIMEOUT = 120.0


def pod(
    name: str,
    *,
    old: bool = True,
    ready: bool = True,
    deleting: bool = False,
    label: str = "",
    node: str = "",
) -> DaemonPod:
    number = name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return DaemonPod(
        name,
        name,
        node or f"n{number}",
        "old" if old else "new",
        "",
        ready=ready,
        deleting=deleting,
        label=label,
    )


def roll(*pods: DaemonPod, desired: int | None = None, key: Key = KEY, **changes: object) -> Roll:
    given: dict[str, object] = {"caught_up": True, "revision": "new", "generation": ""} | changes
    nodes = len({each.node for each in pods})
    return Roll(key=key, uid="ds", desired=nodes if desired is None else desired, pods=pods, **given)  # type: ignore[arg-type]


def turned(
    of: Roll,
    waves: Waves | None = None,
    *,
    now: float = 0.0,
    room: int = 100,
    cap: int = 3,
    stopped: str | None = None,
) -> Wave:
    """One pass of one DaemonSet."""
    waves = waves or Waves()
    why = {} if stopped is None else {KEY: stopped}
    waves.see(now, [of], {KEY: TIMEOUT}, why)
    return waves.turn(now, [of], {KEY: DaemonSetNumbers(room=room)}, {KEY: cap}, {KEY: TIMEOUT}, why)[KEY]


def names(pods: tuple[DaemonPod, ...]) -> list[str]:
    return [each.name for each in pods]


OLD = [pod(f"p{number}") for number in range(9)]


def test_as_many_as_permits_and_cap_allow():
    assert names(turned(roll(*OLD)).delete) == ["p0", "p1", "p2"]
    assert names(turned(roll(*OLD), room=2).delete) == ["p0", "p1"]
    assert names(turned(roll(*OLD), cap=100).delete) == names(tuple(OLD))
    assert turned(roll(*OLD), room=0) == Wave(old=9, waits_for="a free permit")


def test_nothing_is_old_nothing_is_done():
    assert turned(roll(pod("p0", old=False), pod("p1", old=False, ready=False))) == Wave(without=1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"caught_up": False}, "the DaemonSet controller to see the newest template"),
        ({"revision": ""}, "a ControllerRevision of the newest template"),
    ],
)
def test_it_waits_for_the_daemonset_controller(changes: dict[str, object], why: str):
    wave = turned(roll(*OLD, **changes))
    assert (wave.delete, wave.waits_for) == ((), why)


def test_none_while_paused_or_paced_by_nobody():
    assert turned(roll(*OLD), stopped="incident 4711") == Wave(old=9, waits_for="incident 4711")
    assert turned(roll(*OLD), cap=0) == Wave(old=9, waits_for="a budget that paces it")


def test_those_that_are_not_ready_go_first_and_take_nothing_from_the_others():
    mixed = [pod("p0"), pod("p1"), pod("p2", ready=False), pod("p3", ready=False)]
    assert names(turned(roll(*mixed), room=1).delete) == ["p2"]
    assert names(turned(roll(*mixed), cap=2).delete) == ["p2", "p3"]
    assert names(turned(roll(*mixed), cap=3).delete) == ["p2", "p3", "p0"]
    down = [pod(f"p{number}", ready=False) for number in range(9)]
    assert len(turned(roll(*down), cap=3).delete) == 3
    assert names(turned(roll(*down, pod("q9")), cap=3).delete) == ["p0", "p1", "p2"]


@pytest.mark.parametrize(
    "gone",
    [
        [pod("q8", old=False, ready=False)],
        [pod("q8", old=False, ready=False, label="held")],
        [pod("q8", old=False, ready=False, label="permitted")],
        [pod("q8", deleting=True)],
        [],
    ],
    ids=["starting", "held", "permitted", "leaving", "no pod at all"],
)
def test_a_node_without_a_ready_agent_counts_against_the_cap(gone: list[DaemonPod]):
    wave = turned(roll(*OLD[:8], *gone, desired=9), cap=3)
    assert (len(wave.delete), wave.without) == (2, 1)
    full = turned(roll(*OLD[:8], *gone, desired=9), cap=1)
    assert full.delete == ()
    assert full.waits_for == "1 node to get a Ready agent again: no more than 1 at once"


def test_held_pods_of_an_old_revision_need_no_permit_to_be_replaced():
    held = [pod(f"p{number}", ready=False, label="held") for number in range(5)]
    waves = Waves()
    wave = turned(roll(*held), waves, room=0, cap=3)
    assert names(wave.delete) == ["p0", "p1", "p2"]
    for each in wave.delete:
        waves.deleted(0.0, KEY, each)
    gone = [replace(each, deleting=True) for each in held[:3]]
    assert waves.see(1.0, [roll(*gone, *held[3:])], {KEY: TIMEOUT}, ()) == Reserved()
    assert turned(roll(*gone, *held[3:]), waves, now=1.0, room=0, cap=3).delete == ()


def test_a_permit_is_reserved_from_the_deletion_to_the_release_of_the_successor():
    waves = Waves()
    (first,) = turned(roll(*OLD[:2]), waves, cap=1).delete
    waves.deleted(5.0, KEY, first)

    def seen(now: float, *pods: DaemonPod) -> Reserved:
        return waves.see(now, [roll(*pods, desired=2)], {KEY: TIMEOUT}, ())

    for pods in ([*OLD[:2]], [replace(first, deleting=True), OLD[1]], [OLD[1]]):
        (start,) = seen(6.0, *pods).starts  # even if the list is older than the deletion
        assert (start.uid, start.phase, start.scheduled) == (f"{RESERVED}p0", Phase.RELEASED, True)
        assert (start.daemon_set, start.node, start.permit_since, start.revision) == (KEY, "n0", 5.0, "new")
        assert turned(roll(*pods, desired=2), waves, now=6.0, cap=1).delete == ()

    born = pod("q0", old=False, ready=False, label="held")
    reserved = seen(7.0, born, OLD[1])
    assert (reserved.claimed, reserved.release) == (frozenset({"q0"}), ("q0",))
    assert [(start.uid, start.name, start.permit_since) for start in reserved.starts] == [("q0", "q0", 5.0)]
    assert seen(8.0, born, OLD[1]) == reserved  # until it is seen to be released
    assert seen(9.0, replace(born, label="permitted"), OLD[1]) == Reserved()  # now it has a permit of its own


def test_a_successor_that_no_gate_holds_keeps_the_permit_until_it_is_ready():
    waves = Waves()
    waves.deleted(0.0, KEY, OLD[0])
    ungated = pod("q0", old=False, ready=False)
    (start,) = waves.see(1.0, [roll(ungated)], {KEY: TIMEOUT}, ()).starts
    assert start.uid == f"{RESERVED}p0"
    assert waves.see(2.0, [roll(replace(ungated, ready=True))], {KEY: TIMEOUT}, ()) == Reserved()


def test_what_is_long_in_going_is_not_waited_for():
    waves = Waves()
    waves.deleted(0.0, KEY, OLD[0])
    stuck = roll(replace(OLD[0], deleting=True, ready=False), *OLD[1:])
    assert waves.see(TIMEOUT - 1, [stuck], {KEY: TIMEOUT}, ()).starts
    assert turned(stuck, waves, now=TIMEOUT - 1, cap=1).delete == ()
    assert waves.see(TIMEOUT, [stuck], {KEY: TIMEOUT}, ()) == Reserved()
    assert names(turned(stuck, waves, now=TIMEOUT, cap=1).delete) == ["p1"]
    # One whose deletion came to nothing is chosen again.
    waves = Waves()
    waves.deleted(0.0, KEY, OLD[0])
    assert names(turned(roll(*OLD), waves, now=TIMEOUT, cap=1).delete) == ["p0"]


def test_a_pause_gives_reserved_permits_back():
    waves = Waves()
    waves.deleted(0.0, KEY, OLD[0])
    born = pod("q0", old=False, ready=False, label="held")
    assert waves.see(1.0, [roll(born)], {KEY: TIMEOUT}, [KEY]) == Reserved()
    assert (
        waves.see(2.0, [roll(born)], {KEY: TIMEOUT}, []) == Reserved()
    )  # it waits for its turn as others do


def test_daemonsets_take_turns_as_they_may_count_on_the_same_permits():
    waves = Waves()
    rolls = [roll(*OLD, key=("logging", name)) for name in ("a", "b")]
    order = []
    for now in range(4):
        waves.see(now, rolls, {}, ())
        told = waves.turn(
            now,
            rolls,
            {each.key: DaemonSetNumbers(room=1) for each in rolls},
            {each.key: 9 for each in rolls},
            {},
            {},
        )
        order += [key[1] for key, wave in told.items() if wave.delete]
    assert order == ["a", "b", "a", "b"]


def test_one_that_cannot_use_its_turn_leaves_it_to_the_next():
    waves = Waves()
    full, free = roll(*OLD, key=("logging", "a")), roll(*OLD, key=("logging", "b"))
    told = waves.turn(
        0, [full, free], {("logging", "b"): DaemonSetNumbers(room=1)}, {full.key: 9, free.key: 9}, {}, {}
    )
    assert (len(told[full.key].delete), len(told[free.key].delete)) == (0, 1)


def test_a_daemonset_that_is_gone_is_forgotten():
    waves = Waves()
    waves.deleted(0.0, KEY, OLD[0])
    assert waves.see(1.0, [], {}, ()) == Reserved()
    assert waves.see(2.0, [roll(*OLD[1:])], {KEY: TIMEOUT}, ()) == Reserved()


@dataclass
class Cluster:
    """A DaemonSet controller, a scheduler and kubelets, each as fast as chance will have it."""

    chance: random.Random
    pods: dict[str, DaemonPod]
    revision: str = "new"
    born: int = 0
    since: dict[str, float] = field(default_factory=dict)

    def step(self, now: float, nodes: int) -> None:
        for each in list(self.pods.values()):
            if self.chance.random() < 0.5:
                if each.deleting:
                    del self.pods[each.uid]
                elif not each.ready and each.label != "held":
                    self.pods[each.uid] = replace(each, ready=True)
                    self.since.setdefault(each.uid, now)
        with_pods = {each.node for each in self.pods.values()}
        for node in (f"n{number}" for number in range(nodes)):
            if node not in with_pods and self.chance.random() < 0.5:
                self.born += 1
                uid = f"s{self.born}"
                self.pods[uid] = DaemonPod(
                    uid, uid, node, self.revision, "", ready=False, deleting=False, label="held"
                )

    def roll(self, nodes: int) -> Roll:
        return roll(*self.pods.values(), desired=nodes, revision=self.revision)

    def without(self, nodes: int) -> int:
        return nodes - len({each.node for each in self.pods.values() if each.ready and not each.deleting})

    def starts(self, claimed: frozenset[str]) -> list[Start]:
        return [
            Start(
                each.uid,
                *KEY,
                KEY,
                each.node,
                each.revision,
                Phase.HELD if each.label == "held" else Phase.READY if each.ready else Phase.RELEASED,
                0.0,
                scheduled=True,
                permit_since=None if each.label == "held" else 0.0,
                started_since=self.since.get(each.uid),
                ready_since=self.since.get(each.uid),
            )
            for each in self.pods.values()
            if each.label and each.uid not in claimed
        ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 8), st.integers(1, 8))
def test_with_the_pacer_a_roll_ends_and_never_exceeds_cap_or_permits(
    seed: int, nodes: int, cap: int, permits: int
):
    chance = random.Random(seed)  # noqa: S311 - so that a failure can be repeated
    cluster = Cluster(chance, {f"p{number}": pod(f"p{number}") for number in range(nodes)})
    waves, pacer = Waves(), Pacer(permits)
    ceilings = {"b": Ceiling(max_starts=permits, settle=0.0, permit_timeout=10_000.0)}
    terms = {KEY: Terms(("b",), waves=True)}
    timeouts = {KEY: 10_000.0}
    changes = chance.choice([0, 0, 1])
    for now in range(3000):
        of = cluster.roll(nodes)
        reserved = waves.see(now, [of], timeouts, ())
        told = pacer.turn(
            now, [*cluster.starts(reserved.claimed), *reserved.starts], terms, ceilings, Signals(latency=0.01)
        )
        for uid in {*told.release, *reserved.release}:
            cluster.pods[uid] = replace(cluster.pods[uid], label="permitted")
        for uid in told.end:
            if uid in cluster.pods:
                cluster.pods[uid] = replace(cluster.pods[uid], label="")
        wave = waves.turn(now, [of], told.daemon_sets, {KEY: cap}, timeouts, {})[KEY]
        for each in wave.delete:
            assert each.revision != cluster.revision
            assert not cluster.pods[each.uid].deleting
            cluster.pods[each.uid] = replace(cluster.pods[each.uid], deleting=True)
            waves.deleted(now, KEY, each)
        assert cluster.without(nodes) <= cap
        in_flight = {
            each.node for each in cluster.pods.values() if each.label == "permitted" and not each.ready
        }
        coming = {start.node for start in waves.see(now, [cluster.roll(nodes)], timeouts, ()).starts}
        assert len(in_flight | coming) <= permits
        if changes and chance.random() < 0.05:
            changes, cluster.revision = 0, "newer"
            continue
        settled = all(each.ready and not each.label for each in cluster.pods.values())
        if settled and not wave.old and not cluster.without(nodes):
            break
        cluster.step(now, nodes)
    assert Counter(each.revision for each in cluster.pods.values()) == {cluster.revision: nodes}


STATES = st.builds(
    pod,
    st.integers(0, 12).map("p{}".format),
    old=st.booleans(),
    ready=st.booleans(),
    deleting=st.booleans(),
    label=st.sampled_from(["", "held", "permitted"]),
)


@given(
    st.lists(STATES, unique_by=lambda each: each.uid),
    st.integers(0, 15),
    st.integers(-5, 20),
    st.integers(-1, 10),
    st.sets(st.integers(0, 12)),
    st.sampled_from([None, "paused"]),
)
def test_in_any_state_only_old_pods_go_and_not_too_many(
    pods: list[DaemonPod], desired: int, room: int, cap: int, deleted: set[int], stopped: str | None
):
    waves = Waves()
    for number in deleted:
        waves.deleted(0.0, KEY, pod(f"p{number}"))
    of = roll(*pods, desired=desired)
    wave = turned(of, waves, now=1.0, room=room, cap=cap, stopped=stopped)
    chosen = {each.uid for each in wave.delete}
    assert len(chosen) == len(wave.delete)
    assert all(each.revision == "old" and not each.deleting for each in wave.delete)
    assert not chosen & {f"p{number}" for number in deleted}
    assert len([each for each in wave.delete if each.label != "held"]) <= max(0, room)
    assert len(chosen) <= max(0, cap)
    newly = [each for each in wave.delete if each.ready]
    assert not newly or wave.without + len(newly) <= cap
    assert stopped is None or not chosen
