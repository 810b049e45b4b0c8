"""What a pass tells of budgets and DaemonSets."""

from __future__ import annotations

from collections.abc import Mapping

from watchbudget.rollout.books import Ledger
from watchbudget.rollout.model import BudgetNumbers, DaemonSetNumbers, Key, Pause
from watchbudget.rollout.seen import Seen

__all__ = ["budget_pauses_of", "numbers_of_budgets", "numbers_of_daemon_sets"]


def numbers_of_budgets(seen: Seen, ledger: Ledger, limit: int) -> dict[str, BudgetNumbers]:
    """Of every budget given."""
    held = dict.fromkeys(seen.ceilings, 0)
    for key, pods in seen.waiting.items():
        for name in seen.rules[key].budgets:
            held[name] += len(pods)
    return {
        name: BudgetNumbers(
            in_flight=account.taken,
            held=held[name],
            permits=min(limit, account.most),
            blocked=account.blocked,
            list_bytes=account.bytes,
        )
        for name, account in ledger.accounts.items()
    }


def numbers_of_daemon_sets(
    seen: Seen,
    ledger: Ledger,
    *,
    free: int,
    shut: frozenset[str],
    pauses: Mapping[Key, Pause],
    failed: Mapping[Key, int],
) -> dict[Key, DaemonSetNumbers]:
    """Of every DaemonSet that has starts or failures, or is rolled in waves.

    Args:
        seen: the pass's view.
        ledger: the books, with what this pass gave out.
        free: permits of the cluster that are left.
        shut: budgets that give nothing out at present.
        pauses: by DaemonSet.
        failed: starts that failed in the last ten minutes, by DaemonSet.
    """
    failing: dict[Key, int] = {}
    for (key, _), starts in ledger.failing.items():
        failing[key] = failing.get(key, 0) + len(starts)
    numbers = {}
    for key in {*seen.rules, *failed}:
        held = len(seen.waiting.get(key, ()))
        rules = seen.rules.get(key)
        room = 0
        if rules is not None and rules.budgets and key not in pauses and shut.isdisjoint(rules.budgets):
            rooms = (ledger.accounts[name].room(rules.list_bytes) for name in rules.budgets)
            room = max(0, min(free, *rooms) - held)
        numbers[key] = DaemonSetNumbers(
            in_flight=ledger.in_flight.get(key, 0),
            held=held,
            blocked=ledger.blocked.get(key, 0),
            failed=failed.get(key, 0),
            failing=failing.get(key, 0),
            room=room,
        )
    return numbers


def budget_pauses_of(seen: Seen, pauses: Mapping[Key, Pause]) -> dict[str, Pause]:
    """Budgets that start nothing: paused themselves, or all that they hold is paused."""
    told = {
        name: Pause("BudgetPaused", ceiling.paused)
        for name, ceiling in seen.ceilings.items()
        if ceiling.paused is not None
    }
    held: dict[str, list[Key]] = {}
    for key in seen.waiting:
        for name in seen.rules[key].budgets:
            held.setdefault(name, []).append(key)
    for name, keys in held.items():
        if name not in told and all(key in pauses for key in keys):
            first = min(keys)
            others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            told[name] = Pause(
                pauses[first].reason, f"{first[0]}/{first[1]}{others}: {pauses[first].message}"
            )
    return told
