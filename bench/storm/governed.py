"""WatchBudget at work in the bench's cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storm.world import World

__all__ = ["available", "governing"]


def available() -> bool:
    """Whether there is an operator to start."""
    return False


@contextmanager
def governing(world: World, settle: str) -> Iterator[dict[str, int]]:
    """Run the operator with a WatchBudget that governs the agents; yields its processes."""
    raise NotImplementedError(f"no operator for {world} and {settle} yet")
    yield {}
