"""A model of the operator's replicas around the real pacer: what each sees, and when."""

from __future__ import annotations

import math

from msgspec import Struct, field

from watchbudget.rollout.model import Phase, Signals, Start
from watchbudget.rollout.pacer import Pacer
from watchbudget.rollout.simulation.pods import Pod

__all__ = ["Faults", "Replica"]


class Faults(Struct, frozen=True):
    """What goes wrong.

    Attributes:
        replicas: operators; one of those that live leads as long as it does.
        dead: which replica is not there, from when to when; it returns with nothing in memory.
        leaderless: from when to when nobody gets the Lease.
        patches_fail: share of the operator's patches that fail.
        stubborn: share of pods whose gate cannot be removed at all.
        signals: what is seen instead of what the server shows, probe by probe, until they are used up.
        vanishing: when which pod of all (modulo their number) vanishes with its node.
    """

    replicas: int = 1
    dead: tuple[tuple[int, float, float], ...] = ()
    leaderless: tuple[tuple[float, float], ...] = ()
    patches_fail: float = 0.0
    stubborn: float = 0.0
    signals: tuple[Signals, ...] = ()
    vanishing: tuple[tuple[float, int], ...] = ()


class Replica(Struct, eq=False):
    """One operator, from its birth on: it knows no time before."""

    pacer: Pacer
    starts: dict[str, Start] = field(default_factory=dict)
    next_pass: float = math.inf
    _signals: Signals = field(default_factory=Signals)
    _seen: dict[str, dict[tuple[str, int], float]] = field(default_factory=dict)

    def tell(self, signals: Signals) -> None:
        """A probe has ended, or did not."""
        self._signals = Signals(
            latency=signals.latency if signals.latency is not None else self._signals.latency,
            refused=self._signals.refused + signals.refused,
            timeouts=self._signals.timeouts + signals.timeouts,
        )

    def hear(self) -> Signals:
        """What it was told since it last asked."""
        heard, self._signals = self._signals, Signals()
        return heard

    def see(self, pod: Pod, now: float) -> None:
        """A watch event: a pod is as it is."""
        if pod.gone or not pod.labelled:
            self.starts.pop(pod.uid, None)
            self._seen.pop(pod.uid, None)
            return
        seen = self._seen.setdefault(pod.uid, {})
        runs = pod.phase in {Phase.STARTED, Phase.READY}
        self.starts[pod.uid] = Start(
            uid=pod.uid,
            namespace=pod.agent.key[0],
            name=pod.uid,
            daemon_set=pod.agent.key,
            node=pod.node,
            revision=pod.agent.revision,
            phase=pod.phase,
            held_since=seen.setdefault(("held", 0), now),
            critical=pod.agent.critical,
            vacant=pod.agent.at_once is None,
            scheduled=pod.scheduled,
            permit_since=None if pod.phase is Phase.HELD else seen.setdefault(("permit", 0), now),
            started_since=seen.setdefault(("started", pod.restarts), now) if runs else None,
            ready_since=seen.setdefault(("ready", pod.restarts), now) if pod.phase is Phase.READY else None,
            restarts=pod.restarts,
        )
