"""What the pacer is told at each pass, and what it answers.

The pacer is level-based: whoever calls it hands over everything that it sees now, and carries out what it
answers. What a call forgets is seen again in the next. All times are seconds on the caller's monotonic
clock; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from watchbudget.api.budget import Rollout

__all__ = [
    "BudgetNumbers",
    "Ceiling",
    "DaemonSetNumbers",
    "Freed",
    "Key",
    "News",
    "Outcome",
    "Pass",
    "Pause",
    "Phase",
    "Signals",
    "Start",
    "Terms",
    "Why",
]

Key = tuple[str, str]
"""A DaemonSet: its namespace and name."""


class Phase(StrEnum):
    """How far the start of a pod has come."""

    HELD = "Held"
    """It has our scheduling gate."""
    RELEASED = "Released"
    """The gate is gone, its containers do not run yet."""
    STARTED = "Started"
    """Its containers run; it is not Ready."""
    READY = "Ready"
    """It is Ready. It may still be listing: half of the real agents have no readiness probe."""
    FAILED = "Failed"
    """The pod's phase is Failed; or a container waits because of an error of its own: CrashLoopBackOff,
    ImagePullBackOff, ErrImagePull, ErrImageNeverPull, InvalidImageName, CreateContainerConfigError,
    CreateContainerError, RunContainerError; or it was restarted and is not Ready."""


class Start(Struct, frozen=True):
    """A pod that carries our label, held or permitted, as it is now.

    Attributes:
        uid: of the pod.
        namespace: of the pod.
        name: of the pod.
        daemon_set: that owns it.
        node: that it is for; empty if that cannot be read.
        revision: its label controller-revision-hash.
        phase: how far it has come.
        critical: its priority class is system-node-critical.
        vacant: no other pod of its DaemonSet is Ready on its node.
        scheduled: it is bound to its node, or its scheduler has not said yet that no node takes it.
        held_since: when it was first seen.
        permit_since: when it was first seen without its gate; None while it is held.
        started_since: when its containers were first seen running since their last (re)start; None before.
        ready_since: when it was first seen Ready since then; None unless it is Ready now.
        restarts: of all its containers together, init containers as well.
    """

    uid: str
    namespace: str
    name: str
    daemon_set: Key
    node: str
    revision: str
    phase: Phase
    held_since: float
    critical: bool = False
    vacant: bool = False
    scheduled: bool = False
    permit_since: float | None = None
    started_since: float | None = None
    ready_since: float | None = None
    restarts: int = 0


class Terms(Struct, frozen=True):
    """On which terms a DaemonSet's pods start, from the judgement of it.

    A DaemonSet for which there are no terms is not judged yet: its pods stay held, `maxHold` at most.

    Attributes:
        budgets: names of those that gate it. None: nothing does (any more), its held pods are let go.
        list_bytes: that one start asks of the API server.
        paused: why its owner holds its starts, for people; None: they go on.
        revision: the newest of its revisions, if known: pauses are told of that one.
        updated: pods of that revision, held ones too (`status.updatedNumberScheduled`), if known. Without
            it a few nodes that crash-loop look like all of them after a restart of the operator.
        forgiven: a revision whose failures its owner has accepted: they do not pause it.
        waves: numbers of it are wanted although it has no starts: old pods wait to be replaced.
    """

    budgets: tuple[str, ...]
    list_bytes: int = 0
    paused: str | None = None
    revision: str = ""
    updated: int | None = None
    forgiven: str | None = None
    waves: bool = False


class Ceiling(Struct, frozen=True):
    """What a budget allows, as in its `spec.rollout` (there the defaults are explained).

    Attributes:
        max_starts: permits at once.
        max_list_bytes: that permits together may list; a single larger list runs alone.
        settle: seconds that a permit lasts at least after the containers started.
        permit_timeout: seconds from permit to Ready.
        max_hold: seconds without progress after which pods are let go.
        pause_after_failures: per cent of the starts of the last ten minutes.
        gate_critical: pods of class system-node-critical are held too.
        paused: why nothing of this budget is started, for people; None: starts go on.
    """

    max_starts: int = 100
    max_list_bytes: int = 512 * 2**20
    settle: float = 5.0
    permit_timeout: float = 120.0
    max_hold: float = 300.0
    pause_after_failures: float = 5.0
    gate_critical: bool = False
    paused: str | None = None

    @classmethod
    def of(cls, rollout: Rollout, paused: str | None = None) -> Ceiling:
        """What a budget's `spec.rollout` says."""
        return cls(
            max_starts=rollout.max_concurrent_starts,
            max_list_bytes=rollout.max_list_bytes_in_flight,
            settle=rollout.settle,
            permit_timeout=rollout.permit_timeout,
            max_hold=rollout.max_hold,
            pause_after_failures=rollout.pause_after_failures,
            gate_critical=rollout.gate_critical,
            paused=paused,
        )


