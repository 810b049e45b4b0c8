"""The budget that judges where none was given: it warns, and limits nothing."""

from __future__ import annotations

from functools import cache

from watchbudget.api.budget import Enforcement, Metadata, WatchBudget, WatchBudgetSpec

__all__ = ["default_budget"]


@cache
def default_budget() -> WatchBudget:
    """The built-in budget `default`: all DaemonSets, the default resources, action Warn, no limits."""
    enforcement = Enforcement(action="Warn", minimum_evidence="catalogue")
    return WatchBudget(metadata=Metadata(name="default"), spec=WatchBudgetSpec(enforcement=enforcement))
