"""A model of agents' pods: held, released, started, listing, Ready or broken."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum, auto

from msgspec import Struct

from watchbudget.rollout.model import Key, Phase
from watchbudget.rollout.simulation.server import Lists, VirtualClock

__all__ = ["Agent", "Fate", "Pod"]


class Fate(Enum):
    """What becomes of a pod once it is released."""

    FINE = auto()
    CRASHES = auto()
    """Its container is restarted again and again."""
    NEVER_READY = auto()
    UNSCHEDULABLE = auto()
    STUCK = auto()
    """Scheduled, but no container ever starts."""
    LATE = auto()
    """Unschedulable for ten minutes, then fine."""


class Agent(Struct, frozen=True):
    """A DaemonSet.

    Attributes:
        key: its namespace and name.
        nodes: how many pods.
        budgets: that gate it.
        list_seconds: of one core that its list takes.
        list_bytes: of its list.
        delay: seconds from release to running containers, from and to.
        ready_first: it is Ready before its list is done.
        at_once: pods that are replaced at once; None: all its pods are new, on vacant nodes.
        fates: of its pods, by share; the rest is fine.
        at: seconds when it is applied.
        critical: its class is system-node-critical.
        revision: of its template.
        forgiven: its failures do not pause it.
    """

    key: Key = ("agents", "agent")
    nodes: int = 300
    budgets: tuple[str, ...] = ("default",)
    list_seconds: float = 0.1
    list_bytes: int = 10_000_000
    delay: tuple[float, float] = (0.5, 1.5)
    ready_first: bool = False
    at_once: int | None = None
    fates: tuple[tuple[Fate, float], ...] = ()
    at: float = 0.0
    critical: bool = False
    revision: str = "r1"
    forgiven: bool = False

    def draw(self, rng: random.Random) -> Fate:
        """What becomes of one of its pods."""
        drawn = rng.random()
        for fate, share in self.fates:
            drawn -= share
            if drawn < 0:
                return fate
        return Fate.FINE


class Pod(Struct, eq=False):
    """A pod. Its times are those when things happen; when an operator sees them is another matter.

    Attributes:
        labelled: it carries our label.
        with_permit: it was released by a permit.
        stubborn: its gate cannot be removed.
        released: when its gate was removed.
        started: when its containers last started.
        ready: when it was Ready, since they did.
        listed: when its list was done.
    """

    uid: str
    agent: Agent
    node: str
    fate: Fate
    clock: VirtualClock
    lists: Lists
    rng: random.Random
    changed: Callable[[Pod], None]
    phase: Phase = Phase.HELD
    labelled: bool = True
    with_permit: bool = False
    stubborn: bool = False
    scheduled: bool = False
    gone: bool = False
    restarts: int = 0
    released: float | None = None
    started: float | None = None
    ready: float | None = None
    listed: float | None = None

    def release(self, *, permit: bool) -> None:
        """Its gate is removed, with a permit or without."""
        if self.phase is not Phase.HELD or self.gone or self.stubborn:
            return
        self.phase, self.released = Phase.RELEASED, self.clock.now
        self.with_permit = self.labelled = permit
        self.changed(self)
        if self.fate is not Fate.UNSCHEDULABLE:
            self.clock.after(600 if self.fate is Fate.LATE else 0.1, self._schedule)

    def unlabel(self) -> None:
        """Its label is removed."""
        if not self.gone and self.labelled:
            self.labelled = False
            self.changed(self)

    def vanish(self) -> None:
        """Its node is gone."""
        if not self.gone:
            self.gone = True
            self.changed(self)

    def _schedule(self) -> None:
        self.scheduled = True
        self._tell()
        if self.fate is not Fate.STUCK:
            self.clock.after(self.rng.uniform(*self.agent.delay), self._start)

    def _start(self) -> None:
        if self.gone:
            return
        self.phase, self.started, self.ready = Phase.STARTED, self.clock.now, None
        self._tell()
        if self.agent.ready_first:
            self._become_ready()
        self._list()

    def _list(self) -> None:
        if not self.gone:
            self.lists.ask(self.agent.list_seconds, self._listed, self._refused)

    def _refused(self) -> None:
        self.clock.after(self.rng.uniform(0.8, 1.6), self._list)  # as client-go's reflector does

    def _listed(self) -> None:
        if self.fate is Fate.CRASHES:
            self._crash()
        elif not self.gone:
            self.listed = self.clock.now
            self._become_ready()
            self._tell()

    def _become_ready(self) -> None:
        if self.phase is Phase.STARTED and self.fate is not Fate.NEVER_READY:
            self.phase, self.ready = Phase.READY, self.clock.now
            self._tell()

    def _crash(self) -> None:
        self.restarts += 1
        self.phase, self.ready = Phase.FAILED, None
        self._tell()
        backoff = min(10.0 * 2.0 ** min(self.restarts, 5), 300.0)  # as the kubelet does
        self.clock.after(backoff, self._start)

    def _tell(self) -> None:
        if not self.gone:
            self.changed(self)
