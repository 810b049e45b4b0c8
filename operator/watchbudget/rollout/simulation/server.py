"""A model of an API server that serves lists, and of a clock that it runs by."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable

from msgspec import Struct

__all__ = ["Lists", "Server", "VirtualClock"]


class VirtualClock:
    """Time that jumps from event to event."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen in a while."""
        heapq.heappush(self._events, (self.now + max(0.0, seconds), next(self._number), event))

    def step(self) -> bool:
        """Let the next event happen; False: there is none."""
        if not self._events:
            return False
        self.now, _, event = heapq.heappop(self._events)
        event()
        return True


class Server(Struct, frozen=True):
    """The API server's figures. The defaults are measured (two cores, 10,000 namespaces).

    Attributes:
        cores: lists that are served at full speed; more of them share it.
        at_once: lists that are served at all (seats of priority and fairness); more of them wait.
        queued: the operators know that its lists are answered a few at a time, by a level of their own.
        patience: seconds that a list waits before it is refused with 429.
        idle_latency: seconds that a small request takes beside no list.
        per_list: seconds more for each list being served.
        noise: how much a latency varies, as the sigma of a lognormal.
    """

    cores: int = 2
    at_once: int = 24
    queued: bool = False
    patience: float = 15.0
    idle_latency: float = 0.005
    per_list: float = 0.02
    noise: float = 0.4


class _List(Struct, eq=False):
    left: float
    done: Callable[[], None]
    refused: Callable[[], None]
    asked: float


class Lists:
    """Lists being served (processor sharing) and lists that wait (first come, first served).

    Attributes:
        served: how many were.
        refused: how many were not.
    """

    def __init__(self, clock: VirtualClock, server: Server, rng: random.Random) -> None:
        self._clock, self._server, self._rng = clock, server, rng
        self._serving: list[_List] = []
        self._waiting: deque[_List] = deque()
        self._advanced = 0.0
        self._version = 0
        self.served = self.refused = 0

    def ask(self, work: float, done: Callable[[], None], refused: Callable[[], None]) -> None:
        """Ask for a list that takes `work` seconds of a core."""
        asked = _List(work, done, refused, self._clock.now)
        self._waiting.append(asked)
        self._clock.after(self._server.patience, lambda: self._give_up(asked))
        self._move()

    def latency(self) -> float:
        """What a small request takes now."""
        base = self._server.idle_latency + self._server.per_list * len(self._serving)
        return base * self._rng.lognormvariate(0, self._server.noise)

    def _give_up(self, asked: _List) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
            self.refused += 1
            asked.refused()

    def _move(self) -> None:
        """Serve until now, then let in whom there is room for, and come back when the next one is done."""
        speed = min(1.0, self._server.cores / max(1, len(self._serving)))
        for asked in self._serving:
            asked.left -= (self._clock.now - self._advanced) * speed
        self._advanced = self._clock.now
        done = [asked for asked in self._serving if asked.left <= 1e-9]
        self._serving = [asked for asked in self._serving if asked.left > 1e-9]
        while self._waiting and len(self._serving) < self._server.at_once:
            self._serving.append(self._waiting.popleft())
        self._version += 1
        if self._serving:
            speed = min(1.0, self._server.cores / len(self._serving))
            version = self._version
            self._clock.after(
                min(asked.left for asked in self._serving) / speed, lambda: self._again(version)
            )
        self.served += len(done)
        for asked in done:
            asked.done()

    def _again(self, version: int) -> None:
        if version == self._version:
            self._move()
