"""What of the starts is worth an Event: what did not go well, and what stops or goes on because of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from watchbudget.controller.events import EventType, ObjectRef
from watchbudget.controller.news import budget_ref, daemon_set_ref
from watchbudget.controller.pod_reading import Pod
from watchbudget.rollout.model import Key, Outcome, Pass, Pause, Why

__all__ = ["StartNews", "Tell"]

Tell = Callable[[ObjectRef, EventType, str, str, str], None]
"""`recorder.Recorder.event`."""

_K = TypeVar("_K")
_NAMED = 3

_SAID = {
    Outcome.FAILED: ("StartFailed", "failed: a container was restarted or cannot run"),
    Outcome.TIMED_OUT: ("StartTimedOut", "ran but did not get Ready within permitTimeout"),
    Outcome.BLOCKED: ("StartBlocked", "could not use the permit and gave it back: no container runs yet"),
}

_LET_GO = {
    Why.NO_PROGRESS: "permits were free for maxHold and none could be given out",
    Why.NOT_GATED: "no budget gates them (any more)",
    Why.NOT_JUDGED: "their DaemonSet could not be judged for maxHold",
}


class StartNews:
    """Tells a recorder. Of one event loop; to be used by the leader only."""

    def __init__(self, tell: Tell) -> None:
        """Begin with nothing told."""
        self._tell = tell
        self._freeing: frozenset[tuple[Key, Why]] = frozenset()

    def tell(
        self,
        before: Pass,
        result: Pass,
        pods: Mapping[str, Pod],
        daemon_sets: Mapping[Key, str],
        budgets: Mapping[str, str],
    ) -> None:
        """Tell what is new.

        Args:
            before: the pass before.
            result: the newest.
            pods: those of the pass, by uid.
            daemon_sets: uids, where known.
            budgets: uids, where known.
        """
        nodes: dict[tuple[Key, Outcome], list[str]] = {}
        for news in result.news:
            if news.outcome in _SAID:
                nodes.setdefault((news.daemon_set, news.outcome), []).append(news.node)
        for (key, outcome), where in nodes.items():
            reason, said = _SAID[outcome]
            self._say(key, daemon_sets, "Warning", reason, f"{_pods(where)} {said}", "Pace")
        for key, pause in _begun(before.pauses, result.pauses):
            self._say(
                key, daemon_sets, "Warning", "StartsPaused", f"{pause.reason}: {pause.message}", "Pause"
            )
        for key in before.pauses.keys() - result.pauses.keys():
            self._say(key, daemon_sets, "Normal", "StartsResumed", "Pods are started again", "Resume")
        for name, pause in _begun(before.budget_pauses, result.budget_pauses):
            note = f"{pause.reason}: {pause.message}"
            self._tell(budget_ref(name, budgets.get(name, "")), "Warning", "StartsPaused", note, "Pause")
        for name in before.budget_pauses.keys() - result.budget_pauses.keys():
            ref = budget_ref(name, budgets.get(name, ""))
            self._tell(ref, "Normal", "StartsResumed", "Pods are started again", "Resume")
        self._tell_let_go(result, pods, daemon_sets)

    def _tell_let_go(self, result: Pass, pods: Mapping[str, Pod], daemon_sets: Mapping[Key, str]) -> None:
        """Once as it begins, not five times a second."""
        freeing = frozenset((pods[freed.uid].start.daemon_set, freed.why) for freed in result.let_go)
        for key, why in sorted(freeing - self._freeing):
            held = sum(pod.start.daemon_set == key and pod.gate is not None for pod in pods.values())
            note = f"Held pods are let go without a permit, slowly ({held} are held now): {_LET_GO[why]}"
            self._say(key, daemon_sets, "Warning", "PodsLetGo", note, "LetGo")
        still = {pod.start.daemon_set for pod in pods.values() if pod.gate is not None}
        self._freeing = freeing | {each for each in self._freeing if each[0] in still}

    def _say(
        self,
        key: Key,
        uids: Mapping[Key, str],
        kind: EventType,
        reason: str,
        note: str,
        action: str,
    ) -> None:
        if key[1]:  # held pods without a DaemonSet have none to be told about
            self._tell(daemon_set_ref(key, uids.get(key, "")), kind, reason, note, action)


def _begun(before: Mapping[_K, Pause], now: Mapping[_K, Pause]) -> Iterable[tuple[_K, Pause]]:
    """Pauses that are new, or have another reason than before."""
    for key, pause in now.items():
        known = before.get(key)
        if known is None or known.reason != pause.reason:
            yield key, pause


def _pods(nodes: list[str]) -> str:
    named = ", ".join(node or "a node unknown" for node in nodes[:_NAMED])
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f"{len(nodes)} {'pod' if len(nodes) == 1 else 'pods'} (on {named}{more})"
