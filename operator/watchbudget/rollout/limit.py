"""How many starts at once the API server bears: an adaptive limit, fast down, slow up.

What is known about such limits, and what was taken:

- TCP (RFC 5681): slow start, clocked by what ends well: each start that does adds one, so that the limit
  doubles per round, however long a round is; from the threshold on it grows by one, or a tenth, per round.
  Half of what was borne when trouble began is the new threshold. After an idle time it begins anew at the
  initial value (section 4.1), for the API server of an hour ago is not the one of now.
- Netflix' concurrency-limits: AIMDLimit halves at most on refusals, and no limit grows that is not at least
  half used; Gradient2Limit cuts by the ratio of latencies, never by more than half; VegasLimit takes an
  unloaded latency as its baseline and learns it again now and then, and leaves a band in which nothing moves.
  https://github.com/Netflix/concurrency-limits
- Ours: the latency is not that of the paced requests (the kubelets' and agents' business, unseen by us), but
  that of a probe beside them, which is what bystanders feel. So the baseline is learnt while nothing of
  ours is in flight, and the limit may grow only as starts end well.
"""

from __future__ import annotations

import math
from collections import deque

from watchbudget.rollout.model import Signals

__all__ = ["AdaptiveLimit"]

INITIAL = 8
"""Starts at once before anything is known. Eight lists of 10,000 namespaces at once slow a bystander to 0.2 s
on two cores (measured: 20 ms each) for half a second. Half as many would cost a round more at every rollout:
with 300 nodes some 5% of its time (simulated)."""

QUEUED = 64
"""The same where the API server itself answers their lists a few at a time. It still has their pods created,
bound and written, and other things to do."""

TOLERANCE = 8.0
LEAST_TROUBLE, MOST_TROUBLE = 0.3, 1.0
"""Latency counts as trouble from `TOLERANCE` times the baseline on, but never below the first (seconds), or
noise would throttle, and always above the second: Kubernetes' own objective for 99 of 100 simple requests
(sig-scalability, slos/api_call_latency.md). The first is a third of it. A tenth keeps others' slowest
requests a little quicker and makes a rollout of 300 pods take twice as long (bench/storm)."""

HEALTHY = 0.75
"""The limit grows only below this share of the trouble latency; between the two it stands still."""

EARLY = 0.3
"""From this share of the trouble latency on slow start is over, as in TCP's HyStart (RFC 9406): what is under
way and not listing yet would carry it far beyond."""

BASELINE_WINDOW, BASELINE_SAMPLES = 600.0, 120
"""Seconds and probes from which the baseline is taken: the lower quartile of them."""

QUIET = 3.0
"""Seconds without a start in flight after which the API server counts as unloaded by us."""

RECENT = 1.5
"""Seconds of probes before the newest that count with it."""

LONGEST_LATENCY = 60.0
"""Seconds; what takes longer counts as this."""

STALE = 10.0
"""Seconds after which a probe tells nothing any more: without news the limit does not grow."""

IDLE = 60.0
"""Seconds without a start in flight after which the limit begins anew at `INITIAL`."""

SHORTEST_ROUND, LONGEST_ROUND = 1.0, 10.0
"""Seconds between two cuts for latency: what a cut does shows when those already under way are through."""


