"""The loop of staged starts, pass by pass, over an API server in memory."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from fake_apiserver import async_test
from policy_samples import declared
from rollout_pods import READY, container, held_pod, path_of, permitted_pod
from scripted_api import ScriptedApi
from watchbudget.controller import rollouts as module
from watchbudget.controller.events import ObjectRef
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.plan import Plan
from watchbudget.controller.rollouts import Rollouts
from watchbudget.controller.start_metrics import StartMetrics
from watchbudget.controller.start_news import StartNews
from watchbudget.controller.status import Staging
from watchbudget.controller.wire import Reply, WireError
from watchbudget.inventory.fleet import Container
from watchbudget.rollout.gate import LABEL, PAUSED
from watchbudget.rollout.model import Ceiling, Terms

KEY = ("logging", "agent")
LEASE = "/apis/coordination.k8s.io/v1/namespaces/watchbudget-system/leases/watchbudget"
DAEMON_SET = "/apis/apps/v1/namespaces/logging/daemonsets/agent"
PLAN = Plan({KEY: Terms(("budget",), 1000)}, {"budget": Ceiling(max_starts=3, settle=0.0)})


class Lead:
    grace = 3.0

    def __init__(self) -> None:
        self.leads = True

    def leading(self) -> bool:
        return self.leads

    def somebody_leads(self) -> bool:
        return self.leads

    def fence(self) -> None:
        if not self.leads:
            raise NotLeading("somebody else does")


class Setting:
    """One replica; passes are made by `step`."""

    def __init__(self, *names: str) -> None:
        self.api, self.lead, self.now = ScriptedApi(page=100), Lead(), 1000.0
        self.told: list[tuple[str, str]] = []
        self.reports: list[Mapping[str, Staging]] = []
        self.rollouts = Rollouts(
            self.api,
            self.api,
            LEASE,
            self.lead,
            news=StartNews(self._tell),
            report=self.reports.append,
            clock=lambda: self.now,
        )
        for name in names:
            self.api.add(path_of(name), held_pod(name))

    def _tell(self, _ref: ObjectRef, _kind: str, reason: str, note: str, _action: str) -> None:
        self.told.append((reason, note))

    async def step(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.rollouts.turn()
        await self.rollouts.writes.settled()
        await settle()
        await self.rollouts._daemon_sets.look()

    def labels(self) -> dict[str, str | None]:
        return {raw["metadata"]["name"]: raw["metadata"]["labels"].get(LABEL) for raw in self.pods()}

    def with_label(self, label: str | None) -> set[str]:
        return {name for name, its in self.labels().items() if its == label}

    def pods(self) -> list[dict[str, Any]]:
        return [raw for path, raw in self.api.objects.items() if "/pods/" in path]

    def run(self, *names: str) -> None:
        """Play kubelet: these run and are Ready."""
        for name in names:
            self.api.change(path_of(name), containerStatuses=[container()], conditions=READY)


async def settle() -> None:
    """Let the watch bring what there is."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def watching(its: Setting) -> AsyncIterator[Setting]:
    task = asyncio.create_task(its.rollouts.pods.run())
    while not its.api.watchers:  # noqa: ASYNC110
        await asyncio.sleep(0)
    try:
        yield its
    finally:
        its.rollouts._resign()
        await its.rollouts.writes.close()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def lead(its: Setting, plan: Plan = PLAN) -> None:
    its.rollouts.carry(plan)
    await its.step(0)
    await settle()


@async_test
async def test_a_permit_that_was_refused_is_free_for_others_and_tried_again_soon():
    """As by an API server that has just started and knows no roles yet."""
    async with watching(Setting("a", "b")) as its:
        refusing = True
        its.api.intervene = lambda method, path, _body: (
            Reply(403, {}) if refusing and method == "PATCH" and path == path_of("a") else None
        )
        await lead(its, Plan(PLAN.terms, {"budget": Ceiling(max_starts=1, settle=0.0)}))
        for _ in range(3):
            await its.step()
        assert its.with_label("permitted") == {"b"}
        refusing = False
        its.run("b")
        await settle()
        for _ in range(5):
            await its.step()
        assert its.with_label("permitted") == {"a"}


@async_test
async def test_permits_are_given_taken_back_and_given_again():
    async with watching(Setting("a", "b", "c", "d", "e")) as its:
        await lead(its)
        await its.step()
        assert len(its.with_label("permitted")) == 3
        for _ in range(5):
            its.run(*its.with_label("permitted"))
            await settle()
            await its.step()
            assert its.rollouts.last.in_flight <= 3
        assert its.labels() == dict.fromkeys("abcde")
        assert its.rollouts.last.in_flight == 0
        assert its.told == []


@async_test
async def test_a_new_leader_knows_the_permits_that_its_watch_has_not_brought():
    async with watching(Setting("a", "b", "c", "d")) as its:
        its.lead.leads = False
        await lead(its)
        for name in "abc":  # given by the leader before, in its last moment
            raw = permitted_pod(name)
            raw["metadata"]["resourceVersion"] = "900"
            its.api.objects[path_of(name)] = raw
        its.lead.leads = True
        await its.step()
        assert its.with_label("held") == {"d"}
        await settle()
        await its.step()
        assert its.with_label("held") == {"d"}  # three are in flight
        assert its.rollouts.last.in_flight == 3


