"""What one pass of the pacer sees, sorted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from watchbudget.rollout.books import Ledger, Rules
from watchbudget.rollout.health import Health
from watchbudget.rollout.model import Ceiling, Key, Pause, Phase, Start, Terms

__all__ = ["Seen"]


class Seen(Struct, frozen=True):
    """What was given to a pass.

    Attributes:
        held: by uid.
        permitted: by uid: those of our pods that are not held.
        waiting: the held ones by DaemonSet.
        rules: of every DaemonSet that has starts or is rolled in waves.
        terms: as given.
        ceilings: as given.
        led: whether anybody leads, who shows in status why something is paused.
    """

    held: Mapping[str, Start]
    permitted: Mapping[str, Start]
    waiting: Mapping[Key, list[Start]]
    rules: Mapping[Key, Rules]
    terms: Mapping[Key, Terms]
    ceilings: Mapping[str, Ceiling]
    led: bool = True

    @classmethod
    def of(
        cls,
        starts: Iterable[Start],
        terms: Mapping[Key, Terms],
        ceilings: Mapping[str, Ceiling],
        *,
        led: bool = True,
    ) -> Seen:
        """Sort what was given."""
        held: dict[str, Start] = {}
        permitted: dict[str, Start] = {}
        waiting: defaultdict[Key, list[Start]] = defaultdict(list)
        for start in starts:
            if start.phase is Phase.HELD:
                held[start.uid] = start
                waiting[start.daemon_set].append(start)
            else:
                permitted[start.uid] = start
        keys = {start.daemon_set for start in permitted.values()}.union(
            waiting, (key for key, its in terms.items() if its.waves)
        )
        rules = {key: Rules.of(terms.get(key), ceilings) for key in keys}
        return cls(held, permitted, dict(waiting), rules, terms, ceilings, led)

    def order(self, key: Key) -> Pause | None:
        """Why people do not want a DaemonSet's starts to go on."""
        its = self.terms.get(key)
        if its is None:
            return None
        if its.paused is not None:
            return Pause("Paused", its.paused)
        for name in its.budgets:
            if name in self.ceilings and (why := self.ceilings[name].paused) is not None:
                return Pause("BudgetPaused", f"budget {name}: {why}")
        return None

    def pause(self, key: Key, revision: str, ledger: Ledger, health: Health) -> Pause | None:
        """Why nothing more of a DaemonSet's revision is started; None if it goes on.

        Where nobody leads, only people's word counts: nobody would show any other pause, nor end it.
        """
        its, rules = self.terms.get(key), self.rules.get(key)
        if (order := self.order(key)) is not None or its is None or rules is None or not self.led:
            return order
        if its.forgiven is not None and its.forgiven == revision:
            return None
        begun = 0
        if its.updated is not None and its.revision in {"", revision}:
            begun = its.updated - sum(1 for pod in self.waiting.get(key, ()) if pod.revision == revision)
        return health.pause(
            key,
            revision,
            rules.percent,
            in_flight=ledger.by_revision.get((key, revision), 0),
            failing=ledger.failing.get((key, revision), ()),
            begun=begun,
        )

    def shown_revision(self, key: Key, ledger: Ledger) -> str:
        """The revision by which a DaemonSet's pause is told: the newest, as far as we can tell."""
        its = self.terms.get(key)
        if its is not None and its.revision:
            return its.revision
        pods = self.waiting.get(key) or [
            start for (of, _), failing in ledger.failing.items() if of == key for start in failing
        ]
        if len(revisions := {pod.revision for pod in pods}) == 1:
            return revisions.pop()
        return max(pods, key=lambda pod: (pod.held_since, pod.uid)).revision if pods else ""

    def ordered(self) -> set[Key]:
        """DaemonSets with terms whose owner, or a budget's, has paused something."""
        paused = {name for name, ceiling in self.ceilings.items() if ceiling.paused is not None}
        return {
            key
            for key, its in self.terms.items()
            if its.paused is not None or (paused and not paused.isdisjoint(its.budgets))
        }
