"""Which pods may start now: one pacer per cluster, pure, in the caller's time."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from watchbudget.rollout.books import Books, Ledger
from watchbudget.rollout.fair import Turns, Waiting, first_in_line
from watchbudget.rollout.grants import Grants
from watchbudget.rollout.health import Health
from watchbudget.rollout.letgo import LetGo
from watchbudget.rollout.limit import AdaptiveLimit
from watchbudget.rollout.model import (
    Ceiling,
    Key,
    Outcome,
    Pass,
    Pause,
    Signals,
    Start,
    Terms,
    Why,
)
from watchbudget.rollout.numbers import budget_pauses_of, numbers_of_budgets, numbers_of_daemon_sets
from watchbudget.rollout.progress import Progress
from watchbudget.rollout.seen import Seen
from watchbudget.rollout.spacing import Spacing

__all__ = ["Pacer"]

MOST_PER_PASS = 25
"""Permits given out in one pass: each is a patch."""

HEARTBEAT = 5.0
"""Seconds to the next pass at most while there are starts."""

SOONEST = 0.02
"""Seconds to the next pass at least."""

MOST_LABELS = 500
"""Starts that ended well and still carry our label. Taking it off is a write that can wait, so it waits until
no start is in flight; beyond this number, which bounds what is watched and remembered, the oldest go at once.
It saves a twelfth of all processor time of a rollout of 300 pods on two cores (bench/storm)."""

LABELS_PER_PASS = 10
"""Labels taken off in one pass: there is no hurry."""


class Pacer:
    """Gives out permits. Every replica has one and calls it; only the leader's gives out permits.

    What it remembers beyond a pass is how the API server bears it (`AdaptiveLimit`), how starts ended lately
    (`Health`), whose turn it was, what is not seen to be done yet, and since when nothing moves. Who has a
    permit is read from the pods.
    """

    def __init__(self, max_starts: int = 100) -> None:
        """Prepare.

        Args:
            max_starts: the cluster's ceiling: permits at once, all budgets together; at least one.
        """
        self._max_starts = max(1, max_starts)
        self._books, self._health, self._turns = Books(), Health(), Turns()
        self._limit, self._spacing = AdaptiveLimit(), Spacing()
        self._let_go, self._grants = LetGo(), Grants()
        self._progress = Progress()
        self._locked: frozenset[str] = frozenset()  # budgets kept free for a large list, as well
        self._first = True

    def turn(
        self,
        now: float,
        starts: Iterable[Start],
        terms: Mapping[Key, Terms],
        ceilings: Mapping[str, Ceiling],
        signals: Signals,
        *,
        leading: bool = True,
        led: bool = True,
        queued: Container[Key] = (),
    ) -> Pass:
        """One pass: take in what is seen, decide.

        Call it whenever something changed, after every probe, and at `Pass.next_pass` at the latest. What it
        answers is answered again until it is seen to be done: `end` in the next pass, `release` and `let_go`
        after ten seconds.

        Args:
            now: seconds that only ever grow.
            starts: all pods with our label, each once.
            terms: of all governed DaemonSets. Must be complete: one that is missing counts as not judged.
            ceilings: by name of budget, those with a `rollout`.
            signals: what the API server has shown since the last pass.
            leading: whether the caller holds the Lease. Otherwise it watches, ready to take over, and only
                lets go what nobody else does.
            led: whether anybody holds it. Otherwise starts that fail pause nothing.
            queued: DaemonSets whose lists the API server answers a few at a time.
        """
        seen = Seen.of(starts, terms, ceilings, led=leading or led)
        ledger = self._books.read(now, seen.permitted.values(), seen.rules, ceilings)
        self._learn(now, ledger)
        limit = self._limit.update(
            now,
            signals,
            ceiling=self._max_starts,
            in_flight=ledger.total,
            ended=tuple(ledger.lasted),
            queued=bool(seen.rules) and all(key in queued for key in seen.rules),
        )
        self._grants.settle(now, seen.held)
        wake: list[float] = []
        candidates, due = self._sort(now, seen, ledger, wake)
        stalled = self._progress.stalled(
            now,
            seen,
            ledger,
            candidates,
            limit=limit if leading else None,
            locked=self._locked,
            wake=wake,
        )
        due += [(pod, Why.NO_PROGRESS) for key in stalled for pod in candidates[key]]
        self._let_go.see(now, seen.held.keys(), seen.permitted.keys())
        let_go = self._let_go.choose(now, due)

        release: list[str] = []
        if leading:
            gone = {freed.uid for freed in let_go}
            release, again = self._give_out(now, seen, ledger, candidates, limit, gone)
            wake += [now + self._spacing.wait(limit, self._limit.round)] if again else []
        else:
            self._grants.drop()
            self._locked = frozenset()

        pauses = self._pauses(seen, ledger)
        changes = (
            ledger.next_change,
            self._grants.next_change(now),
            self._let_go.next_change(),
            self._health.next_forgotten() if pauses else None,
            now + HEARTBEAT if seen.held or seen.permitted else None,
        )
        wake += [change for change in changes if change is not None]
        return Pass(
            release=tuple(release),
            end=tuple(_labels_to_go(ledger)),
            let_go=let_go,
            news=tuple(ledger.news),
            pauses=pauses,
            budget_pauses=budget_pauses_of(seen, pauses),
            limit=limit,
            in_flight=ledger.total,
            budgets=numbers_of_budgets(seen, ledger, limit),
            daemon_sets=numbers_of_daemon_sets(
                seen,
                ledger,
                free=limit - ledger.total,
                shut=self._locked,
                pauses=pauses,
                failed=self._health.failed(),
            ),
            next_pass=max(now + SOONEST, min(wake)) if wake else None,
        )

    def refused(self, now: float, uid: str) -> None:
        """Take in that the API server refused to write a permit that was given out.

        Only where that is certain: of a request that was not answered the permit may yet be written.

        Args:
            now: as in `turn`.
            uid: of the pod.
        """
        self._grants.refuse(now, uid)

    def _learn(self, now: float, ledger: Ledger) -> None:
        """Enter into the health what starts have come to.

        Not at the first pass: what had failed before this process began did not fail now. As long as it
        goes on failing it counts all the same.
        """
        for start, outcome in ledger.outcomes:
            if outcome is Outcome.READY:
                self._health.record(now, start.daemon_set, start.revision, failed=False)
            elif outcome in {Outcome.FAILED, Outcome.TIMED_OUT} and not self._first:
                self._health.record(now, start.daemon_set, start.revision, failed=True)
        self._health.forget(now)
        self._first = False

    def _sort(
        self, now: float, seen: Seen, ledger: Ledger, wake: list[float]
    ) -> tuple[dict[Key, list[Start]], list[tuple[Start, Why]]]:
        """The held pods that a permit would release, by DaemonSet, and those that need none."""
        candidates: dict[Key, list[Start]] = {}
        due: list[tuple[Start, Why]] = []
        for key, pods in seen.waiting.items():
            rules = seen.rules[key]
            if key not in seen.terms:
                oldest = min(pod.held_since for pod in pods)
                if now - oldest < rules.max_hold:
                    wake.append(oldest + rules.max_hold)
                due += [(pod, Why.NOT_JUDGED) for pod in pods if now - pod.held_since >= rules.max_hold]
                continue
            if not rules.budgets:
                due += [(pod, Why.NOT_GATED) for pod in pods]
                continue
            if not rules.gate_critical:
                due += [(pod, Why.NOT_GATED) for pod in pods if pod.critical]
            paused = {
                revision
                for revision in {pod.revision for pod in pods}
                if seen.pause(key, revision, ledger, self._health) is not None
            }
            candidates[key] = [
                pod
                for pod in pods
                if pod.revision not in paused and (rules.gate_critical or not pod.critical)
            ]
        return candidates, due

    def _give_out(
        self,
        now: float,
        seen: Seen,
        ledger: Ledger,
        candidates: Mapping[Key, list[Start]],
        limit: int,
        let_go: set[str],
    ) -> tuple[list[str], bool]:
        """Give out permits and enter them in the books; and whether more are only to be given out later."""
        for uid in self._grants:
            start = seen.held[uid]
            ledger.take(start, seen.rules[start.daemon_set])
        self._turns.forget(candidates)
        spaced = self._spacing.room(now, limit, self._limit.round)
        free = limit - ledger.total
        most = min(free, spaced, MOST_PER_PASS)
        if most <= 0:
            return [], free > 0 and any(candidates.values())
        skip = self._grants.not_now(now) | let_go
        waiting = {}
        for key, pods in candidates.items():
            first = first_in_line([pod for pod in pods if pod.uid not in skip] if skip else pods, most)
            if first:
                waiting[key] = Waiting(first, seen.rules[key], critical=first[0].critical)
        chosen, self._locked = self._turns.share_out(waiting, ledger, most)
        self._spacing.take(len(chosen))
        for start in chosen:
            self._grants.give(now, start.uid)
        return [start.uid for start in chosen], len(chosen) == most < free

    def _pauses(self, seen: Seen, ledger: Ledger) -> dict[Key, Pause]:
        """Of every DaemonSet that is paused, why."""
        told = {
            key: seen.pause(key, seen.shown_revision(key, ledger), ledger, self._health) for key in seen.rules
        }
        told |= {key: seen.order(key) for key in seen.ordered() if key not in told}
        return {key: pause for key, pause in told.items() if pause is not None}


def _labels_to_go(ledger: Ledger) -> list[str]:
    """Of the starts that ended well, whose label is taken off now."""
    surplus = max(0, len(ledger.ended) - MOST_LABELS) if ledger.total else len(ledger.ended)
    return ledger.ended[: min(surplus, LABELS_PER_PASS)]
