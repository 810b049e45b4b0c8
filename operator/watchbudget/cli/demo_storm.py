"""The end of `watchbudget demo`: one rollout staged, the same one ungated, and both in one picture."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.resources import files
from typing import TYPE_CHECKING

from watchbudget.cli.demo_picture import Curve
from watchbudget.localcluster.errors import LocalClusterError
from watchbudget.localcluster.play.agent import Manner
from watchbudget.localcluster.play.bystander import BystanderSettings, Client, Sample, run_bystanders
from watchbudget.localcluster.play.child import Child
from watchbudget.localcluster.play.curves import peak, steps
from watchbudget.localcluster.play.fleet import FleetRecord, FleetSettings, run_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from watchbudget.localcluster.cluster import LocalCluster

__all__ = ["PLAYED", "Storms"]

ROLLOUT_SECONDS = 180.0
LISTS = ("namespaces", "namespaces")
"""Of one agent: vector's two sources keep a cache each."""

PLAYED = {"localcluster.watchbudget.io/agent": "external"}
"""Annotation of pods whose agents are played."""

QUIET_SECONDS = 1.0
"""Of the bystander alone, before each rollout."""


class Storms:
    """Rolls a DaemonSet out while the processes of its pods are played, and a small client beside them.

    Each agent lists what the real one lists, over a connection and with a token of its own, and its pod gets
    Ready once it has.
    """

    def __init__(self, cluster: LocalCluster, console: Console, namespace: str, name: str) -> None:
        """Prepare.

        Args:
            cluster: where.
            console: to print on.
            namespace: of the DaemonSet.
            name: of the DaemonSet, and of its service account.
        """
        self._cluster, self._console = cluster, console
        self._namespace, self._name = namespace, name
        cluster.apply(files("watchbudget.cli").joinpath("demo_storm.yaml").read_text(encoding="utf-8"))

    def roll(self, name: str, change: Callable[[], None], follow: Callable[[Child], None]) -> Curve:
        """Roll the DaemonSet out, and return how it went.

        Args:
            name: of the curve.
            change: changes its template.
            follow: shows it, and may return before its end.

        Raises:
            LocalClusterError: it does not end.
        """
        with Child(run_fleet, self._agents()) as fleet, Child(run_bystanders, self._bystander()) as bystander:
            time.sleep(QUIET_SECONDS)
            began = fleet.call("begin")
            change()
            follow(fleet)
            self._wait(fleet)
            record: FleetRecord = fleet.call("record")
            samples: list[Sample] = bystander.call("finish")
        return curve_of(name, record, samples, began)

    def _agents(self) -> FleetSettings:
        cluster = self._cluster
        kubelets = cluster.layout.pair("kwok")
        return FleetSettings(
            manner=Manner(url=cluster.url, resources=LISTS),
            ca_file=cluster.ca_file,
            certificate=kubelets.certificate,
            key=kubelets.key,
            namespace=self._namespace,
            tokens={self._name: cluster.token(self._namespace, self._name)},
        )

    def _bystander(self) -> BystanderSettings:
        cluster = self._cluster
        client = Client(
            name="shop",
            config_map="/api/v1/namespaces/shop/configmaps/shop",
            token=cluster.token("shop", "shop"),
        )
        return BystanderSettings(url=cluster.url, ca_file=cluster.ca_file, clients=(client,))

    def _wait(self, fleet: Child) -> None:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/daemonsets/{self._name}"
        nodes = self._cluster.request("GET", path).json()["status"]["desiredNumberScheduled"]
        deadline = time.monotonic() + ROLLOUT_SECONDS
        while (state := fleet.call("progress"))["newReady"] < nodes:
            if time.monotonic() > deadline:
                raise LocalClusterError(f"The rollout is not done after {ROLLOUT_SECONDS:.0f} s: {state}")
            time.sleep(0.1)

    def show_status(self, fleet: Child) -> None:
        """Follow it in a terminal, live, to its end; elsewhere show one moment in the middle."""
        live = self._console.is_terminal
        arguments = ["rollout", "status", f"ds/{self._name}", "-n", self._namespace]
        if live:
            arguments.append("--watch")
        deadline = time.monotonic() + ROLLOUT_SECONDS
        while not live and not _in_the_middle(fleet) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._console.print(f"$ watchbudget {' '.join(arguments)}", markup=False, style="dim")
        self._console.file.flush()
        argv = [sys.executable, "-m", "watchbudget", *arguments, f"--kubeconfig={self._cluster.kubeconfig}"]
        if live:
            subprocess.run(argv, check=False)
        else:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            self._console.print((done.stdout or done.stderr).rstrip(), markup=False, soft_wrap=True)


def _in_the_middle(fleet: Child) -> bool:
    state = fleet.call("progress")
    return bool(state["newReady"] >= state["ready"] / 3 > 0)


def curve_of(name: str, record: FleetRecord, samples: list[Sample], began: float) -> Curve:
    """What the picture shows of one rollout."""
    tally = record.tally
    in_flight = steps(tally.in_flight)
    end = max([began, *record.ready, *(moment for moment, *_ in tally.served)])
    waits = [(each.due - began, each.seconds) for each in samples if began <= each.due < end]
    return Curve(
        name=name,
        seconds=end - began,
        values=tuple((moment - began, value) for moment, value in in_flight),
        peak=peak(in_flight),
        refused=len(tally.refused),
        slowest=max((seconds for _, seconds in waits), default=0.0),
    )
