"""Does the audit grow with the agents and not with what they watch?

Offline: 1,000 DaemonSets with 20,000 RBAC objects, parse and judge timed apart, judge at half and
twice the DaemonSets. Baselines of the same run: the YAML library alone on the same text, and half
the DaemonSets.

Live: the same three agents in a cluster with 100 and with 20,000 namespaces: requests (counted in
the API server's audit log) and the audit's peak memory. Baseline of the same run: a client that
lists the namespaces, which is what the audit must never do.

    python bench/scale.py [--small]      table on the screen, JSON in bench/results/scale.json
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from fleets import daemon_sets, rbac
from results import show, write
from watchbudget.cost.calibration import load_calibration
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.inventory import manifests
from watchbudget.localcluster.client import ApiClient
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.policy.default_budget import default_budget
from watchbudget.policy.judge import judge

RUNS = 3


def seconds(function: Any) -> tuple[float, Any]:  # noqa: ANN401 - any call, any value
    """The fastest of a few runs, and what it returned: the least disturbed one."""
    best, value = float("inf"), None
    for _ in range(RUNS):
        start = time.perf_counter()
        value = function()
        best = min(best, time.perf_counter() - start)
    return best, value


def offline(count: int, rbac_objects: int) -> dict[str, Any]:
    """Parse and judge fleets of half, one and two times `count` DaemonSets."""
    judged = partial(
        judge,
        budgets=(default_budget(),),
        today=date(2026, 1, 1),
        catalogue=load_catalogue(),
        calibration=load_calibration(),
    )
    rows = []
    for number in (count // 2, count, count * 2):
        text = "---\n".join([*daemon_sets(number), *rbac(count * 2, rbac_objects)])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fleet.yaml"
            path.write_text(text)
            library, _ = seconds(lambda: list(yaml.load_all(text, Loader=yaml.CSafeLoader)))  # noqa: B023
            parse, fleet = seconds(lambda: manifests.load([path]))  # noqa: B023
        gc.collect()  # what reading left behind is not counted to one size and not to another
        took, audit = min((seconds(partial(judged, fleet)) for _ in range(RUNS)), key=lambda one: one[0])
        if len(audit.judgements) != number:
            raise SystemExit(
                f"{number} DaemonSets made, {len(audit.judgements)} judged: the figures mean nothing"
            )
        rows.append(
            {
                "daemonSets": number,
                "rbacObjects": rbac_objects,
                "megabytes": len(text) / 1e6,
                "yamlLibrarySeconds": library,
                "parseSeconds": parse,
                "judgeSeconds": took,
                "judgeMillisecondsPerDaemonSet": took / number * 1000,
            }
        )
    return {
        "rows": rows,
        "judgeGrowthForTwiceTheDaemonSets": rows[2]["judgeSeconds"] / rows[1]["judgeSeconds"],
    }


_CHILD = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("watchbudget", run_name="__main__")
except SystemExit as end:
    code = end.code
# VmHWM and not ru_maxrss, which a child takes over from the process that forked it.
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


def live(sizes: tuple[int, int]) -> dict[str, Any]:
    """Audit one cluster at two sizes; requests and peak memory of each audit."""
    agents = (Path(__file__).parent.parent / "operator/watchbudget/cli/demo_agents.yaml").read_text()
    rows = []
    with LocalCluster() as cluster:
        cluster.add_nodes(50)
        cluster.apply(agents)
        token = cluster.token("logging", "vector")  # an agent that may list namespaces
        for size in sizes:
            cluster.seed(namespaces=size, network_policies_per_namespace=1)
            cluster.wait_until_counted()
            before = cluster.audit_log.stat().st_size
            peaks, census = zip(*(audited(cluster) for _ in range(RUNS)), strict=True)
            events = map(json.loads, cluster.audit_log.read_bytes()[before:].splitlines())
            requests = sum(event["userAgent"].startswith("watchbudget/") for event in events)
            lister = subprocess.run(
                [sys.executable, __file__, "--list-namespaces", cluster.url, str(cluster.ca_file), token],
                capture_output=True,
                text=True,
                check=True,
            )
            rows.append(
                {
                    "namespaces": size,
                    "censusNamespaces": census[-1],
                    "requests": requests / RUNS,
                    "peakBytes": int(statistics.median(peaks)),
                    "listingClientPeakBytes": int(lister.stdout) * 1024,
                }
            )
    return {
        "rows": rows,
        "peakGrowth": rows[1]["peakBytes"] / rows[0]["peakBytes"],
        "listingClientPeakGrowth": rows[1]["listingClientPeakBytes"] / rows[0]["listingClientPeakBytes"],
    }


def audited(cluster: LocalCluster) -> tuple[int, int]:
    """One audit in a process of its own: its peak memory in bytes, and the namespaces it knows of."""
    argv = ["watchbudget", "audit", "--kubeconfig", str(cluster.kubeconfig), "-o", "json"]
    done = subprocess.run([sys.executable, "-c", _CHILD, *argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the audit failed: {done.stderr}")
    return int(done.stderr.split()[-1]) * 1024, json.loads(done.stdout)["census"][0]["objects"]


def list_namespaces(url: str, ca_file: str, token: str) -> None:
    """The baseline: a client that lists every namespace, as a cache does; prints its peak memory in KiB."""
    answer = ApiClient(url, Path(ca_file), token=token).request("GET", "/api/v1/namespaces").json()
    if not answer["items"]:
        raise SystemExit("the baseline listed nothing: the comparison means nothing")
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(peak[1] if peak else 0)


def main() -> None:
    """Run both halves, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="a tenth of everything, to see that it runs")
    parser.add_argument("--list-namespaces", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.list_namespaces:
        list_namespaces(*arguments.list_namespaces)
        return
    scale = 10 if arguments.small else 1
    figures = {"offline": offline(1000 // scale, 20_000 // scale), "live": live((100, 20_000 // scale))}
    show(
        "Offline: parse and judge",
        [
            "DaemonSets",
            "RBAC objects",
            "YAML, MB",
            "YAML library s",
            "parse s",
            "judge s",
            "judge ms/DaemonSet",
        ],
        [
            [
                f"{row['daemonSets']:,}",
                f"{row['rbacObjects']:,}",
                f"{row['megabytes']:.1f}",
                f"{row['yamlLibrarySeconds']:.2f}",
                f"{row['parseSeconds']:.2f}",
                f"{row['judgeSeconds']:.3f}",
                f"{row['judgeMillisecondsPerDaemonSet']:.3f}",
            ]
            for row in figures["offline"]["rows"]
        ],
    )
    show(
        "Live: the same agents, more namespaces",
        [
            "namespaces",
            "in the census",
            "requests",
            "audit's peak MiB",
            "peak MiB of a client that lists them",
        ],
        [
            [
                f"{row['namespaces']:,}",
                f"{row['censusNamespaces']:,}",
                f"{row['requests']:g}",
                f"{row['peakBytes'] / 2**20:.1f}",
                f"{row['listingClientPeakBytes'] / 2**20:.1f}",
            ]
            for row in figures["live"]["rows"]
        ],
    )
    print(f"judge, twice the DaemonSets: x{figures['offline']['judgeGrowthForTwiceTheDaemonSets']:.2f}")
    print(f"live peak memory, {200 // scale} times the namespaces: x{figures['live']['peakGrowth']:.3f}")
    print(f"written to {write('scale', figures)}")


if __name__ == "__main__":
    main()
