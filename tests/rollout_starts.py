"""Starts, terms and ceilings for tests of the pacer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from watchbudget.rollout.model import Ceiling, Key, Pass, Phase, Signals, Start, Terms
from watchbudget.rollout.pacer import Pacer

AGENT: Key = ("agents", "agent")
OTHER: Key = ("agents", "other")
CALM = Signals(latency=0.005)


def pod(uid, phase=Phase.HELD, *, key: Key = AGENT, since=0.0, **more: object) -> Start:
    """A pod that reached its phase at a time, and all phases before it as well."""
    times: dict[str, float | None] = {}
    if phase is not Phase.HELD:
        times["permit_since"] = since
        more.setdefault("scheduled", True)
    if phase in {Phase.STARTED, Phase.READY}:
        times["started_since"] = since
    if phase is Phase.READY:
        times["ready_since"] = since
    return Start(
        uid=uid,
        namespace=key[0],
        name=f"pod-{uid}",
        daemon_set=key,
        node=f"node-{uid}",
        revision=more.pop("revision", "r1"),
        phase=phase,
        held_since=more.pop("held_since", since),
        **{**times, **more},
    )


def pods(count, prefix="p", **more: object) -> list[Start]:
    """Some held pods."""
    return [pod(f"{prefix}{number:04}", **more) for number in range(count)]


class Cluster:
    """Pods and a pacer; what the pacer decides is done at once, unless a test does otherwise."""

    def __init__(
        self,
        starts: Iterable[Start],
        *,
        terms: Mapping[Key, Terms] | None = None,
        ceilings: Mapping[str, Ceiling] | None = None,
        max_starts: int = 1000,
        leading: bool = True,
    ) -> None:
        self.pacer = Pacer(max_starts)
        self.starts = {start.uid: start for start in starts}
        self.terms = dict(terms if terms is not None else {AGENT: Terms(("default",))})
        self.ceilings = dict(ceilings if ceilings is not None else {"default": Ceiling()})
        self.leading, self.led = leading, True
        self.released: list[str] = []
        self.freed: list[str] = []

    def turn(self, now: float, signals: Signals = CALM, *, obey: bool = True) -> Pass:
        """One pass."""
        answer = self.pacer.turn(
            now,
            list(self.starts.values()),
            self.terms,
            self.ceilings,
            signals,
            leading=self.leading,
            led=self.led,
        )
        if obey:
            for uid in answer.release:
                self.move(uid, Phase.RELEASED, scheduled=True, permit_since=now)
            for uid in [*answer.end, *(freed.uid for freed in answer.let_go)]:
                del self.starts[uid]
        self.released += answer.release
        self.freed += [freed.uid for freed in answer.let_go]
        return answer

    def move(self, uid, phase, **more: object) -> None:
        """A pod gets on."""
        self.starts[uid] = replace(self.starts[uid], phase=phase, **more)

    def succeed(self, uid: str, now: float) -> None:
        """A pod is Ready, and was long enough ago."""
        self.move(uid, Phase.READY, started_since=now - 60, ready_since=now - 60)

    def turns(self, begin: float, end: float, step: float = 0.25, signals: Signals = CALM) -> Pass:
        """Passes over a time; the last one."""
        answer = Pass()
        for number in range(int((end - begin) / step) + 1):
            answer = self.turn(begin + number * step, signals)
        return answer
