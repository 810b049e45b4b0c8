"""Does the operator grow with its DaemonSets, and with nothing else?

Namespaces: the same 200 DaemonSets in one cluster with 100, 10,000 and 100,000 namespaces. A fresh process
each time is watched for a minute, in which it reads everything anew four times. Baseline of the same run: a
plain kopf operator that keeps the labels of all namespaces.

Pods: the same 10 agents on 30 and on 3,000 nodes, all pods running.

Fleet: 2,000 DaemonSets that are there before 20 budgets come: how long until nothing is judged or written
any more.

    python bench/scale_operator.py [--small] [namespaces|pods|fleet ...]
    table on the screen, JSON in bench/results/scale_operator.json
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measured import watch
from operator_fleet import (
    QUIET,
    TEAMS,
    add_pods,
    count_nodes,
    fill,
    judged,
    operator,
    pid_of,
    put_budgets,
    wait_until,
)
from results import show, write
from storm.meter import peak_bytes
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.operator_process import OperatorProcess

FLAT, MOST = 0.03, 120 * 2**20
"""What we want: the peak stays within 3%, and below 120 MiB, however much there is in the cluster."""

RESYNC = 15
WATCHED_SECONDS = 60


def row(cluster: LocalCluster, count: int, **about: int) -> dict[str, Any]:
    """Start the operator, watch it, end it."""
    with operator(cluster, count, 1, f"--resync={RESYNC}s") as (process, ready):
        usage = watch(pid_of(process), WATCHED_SECONDS)
        if judged(process) != count:
            raise SystemExit(f"{judged(process)} DaemonSets judged, not {count}: the figures mean nothing")
        print(f"{about}: {usage.resident / 2**20:.1f} MiB", file=sys.stderr)
        return {**about, "daemonSets": count, "readySeconds": ready, **asdict(usage)}


def by_namespaces(sizes: tuple[int, ...], count: int) -> dict[str, Any]:
    """The same DaemonSets among ever more namespaces."""
    rows = []
    with LocalCluster(service_accounts=False) as cluster:
        cluster.add_nodes(3)
        fill(cluster, count)
        for size in sizes:
            cluster.seed(namespaces=size, network_policies_per_namespace=1)
            cluster.wait_until_counted(timeout=120)
            rows.append(row(cluster, count, namespaces=size) | {"kopfPeak": kopf(cluster, size + TEAMS)})
    return {"rows": rows, "growth": rows[-1]["peak"] / rows[0]["peak"]}


def kopf(cluster: LocalCluster, namespaces: int) -> int:
    """Peak memory of the baseline once it knows so many namespaces."""
    script = Path(__file__).parent / "kopf_namespaces.py"
    with tempfile.NamedTemporaryFile() as output:
        argv = [sys.executable, "-m", "kopf", "run", "-A", "--standalone", str(script)]
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.DEVNULL, env=env)
        told = f"known {namespaces // 100 * 100}\n"
        try:
            wait_until(f"kopf has {told.strip()}", lambda: told in Path(output.name).read_text())
            return peak_bytes(process.pid)
        finally:
            process.terminate()
            process.wait()


def by_pods(sizes: tuple[int, ...], count: int) -> dict[str, Any]:
    """The same agents on ever more nodes."""
    rows = []
    with LocalCluster(service_accounts=False, controllers=QUIET) as cluster:
        fill(cluster, count)
        nodes = 0
        for size in sizes:
            add_pods(cluster, cluster.add_nodes(size - nodes))
            nodes = size
            count_nodes(cluster, nodes)
            rows.append(row(cluster, count, nodes=size, pods=size * count))
    return {"rows": rows, "growth": rows[-1]["peak"] / rows[0]["peak"]}


def fleet(count: int, budgets: int) -> dict[str, Any]:
    """Many DaemonSets, then many budgets: when all is judged and written, and what it costs from then on."""
    with LocalCluster(service_accounts=False, controllers=QUIET) as cluster:
        cluster.add_nodes(100)
        cluster.seed(namespaces=1_000)
        cluster.wait_until_counted()
        fill(cluster, count)
        count_nodes(cluster, 100)
        with operator(cluster, count, 0) as (process, ready):
            began = time.monotonic()
            put_budgets(cluster, budgets)
            wait_until("all is judged", lambda: judged(process) == count * budgets)
            took = time.monotonic() - began
            settled = quiet_since(process) - began
            idle = watch(pid_of(process), WATCHED_SECONDS)
            written = {
                name: process.metric(f"watchbudget_{name}_total") for name in ("writes", "write_failures")
            }
            return {
                "daemonSets": count,
                "budgets": budgets,
                "readySeconds": ready,
                "judgedSeconds": took,
                "settledSeconds": settled,
                **written,
                **asdict(idle),
            }


def quiet_since(process: OperatorProcess, seconds: float = 15) -> float:
    """When the last write was done, once none has been done for a while."""
    before, since = -1.0, time.monotonic()
    while time.monotonic() - since < seconds:
        if (now := process.metric("watchbudget_writes_total")) != before:
            before, since = now, time.monotonic()
        time.sleep(0.2)
    return since


def mib(value: float) -> str:
    return f"{value / 2**20:.1f}"


def used(each: dict[str, Any]) -> list[str]:
    """Start and memory, for a table."""
    memory = mib(each["resident"]), mib(each["peak"])
    return [f"{each['readySeconds']:.1f}", *memory]


def report(figures: dict[str, Any]) -> None:
    """The tables."""
    usage = ["start to ready s", "RSS MiB", "peak MiB"]
    for name, title, column in (
        ("namespaces", "The same DaemonSets, more namespaces", "namespaces"),
        ("pods", "The same agents, more nodes", "pods"),
    ):
        if name not in figures:
            continue
        baseline = ["peak MiB of kopf with all namespaces"] if name == "namespaces" else []
        rows = [
            [
                f"{each[column]:,}",
                str(each["daemonSets"]),
                *used(each),
                *([mib(each["kopfPeak"])] if baseline else []),
            ]
            for each in figures[name]["rows"]
        ]
        show(title, [column, "DaemonSets", *usage, *baseline], rows)
        growth, most = figures[name]["growth"], max(each["peak"] for each in figures[name]["rows"])
        met = "met" if abs(growth - 1) <= FLAT and most <= MOST else "MISSED"
        print(f"peak, most against fewest: x{growth:.3f}, at most {mib(most)} MiB: {met}")
    if "fleet" in figures:
        each = figures["fleet"]
        show(
            "Many DaemonSets before many budgets",
            [
                "DaemonSets",
                "budgets",
                "judged after s",
                "all written after s",
                "writes",
                *usage,
                "CPU idle %",
            ],
            [
                [
                    f"{each['daemonSets']:,}",
                    str(each["budgets"]),
                    f"{each['judgedSeconds']:.1f}",
                    f"{each['settledSeconds']:.1f}",
                    f"{each['writes']:.0f}",
                    *used(each),
                    f"{each['cpu'] * 100:.1f}",
                ]
            ],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="less of everything, to see that it runs")
    parser.add_argument(
        "parts", nargs="*", choices=["namespaces", "pods", "fleet", []], help="by default all"
    )
    arguments = parser.parse_args()
    parts = arguments.parts or ["namespaces", "pods", "fleet"]
    small = arguments.small
    figures: dict[str, Any] = {}
    if "namespaces" in parts:
        figures["namespaces"] = by_namespaces((100, 1_000, 10_000) if small else (100, 10_000, 100_000), 200)
    if "pods" in parts:
        figures["pods"] = by_pods((30, 300) if small else (30, 3_000), 10)
    if "fleet" in parts:
        figures["fleet"] = fleet(200 if small else 2_000, 20)
    report(figures)
    print(f"written to {write('scale_operator', figures)}")


if __name__ == "__main__":
    main()