class AdaptiveLimit:
    """The limit, between 1 and a ceiling, moved by `update` at every pass.

    Attributes:
        trouble: seconds; the latency of the probe from which on the limit is cut.
        round: seconds from permit to end of a start, a moving average.
    """

    def __init__(self) -> None:
        self._limit = float(INITIAL)
        self._threshold = math.inf  # where slow start ends
        self.round = SHORTEST_ROUND
        self._last_cut = -math.inf
        self._last_busy = -math.inf
        self._rested = True
        self._fresh = True  # nothing has ended, and no trouble come, since it rested
        self._widened = False
        self._recent: deque[tuple[float, float]] = deque(maxlen=8)
        self._unloaded: deque[tuple[float, float]] = deque(maxlen=BASELINE_SAMPLES)
        self.trouble = LEAST_TROUBLE

    @property
    def value(self) -> int:
        """How many may be in flight; at least one."""
        return int(self._limit)

    def update(
        self,
        now: float,
        signals: Signals,
        *,
        ceiling: int,
        in_flight: int,
        ended: tuple[float, ...] = (),
        queued: bool = False,
    ) -> int:
        """Take in what the API server has shown since the last call.

        Args:
            now: seconds that only ever grow.
            signals: what it has shown. A latency that is no number, or below zero, is none.
            ceiling: never more than this, and never less than one.
            in_flight: starts with a permit now.
            ended: seconds from permit to end of each start that ended well since the last call.
            queued: of all that wait or start the lists are answered a few at a time.

        Returns:
            The new limit.
        """
        self._hear(now, signals.latency, in_flight)
        if in_flight or ended:
            self._last_busy, self._rested = now, False
        elif not self._rested and now - self._last_busy >= IDLE:
            # As RFC 2861 has it: what was borne is remembered as a threshold.
            self._threshold = max(self._threshold, 0.75 * self._limit)
            self._limit = min(self._limit, float(INITIAL))
            self._rested = self._fresh = True
        for seconds in ended:
            self.round += 0.2 * (min(max(seconds, SHORTEST_ROUND), LONGEST_ROUND) - self.round)
        load = self._load(now)
        self._widen(load, queued=queued, ended=bool(ended))
        if signals.refused > 0 or signals.timeouts > 0:
            self._cut(now, 0.5, SHORTEST_ROUND)
        elif load is not None and load > 1:
            self._cut(now, max(0.5, 1 / math.sqrt(load)), self.round)
        elif load is not None and load <= HEALTHY and 2 * (in_flight + len(ended)) >= self._limit:
            if load > EARLY:
                self._threshold = min(self._threshold, self._limit)
            self._grow(len(ended))
        self._limit = max(1.0, min(self._limit, float(ceiling)))
        return self.value

    def _widen(self, load: float | None, *, queued: bool, ended: bool) -> None:
        """Begin wide where lists are queued, even if that is known a moment late; with others as always."""
        self._fresh = self._fresh and not ended
        if queued and self._fresh and load is not None and load <= HEALTHY:
            self._limit, self._widened = max(self._limit, float(QUEUED)), True
        elif self._widened and not queued:
            self._limit, self._widened = min(self._limit, float(INITIAL)), False

    def _hear(self, now: float, latency: float | None, in_flight: int) -> None:
        if latency is None or not math.isfinite(latency) or latency < 0:
            return
        latency = min(latency, LONGEST_LATENCY)
        self._recent.append((now, latency))
        # At the bottom what is seen is not our doing either: without this, an operator that starts amid
        # its own rollout on a slow API server would take slow for loaded and never leave the bottom.
        if (not in_flight and now - self._last_busy >= QUIET) or self._limit < 2:
            self._unloaded.append((now, latency))
            while self._unloaded[0][0] < now - BASELINE_WINDOW:
                self._unloaded.popleft()
            latencies = sorted(latency for _, latency in self._unloaded)
            quartile = latencies[(len(latencies) - 1) // 4]
            self.trouble = min(max(TOLERANCE * quartile, LEAST_TROUBLE), MOST_TROUBLE)

    def _load(self, now: float) -> float | None:
        """The latency as a share of what is trouble: the geometric mean of the last probes, or the last one.

        Latencies vary by factors: one slow probe is often chance, two in a row are not.
        """
        while self._recent and self._recent[0][0] < now - STALE:
            self._recent.popleft()
        if not self._recent:
            return None
        newest = self._recent[-1][0]
        latencies = [latency for heard, latency in self._recent if heard >= newest - RECENT]
        return math.prod(latencies) ** (1 / len(latencies)) / self.trouble

    def _cut(self, now: float, factor: float, pause: float) -> None:
        if now - self._last_cut < pause:
            return
        if now - self._last_cut >= 2 * LONGEST_ROUND:  # else it is the same trouble as before
            self._threshold = max(1.0, self._limit / 2)
        self._limit *= factor
        self._fresh = False
        self._last_cut = now

    def _grow(self, ended: int) -> None:
        for _ in range(ended):
            self._limit += 1 if self._limit < self._threshold else max(1 / self._limit, 0.1)
