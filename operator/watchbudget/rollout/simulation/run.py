"""A rollout in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from watchbudget.rollout.model import Ceiling, Key, Pass, Phase, Signals, Terms
from watchbudget.rollout.pacer import Pacer
from watchbudget.rollout.simulation.operators import Faults, Replica
from watchbudget.rollout.simulation.pods import Agent, Fate, Pod
from watchbudget.rollout.simulation.server import Lists, Server, VirtualClock

__all__ = ["Simulation"]

PROBE = 1.0
"""Seconds between two probes, as the operator makes them while pods start."""

LEASE = 15.0
"""Seconds after the leader's death before another leads."""

RECREATED = 0.5
"""Seconds from a replacement that is Ready to the next pod that is replaced."""


class Simulation:
    """One run: `run` plays it, afterwards the attributes tell what happened.

    Attributes:
        clock: the time.
        lists: the API server.
        pods: all there were, by uid.
        terms: of the agents, once they are applied; may be changed in mid-run.
        ceilings: the budgets; as well.
        passes: how many passes the leader made.
        let_go: pods that were let go, and when that was decided.
        latencies: what a bystander felt at each probe.
        limits: the adaptive limit at each probe.
        last: the leader's latest pass.
        unfinished: uids of pods that have not listed and still may.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        ceilings: Mapping[str, Ceiling],
        *,
        max_starts: int = 100,
        server: Server | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        gather: float = 0.05,
        after_pass: Callable[[Simulation, Pass], None] | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            agents: the DaemonSets, each applied at its time.
            ceilings: the budgets. Pods of agents that no budget gates start at once.
            max_starts: the cluster's ceiling.
            server: figures of the API server, else the measured ones.
            faults: what goes wrong, if anything.
            seed: of everything drawn by lot.
            gather: seconds that changes are gathered before a pass.
            after_pass: called after each pass of the leader, once what it decided is on its way.
        """
        self.ceilings = dict(ceilings)
        self.clock = VirtualClock()
        self._rng = random.Random(seed)  # noqa: S311 - a simulation
        server = server or Server()
        self.lists, self._queued = Lists(self.clock, server, self._rng), server.queued
        faults = faults or Faults()
        self.pods: dict[str, Pod] = {}
        self.terms: dict[Key, Terms] = {}
        self.passes = 0
        self.let_go: list[tuple[float, str]] = []
        self.latencies: list[float] = []
        self.limits: list[int] = []
        self.last = Pass()
        self._max_starts, self._faults, self._gather, self._after_pass = (
            max_starts,
            faults,
            gather,
            after_pass,
        )
        self.unfinished: set[str] = set()
        self._to_apply = len(agents)
        self._probes = 0
        self._lease_free = 0.0
        self._holder: Replica | None = None
        self._to_come: dict[Key, int] = {}
        self._replicas: list[Replica | None] = [Replica(Pacer(max_starts)) for _ in range(faults.replicas)]
        for agent in agents:
            self.clock.after(agent.at, partial(self._apply, agent))
        for number, begin, end in faults.dead:
            self.clock.after(begin, partial(self._kill, number))
            self.clock.after(end, partial(self._revive, number))
        for when, number in faults.vanishing:
            self.clock.after(when, partial(self._vanish, number))
        self.clock.after(0, self._probe)

    def run(self, until: float = 86_400.0) -> float:
        """Play until every pod has listed, or never will, or until a time.

        Returns:
            When that was. Where pods are still held then, `unfinished` says which.
        """
        while (self.unfinished or self._to_apply or any(self._to_come.values())) and self.clock.now < until:
            if not self.clock.step():
                break
        return self.clock.now

    def _apply(self, agent: Agent) -> None:
        self._to_apply -= 1
        self.terms[agent.key] = Terms(
            budgets=agent.budgets,
            list_bytes=agent.list_bytes,
            forgiven=agent.revision if agent.forgiven else None,
        )
        first = agent.nodes if agent.at_once is None else min(agent.nodes, agent.at_once)
        self._to_come[agent.key] = agent.nodes - first
        for _ in range(first):
            self._create(agent)

    def _create(self, agent: Agent) -> None:
        uid = f"{agent.key[1]}-{len(self.pods)}"
        stubborn = self._rng.random() < self._faults.stubborn
        pod = Pod(
            uid, agent, f"node-{len(self.pods)}", agent.draw(self._rng), self.clock, self.lists, self._rng,
            self._changed, stubborn=stubborn,
        )  # fmt: skip
        self.pods[uid] = pod
        self.unfinished.add(uid)
        if agent.budgets:
            self._changed(pod)
        else:
            pod.release(permit=False)

    def _changed(self, pod: Pod) -> None:
        hopeless = pod.fate in {Fate.CRASHES, Fate.NEVER_READY, Fate.UNSCHEDULABLE, Fate.STUCK}
        if pod.uid in self.unfinished and (
            pod.gone or pod.listed is not None or (hopeless and pod.phase is not Phase.HELD)
        ):
            self.unfinished.discard(pod.uid)
            if self._to_come[pod.agent.key]:
                self._to_come[pod.agent.key] -= 1
                self.clock.after(RECREATED, lambda: self._create(pod.agent))
        for replica in self._replicas:
            if replica is not None:
                replica.see(pod, self.clock.now)
                self._call(replica, self.clock.now + self._gather)

    def _call(self, replica: Replica, when: float) -> None:
        """Let a replica make a pass at a time, if none is due before."""
        if when < replica.next_pass:
            replica.next_pass = when
            self.clock.after(when - self.clock.now, lambda: self._turn(replica, when))

    def _turn(self, replica: Replica, when: float) -> None:
        if replica.next_pass != when or replica not in self._replicas:
            return  # overtaken, or dead
        leads = self._leader() is replica
        replica.next_pass = float("inf")
        answer = replica.pacer.turn(
            self.clock.now,
            replica.starts.values(),
            self.terms,
            self.ceilings,
            replica.hear(),
            leading=leads,
            queued=self.terms if self._queued else (),
        )
        for freed in answer.let_go:
            self.let_go.append((self.clock.now, freed.uid))
            self._patch(self.pods[freed.uid], permit=False)
        if leads:
            self.passes, self.last = self.passes + 1, answer
            for uid in answer.release:
                self._patch(self.pods[uid], permit=True)
            for uid in answer.end:
                self._patch(self.pods[uid], permit=None)
            if self._after_pass is not None:
                self._after_pass(self, answer)
        if answer.next_pass is not None:
            self._call(replica, answer.next_pass)

    def _leader(self) -> Replica | None:
        now = self.clock.now
        if now < self._lease_free or any(begin <= now < end for begin, end in self._faults.leaderless):
            return None
        if self._holder not in self._replicas:
            self._holder = None
        if self._holder is None:
            self._holder = next((one for one in self._replicas if one is not None), None)
        return self._holder

    def _patch(self, pod: Pod, *, permit: bool | None) -> None:
        """A patch on its way to the API server; None: it takes the label only."""
        if self._rng.random() >= self._faults.patches_fail:
            act = pod.unlabel if permit is None else lambda: pod.release(permit=bool(permit))
            self.clock.after(self._rng.uniform(0.01, 0.05), act)

    def _probe(self) -> None:
        """Each replica's probe; the latency is what any bystander feels."""
        latency = self.lists.latency()
        self.latencies.append(latency)
        self.limits.append(self.last.limit)
        signals = Signals(latency=latency)
        if self._probes < len(self._faults.signals):
            signals = self._faults.signals[self._probes]
        self._probes += 1
        for replica in self._replicas:
            if replica is not None:
                replica.tell(signals)
                self._call(replica, self.clock.now)
        self.clock.after(PROBE, self._probe)

    def _kill(self, number: int) -> None:
        number %= len(self._replicas)
        if self._replicas[number] is not None and self._replicas[number] is self._leader():
            self._lease_free = self.clock.now + LEASE
        self._replicas[number] = None

    def _revive(self, number: int) -> None:
        self._kill(number)  # if it lives: two that die at once return one after the other
        replica = Replica(Pacer(self._max_starts))
        self._replicas[number % len(self._replicas)] = replica
        for pod in self.pods.values():
            replica.see(pod, self.clock.now)
        self._call(replica, self.clock.now)

    def _vanish(self, number: int) -> None:
        if self.pods:
            list(self.pods.values())[number % len(self.pods)].vanish()
