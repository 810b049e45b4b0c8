"""Who has a permit: read anew from what is seen at every pass, so that a restart loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from watchbudget.rollout.model import Ceiling, Key, News, Outcome, Phase, Start, Terms

__all__ = ["Account", "Books", "Ledger", "Rules"]

UNSCHEDULED = 15.0
"""Seconds after its release after which a pod that no node takes gives its permit back."""

RECOVERED_AFTER = 60.0
"""Seconds that a start that failed must be Ready for until its label goes. A crash loop is Ready between two
crashes, if it has no readiness probe."""

LIST_RATE = 100e6
"""Stored bytes per second that one list takes: 10 MB of namespaces (20 MB as JSON) take about 0.1 s on two
cores (measured: 300 of them in 24 s, two at a time)."""


class Rules(Struct, frozen=True):
    """What holds for the starts of one DaemonSet: of all budgets that gate it, the strictest.

    Attributes:
        budgets: that gate it; empty: none does.
        list_bytes: of one start.
        lasts: seconds that a permit lasts at least after the containers started.
        permit_timeout: seconds from permit to Ready.
        max_hold: seconds without progress until its pods are let go.
        percent: of starts that may fail.
        gate_critical: pods of class system-node-critical are held too.
    """

    budgets: tuple[str, ...]
    list_bytes: int
    lasts: float
    permit_timeout: float
    max_hold: float
    percent: float
    gate_critical: bool

    @classmethod
    def of(cls, terms: Terms | None, ceilings: Mapping[str, Ceiling]) -> Rules:
        """Of a DaemonSet; one that is not judged or not gated (any more) ends its permits by the defaults."""
        names = tuple(dict.fromkeys(name for name in terms.budgets if name in ceilings)) if terms else ()
        its = [ceilings[name] for name in names] or [Ceiling()]
        list_bytes = max(0, terms.list_bytes) if terms else 0
        timeout = min(ceiling.permit_timeout for ceiling in its)
        settle = max(ceiling.settle for ceiling in its)
        return cls(
            budgets=names,
            list_bytes=list_bytes,
            lasts=max(settle, min(list_bytes / LIST_RATE, timeout)),
            permit_timeout=timeout,
            max_hold=min(ceiling.max_hold for ceiling in its),
            percent=min(ceiling.pause_after_failures for ceiling in its),
            gate_critical=any(ceiling.gate_critical for ceiling in its),
        )


class Account(Struct):
    """What is taken of one budget, and what there is."""

    most: int
    most_bytes: int
    taken: int = 0
    bytes: int = 0
    blocked: int = 0

    def room(self, list_bytes: int) -> int:
        """How many more starts may begin. A list larger than all that may be in flight runs alone."""
        room = self.most - self.taken
        if list_bytes:
            alone = 0 if self.bytes else 1
            room = min(room, max((self.most_bytes - self.bytes) // list_bytes, alone))
        return max(0, room)

    def take(self, list_bytes: int) -> None:
        """One more start begins."""
        self.taken += 1
        self.bytes += list_bytes


class Ledger(Struct):
    """The books at one pass.

    Attributes:
        accounts: by budget.
        in_flight: permits by DaemonSet.
        by_revision: the same by DaemonSet and revision.
        blocked: pods by DaemonSet that could not use their permit.
        failing: failed starts that have not recovered, by DaemonSet and revision.
        ended: uids whose label is to go.
        outcomes: not told before.
        news: the same for others, and those that had a permit and are out of sight.
        lasted: seconds from permit to end of the starts that just ended well.
        next_change: when a permit ends of itself next.
    """

    accounts: dict[str, Account]
    in_flight: dict[Key, int] = field(default_factory=dict)
    by_revision: dict[tuple[Key, str], int] = field(default_factory=dict)
    blocked: dict[Key, int] = field(default_factory=dict)
    failing: dict[tuple[Key, str], list[Start]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    outcomes: list[tuple[Start, Outcome]] = field(default_factory=list)
    news: list[News] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)
    next_change: float | None = None

    @property
    def total(self) -> int:
        """Permits taken in the cluster."""
        return sum(self.in_flight.values())

    def tell(self, start: Start, outcome: Outcome) -> None:
        """Something is to be told of a start."""
        self.news.append(News(start.uid, start.daemon_set, start.node, outcome))

    def take(self, start: Start, rules: Rules) -> None:
        """Enter a permit."""
        key, revision = start.daemon_set, (start.daemon_set, start.revision)
        self.in_flight[key] = self.in_flight.get(key, 0) + 1
        self.by_revision[revision] = self.by_revision.get(revision, 0) + 1
        for budget in rules.budgets:
            self.accounts[budget].take(rules.list_bytes)


class _Known(Struct):
    """What was told of a start. Forgotten with the process; then it is told again, no more.

    Attributes:
        watched: it was seen before it was Ready. What is Ready at first sight, as after a restart of the
            operator, may have begun long ago: how long it took is not known.
    """

    start: Start
    watched: bool
    told: Outcome | None = None
    was_blocked: bool = False


class Books:
    """Reads a ledger at every pass, and remembers what was told of whom."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def read(
        self,
        now: float,
        permitted: Iterable[Start],
        rules: Mapping[Key, Rules],
        ceilings: Mapping[str, Ceiling],
    ) -> Ledger:
        """The books as of now.

        Args:
            now: the time.
            permitted: starts that are not held.
            rules: of every DaemonSet that occurs.
            ceilings: of every budget.
        """
        ledger = Ledger({name: Account(its.max_starts, its.max_list_bytes) for name, its in ceilings.items()})
        before, self._known = self._known, {}
        for start in permitted:
            known = before.pop(start.uid, None) or _Known(start, start.phase is not Phase.READY)
            known.start = start
            self._known[start.uid] = known
            self._enter(ledger, now, known, rules[start.daemon_set])
        for known in before.values():
            if known.told is None:
                ledger.tell(known.start, Outcome.GONE)
        return ledger

    def _enter(self, ledger: Ledger, now: float, known: _Known, rules: Rules) -> None:
        start, key = known.start, known.start.daemon_set
        outcome, ends = _outcome(now, known, rules)
        if outcome is None:
            ledger.take(start, rules)
            ledger.next_change = ends if ledger.next_change is None else min(ledger.next_change, ends)
        elif outcome in {Outcome.READY, Outcome.RECOVERED}:
            ledger.ended.append(start.uid)
        elif outcome is Outcome.BLOCKED:
            known.was_blocked = True
            ledger.blocked[key] = ledger.blocked.get(key, 0) + 1
            for budget in rules.budgets:
                ledger.accounts[budget].blocked += 1
        else:
            ledger.failing.setdefault((key, start.revision), []).append(start)
        if outcome is not None and outcome is not known.told:
            ledger.outcomes.append((start, outcome))
            ledger.tell(start, outcome)
            if outcome is Outcome.READY and known.watched:
                ledger.lasted.append(now - _permit(start))
        known.told = outcome


