"""Full lists beside the watches: now and then, and soon whenever the watches may have missed something.

kopf says nothing of objects that vanished before it listed (anew), and never looks again for a type that was
not there when it started: our own, whose definition someone deleted and applied again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from watchbudget.controller.reading import relist
from watchbudget.controller.store import Kind, Store
from watchbudget.controller.trouble import Trouble
from watchbudget.inventory.errors import ClusterError, NotFound

if TYPE_CHECKING:
    from watchbudget.inventory.transport import Api

__all__ = ["Resync", "Watches", "served"]

PAUSE = 10.0
"""Seconds until a list that failed is tried again."""

LOOK_AGAIN = 5.0
"""Seconds between two looks for the type, while it is not there."""

SETTLED = 10.0
"""Seconds after a start in which every kind that is watched has been listed."""

log = logging.getLogger(__name__)


class Watches(Protocol):
    """What is asked of `watching.Watching`."""

    restarts: int
    lists: dict[Kind, int]
    listed: set[Kind]

    @property
    def age(self) -> float:
        """Seconds since their last start."""

    def restart(self) -> None:
        """Begin anew."""


class Resync:
    """Keeps the store complete. Of one event loop."""

    def __init__(
        self,
        open_api: Callable[[], Api],
        store: Store,
        *,
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            open_api: gives a connection that has not failed before.
            store: takes what is listed.
            every: seconds between two lists.
            clock: seconds that only ever grow.
        """
        self._open_api, self._store = open_api, store
        self._every, self._clock = every, clock
        self._listed = self._not_before = float("-inf")
        self._defined = True
        self._followed = dict.fromkeys(Kind, 0)  # lists of the watches after which we have listed, too
        self._heeded = self._checked = 0  # restarts of the watches that were followed by a list, by a look
        self._trouble = Trouble(log)

    async def fill(self, kinds: Collection[Kind] = tuple(Kind)) -> None:
        """A full list of everything, or of some kinds.

        Raises:
            ClusterError: not everything could be listed.
        """
        defined = await relist(self._open_api(), self._store, kinds)
        if len(kinds) == len(Kind):
            self._listed = self._clock()
        if Kind.BUDGET in kinds:
            self._defined = defined
        if not defined:
            log.warning("The type WatchBudget is not defined: nothing is governed until its CRD is applied")

    async def run(self, watching: Watches) -> None:
        """Look every second what is to be done, until cancelled; `fill` comes before."""
        while True:
            await asyncio.sleep(1)
            await self.step(watching)

    async def step(self, watching: Watches) -> None:
        """Look once. What fails is logged, and tried again."""
        if self._clock() < self._not_before:
            return
        restarts, lists = watching.restarts, dict(watching.lists)
        due = restarts != self._heeded or self._clock() - self._listed >= self._every
        kinds = [kind for kind in Kind if due or lists[kind] != self._followed[kind]]
        try:
            if kinds:
                await self.fill(kinds)
                self._heeded, self._followed = restarts, lists
            if not self._defined:
                await self._look_for_the_type(watching)
            self._trouble.over()
        except ClusterError as error:
            self._trouble.tell("The full list failed", error)
            self._not_before = self._clock() + PAUSE
        if watching.restarts != self._checked and watching.age > SETTLED:
            self._checked = watching.restarts
            # A type that was away for the moment of the start is not watched.
            if watching.listed != set(Kind):
                watching.restart()

    async def _look_for_the_type(self, watching: Watches) -> None:
        if await served(self._open_api(), Kind.BUDGET):
            log.info("The type WatchBudget is defined")
            watching.restart()
            await self.fill()
        else:
            self._not_before = self._clock() + LOOK_AGAIN


async def served(api: Api, kind: Kind) -> bool:
    """Whether discovery, which kopf asks at its start, tells of a kind.

    Raises:
        ClusterError: the server cannot be asked.
    """
    version, _, plural = kind.value
    group, _, number = version.rpartition("/")
    try:
        groups = (await api.get("/apis")).get("groups") or ()
        versions = [
            each["version"] for found in groups if found["name"] == group for each in found["versions"]
        ]
        resources = (await api.get(f"/apis/{version}")).get("resources") or () if number in versions else ()
        return plural in {resource["name"] for resource in resources}
    except NotFound:
        return False
