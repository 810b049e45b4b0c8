"""One scenario, from a clean cluster to its figures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace  # noqa: TID251 - of a dataclass of localcluster
from pathlib import Path

from storm.figures import Outcome, latencies, latency
from storm.governed import governing
from storm.meter import (
    Meter,
    cpu_seconds,
    machine_cpu_seconds,
    peak_bytes,
    reset_peak,
    resident_bytes,
    wait_for_quiet,
)
from storm.objects import NAMESPACE
from storm.scenarios import Change, Play, Scenario
from storm.world import World, agents_of
from waiting import wait_until
from watchbudget.localcluster.play.agent import Manner
from watchbudget.localcluster.play.bystander import BystanderSettings, Sample, run_bystanders
from watchbudget.localcluster.play.child import Child
from watchbudget.localcluster.play.curves import integral, outline, peak, steps
from watchbudget.localcluster.play.fleet import FleetRecord, FleetSettings, run_fleet

__all__ = ["run"]

SETTLE = 12.0
"""Seconds from the last preparation to the storm: garbage collection, size estimates, probes' baselines."""

IDLE = 5.0
"""Seconds of the bystanders' undisturbed time, of those."""

QUIET_WITHIN = 600.0
"""Seconds to wait for that, at most."""

POINTS = 240
"""Points of a curve in the results."""


def run(
    world: World,
    scenario: Scenario,
    manner: Manner,
    *,
    limit: float,
    quiet: float | None,
    starts: int | None,
    told: Callable[[str], None],
) -> Outcome:
    """Run one scenario.

    Args:
        world: The cluster.
        scenario: What happens.
        manner: How agents list.
        limit: Seconds after which it is given up.
        quiet: Wait until others use less than so many cores before it begins; None: do not wait.
        starts: maxConcurrentStarts of the WatchBudget; None: its default.
        told: Progress, one line each.
    """
    world.reset()
    cluster, pid = world.cluster, world.cluster.pid("kube-apiserver")
    with ExitStack() as stack:
        fleet = stack.enter_context(Child(run_fleet, _fleet_settings(world, scenario, manner)))
        if scenario.change is not Change.INSTALL:
            world.install(scenario)
            wanted = world.nodes * scenario.daemon_sets
            wait_until(lambda: fleet.call("progress")["ready"] >= wanted, "the fleet before the storm", 180)
        processes = {name: cluster.pid(name) for name in cluster.processes} | {"bench": os.getpid()}
        if scenario.governed:
            processes |= stack.enter_context(governing(world, scenario, starts))
        if scenario.change is Change.REPLACE:
            fleet.call("unready")
            wait_until(lambda: fleet.call("progress")["ready"] == 0, "no pod is ready", 60)
        time.sleep(SETTLE - IDLE)
        if quiet and not wait_for_quiet([*processes.values(), fleet.pid], quiet, QUIET_WITHIN):
            told(f"  the machine was never quiet for {QUIET_WITHIN:.0f} s: going on all the same")
        settings = BystanderSettings(url=cluster.url, ca_file=cluster.ca_file, clients=world.bystanders())
        bystanders = stack.enter_context(Child(run_bystanders, settings))
        meter = stack.enter_context(Meter(pid))
        processes |= {"fleet": fleet.pid, "bystanders": bystanders.pid}
        time.sleep(IDLE)
        used, machine = _cpu(processes), machine_cpu_seconds()
        reset_peak(pid)
        before, refused_before = resident_bytes(pid), world.refused_by_fairness()
        began = fleet.call("begin")
        if scenario.change is Change.RELIST:
            fleet.call("restart")
        else:
            world.change(scenario)
        finished = _follow(fleet, world, scenario, limit, told)
        record: FleetRecord = fleet.call("record")
        growth = max(0, peak_bytes(pid) - before)
        used = {name: after - used[name] for name, after in _cpu(processes).items()}
        used["rest of the machine"] = max(0.0, machine_cpu_seconds() - machine - sum(used.values()))
        refused = world.refused_by_fairness() - refused_before
        told(f"  refused by priority and fairness, all levels: {refused:.0f}")
        if scenario.governed and not record.held and scenario.change is not Change.RELIST:
            told("  NOT A SINGLE POD WAS HELD: these figures are not WatchBudget's")
            finished = False
        samples: list[Sample] = bystanders.call("finish")
    return _outcome(world, scenario, finished, record, samples, meter, (began, before, growth, used))


