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
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from fleets import daemon_sets, rbac
from measured import memory_bytes, watch
from results import show, write
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.operator_process import OperatorProcess, install

RBAC = "/apis/rbac.authorization.k8s.io/v1"
PATHS = {
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
}
WATCHES = {"watchbudget.io/watches": '{"namespaces": "all"}'}
"""What every fourth DaemonSet declares, so that there is something to find."""

QUIET = ("clusterrole-aggregation-controller", "namespace-controller")
TEAMS = 50
RESYNC = 15
WATCHED_SECONDS = 60
ACTIONS = ("Audit", "Annotate", "Warn", "Deny")
READY_SECONDS = 300


def create(cluster: LocalCluster, texts: Iterator[str]) -> None:
    """Create manifests as fast as the API server takes them."""

    def each() -> Iterator[tuple[str, object]]:
        for text in texts:
            raw = yaml.load(text, Loader=yaml.CSafeLoader)
            if raw["kind"] == "DaemonSet" and int(raw["metadata"]["name"].rpartition("-")[2]) % 4 == 0:
                raw["metadata"]["annotations"] = WATCHES
            yield PATHS[raw["kind"]].format(namespace=raw["metadata"].get("namespace")), raw

    cluster.admin.create_all(each(), workers=8, on_done=lambda _: None)


def fill(cluster: LocalCluster, count: int) -> None:
    """Namespaces of teams, `count` DaemonSets in them, and a role and a binding for each."""
    for number in range(TEAMS):
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": f"team-{number}"}})
    create(cluster, rbac(count, count * 2))
    create(cluster, daemon_sets(count))


def put_budgets(cluster: LocalCluster, count: int) -> None:
    """Budgets that all govern everything, each with limits of its own."""
    budgets = [
        {
            "apiVersion": "watchbudget.io/v1alpha1",
            "kind": "WatchBudget",
            "metadata": {"name": f"budget-{number}"},
            "spec": {
                "enforcement": {"action": ACTIONS[number % 4]},
                "limits": {"cachePerPod": f"{64 + number}Mi"},
            },
        }
        for number in range(count)
    ]
    cluster.apply("\n---\n".join(map(json.dumps, budgets)))


@contextmanager
def operator(
    cluster: LocalCluster, daemon_set_count: int, budgets: int, *options: str
) -> Iterator[tuple[OperatorProcess, float]]:
    """A fresh process that has judged everything, and the seconds from its start until it was ready."""
    process = OperatorProcess(cluster, *options, installed=True)
    install(cluster, process.port)
    if budgets:
        put_budgets(cluster, budgets)
    try:
        began = time.monotonic()
        process.start()
        process.wait_ready(READY_SECONDS)
        ready = time.monotonic() - began
        wait_until("all is judged", lambda: judged(process) == daemon_set_count * budgets)
        yield process, ready
    finally:
        process.stop()
        process.__exit__()


def judged(process: OperatorProcess) -> float:
    """DaemonSets, counted once for each budget."""
    return process.metric("watchbudget_daemonsets")


def pid_of(process: OperatorProcess) -> int:
    if process.process is None:
        raise SystemExit("the operator was not started")
    return process.process.pid


def wait_until(what: str, holds: Callable[[], bool], seconds: float = 1800) -> None:
    """Wait, and tell what for: some of it takes minutes."""
    began = time.monotonic()
    print(f"waiting until {what}", file=sys.stderr)
    while not holds():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"not so after {seconds} s: the figures would mean nothing")
        time.sleep(0.2)


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
            cluster.wait_for_census("namespaces", size, timeout=120)
            cluster.wait_for_census("networkpolicies", size, group="networking.k8s.io", timeout=120)
            rows.append(row(cluster, count, namespaces=size) | {"kopfPeak": kopf(cluster, size + TEAMS)})
    return {"rows": rows, "growth": rows[-1]["peak"] / rows[0]["peak"]}


def kopf(cluster: LocalCluster, namespaces: int) -> int:
    """Peak memory of the baseline once it knows so many namespaces."""
    script = Path(__file__).parent / "kopf_namespaces.py"
    with tempfile.TemporaryFile("w+") as output:
        argv = [sys.executable, "-m", "kopf", "run", "-A", "--standalone", str(script)]
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.DEVNULL, env=env)
        try:

            def known() -> bool:
                output.seek(0)
                return f"known {namespaces // 100 * 100}\n" in output.read()

            wait_until(f"kopf knows {namespaces} namespaces", known)
            return memory_bytes(process.pid, "VmHWM")
        finally:
            process.terminate()
            process.wait()


def by_pods(sizes: tuple[int, ...], count: int) -> dict[str, Any]:
    """The same agents on ever more nodes."""
    rows = []
    with LocalCluster(service_accounts=False) as cluster:
        fill(cluster, count)
        nodes = 0
        for size in sizes:
            cluster.add_nodes(size - nodes)
            nodes = size
            wait_until("all pods run", lambda size=size: counted(cluster, "numberReady") == size * count)
            rows.append(row(cluster, count, nodes=size, pods=size * count))
    return {"rows": rows, "growth": rows[-1]["peak"] / rows[0]["peak"]}


def counted(cluster: LocalCluster, field: str) -> int:
    """A field of the DaemonSets' status, summed up."""
    items = cluster.request("GET", "/apis/apps/v1/daemonsets").json()["items"]
    return sum(item["status"].get(field, 0) for item in items)


def count_nodes(cluster: LocalCluster, nodes: int) -> None:
    """Say of every DaemonSet that it should run on so many nodes: its controller takes minutes for that."""
    status = {"observedGeneration": 1, "desiredNumberScheduled": nodes, "numberReady": nodes}
    status |= {"currentNumberScheduled": nodes, "numberMisscheduled": 0, "numberAvailable": nodes}

    def put(item: dict[str, Any]) -> None:
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        path = f"{PATHS['DaemonSet'].format(namespace=namespace)}/{name}/status"
        headers = {"Content-Type": "application/merge-patch+json"}
        cluster.request("PATCH", path, {"status": status}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, cluster.request("GET", "/apis/apps/v1/daemonsets").json()["items"]))


def fleet(count: int, budgets: int) -> dict[str, Any]:
    """Many DaemonSets, then many budgets: when all is judged and written, and what it costs from then on."""
    with LocalCluster(service_accounts=False, controllers=QUIET) as cluster:
        cluster.add_nodes(100)
        cluster.seed(namespaces=1_000)
        cluster.wait_for_census("namespaces", 1_000)
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
        print(f"peak, most against fewest: x{figures[name]['growth']:.3f}")
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