class Signals(Struct, frozen=True):
    """What the API server has shown since the last pass.

    Attributes:
        latency: seconds that the newest of our own probes took, if one has ended since; None if not.
        refused: answers 429 seen by any of our own requests.
        timeouts: own requests, probes too, that got no answer in time.
    """

    latency: float | None = None
    refused: int = 0
    timeouts: int = 0


class Outcome(StrEnum):
    """What became of a start."""

    READY = "Ready"
    """Ready and settled: its permit is over, and its label goes when there is time."""
    FAILED = "Failed"
    """The pod failed or a container was restarted. The permit is over; the label stays until the pod has
    recovered or is gone, or a crash loop would be out of sight."""
    TIMED_OUT = "TimedOut"
    """Its containers ran, and it was not Ready within `permitTimeout`. As with Failed."""
    BLOCKED = "StartBlocked"
    """No node takes it 15 s after its release, or no container ran within `permitTimeout`. The permit is
    given back; the label stays, and a permit is taken again in the books when it goes on."""
    RECOVERED = "Recovered"
    """Failed or timed out before, now Ready and settled: its label goes."""
    GONE = "Gone"
    """The pod, or its label, vanished while it had a permit."""


class Why(StrEnum):
    """Why a pod is let go without a permit."""

    NO_PROGRESS = "NoProgress"
    """For `maxHold` a permit was free and none was issued."""
    NOT_GATED = "NotGated"
    """No budget gates it (any more)."""
    NOT_JUDGED = "NotJudged"
    """Its DaemonSet was not judged for `maxHold`; it may not exist any more."""


class News(Struct, frozen=True):
    """A start reached an outcome; told once (again after a restart of the operator)."""

    uid: str
    daemon_set: Key
    node: str
    outcome: Outcome


class Freed(Struct, frozen=True):
    """A pod that is let go without a permit."""

    uid: str
    why: Why


class Pause(Struct, frozen=True):
    """Why nothing more is started: a CamelCase word, and a message for people.

    Reasons: `Paused` (its owner says so), `BudgetPaused`, `StartsFailing` (of the last ten minutes),
    `CrashLooping` (right now).
    """

    reason: str
    message: str


class BudgetNumbers(Struct, frozen=True):
    """For a budget's status.

    Attributes:
        in_flight: pods with a permit that are not done starting.
        held: pods that wait.
        permits: how many may be in flight at present.
        blocked: pods that could not use their permit.
        list_bytes: that those in flight ask for.
    """

    in_flight: int = 0
    held: int = 0
    permits: int = 0
    blocked: int = 0
    list_bytes: int = 0


class DaemonSetNumbers(Struct, frozen=True):
    """For a DaemonSet's status.

    Attributes:
        in_flight: its pods with a permit that are not done starting.
        held: its pods that wait.
        blocked: its pods that could not use their permit.
        failed: its starts that failed in the last ten minutes.
        failing: its started pods that have failed and not recovered.
        room: permits that were still free for it at the end of the pass; 0 while it is paused. A wave may
            delete as many old pods.
    """

    in_flight: int = 0
    held: int = 0
    blocked: int = 0
    failed: int = 0
    failing: int = 0
    room: int = 0


class Pass(Struct, frozen=True):
    """What to do, and how things stand.

    Attributes:
        release: uids whose gate is to be removed and whose label becomes `permitted`: each has a permit.
            Only the leader does that; to others none are given.
        end: uids whose label is to be removed; the leader's as well. Of starts that ended well while others
            are under way only the oldest, if they are many.
        let_go: pods whose gate and label are to be removed, by any replica.
        news: what starts have come to, for Events and metrics.
        pauses: by DaemonSet.
        budget_pauses: by budget: nothing that it gates is started.
        limit: starts at once that the API server is believed to bear, the cluster's ceiling at most.
        in_flight: permits taken in the cluster.
        budgets: numbers for every budget given.
        daemon_sets: numbers for every DaemonSet that has starts, or had failures in the last ten minutes, or
            is rolled in waves.
        next_pass: the latest time for the next pass even if nothing changes; None: no need.
    """

    release: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    let_go: tuple[Freed, ...] = ()
    news: tuple[News, ...] = ()
    pauses: Mapping[Key, Pause] = field(default_factory=dict)
    budget_pauses: Mapping[str, Pause] = field(default_factory=dict)
    limit: int = 1
    in_flight: int = 0
    budgets: Mapping[str, BudgetNumbers] = field(default_factory=dict)
    daemon_sets: Mapping[Key, DaemonSetNumbers] = field(default_factory=dict)
    next_pass: float | None = None
