"""The command: which libraries and objects, how often, and what becomes of the results.

    python bench/calibration [--only ROW ...] [--runs N]

For each kind of object one cluster; in it, one client after the other: start, full cache, API server started
anew, cache made anew. A table of what was measured and what `cost/calibration.yaml` says of it; JSON in
bench/results/calibration.json.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from calibration.figures import Cell, Compared, compare, median_cells
from calibration.libraries import LIBRARIES, Library
from calibration.measure import ACCOUNT, NAMESPACE, Subject, idle, measure
from results import show, told, write
from watchbudget.api.resources import GroupResource
from watchbudget.cost.calibration import load_calibration
from watchbudget.inventory.metrics import read_gauges
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.errors import BuildError

__all__ = ["main"]

MIB = 2**20


@dataclass(frozen=True)
class Kind:
    """What is cached: as many objects of a resource, each of about so many stored bytes."""

    title: str
    resource: GroupResource
    stored: int


KINDS = (
    Kind("namespace", GroupResource("", "namespaces"), 1090),
    Kind("large namespace", GroupResource("", "namespaces"), 4650),
    Kind("network policy", GroupResource("networking.k8s.io", "networkpolicies"), 650),
)

SETUP = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {ACCOUNT}, namespace: {NAMESPACE}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {NAMESPACE}}}
rules:
- {{apiGroups: ["", networking.k8s.io], resources: [namespaces, networkpolicies], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {NAMESPACE}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {NAMESPACE}}}
subjects:
- {{kind: ServiceAccount, name: {ACCOUNT}, namespace: {NAMESPACE}}}
"""


def main() -> None:
    """Measure what was asked for."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended on the way out
    libraries = [each for each in LIBRARIES if not asked.only or each.row in asked.only]
    for each in libraries:
        if each.missing:
            told(f"SKIPPED: {each.row} needs {each.missing}, which is not installed")
    libraries = [each for each in libraries if not each.missing]
    if not libraries:
        sys.exit("None of these can be measured here")
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory(prefix="watchbudget-calibration-") as scratch:
        commands = {}
        for number, each in enumerate(libraries):
            told(f"Building a client: {each.row}")
            try:
                commands[each.row] = each.build(Path(scratch, str(number)))
            except (subprocess.CalledProcessError, BuildError) as error:
                sys.exit(f"The client for {each.row} cannot be built: {error}\n--only measures the others.")
        for kind in (each for each in KINDS if not asked.kinds or each.title in asked.kinds):
            for cell in _cells(kind, asked.objects, asked.runs, libraries, commands):
                cells.append(cell)
                _keep(cells, asked.output)
    _show([_compared(cell) for cell in median_cells(cells)])


def _cells(
    kind: Kind, objects: int, runs: int, libraries: list[Library], commands: dict[str, list[str]]
) -> Iterable[Cell]:
    """Yield each cell of one kind of object, from one cluster."""
    with LocalCluster(service_accounts=False, progress=told) as cluster:
        told(f"Seeding {objects:,}: {kind.title}")
        if kind.resource.resource == "namespaces":
            cluster.seed(namespaces=objects, bytes_per_namespace=kind.stored)
        else:
            cluster.seed(
                namespaces=20,
                network_policies_per_namespace=objects // 20,
                bytes_per_network_policy=kind.stored,
            )
        cluster.apply(SETUP)
        cluster.wait_until_counted()
        subject = _subject(cluster, kind)
        for library in libraries:
            argv = commands[library.row]
            base = idle(cluster, library, argv, kind.resource.resource)
            for _ in range(runs):
                cell = measure(cluster, library, argv, subject, base)
                told(
                    f"{library.row}, {kind.title}: {cell.each:,.0f} bytes each, idle {base / MIB:.0f} MiB, "
                    f"re-list peak {cell.relist_peak / MIB:.0f} MiB"
                )
                yield cell


def _subject(cluster: LocalCluster, kind: Kind) -> Subject:
    """Return how many there are and what one takes, as the API server's metrics say: as WatchBudget does."""
    while True:
        lines = [line for line in cluster.metrics().splitlines() if line.startswith("apiserver_resource_")]
        gauge = read_gauges(lines, [kind.resource])[kind.resource]
        if gauge.objects and gauge.stored_bytes:
            stored = round(gauge.stored_bytes / gauge.objects)
            return Subject(kind.title, kind.resource.resource, gauge.objects, stored)
        time.sleep(1)


def _keep(cells: list[Cell], output: str) -> None:
    found = map(_compared, cells)
    write(output, {"cells": [asdict(each) | {"bytesEach": each.cell.each} for each in found]})


def _compared(cell: Cell) -> Compared:
    return compare(cell, load_calibration().row(cell.row))


def _show(found: list[Compared]) -> None:
    show(
        "What a full cache costs a process",
        [
            "library",
            "object",
            "stored",
            "bytes each",
            "calibration says",
            "idle MiB",
            "re-list peak MiB",
            "says",
        ],
        [
            [
                each.cell.row,
                each.cell.kind,
                f"{each.cell.stored:,}",
                f"{each.cell.each:,.0f}",
                f"x{each.each:.2f}",
                f"{each.cell.base / MIB:.0f} (x{each.base:.2f})",
                f"{each.cell.relist_peak / MIB:.0f}",
                f"x{each.each_peak:.2f}",
            ]
            for each in found
        ],
    )
    error = load_calibration().measured.error_percent
    print(f"x1: what the calibration says is what was measured; it claims ±{error}%.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/calibration", description="What a full cache costs a process, by client library."
    )
    rows = [each.row for each in LIBRARIES]
    parser.add_argument("--only", nargs="+", choices=rows, metavar="ROW", help=f"of: {', '.join(rows)}")
    titles = [each.title for each in KINDS]
    parser.add_argument("--kinds", nargs="+", choices=titles, metavar="KIND", help=f"of: {', '.join(titles)}")
    parser.add_argument("--objects", type=int, default=20_000, help="in each cache (default: 20000)")
    parser.add_argument("--runs", type=int, default=3, help="of each, the median counts (default: 3)")
    parser.add_argument("--output", default="calibration", help="name of the file in bench/results")
    return parser.parse_args()
