"""Permits that were given out and are not seen to be taken yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watchbudget.rollout.model import Start

__all__ = ["Grants"]

GRANT = 10.0
"""Seconds that a permit lasts for a pod whose gate is still seen; then its patch is taken to have failed."""

AGAIN = 20.0
"""Seconds until a pod is tried again whose permit has lapsed."""

REFUSED_AGAIN = 5.0
"""The same where the API server would not write the permit: just restarted, it may know no roles yet."""

LONGEST_RETRY = 300.0
"""Seconds until a pod is tried again, at most. Each failure doubles them: a pod whose gate cannot be
removed must not keep a permit from others for ever."""


class Grants:
    """So that a pass does not give out again what the pass before gave out."""

    def __init__(self) -> None:
        self._open: dict[str, float] = {}
        self._failed: dict[str, tuple[int, float]] = {}

    def settle(self, now: float, held: Mapping[str, Start]) -> None:
        """Take in who is held now: what is not held any more was taken, or is gone."""
        for uid, given in list(self._open.items()):
            if uid in held and now - given < GRANT:
                continue
            del self._open[uid]
            if uid in held:
                self._fail(now, uid, AGAIN)
        self._failed = {uid: failure for uid, failure in self._failed.items() if uid in held}

    def drop(self) -> None:
        """Someone else leads: nothing is given out by us."""
        self._open.clear()

    def give(self, now: float, uid: str) -> None:
        """A permit is given out."""
        self._open[uid] = now

    def refuse(self, now: float, uid: str) -> None:
        """A permit was not written, and will not be: others may have it at once."""
        if self._open.pop(uid, None) is not None:
            self._fail(now, uid, REFUSED_AGAIN)

    def _fail(self, now: float, uid: str, again: float) -> None:
        times = self._failed.get(uid, (0, 0.0))[0] + 1
        self._failed[uid] = (times, now + min(again * 2.0 ** min(times - 1, 10), LONGEST_RETRY))

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def not_now(self, now: float) -> set[str]:
        """Held pods to which no permit may be given now."""
        return {*self._open, *(uid for uid, (_, retry) in self._failed.items() if retry > now)}

    def next_change(self, now: float) -> float | None:
        """When a permit lapses or a pod is tried again next."""
        times = [given + GRANT for given in self._open.values()]
        times += [retry for _, retry in self._failed.values() if retry > now]
        return min(times, default=None)