def _permit(start: Start) -> float:
    return start.held_since if start.permit_since is None else start.permit_since


def _outcome(now: float, known: _Known, rules: Rules) -> tuple[Outcome | None, float]:
    """What a start has come to, None while it has its permit; and when that changes if nothing happens."""
    start = known.start
    permit = _permit(start)
    started = permit if start.started_since is None else start.started_since
    ready = started if start.ready_since is None else max(start.ready_since, started)
    failed = start.phase is Phase.FAILED or start.restarts > 0
    if failed or known.told in {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.RECOVERED}:
        well = ready + max(RECOVERED_AFTER, rules.lasts)
        if start.phase is Phase.READY and now >= well:
            return Outcome.RECOVERED, well
        return (Outcome.TIMED_OUT if known.told is Outcome.TIMED_OUT else Outcome.FAILED), well
    if known.told is Outcome.READY:  # its label may stay for a while, and readiness comes and goes
        return Outcome.READY, permit
    if start.phase is Phase.READY:
        outcome, ends = Outcome.READY, started + rules.lasts
    elif start.phase is Phase.STARTED:
        # One that could not begin within its time has the whole time from when it did begin.
        late = known.was_blocked or started - permit >= rules.permit_timeout
        outcome, ends = Outcome.TIMED_OUT, (started if late else permit) + rules.permit_timeout
    else:
        patience = rules.permit_timeout if start.scheduled else min(UNSCHEDULED, rules.permit_timeout)
        outcome, ends = Outcome.BLOCKED, permit if known.was_blocked else permit + patience
    return (outcome if now >= ends else None), ends
