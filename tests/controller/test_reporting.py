"""The reporter as a whole: what it wants, what survives a restart and a change of leaders, what is news."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from fake_apiserver import async_test
from reporting_rig import Clock, Recording, Rig, Sent, judged, rig
from watchbudget.api.status import Starts
from watchbudget.controller.annotations import OURS
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.status import Staging
from watchbudget.controller.store import Kind, Store, View
from watchbudget.controller.wire import Reply, WireError


class Cluster:
    """WatchBudgets and DaemonSets as an API server would keep them, as far as reporting goes."""

    def __init__(self) -> None:
        self.version = 1
        self.budgets: dict[str, dict[str, Any]] = {}
        self.agents: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.down = False

    def budget(self, name: str = "nodes", **spec: object) -> None:
        spec = {"enforcement": {"action": "Deny"}} | spec
        old = self.budgets.get(name, {"metadata": {"generation": 0, "uid": f"uid-{name}"}})
        generation = old["metadata"]["generation"] + 1
        metadata = {"name": name, "uid": f"uid-{name}", "generation": generation}
        self.budgets[name] = {
            **old,
            "apiVersion": "watchbudget.io/v1alpha1",
            "kind": "WatchBudget",
            "metadata": metadata | {"resourceVersion": self._next()},
            "spec": spec,
        }

    def agent(self, name: str = "agent", watches: str = '{"namespaces": "all"}', **labels: str) -> None:
        template = {"spec": {"containers": [{"name": "agent", "image": "registry.example/agent:1"}]}}
        metadata = {
            "namespace": "logging",
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": self._next(),
            "labels": labels,
            "annotations": {"watchbudget.io/watches": watches},
        }
        self.agents[name] = {"metadata": metadata, "spec": {"template": template}}

    def view(self) -> View:
        store = Store(lambda: None)
        for raw in self.budgets.values():
            store.tell(Kind.BUDGET, raw)
        for raw in self.agents.values():
            store.tell(Kind.DAEMON_SET, raw)
        return store.view()

    def __call__(self, request: Sent) -> Reply:
        if self.down:
            raise WireError("cut off")
        parts = request.path.partition("?")[0].split("/")
        if "watchbudgets" in parts:
            raw = self.budgets[parts[5]]
            raw["status"] = request.body["status"]
        elif "daemonsets" in parts:
            raw = self.agents[parts[7]]
            wanted = raw["metadata"]["annotations"] | request.body["metadata"]["annotations"]
            raw["metadata"]["annotations"] = {key: text for key, text in wanted.items() if text is not None}
        else:
            self.events.append(request.body)
            return Reply(201, request.body)
        raw["metadata"]["resourceVersion"] = self._next()
        return Reply(200, json.loads(json.dumps(raw)))

    def told(self) -> list[tuple[str, str, str]]:
        """Events since last asked: reason, object, note."""
        found = [(each["reason"], each["regarding"]["name"], each.get("note", "")) for each in self.events]
        self.events.clear()
        return sorted(found)

    def status(self, name: str = "nodes") -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.budgets[name]["status"]
        return found

    def condition(self, kind: str, name: str = "nodes") -> Mapping[str, Any]:
        found: dict[str, Any] = {each["type"]: each for each in self.status(name)["conditions"]}
        return found[kind]

    def _next(self) -> str:
        self.version += 1
        return str(self.version)


class Bench:
    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        self.cluster, self.clock, self.options = Cluster(), Clock(), options
        self.rig: Rig = self.restarted()

    def restarted(self) -> Rig:
        self.rig = rig(Recording(answer=self.cluster), self.clock, **self.options)
        return self.rig

    async def report(self, *, after: float = 0.0, **options: Any) -> list[str]:  # noqa: ANN401
        """Judge and report; what was written, by kind of object."""
        self.clock.seconds += after
        view = self.cluster.view()
        wire = self.rig.wire
        before = len(wire.sent)
        await self.rig.reporter.report(judged(view), view, census_age=options.pop("census_age", 5), **options)
        await self.rig.reporter.flush()
        kinds = ("watchbudgets", "daemonsets", "events")
        return [next(kind for kind in kinds if kind in sent.path) for sent in wire.sent[before:]]


def bench_test(function: Any) -> Any:  # noqa: ANN401
    async def run() -> None:
        await function(Bench())

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return async_test(run)


@bench_test
async def test_a_judgement_is_told_everywhere_once(bench: Bench):
    bench.cluster.budget()
    bench.cluster.agent()
    written = await bench.report()
    assert sorted(written) == ["daemonsets", "events", "events", "watchbudgets"]
    assert bench.cluster.condition("Compliant")["status"] == "False"
    assert set(OURS) <= bench.cluster.agents["agent"]["metadata"]["annotations"].keys()
    ((budget_reason, _, _), (reason, name, note)) = bench.cluster.told()
    assert (budget_reason, reason, name) == ("NotCompliant", "WatchBudgetViolation", "agent")
    assert note.startswith("WatchBudget nodes, unselective-watch: ")
    assert " And 1 more: " in note
    assert "To fix: " in note
    for seconds in (0, 1, 100, 2000):
        assert await bench.report(after=seconds) == []


@bench_test
async def test_a_restart_writes_and_tells_nothing_again(bench: Bench):
    bench.cluster.budget()
    bench.cluster.budget("broken", enforcement={"action": "Explode"})
    bench.cluster.agent()
    await bench.report()
    bench.cluster.told()
    before = json.dumps(bench.cluster.budgets)
    bench.restarted()
    assert await bench.report(after=1000) == []
    assert json.dumps(bench.cluster.budgets) == before
    assert bench.cluster.condition("Accepted", "broken")["lastTransitionTime"] == "2026-11-24T12:00:00Z"


@bench_test
async def test_a_new_leader_goes_by_what_the_one_before_wrote(bench: Bench):
    bench.cluster.budget()
    bench.cluster.agent()
    await bench.report()
    first = bench.rig
    first.leader.leads = False
    second = rig(Recording(answer=bench.cluster), bench.clock)
    bench.rig = second
    bench.cluster.agent("another")
    bench.cluster.told()
    assert sorted(await bench.report(after=60)) == ["daemonsets", "events", "watchbudgets"]
    assert [each[:2] for each in bench.cluster.told()] == [("WatchBudgetViolation", "another")]
    # and back again
    bench.rig = first
    first.leader.leads = True
    first.reporter.forget()
    assert await bench.report(after=60) == []


@bench_test
async def test_findings_come_and_go(bench: Bench):
    bench.cluster.budget()
    await bench.report()
    bench.cluster.agent()
    await bench.report(after=10)
    assert [each[0] for each in bench.cluster.told()] == ["NotCompliant", "WatchBudgetViolation"]
    bench.cluster.budget(limits={"cachePerPod": "1Mi"})
    await bench.report(after=10)
    told = bench.cluster.told()
    assert [each[0] for each in told] == ["NotWithinBudget", "WatchBudgetViolation"]
    assert told[1][2].startswith("WatchBudget nodes, over-pod-limit: ")
    assert "more:" not in told[1][2]  # the others are no news
    bench.cluster.budget(enforcement={"action": "Audit"})
    await bench.report(after=10)
    assert [each[:2] for each in bench.cluster.told()] == [
        ("Compliant", "nodes"),
        ("WatchBudgetCompliant", "agent"),
        ("WithinBudget", "nodes"),
    ]
    assert not set(OURS) & bench.cluster.agents["agent"]["metadata"]["annotations"].keys()
    assert bench.cluster.condition("Compliant")["lastTransitionTime"] == "2026-11-24T12:00:30Z"


@bench_test
async def test_a_budget_refused_and_mended(bench: Bench):
    bench.cluster.budget()
    bench.cluster.agent()
    await bench.report()
    bench.cluster.told()
    bench.cluster.budget(limits={"cachePerRack": "1Gi"})
    await bench.report(after=10)
    assert bench.cluster.condition("Accepted")["status"] == "False"
    assert bench.cluster.condition("Compliant")["status"] == "Unknown"
    assert bench.cluster.status()["observedGeneration"] == 2
    assert bench.cluster.status().keys() == {"observedGeneration", "conditions"}
    assert not set(OURS) & bench.cluster.agents["agent"]["metadata"]["annotations"].keys()
    told = bench.cluster.told()
    assert [each[:2] for each in told] == [("NotAccepted", "nodes"), ("WatchBudgetCompliant", "agent")]
    assert "spec.limits.cachePerRack" in told[0][2]
    bench.cluster.budget()
    await bench.report(after=400)  # sooner, what was said before is counted, not said again
    assert [each[0] for each in bench.cluster.told()] == ["Accepted", "NotCompliant", "WatchBudgetViolation"]


@bench_test
async def test_before_the_first_judgement_budgets_are_told_that_they_are_known(bench: Bench):
    bench.cluster.budget(rollout={})
    await bench.rig.reporter.report(None, bench.cluster.view(), census_age=None)
    await bench.rig.reporter.flush()
    assert bench.cluster.condition("Compliant")["reason"] == "NotJudged"
    assert bench.cluster.condition("CensusFresh")["status"] == "Unknown"
    assert bench.cluster.told() == []


@bench_test
async def test_starts_are_told_between_judgements_every_two_seconds(bench: Bench):
    bench.cluster.budget(rollout={})
    bench.cluster.agent()
    await bench.report(staging={"nodes": Staging(starts=Starts(in_flight=0))})
    reporter = bench.rig.reporter
    for number in range(1, 30):
        bench.clock.seconds += 1
        reporter.staged({"nodes": Staging(starts=Starts(in_flight=number))})
        await reporter.flush()
    assert bench.cluster.status()["starts"] == {"inFlight": 28}
    sent = [each for each in bench.rig.wire.sent if "watchbudgets" in each.path]
    assert len(sent) == 15
    assert await bench.report() == []  # a judgement keeps what was told of starts
    assert bench.rig.reporter.pending.statuses == ("nodes",)
    assert await bench.report(after=5) == ["watchbudgets"]
    assert bench.cluster.status()["starts"] == {"inFlight": 29}


@bench_test
async def test_the_census_grows_old_without_a_new_judgement(bench: Bench):
    bench.cluster.budget()
    bench.cluster.agent()
    await bench.report(census_age=800)
    assert bench.cluster.condition("CensusFresh")["status"] == "True"
    bench.clock.seconds += 101
    bench.rig.reporter.staged({"nodes": Staging()})
    await bench.rig.reporter.flush()
    assert bench.cluster.condition("CensusFresh")["reason"] == "Stale"


def test_where_starts_are_not_paced_a_budget_that_asks_for_it_is_told():
    @async_test
    async def run() -> None:
        bench = Bench(paced=False)
        bench.cluster.budget(rollout={})
        await bench.report()
        assert bench.cluster.condition("Accepted")["reason"] == "RolloutNotSupported"

    run()


@bench_test
async def test_an_outage_loses_nothing(bench: Bench):
    bench.cluster.budget()
    bench.cluster.agent()
    bench.cluster.down = True
    await bench.report()
    for _ in range(3):
        await bench.report(after=30)
    assert bench.rig.reporter.pending.statuses == ("nodes",)
    assert bench.rig.reporter.pending.annotations == (("logging", "agent"),)
    bench.cluster.down = False
    await bench.report(after=61)
    assert bench.rig.reporter.pending.statuses == ()
    assert bench.cluster.condition("Compliant")["lastTransitionTime"] == "2026-11-24T12:00:00Z"
    assert [each[0] for each in bench.cluster.told()] == ["NotCompliant", "WatchBudgetViolation"]


@bench_test
async def test_a_standby_writes_nothing(bench: Bench):
    bench.cluster.budget()
    bench.cluster.agent()
    bench.rig.leader.leads = False
    with pytest.raises(NotLeading):
        await bench.report()
    assert bench.rig.wire.sent == []
    bench.rig.reporter.forget()
    bench.rig.leader.leads = True
    await bench.rig.reporter.flush()
    assert bench.rig.wire.sent == []


@bench_test
async def test_run_writes_what_is_reported_and_outlives_faults(bench: Bench):
    bench.cluster.budget()
    bench.cluster.agent()
    answer, faults = bench.rig.wire.answer, [RuntimeError("a fault of ours")]

    def faulty(request: Sent) -> Reply:
        if faults:
            raise faults.pop()
        reply: Reply = answer(request)
        return reply

    bench.rig.wire.answer = faulty
    reporter = bench.rig.reporter
    task = asyncio.create_task(reporter.run())
    try:
        await asyncio.sleep(0)
        view = bench.cluster.view()
        await reporter.report(judged(view), view, census_age=1)
        async with asyncio.timeout(20):
            while reporter.pending.statuses or reporter.pending.annotations or len(bench.cluster.events) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert faults == []


@bench_test
async def test_many_daemon_sets_and_budgets_are_few_writes_at_a_time(bench: Bench):
    for number in range(20):
        bench.cluster.budget(f"b{number}", enforcement={"action": "Deny" if number % 2 else "Audit"})
    for number in range(200):
        bench.cluster.agent(f"agent-{number}")
    written = await bench.report()
    # statuses at once; annotations and events at their rates
    assert sorted(set(written)) == ["daemonsets", "events", "watchbudgets"]
    assert written.count("watchbudgets") == 20
    assert written.count("daemonsets") == 20
    assert written.count("events") == 20
    sizes = [len(json.dumps(each["status"])) for each in bench.cluster.budgets.values()]
    assert max(sizes) < 8000
    assert len(bench.rig.reporter.pending.annotations) == 180