@async_test
async def test_who_does_not_lead_gives_nothing_and_tells_nothing():
    async with watching(Setting("a", "b")) as its:
        its.lead.leads = False
        await lead(its)
        for _ in range(5):
            await its.step()
        assert its.with_label("held") == {"a", "b"}
        assert not any("/daemonsets" in call for call in its.api.calls)
        assert (its.told, its.reports) == ([], [])


@async_test
async def test_without_a_leader_pods_are_let_go_slowly_after_max_hold():
    async with watching(Setting(*"abcdefghijkl")) as its:
        its.lead.leads = False
        await lead(its)
        for _ in range(29):
            await its.step(10)
        assert len(its.with_label("held")) == 12
        counts = []
        for _ in range(20):
            await its.step(1)
            counts.append(len(its.with_label(None)))
        assert counts[-1] == 12
        assert all(later - before <= 5 for before, later in itertools.pairwise(counts))


@async_test
async def test_a_budget_that_is_gone_or_gates_no_more_lets_go():
    async with watching(Setting("a", "b")) as its:
        paused = Plan(PLAN.terms, {"budget": Ceiling(paused="maintenance")})
        await lead(its, paused)
        await its.step()
        assert its.with_label("held") == {"a", "b"}
        its.told.clear()
        its.rollouts.carry(Plan({KEY: Terms(())}))
        await its.step()
        assert its.with_label(None) == {"a", "b"}
        assert "no budget gates them" in dict(its.told)["PodsLetGo"]


@async_test
async def test_pods_of_what_is_never_judged_are_let_go():
    async with watching(Setting("a")) as its:
        await lead(its, Plan())
        await its.step(200)
        assert its.with_label("held") == {"a"}
        await its.step(200)
        assert its.with_label(None) == {"a"}


@async_test
async def test_an_owners_pause_is_heard_without_a_judgement():
    async with watching(Setting("a", "b", "c", "d", "e")) as its:
        its.api.add(DAEMON_SET, daemon_set(**{PAUSED: "incident 4711"}))
        await lead(its)
        await its.step()
        started = its.with_label("permitted")
        await its.step()  # looked at by now
        its.run(*started)
        await settle()
        for _ in range(3):
            await its.step(5)
        assert its.with_label("held") == set("abcde") - started
        assert ("StartsPaused", "Paused: incident 4711") in its.told
        staging = its.rollouts.observed()["budget"]
        assert staging.starts is not None
        assert (staging.starts.paused_reason, staging.starts.held) == ("Paused", 2)
        [rollout] = staging.rollouts
        assert (rollout.name, rollout.nodes, rollout.paused_reason) == ("agent", 5, "Paused")
        its.api.objects[DAEMON_SET]["metadata"]["annotations"] = {}
        await its.step(5)
        await its.step()
        assert its.with_label("held") == set()
        assert its.told[-1][0] == "StartsResumed"


def daemon_set(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "logging", "name": "agent", "uid": "d", "annotations": annotations},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}},
        "status": {"desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberReady": 1},
    }


@async_test
async def test_status_is_reported_when_it_changes():
    async with watching(Setting("a")) as its:
        await lead(its)
        await its.step()
        await its.step()
        starts = its.reports[-1]["budget"].starts
        assert starts is not None
        assert (starts.in_flight, starts.held, starts.permits) == (1, 0, 3)
        reports = len(its.reports)
        await its.step()
        assert len(its.reports) == reports  # nothing new
        its.run("a")
        await settle()
        for _ in range(3):
            await its.step()
        last = its.reports[-1]["budget"]
        assert last.starts is not None
        assert last.starts.in_flight == 0
        assert last.progressing is not None
        assert (last.progressing.status, last.progressing.reason) == ("False", "Idle")


@async_test
async def test_refusals_of_our_own_writes_slow_the_pacer_down():
    plan = Plan(PLAN.terms, {"budget": Ceiling(max_starts=20, settle=0.0)})
    async with watching(Setting(*"abcdefgh")) as its:
        its.api.intervene = lambda method, _path, _body: Reply(429, {}) if method == "PATCH" else None
        await lead(its, plan)
        await its.step()
        before = its.rollouts.last.limit
        await its.step()
        assert its.rollouts.last.limit < before


@async_test
async def test_progress_is_made_of_passes():
    its = Setting("a")
    assert not its.rollouts.progressing()  # nothing is known: who leads could let nobody go
    async with watching(its):
        its.rollouts._pass_or_break()
        assert its.rollouts.progressing()
        its.now += 11
        assert not its.rollouts.progressing()
        its.rollouts._pass_or_break()
        assert its.rollouts.progressing()
        its.api.intervene = lambda _method, _path, _body: WireError("no more")
        its.api.say(WireError("cut"))
        await until(lambda: its.rollouts.pods.blind_since is not None)
        its.now += 61
        its.rollouts._pass_or_break()
        assert not its.rollouts.progressing()  # passes over what nobody sees


