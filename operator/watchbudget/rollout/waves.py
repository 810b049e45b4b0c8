"""Waves: which old pods of OnDelete DaemonSets are deleted now.

An old pod is deleted only when a permit is free for its successor, and from then on that permit is reserved:
it stands in the pacer's books as a start of its own, until the successor has been born, held, and is released
with it. One pass goes so:

1. `see` what is there. The pacer gets its `starts`, and not the pods in `claimed`; `release` is carried out.
2. `Pacer.turn`.
3. `turn`, with the pacer's numbers. `delete` is carried out, each with its uid as precondition, and those
   that the API server took are reported by `deleted`. Then comes the next pass, at once.

So no more nodes than the cap are without a Ready agent. A pod that is long in going, as on a dead node, is
not waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from watchbudget.policy.phrases import counted
from watchbudget.rollout.gate import HELD, PERMITTED
from watchbudget.rollout.model import DaemonSetNumbers, Key, Phase, Start
from watchbudget.rollout.roll import DaemonPod, Roll

__all__ = ["RESERVED", "Reserved", "Wave", "Waves"]

RESERVED = "reserved/"
"""How the uid of a start begins that stands for a pod yet to be born. The pacer's news of it are nobody's."""


class Reserved(Struct, frozen=True):
    """Permits that waves have taken.

    Attributes:
        starts: for the pacer, one for each permit that is reserved.
        claimed: uids of held pods that have one: they are not shown to the pacer as held.
        release: the same, in order: their gate is to be removed, and their label becomes `permitted`.
    """

    starts: tuple[Start, ...] = ()
    claimed: frozenset[str] = frozenset()
    release: tuple[str, ...] = ()


class Wave(Struct, frozen=True):
    """What to delete of one DaemonSet, and how far it is.

    Attributes:
        delete: old pods, most urgent first.
        old: pods that are not of the newest revision, those on their way out included.
        without: nodes that have no Ready agent at present.
        waits_for: what keeps further old pods, for people; empty when there are none.
    """

    delete: tuple[DaemonPod, ...] = ()
    old: int = 0
    without: int = 0
    waits_for: str = ""


class _Leaving(Struct):
    """A pod on its way out, or gone while its successor is not there yet."""

    node: str
    since: float
    reserved: bool  # we deleted it, and there is a permit for its successor


class _Nodes(Struct):
    """How the nodes of a DaemonSet stand, and which of their pods may be deleted."""

    held: list[DaemonPod] = field(default_factory=list)  # old, and has not started: nothing is lost with it
    down: list[DaemonPod] = field(default_factory=list)  # old, and not Ready
    up: list[DaemonPod] = field(default_factory=list)  # old, and Ready
    without: int = 0


class Waves:
    """The waves of all DaemonSets: remembers whom it deleted, and whose turn it was.

    A restart forgets what is reserved: successors then wait for a permit as others do.
    """

    def __init__(self) -> None:
        self._leaving: dict[Key, dict[str, _Leaving]] = {}
        self._served: dict[Key, int] = {}

    def see(
        self, now: float, rolls: Iterable[Roll], timeouts: Mapping[Key, float], stopped: Iterable[Key]
    ) -> Reserved:
        """Take in what is there.

        Args:
            now: seconds that only ever grow.
            rolls: all DaemonSets that are rolled in waves, freshly read.
            timeouts: seconds from the deletion of a pod after which its successor is not waited for.
            stopped: DaemonSets of which nothing more is started: what is reserved for them is given back.
        """
        before, self._leaving = self._leaving, {}
        stopped = frozenset(stopped)
        starts: list[Start] = []
        claimed: list[str] = []
        for roll in rolls:
            timeout = timeouts.get(roll.key, 0.0)
            leaving = _leaving(now, roll, before.get(roll.key, {}), timeout)
            self._leaving[roll.key] = leaving
            held = {_place(pod): pod for pod in roll.pods if pod.label == HELD and not pod.deleting}
            for uid, its in leaving.items():
                its.reserved &= roll.key not in stopped and now - its.since < timeout
                if its.reserved:
                    successor = held.get(its.node)
                    starts.append(_start(roll, uid, its, successor))
                    claimed += [successor.uid] if successor else []
        self._served = {key: count for key, count in self._served.items() if key in self._leaving}
        return Reserved(tuple(starts), frozenset(claimed), tuple(claimed))

    def turn(
        self,
        now: float,
        rolls: Iterable[Roll],
        numbers: Mapping[Key, DaemonSetNumbers],
        caps: Mapping[Key, int],
        timeouts: Mapping[Key, float],
        stopped: Mapping[Key, str],
    ) -> dict[Key, Wave]:
        """Choose what to delete. Of one DaemonSet at a time: others may count on the same free permits.

        Args:
            now: as in `see`.
            rolls: as in `see`.
            numbers: what the pacer said: its `room` is how many permits are free.
            caps: how many pods may be replaced at once; a DaemonSet without one is paced by no budget.
            timeouts: as in `see`.
            stopped: why nothing more of a DaemonSet is started, for people.
        """
        waves: dict[Key, Wave] = {}
        served = False
        for roll in sorted(rolls, key=lambda roll: (self._served.get(roll.key, 0), roll.key)):
            leaving = self._leaving.get(roll.key, {})
            cap, timeout = caps.get(roll.key, 0), timeouts.get(roll.key, 0.0)
            nodes = _nodes(now, roll, leaving, timeout)
            old = sum(roll.is_old(pod) for pod in roll.pods) if roll.revision else 0
            why = _why_not_yet(roll, cap, stopped.get(roll.key))
            if why or not old:
                waves[roll.key] = Wave(old=old, without=nodes.without, waits_for=why)
                continue
            room = 0 if served else numbers.get(roll.key, DaemonSetNumbers()).room
            going = sum(now - its.since < timeout for its in leaving.values())
            unborn = nodes.held[: max(0, cap - going)]
            chosen = _chosen(nodes, room, cap, len(unborn))
            if chosen:
                served = True
                self._served[roll.key] = max(self._served.values(), default=0) + 1
            rest = len(nodes.held) + len(nodes.down) + len(nodes.up) - len(unborn) - len(chosen)
            waves[roll.key] = Wave(
                delete=(*unborn, *chosen),
                old=old,
                without=nodes.without,
                waits_for=_why_no_more(nodes.without, cap) if rest else "",
            )
        return waves

    def deleted(self, now: float, key: Key, pod: DaemonPod) -> None:
        """The API server took a pod's deletion."""
        reserved = pod.label != HELD  # one that was held leaves its place in the queue to its successor
        self._leaving.setdefault(key, {})[pod.uid] = _Leaving(_place(pod), now, reserved)


