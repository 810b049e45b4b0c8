"""Whole rollouts in virtual time: what must hold whatever agents, budgets, servers and faults there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from watchbudget.rollout.letgo import PER_SECOND
from watchbudget.rollout.limit import INITIAL, QUEUED
from watchbudget.rollout.model import Ceiling, Pass, Phase, Signals
from watchbudget.rollout.simulation import Agent, Fate, Faults, Pod, Server, Simulation

LATEST = 86_400.0
PATCHING = 9.99
"""Seconds that a permit counts whose patch is on its way, or was lost."""

CALM = Server(cores=8, per_list=0.002)
QUEUE = Server(at_once=3, queued=True, patience=60.0)
"""Its level of priority and fairness answers three lists at a time; the agents ask again after 429 anyway."""


def in_flight(pod: Pod, ceilings: list[Ceiling], now: float) -> bool:
    """Whether a pod has a permit, by what really happens to it."""
    if pod.gone or not pod.with_permit or pod.released is None or pod.restarts:
        return False
    timeout = min(ceiling.permit_timeout for ceiling in ceilings)
    settle = max(ceiling.settle for ceiling in ceilings)
    if pod.started is None:
        return now < pod.released + (timeout if pod.scheduled else min(15, timeout))
    begin = pod.started if pod.fate is Fate.LATE else pod.released
    if pod.ready is None:
        return now < begin + timeout
    return pod.ready < begin + timeout and now < pod.started + settle


@dataclass
class Oracle:
    """Counts by itself, after each pass of a leader, who has a permit: never more than any ceiling."""

    max_starts: int
    decided: dict[str, float] = field(default_factory=dict)
    most: int = 0
    released: Counter = field(default_factory=Counter)

    def __call__(self, simulation: Simulation, answer: Pass) -> None:
        now = simulation.clock.now
        self.decided |= dict.fromkeys(answer.release, now)
        for uid in answer.release:
            self.released[simulation.pods[uid].agent.key] += 1
        if not answer.release:
            return  # one that was blocked may have gone on, and nothing is given out then
        starting = [
            pod
            for pod in simulation.pods.values()
            if (pod.phase is Phase.HELD and not pod.gone and now - self.decided.get(pod.uid, -99) < PATCHING)
            or in_flight(pod, [simulation.ceilings[name] for name in pod.agent.budgets], now)
        ]
        self.most = max(self.most, len(starting))
        assert len(starting) <= min(self.max_starts, answer.limit)
        for name, ceiling in simulation.ceilings.items():
            its = [pod.agent.list_bytes for pod in starting if name in pod.agent.budgets]
            assert len(its) <= ceiling.max_starts
            assert sum(its) <= ceiling.max_list_bytes or sum(map(bool, its)) == 1


def play(
    agents: list[Agent],
    ceilings: dict[str, Ceiling],
    *,
    max_starts: int = 100,
    faults: Faults | None = None,
    server: Server = CALM,
    seed: int = 0,
    until: float = LATEST,
) -> tuple[Simulation, Oracle]:
    """A run, watched by the oracle."""
    oracle = Oracle(max_starts)
    simulation = Simulation(
        agents,
        ceilings,
        max_starts=max_starts,
        faults=faults,
        server=server,
        seed=seed,
        after_pass=oracle,
    )
    simulation.run(until)
    return simulation, oracle


def held(simulation: Simulation) -> list[str]:
    return [uid for uid, pod in simulation.pods.items() if pod.phase is Phase.HELD and not pod.gone]


BUDGETS = ("a", "b")
fates = st.lists(st.tuples(st.sampled_from(list(Fate)), st.floats(0, 0.15)), max_size=3).map(tuple)
agents = st.lists(
    st.builds(
        Agent,
        key=st.tuples(st.just("agents"), st.sampled_from("xyz")),
        nodes=st.integers(1, 12),
        budgets=st.sampled_from([("a",), ("b",), ("a", "b")]),
        list_seconds=st.sampled_from([0.05, 0.3]),
        list_bytes=st.sampled_from([0, 10_000_000, 300_000_000, 900_000_000]),
        delay=st.sampled_from([(0.05, 0.1), (0.5, 3.0), (5.0, 30.0)]),
        ready_first=st.booleans(),
        at_once=st.sampled_from([None, None, 1, 7]),
        fates=fates,
        at=st.sampled_from([0.0, 0.0, 40.0]),
        critical=st.booleans(),
        forgiven=st.just(True),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda agent: agent.key,
)
ceilings = st.fixed_dictionaries(
    {
        name: st.builds(
            Ceiling,
            max_starts=st.sampled_from([1, 2, 20]),
            max_list_bytes=st.sampled_from([10_000_000, 512 * 2**20]),
            settle=st.sampled_from([0.0, 5.0]),
            permit_timeout=st.sampled_from([60.0, 120.0]),
            max_hold=st.sampled_from([300.0]),
            gate_critical=st.just(True),
        )
        for name in BUDGETS
    }
)
many = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])


@many
@given(agents, ceilings, st.sampled_from([1, 5, 100]), st.integers(0, 99), st.sampled_from([CALM, QUEUE]))
def test_never_over_a_ceiling_never_starves_always_finishes(agents, ceilings, max_starts, seed, server):
    simulation, oracle = play(agents, ceilings, max_starts=max_starts, seed=seed, server=server)
    assert not simulation.unfinished
    assert not held(simulation)
    assert not simulation.let_go  # nobody needed another way out
    assert oracle.most >= 1


@many
@given(
    agents,
    ceilings,
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 120), st.floats(0.5, 60)), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 99),
)
def test_operators_that_die_lose_nothing(agents, ceilings, replicas, deaths, patches_fail, seed):
    faults = Faults(
        replicas=replicas,
        dead=tuple((number % replicas, begin, begin + lasts) for number, begin, lasts in deaths),
        patches_fail=patches_fail,
    )
    simulation, _ = play(agents, ceilings, max_starts=20, faults=faults, seed=seed)
    assert not simulation.unfinished
    assert not held(simulation)
    if not patches_fail:
        assert not simulation.let_go
    event(f"passes: {simulation.passes // 200 * 200}")


@many
@given(
    agents,
    st.lists(
        st.builds(
            Signals,
            latency=st.sampled_from([None, 0.001, 0.09, 0.4, 3.0, 60.0]),
            refused=st.sampled_from([0, 0, 7]),
            timeouts=st.sampled_from([0, 0, 1]),
        ),
        max_size=120,
    ),
    st.lists(st.tuples(st.floats(0, 200), st.integers(0, 999)), max_size=6),
)
def test_finishes_after_any_sequence_of_signals_and_vanishing_nodes(agents, signals, vanishing):
    faults = Faults(signals=tuple(signals), vanishing=tuple(vanishing))
    simulation, _ = play(agents, {name: Ceiling(gate_critical=True) for name in BUDGETS}, faults=faults)
    assert not simulation.unfinished
    assert not held(simulation)
    assert not simulation.let_go


class TestNeverStranded:
    def freed(self, simulation: Simulation) -> list[float]:
        """When each pod was let go for the first time."""
        first: dict[str, float] = {}
        for when, uid in simulation.let_go:
            first.setdefault(uid, when)
        return list(first.values())

    @pytest.mark.parametrize("replicas", [1, 3])
    def test_without_a_leader_all_go_after_max_hold_five_a_second(self, replicas):
        simulation, oracle = play(
            [Agent(nodes=60)],
            {"default": Ceiling(max_hold=100)},
            faults=Faults(replicas=replicas, leaderless=((0, LATEST),)),
        )
        times = self.freed(simulation)
        assert not held(simulation)
        assert oracle.most == 0
        assert len(times) == 60
        assert 100 <= min(times) < 102
        assert max(times) < 100 + 60 / PER_SECOND + 3
        assert all(sum(begin <= when < begin + 1 for when in times) <= PER_SECOND for begin in times)

    def test_leader_lost_in_mid_rollout(self):
        simulation, oracle = play(
            [Agent(nodes=200)],
            {"default": Ceiling(max_hold=60)},
            faults=Faults(replicas=2, leaderless=((20, 300),)),
        )
        times = self.freed(simulation)
        assert not held(simulation)
        assert times
        assert min(times) >= 80
        assert oracle.released.total() + len(times) == 200

    def test_a_leader_that_returns_in_time_lets_nobody_go(self):
        simulation, _ = play(
            [Agent(nodes=200)],
            {"default": Ceiling(max_hold=60)},
            faults=Faults(replicas=2, leaderless=((20, 70),)),
        )
        assert not held(simulation)
        assert not simulation.let_go

    def test_every_replica_dead_the_clock_begins_when_one_returns(self):
        simulation, _ = play(
            [Agent(nodes=200)],
            {"default": Ceiling(max_hold=60)},
            faults=Faults(dead=((0, 10, 5000),)),
        )
        assert not held(simulation)
        assert not simulation.let_go

    def test_pods_whose_gate_cannot_be_removed_keep_nobody(self):
        simulation, _ = play(
            [Agent(nodes=200)],
            {"default": Ceiling(max_starts=5)},
            faults=Faults(stubborn=0.1),
            until=600,
        )
        stubborn = [uid for uid, pod in simulation.pods.items() if pod.stubborn]
        assert len(stubborn) > 10
        assert sorted(held(simulation)) == sorted(stubborn)
        assert all(pod.listed for pod in simulation.pods.values() if not pod.stubborn)

    def test_a_budget_deleted_in_mid_rollout_frees_what_it_holds(self):
        simulation = Simulation([Agent(nodes=200)], {"default": Ceiling(max_starts=2)})
        simulation.clock.after(20, simulation.ceilings.clear)
        simulation.run()
        times = self.freed(simulation)
        assert not held(simulation)
        assert len(times) > 100
        assert all(sum(begin <= when < begin + 1 for when in times) <= PER_SECOND for begin in times)


class TestFailures:
    def test_an_agent_that_crashes_is_not_fed_and_others_go_on(self):
        broken = Agent(("agents", "broken"), nodes=300, fates=((Fate.CRASHES, 1.0),))
        simulation, oracle = play([broken, Agent(nodes=300)], {"default": Ceiling()}, until=3000)
        assert oracle.released[broken.key] <= INITIAL + 2  # two failures are no reason yet
        assert oracle.released[Agent().key] == 300
        assert simulation.last.pauses[broken.key].reason == "CrashLooping"
        assert not simulation.let_go

    def test_queued_it_is_not_fed_more_than_begin_at_once(self):
        broken = Agent(nodes=300, fates=((Fate.CRASHES, 1.0),))
        simulation, oracle = play([broken], {"default": Ceiling()}, until=3000, server=QUEUE)
        assert oracle.released[broken.key] <= QUEUED + 2
        assert simulation.last.pauses[broken.key].reason == "CrashLooping"

    def test_one_in_a_hundred_nodes_broken_is_no_reason_to_pause(self):
        share = ((Fate.CRASHES, 0.003), (Fate.NEVER_READY, 0.003), (Fate.STUCK, 0.004))
        for seed in range(2):
            simulation, _ = play([Agent(nodes=600, fates=share)], {"default": Ceiling()}, seed=seed)
            assert not simulation.unfinished
            assert not simulation.last.pauses
            assert not simulation.let_go

    def test_that_outlast_a_restart_of_the_operator(self):
        broken = Agent(nodes=300, fates=((Fate.CRASHES, 1.0),))
        simulation, oracle = play(
            [broken], {"default": Ceiling()}, faults=Faults(dead=((0, 60, 65),)), until=2000
        )
        assert oracle.released[broken.key] <= INITIAL + 2
        assert simulation.last.pauses[broken.key].reason == "CrashLooping"

    def test_starts_that_time_out_pause_and_are_tried_again_by_few(self):
        broken = Agent(nodes=500, fates=((Fate.NEVER_READY, 1.0),))
        simulation, oracle = play([broken], {"default": Ceiling()}, until=3600)
        assert simulation.last.pauses[broken.key]
        assert oracle.released[broken.key] <= 8 * INITIAL


class TestFairness:
    @pytest.mark.parametrize("max_starts", [1, 3, 20])
    def test_two_daemon_sets_share_evenly_while_both_wait(self, max_starts):
        both = [Agent(("agents", "a"), nodes=150), Agent(("agents", "b"), nodes=150, delay=(2.0, 4.0), at=1)]
        shares = []

        def share(simulation: Simulation, answer: Pass) -> None:
            numbers = answer.daemon_sets
            if (
                len(numbers) == 2
                and all(each.held for each in numbers.values())
                and simulation.clock.now > 20
            ):
                shares.append([numbers[agent.key].in_flight for agent in both])

        simulation = Simulation(both, {"default": Ceiling(max_starts=max_starts)}, after_pass=share)
        simulation.run()
        assert len(shares) > 50
        assert all(abs(a - b) <= 1 + max_starts // 4 for a, b in shares)
        totals = [sum(each) for each in zip(*shares, strict=True)]
        assert 0.6 <= totals[0] / totals[1] <= 1.6  # where one at a time runs, turns are even, not times

    def test_a_large_list_among_many_small_ones(self):
        small = Agent(("agents", "small"), nodes=300, list_bytes=50 * 2**20)
        large = Agent(("agents", "large"), nodes=10, list_bytes=500 * 2**20)
        order = []

        def note(simulation: Simulation, answer: Pass) -> None:
            order.extend(simulation.pods[uid].agent.key[1] for uid in answer.release)

        Simulation([small, large], {"default": Ceiling()}, after_pass=note).run()
        last_large = max(index for index, name in enumerate(order) if name == "large")
        assert order.count("large") == 10
        assert last_large < 290  # served among the small ones, not after them


class TestTime:
    """Simulated: on the figures measured on two cores, 10,000 namespaces."""

    def both(self, agent: Agent, seed: int) -> tuple[float, Simulation, float, Simulation]:
        native = Simulation([replace(agent, budgets=())], {}, seed=seed)
        paced = Simulation([agent], {"default": Ceiling(max_starts=100, settle=0.0)}, seed=seed)
        return native.run(), native, paced.run(), paced

    def test_nearly_as_fast_as_unpaced_and_nobody_is_refused(self):
        agent = Agent(nodes=300, list_seconds=0.16, delay=(0.2, 0.6))
        ratios = []
        for seed in range(5):
            unpaced, native, took, paced = self.both(agent, seed)
            ratios.append(took / unpaced)
            assert native.lists.refused > 0
            assert paced.lists.refused == 0
        assert sorted(ratios)[2] <= 1.15

    def test_with_a_queue_sooner_than_without(self):
        """The start of a container takes long beside its list: what waits for permits is no lists."""
        agent = Agent(nodes=300, list_seconds=0.06, delay=(0.5, 1.5))
        ceilings = {"default": Ceiling(max_starts=100, settle=0.0)}
        alone = Simulation([agent], ceilings, seed=1)
        queued = Simulation([agent], ceilings, seed=1, server=QUEUE)
        assert queued.run() <= 0.9 * alone.run()
        assert queued.lists.refused == 0
        assert max(queued.latencies) <= max(alone.latencies)

    def test_bystanders_wait_less(self):
        """Less than natively, where the model's server never serves more than 24 lists at once either."""
        agent = Agent(nodes=300, list_seconds=0.16, delay=(0.2, 0.6))
        _, native, _, paced = self.both(agent, 1)
        middle = [sorted(each.latencies)[len(each.latencies) // 2] for each in (native, paced)]
        assert middle[1] <= 0.7 * middle[0]

    def test_thousands_of_nodes(self):
        simulation = Simulation(
            [Agent(nodes=2000)],
            {"default": Ceiling(max_starts=100, settle=0)},
            server=Server(cores=16, per_list=0.002),
            gather=0.5,
        )
        assert simulation.run() < 200
        assert simulation.lists.served == 2000