def _fleet_settings(world: World, scenario: Scenario, manner: Manner) -> FleetSettings:
    kubelets = world.cluster.layout.pair("kwok")
    broken: list[str] = []
    if scenario.agents is Play.BROKEN:
        broken = world.node_names()[: max(1, world.nodes // 100)]
    return FleetSettings(
        manner=replace(
            manner,
            url=world.cluster.url,
            ready_first=scenario.agents is Play.READY_FIRST,
            delay=(10.0, 30.0) if scenario.agents is Play.SLOW else (0.0, 0.0),
        ),
        ca_file=world.cluster.ca_file,
        certificate=Path(kubelets.certificate),
        key=Path(kubelets.key),
        namespace=NAMESPACE,
        tokens={name: token for name, token in world.tokens().items() if name in agents_of(scenario)},
        broken_nodes=frozenset(broken),
    )


def _follow(
    fleet: Child, world: World, scenario: Scenario, limit: float, told: Callable[[str], None]
) -> bool:
    """Wait until every new pod is Ready and has listed; False if the time was up first."""
    pods = world.new_pods(scenario)
    broken = max(1, world.nodes // 100) * scenario.daemon_sets if scenario.agents is Play.BROKEN else 0
    lists = (pods - broken) * len(world.resources)
    start = spoken = time.monotonic()
    while True:
        state = fleet.call("progress")
        now = time.monotonic()
        done = state["newReady"] >= pods - broken and state["served"] >= lists
        if done or now - spoken > 5:
            spoken = now
            told(
                f"  {now - start:5.1f} s: {state['newReady']} of {pods} ready, {state['served']} served, "
                f"{state['inFlight']} in flight, {state['refused']} refused"
            )
        if done or now - start > limit:
            return bool(done)
        time.sleep(0.2)


def _outcome(
    world: World,
    scenario: Scenario,
    finished: bool,  # noqa: FBT001
    record: FleetRecord,
    samples: list[Sample],
    meter: Meter,
    server: tuple[float, int, int, dict[str, float]],
) -> Outcome:
    began, before, growth, used = server
    tally = record.tally
    served = max((moment for moment, _, _ in tally.served), default=began)
    ready = max(record.ready, default=began)
    end = max(served, ready) if finished else time.monotonic()
    places = (world.nodes + world.joining(scenario)) * scenario.daemon_sets
    missing = [(moment, places - count) for moment, count in record.with_agent]
    in_flight = steps(tally.in_flight)
    moments = [began + (end - began) * index / POINTS for index in range(POINTS + 1)]
    curve = zip(
        (round(moment - began, 3) for moment in moments),
        outline(in_flight, moments, 0),
        outline([(moment, resident) for moment, resident, _ in meter.samples], moments, before),
        outline(record.with_agent, moments, 0),
        outline(record.held, moments, 0),
        outline(record.permitted, moments, 0),
        strict=True,
    )
    dots: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        if began - 2 <= sample.due < end:
            dots.setdefault(f"{sample.client} {sample.kind}", []).append(
                (round(sample.due - began, 3), round(sample.seconds, 4))
            )
    return Outcome(
        name=scenario.name,
        finished=finished,
        pods=world.new_pods(scenario),
        served_seconds=served - began,
        ready_seconds=ready - began,
        lists=len(tally.served),
        refused=len(tally.refused),
        failed=len(tally.failed),
        peak_in_flight=peak(in_flight),
        list_seconds=latency((seconds, True) for _, seconds, _ in tally.served),
        wire_bytes=sum(size for _, _, size in tally.served),
        rss_before=before,
        rss_growth=growth,
        cpu=used,
        missing_node_seconds=integral(missing, began, end),
        idle=latencies(samples, began - IDLE, began - 0.5),
        bystanders=latencies(samples, began, end),
        curve=list(curve),
        dots=dots,
    )


def _cpu(processes: dict[str, int]) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in processes.items()}
