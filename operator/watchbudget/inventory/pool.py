"""The same small request for many names, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

__all__ = ["WORKERS", "for_each"]

WORKERS = 8
"""Requests at once. An audit is one client among many; the API server gives a user a queue, not a
right to its seats, and on the measured machines more gains little."""

_T = TypeVar("_T")


async def for_each(items: Iterable[_T], work: Callable[[_T], Awaitable[None]]) -> None:
    """Run `work` on every item, at most `WORKERS` at once; the first error stops all."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(WORKERS)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
