"""On which terms pods start, as the newest judgement has it: what the rollouts are given. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from watchbudget.api.budget import WatchBudget
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.appraisal import Appraisal
from watchbudget.rollout.cap import caps_of, tightest
from watchbudget.rollout.gate import ceilings_of, paused_of, terms_of
from watchbudget.rollout.model import Ceiling, Key, Terms
from watchbudget.rollout.queue import Queue, queue_of
from watchbudget.rollout.roll import ROLLOUT, WAVES

__all__ = ["Plan", "plan_of"]


class Plan(Struct, frozen=True):
    """What a judgement says of starts. Never changed: the next judgement brings a new one.

    Attributes:
        terms: of every DaemonSet that was judged, also of those that nothing gates.
        ceilings: by budget.
        caps: of DaemonSets that are rolled in waves: how many nodes may be without a ready pod of it.
        uids: of budgets, for events about them.
        waves: DaemonSets that are rolled in waves, as judged: what has changed of them is looked at soon.
        begun: since when DaemonSets roll, as their budgets' status has it: known again after a restart.
        queue: whose lists the API server shall answer a few at a time.
    """

    terms: Mapping[Key, Terms] = field(default_factory=dict)
    ceilings: Mapping[str, Ceiling] = field(default_factory=dict)
    caps: Mapping[Key, int] = field(default_factory=dict)
    uids: Mapping[str, str] = field(default_factory=dict)
    waves: Mapping[Key, DaemonSet] = field(default_factory=dict)
    begun: Mapping[Key, str] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)


def plan_of(appraisals: Sequence[Appraisal], budgets: Sequence[WatchBudget]) -> Plan:
    """The plan of a judgement.

    Args:
        appraisals: of all DaemonSets.
        budgets: all of them, in the order of the appraisals.
    """
    terms, caps, rolled = {}, {}, {}
    for appraisal in appraisals:
        item = appraisal.daemon_set
        waves = _wants_waves(item)
        terms[item.key] = replace(terms_of(appraisal, budgets), waves=waves)
        if waves:
            rolled[item.key] = item
        # What no budget gates (any more) is not held: its waves would outrun the permits.
        cap = tightest(caps_of(appraisal, budgets)) if waves and terms[item.key].budgets else None
        if cap is not None:
            caps[item.key] = cap.starts
    said = ((budget.name, _paused(budget)) for budget in budgets)
    return Plan(
        terms=terms,
        ceilings=ceilings_of(budgets, {name: why for name, why in said if why is not None}),
        caps=caps,
        waves=rolled,
        uids={budget.name: budget.metadata.uid or "" for budget in budgets},
        begun={
            (each.namespace, each.name): each.started_at
            for budget in budgets
            if budget.status is not None
            for each in budget.status.rollouts
            if each.started_at is not None
        },
        queue=queue_of(appraisals, budgets),
    )


def _wants_waves(daemon_set: DaemonSet) -> bool:
    """Whether old pods of it are ours to delete."""
    return daemon_set.annotations.get(ROLLOUT) == WAVES and daemon_set.update_strategy.type == "OnDelete"


def _paused(budget: WatchBudget) -> str | None:
    """Why a budget starts nothing, by the same annotation as on a DaemonSet."""
    return paused_of(DaemonSet("", "", annotations=dict(budget.metadata.annotations)))