def _leaving(now: float, roll: Roll, before: Mapping[str, _Leaving], timeout: float) -> dict[str, _Leaving]:
    """Who is on the way out now: those seen so, those we deleted, and those gone without a successor."""
    pods = {pod.uid: pod for pod in roll.pods}
    settled = {
        _place(pod)
        for pod in roll.pods
        if pod.uid not in before and not pod.deleting and (pod.ready or pod.label == PERMITTED)
    }
    kept = {
        uid: its
        for uid, its in before.items()
        if (uid in pods and pods[uid].deleting) or (now - its.since < timeout and its.node not in settled)
    }
    for uid, pod in pods.items():
        if pod.deleting and uid not in kept:
            kept[uid] = _Leaving(_place(pod), now, reserved=False)
    return kept


def _place(pod: DaemonPod) -> str:
    """Its node, or what stands for one where that cannot be read."""
    return pod.node or pod.uid


def _start(roll: Roll, uid: str, its: _Leaving, successor: DaemonPod | None) -> Start:
    """What the pacer is told: a start that is scheduled, and so has its permit for `permitTimeout`."""
    return Start(
        uid=successor.uid if successor else f"{RESERVED}{uid}",
        namespace=roll.key[0],
        name=successor.name if successor else "",
        daemon_set=roll.key,
        node=its.node,
        revision=roll.revision,
        phase=Phase.RELEASED,
        held_since=its.since,
        vacant=True,
        scheduled=True,
        permit_since=its.since,
    )


def _nodes(now: float, roll: Roll, leaving: Mapping[str, _Leaving], timeout: float) -> _Nodes:
    by_node: dict[str, list[DaemonPod]] = {}
    for pod in roll.pods:
        by_node.setdefault(_place(pod), []).append(pod)
    nodes = _Nodes()
    for _, pods in sorted(by_node.items()):
        staying = [pod for pod in pods if pod.uid not in leaving]
        old = staying[0] if len(staying) == 1 and roll.is_old(staying[0]) else None
        if any(pod.ready for pod in staying):
            nodes.up += [old] if old else []
            continue
        if old is not None:
            (nodes.held if old.label == HELD else nodes.down).append(old)
        # One that is long in going is not waited for.
        since = [leaving[pod.uid].since for pod in pods if pod.uid in leaving]
        nodes.without += bool(staying) or any(now - each < timeout for each in since)
    unseen = {its.node for its in leaving.values()} - by_node.keys()
    nodes.without += len(unseen) + max(0, roll.desired - len(by_node) - len(unseen))
    return nodes


def _chosen(nodes: _Nodes, room: int, cap: int, unborn: int) -> list[DaemonPod]:
    """Those that are not Ready first: their nodes are without an agent anyway, and `without` has them."""
    under_way = nodes.without - len(nodes.down) - len(nodes.held) + unborn
    down = nodes.down[: max(0, min(room, cap - under_way))]
    return down + nodes.up[: max(0, min(room - len(down), cap - nodes.without))]


def _why_not_yet(roll: Roll, cap: int, stopped: str | None) -> str:
    if stopped is not None:
        return stopped
    if not roll.caught_up:
        return "the DaemonSet controller to see the newest template"
    if not roll.revision:
        return "a ControllerRevision of the newest template"
    return "" if cap > 0 else "a budget that paces it"


def _why_no_more(without: int, cap: int) -> str:
    if without >= cap:
        return f"{counted(without, 'node')} to get a Ready agent again: no more than {cap} at once"
    return "a free permit"