@async_test
async def test_a_process_that_was_stopped_in_the_middle_of_a_pass_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(module, "SHORTEST_PAUSE", 0.01)
    async with watching(Setting("a")) as its:
        passes = 0

        def stopped() -> None:
            nonlocal passes
            passes += 1
            its.now += 60

        monkeypatch.setattr(its.rollouts, "turn", stopped)
        task = asyncio.create_task(its.rollouts._passes())
        await until(lambda: passes == 3)
        task.cancel()


def test_a_new_template_of_what_is_rolled_in_waves_is_looked_at_soon(monkeypatch: pytest.MonkeyPatch):
    its, looks = Setting(), []
    monkeypatch.setattr(its.rollouts._daemon_sets, "soon", lambda: looks.append("soon"))
    first = replace(PLAN, waves={KEY: declared(name=KEY[1])})
    its.rollouts.carry(first)
    its.rollouts.carry(replace(first, waves=dict(first.waves)))
    assert looks == ["soon"]
    newer = replace(first.waves[KEY], containers=(Container("agent", "agent:2"),))
    its.rollouts.carry(replace(first, waves={KEY: newer}))
    assert looks == ["soon"] * 2


@async_test
async def test_a_fault_of_ours_strands_nobody(monkeypatch: pytest.MonkeyPatch):
    async with watching(Setting(*"abcdefg")) as its:
        its.rollouts.carry(PLAN)

        def fail() -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(its.rollouts, "turn", fail)
        its.rollouts._pass_or_break()
        assert not its.rollouts.progressing()
        its.now += 299
        its.rollouts._pass_or_break()
        await its.rollouts.writes.settled()
        assert len(its.with_label("held")) == 7
        its.now += 2
        for seconds, held in ((0, 2), (0.5, 2), (0.6, 0)):
            its.now += seconds
            its.rollouts._pass_or_break()
            await its.rollouts.writes.settled()
            await settle()
            assert len(its.with_label("held")) == held


@async_test
async def test_a_fault_of_ours_frees_nobody_who_is_held_on_purpose(monkeypatch: pytest.MonkeyPatch):
    async with watching(Setting("a")) as its:
        its.rollouts.carry(Plan(PLAN.terms, {"budget": Ceiling(paused="exam week")}))

        def fail() -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(its.rollouts, "turn", fail)
        its.rollouts._pass_or_break()
        its.now += 301
        its.rollouts._pass_or_break()
        await its.rollouts.writes.settled()
        assert len(its.with_label("held")) == 1
        its.rollouts.carry(PLAN)
        its.rollouts._pass_or_break()
        await its.rollouts.writes.settled()
        await settle()
        assert not its.with_label("held")


@async_test
async def test_the_whole_loop_runs_to_the_end_and_leaves_nothing_behind():
    api, lead_ = ScriptedApi(page=3), Lead()
    names = [f"p{number}" for number in range(25)]
    for name in names:
        api.add(path_of(name), held_pod(name))
    api.add(LEASE, {"metadata": {"name": "watchbudget", "uid": "l"}})
    rollouts = Rollouts(api, api, LEASE, lead_, max_starts=5)
    rollouts.carry(Plan(PLAN.terms, {"budget": Ceiling(settle=0.0)}))
    task = asyncio.create_task(rollouts.run())
    most = 0

    def play() -> bool:
        """Kubelets: what was released runs at the next look."""
        nonlocal most
        raws = [api.objects[path_of(name)] for name in names]
        starting = [raw for raw in raws if raw["metadata"]["labels"].get(LABEL) == "permitted"]
        most = max(most, sum("conditions" not in raw["status"] for raw in starting))
        for raw in copy.copy(starting):
            if "conditions" not in raw["status"]:
                path = path_of(raw["metadata"]["name"])
                api.change(path, containerStatuses=[container()], conditions=READY)
        return not any(LABEL in raw["metadata"]["labels"] for raw in raws)

    await until(play)
    assert 1 < most <= 5
    assert rollouts.progressing()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert api.watchers == []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


@async_test
async def test_every_pass_and_every_write_is_measured():
    async with watching(Setting("a", "b", "c", "d")) as its:
        registry = CollectorRegistry()
        its.rollouts.measure(StartMetrics(registry, most=10))
        await lead(its)
        await its.step()
        assert registry.get_sample_value("watchbudget_starts_held", {"budget": "budget"}) == 4
        await its.step()
        its.run(*its.with_label("permitted"))
        await settle()
        await its.step()
        await its.step()
        assert registry.get_sample_value("watchbudget_starts_total", {"outcome": "ready"}) == 3
        assert registry.get_sample_value("watchbudget_starts_held", {"budget": "budget"}) == 0
        assert registry.get_sample_value("watchbudget_starts_in_flight", {"budget": "budget"}) == 1
        written = registry.get_sample_value("watchbudget_pod_writes_total", {"outcome": "done"})
        assert written == its.rollouts.writes.written.done > 3
