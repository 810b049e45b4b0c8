"""The command: which scenarios, how large, and what becomes of the results.

    python bench/storm [--small] [--list streaming] [--only NAME ...]

Tables on the screen, JSON in bench/results/storm.json, a picture in bench/results/storm.svg.
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import asdict

from results import RESULTS, told, write
from storm.chart import draw
from storm.demands import demands
from storm.figures import Outcome
from storm.run import run
from storm.scenarios import SCENARIOS, WIDTHS, Scenario, named
from storm.tables import show_all
from storm.world import FLAGS_TOLD, World, build
from watchbudget.localcluster.play.agent import RESOURCES, Manner

__all__ = ["main"]

RUNS = 3
DISTURBED = 0.1
"""Share of the processors' time that others may take before a run is repeated."""

SMALL = {"nodes": 60, "namespaces": 2000}
FULL = {"nodes": 300, "namespaces": 10_000}


def main() -> None:
    """Run the scenarios that were asked for."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended on the way out
    scenarios = _chosen(asked)
    sizes = SMALL if asked.small else FULL
    nodes, namespaces = asked.nodes or sizes["nodes"], asked.namespaces or sizes["namespaces"]
    manner = Manner(
        resources=tuple(RESOURCES) if asked.network_policies else ("namespaces",),
        streaming=asked.list == "streaming",
        json=asked.encoding == "json",
        gzip=asked.encoding == "protobuf",
    )
    told(
        f"{nodes} nodes, {namespaces:,} namespaces, {asked.list} lists of {asked.encoding}, containers run "
        f"{asked.start[0]:g} to {asked.start[1]:g} s after their pod was bound. {FLAGS_TOLD}."
    )
    if asked.api_server_procs:
        told(f"The API server has GOMAXPROCS={asked.api_server_procs}.")
    outcomes: dict[str, Outcome] = {}
    try:
        with build(
            nodes=nodes,
            namespaces=namespaces,
            policies=asked.network_policies,
            start=tuple(asked.start),
            processors=asked.api_server_procs,
            told=told,
        ) as world:
            for scenario in scenarios:
                told(f"{scenario.name}: {scenario.change.value}")
                outcomes[scenario.name] = _least_disturbed(world, scenario, manner, asked)
                _keep(asked, outcomes, world, manner)
    except KeyboardInterrupt:
        told("Ended by hand; what was done so far is written")
        if not outcomes:
            sys.exit(130)
    show_all(outcomes, demands(outcomes, streaming=manner.streaming))
    if (nodes, namespaces) != tuple(FULL.values()):
        print("The bounds are for 300 nodes and 10,000 namespaces; smaller storms are milder.")
    print(f"written to {RESULTS / asked.output}.json and .svg")


def _least_disturbed(world: World, scenario: Scenario, manner: Manner, asked: argparse.Namespace) -> Outcome:
    """Run once; with --quiet again while others took much of the machine: the least disturbed counts."""
    best: Outcome | None = None
    for _ in range(RUNS if asked.quiet else 1):
        found = run(
            world, scenario, manner, limit=asked.limit, quiet=asked.quiet, starts=asked.starts, told=told
        )
        if best is None or found.disturbance < best.disturbance:
            best = found
        if best.disturbance < DISTURBED:
            break
    assert best is not None  # noqa: S101 - it was run
    return best


def _keep(asked: argparse.Namespace, outcomes: dict[str, Outcome], world: World, manner: Manner) -> None:
    """Write what there is so far: a run takes long, and may be ended."""
    found = demands(outcomes, streaming=manner.streaming)
    write(
        asked.output,
        {
            "nodes": world.nodes,
            "resources": world.resources,
            "startSeconds": world.start,
            "list": asked.list,
            "starts": asked.starts,
            "encoding": asked.encoding,
            "apiServerProcs": asked.api_server_procs,
            "kubernetes": world.cluster.version,
            "flags": FLAGS_TOLD,
            "demands": [asdict(each) | {"met": each.met} for each in found],
            "scenarios": [each.as_dict() for each in outcomes.values()],
        },
    )
    (RESULTS / f"{asked.output}.svg").write_text(draw(outcomes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/storm", description="A relist storm, natively and governed.")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="these scenarios, in this order; see --scenarios"
    )
    parser.add_argument("--scenarios", action="store_true", help="list them and end")
    parser.add_argument("--small", action="store_true", help="60 nodes and 2,000 namespaces")
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--namespaces", type=int)
    parser.add_argument("--network-policies", action="store_true", help="one in each namespace, listed too")
    parser.add_argument("--list", choices=("plain", "streaming"), default="plain")
    parser.add_argument(
        "--encoding",
        choices=("json", "protobuf"),
        default="json",
        help="of lists: JSON, not compressed, as Vector asks for it (default); protobuf and gzip, as "
        "client-go does for built-in types: a third of the work for the API server",
    )
    parser.add_argument(
        "--start",
        nargs=2,
        type=float,
        default=(0.5, 1.5),
        metavar=("LEAST", "MOST"),
        help="seconds from a pod's binding until its container runs (default: 0.5 1.5)",
    )
    parser.add_argument("--starts", type=int, help="maxConcurrentStarts of the budget (default: its own)")
    parser.add_argument(
        "--api-server-procs",
        type=int,
        metavar="N",
        help="GOMAXPROCS of the API server (default: as many as the machine has processors)",
    )
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one scenario")
    parser.add_argument(
        "--quiet",
        type=float,
        metavar="CORES",
        help="before each, wait until others use less than so many cores; repeat what they disturbed",
    )
    parser.add_argument("--output", default="storm", help="name of the files in bench/results")
    asked = parser.parse_args()
    if asked.scenarios:
        for each in SCENARIOS:
            who = f"WatchBudget, settle {each.settle}" if each.governed else "native"
            more = "" if each.standard else "; only if named"
            print(f"{each.name}: {each.change.value}; {who}; {each.agents.value}{more}")
        print(f"{WIDTHS}; only if named")
        sys.exit()
    return asked


def _chosen(asked: argparse.Namespace) -> list[Scenario]:
    names = asked.only or [each.name for each in SCENARIOS if each.standard]
    if unknown := [name for name in names if named(name) is None]:
        known = ", ".join(sorted(each.name for each in SCENARIOS))
        sys.exit(f"No such scenario: {', '.join(unknown)}. There are: {known}, and {WIDTHS}")
    return [each for each in map(named, dict.fromkeys(names)) if each is not None]
