"""Waves carried out: old pods are deleted as the pacer has permits for their successors. Of the leader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from watchbudget.controller.plan import Plan
from watchbudget.controller.pod_reading import Pod
from watchbudget.controller.pod_writes import PodWrites
from watchbudget.controller.roll_reading import with_newer
from watchbudget.rollout.model import Ceiling, Key, News, Pass, Start
from watchbudget.rollout.roll import DaemonPod, Roll
from watchbudget.rollout.waves import RESERVED, Wave, Waves

__all__ = ["Waving", "without_reserved"]


class Waving:
    """The waves of one leader; each term begins with a new one.

    Attributes:
        waves: how far each DaemonSet is, after `delete`.
    """

    def __init__(
        self,
        writes: PodWrites,
        deleted: Callable[[Key], None] = lambda _: None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Begin with nothing reserved.

        Args:
            writes: deletes.
            deleted: called when the API server took a deletion.
            clock: seconds that only ever grow.
        """
        self.waves: dict[Key, Wave] = {}
        self._writes, self._deleted, self._clock = writes, deleted, clock
        self._waves = Waves()
        self._rolls: list[Roll] = []
        self._timeouts: dict[Key, float] = {}

    def starts(
        self, now: float, rolls: Mapping[Key, Roll], pods: Iterable[Pod], plan: Plan, stopped: Iterable[Key]
    ) -> list[Start]:
        """The starts to show the pacer: permits that are reserved stand for the pods that have them.

        Held successors whose permits are reserved are released.

        Args:
            now: the time.
            rolls: as they were last read.
            pods: all held and permitted ones.
            plan: with the terms of each.
            stopped: DaemonSets that were paused in the last pass.
        """
        by_key: dict[Key, list[Pod]] = {key: [] for key in rolls}
        by_uid: dict[str, Pod] = {}
        for pod in pods:
            by_uid[pod.start.uid] = pod
            if pod.start.daemon_set in by_key:
                by_key[pod.start.daemon_set].append(pod)
        self._rolls = [with_newer(roll, by_key[key]) for key, roll in rolls.items()]
        self._timeouts = {key: _timeout(plan, key) for key in rolls}
        reserved = self._waves.see(now, self._rolls, self._timeouts, stopped)
        for uid in reserved.release:
            if uid in by_uid:
                self._writes.release(by_uid[uid])
        others = [pod.start for uid, pod in by_uid.items() if uid not in reserved.claimed]
        return [*others, *reserved.starts]

    def delete(self, now: float, result: Pass, plan: Plan) -> None:
        """Delete what the pass leaves room for; to be called right after it."""
        stopped = {key: pause.message for key, pause in result.pauses.items()}
        self.waves = self._waves.turn(
            now, self._rolls, result.daemon_sets, plan.caps, self._timeouts, stopped
        )
        for key, wave in self.waves.items():
            for pod in wave.delete:
                self._writes.delete(key[0], pod.name, pod.uid, lambda key=key, pod=pod: self._done(key, pod))  # type: ignore[misc]

    def _done(self, key: Key, pod: DaemonPod) -> None:
        self._waves.deleted(self._clock(), key, pod)
        self._deleted(key)


def without_reserved(result: Pass) -> Pass:
    """A pass without news of pods that are yet to be born."""

    def told(news: News) -> bool:
        return not news.uid.startswith(RESERVED)

    return replace(result, news=tuple(filter(told, result.news)))


def _timeout(plan: Plan, key: Key) -> float:
    """As the pacer has it: the shortest of the budgets that gate it."""
    budgets = plan.terms[key].budgets if key in plan.terms else ()
    ceilings = [plan.ceilings[name] for name in budgets if name in plan.ceilings] or [Ceiling()]
    return min(ceiling.permit_timeout for ceiling in ceilings)
