"""How starts stand, read from the cluster: held and permitted pods, DaemonSets, and what budgets report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from msgspec import Struct, field

from watchbudget.api.status import RolloutStatus, WatchBudgetStatus, read_status
from watchbudget.cli.reach import Cluster, items_of
from watchbudget.controller.looked import Looked, read_looked
from watchbudget.controller.pod_reading import Pod, read_pod
from watchbudget.inventory.errors import Forbidden, NotFound
from watchbudget.rollout.gate import LABEL
from watchbudget.rollout.model import Key, Phase

__all__ = ["BUDGETS", "BudgetState", "Counts", "Row", "State", "labelled_pods", "leader_of", "read_state"]

SILENT = timedelta(seconds=30)
"""A Lease runs out after 15; its holder's clock, by which it is renewed, may be a little behind."""

BUDGETS = "/apis/watchbudget.io/v1alpha1/watchbudgets"
DAEMON_SETS = "/apis/apps/v1/daemonsets"


class BudgetState(Struct, frozen=True):
    """A budget with a `rollout`, as it reports itself."""

    name: str
    status: WatchBudgetStatus


class Row(Struct, frozen=True):
    """A DaemonSet whose pods start, wait, or are paused.

    Attributes:
        held: pods that wait.
        in_flight: pods with a permit that are not done starting. Those that are Ready and settle are among
            them as far as a budget reports so: their label alone does not tell.
        failing: pods that started, and failed.
        failed: starts that failed in the last ten minutes, if reported.
        paused: why nothing of it is started, in words; empty while starts go on.
        since: when its rollout began, if reported.
        budgets: that gate it, as far as they report it.
    """

    key: Key
    its: Looked
    held: int = 0
    in_flight: int = 0
    failing: int = 0
    failed: int | None = None
    paused: str = ""
    since: str | None = None
    budgets: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether nothing of it waits or starts, and every node has the newest template."""
        return not (self.held or self.in_flight or self.failing or self.its.behind)


class State(Struct, frozen=True):
    """Everything at one moment.

    Attributes:
        leader: who gives permits; empty if nobody does; None if that may not be read.
    """

    budgets: tuple[BudgetState, ...] = ()
    rows: tuple[Row, ...] = ()
    leader: str | None = None

    @property
    def held(self) -> int:
        """Pods that wait."""
        return sum(row.held for row in self.rows)


class Counts(Struct):
    """Labelled pods by DaemonSet and how far they have come."""

    held: Counter[Key] = field(default_factory=Counter)
    starting: Counter[Key] = field(default_factory=Counter)
    ready: Counter[Key] = field(default_factory=Counter)
    failing: Counter[Key] = field(default_factory=Counter)

    def of(self, phase: Phase) -> Counter[Key]:
        """Where pods of a phase are counted."""
        others = {Phase.HELD: self.held, Phase.READY: self.ready, Phase.FAILED: self.failing}
        return others.get(phase, self.starting)

    def in_flight(self, key: Key, reported: int) -> int:
        """Pods that start: those not Ready, and Ready ones as far as that many are reported."""
        starting = self.starting[key]
        return min(starting + self.ready[key], max(starting, reported))


async def labelled_pods(cluster: Cluster, namespace: str | None = None) -> list[Pod]:
    """All pods with our label.

    Args:
        cluster: where.
        namespace: of this namespace only.

    Raises:
        ClusterError: they cannot be read.
    """
    found = []
    path = "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{quote(namespace)}/pods"
    async for raw in items_of(cluster.api(), path, [("labelSelector", LABEL)]):
        pod = read_pod(raw, None, 0.0)
        if pod is not None:
            found.append(pod)
    return found


async def read_state(cluster: Cluster, *, only: Key | None = None, namespace: str) -> State:
    """Read how starts stand.

    Args:
        cluster: where.
        only: of this DaemonSet alone.
        namespace: of the operator.

    Raises:
        ClusterError: it cannot be read; with `only`, NotFound if there is no such DaemonSet.
    """
    counts = Counts()
    for pod in await labelled_pods(cluster, None if only is None else only[0]):
        counts.of(pod.start.phase)[pod.start.daemon_set] += 1
    budgets = await _budgets(cluster)
    reported: dict[Key, list[tuple[str, RolloutStatus]]] = {}
    for budget in budgets:
        for rollout in budget.status.rollouts:
            reported.setdefault((rollout.namespace, rollout.name), []).append((budget.name, rollout))
    messages = {budget.name: budget.status.starts.message or "" for budget in budgets if budget.status.starts}
    rows = []
    for key, its in (await _daemon_sets(cluster, only)).items():
        told = reported.get(key, [])
        row = Row(
            key,
            its,
            held=counts.held[key],
            in_flight=counts.in_flight(key, max((rollout.in_flight or 0 for _, rollout in told), default=0)),
            failing=counts.failing[key],
            failed=max((rollout.failed or 0 for _, rollout in told), default=None),
            paused=_paused(key, its, told, messages),
            since=min((rollout.started_at for _, rollout in told if rollout.started_at), default=None),
            budgets=tuple(name for name, _ in told),
        )
        if only is not None or row.held or row.in_flight or row.failing or told or its.paused is not None:
            rows.append(row)
    return State(budgets, tuple(sorted(rows, key=lambda row: row.key)), await _leader(cluster, namespace))


async def _budgets(cluster: Cluster) -> tuple[BudgetState, ...]:
    found = []
    with suppress(NotFound):  # the definition is not installed
        async for raw in items_of(cluster.api(), BUDGETS):
            spec, metadata = raw.get("spec"), raw.get("metadata")
            if (
                isinstance(spec, dict)
                and isinstance(spec.get("rollout"), dict)
                and isinstance(metadata, dict)
            ):
                status = read_status(raw.get("status")) or WatchBudgetStatus()
                found.append(BudgetState(str(metadata.get("name")), status))
    return tuple(found)


async def _daemon_sets(cluster: Cluster, only: Key | None) -> dict[Key, Looked]:
    api = cluster.api()
    if only is not None:
        path = f"/apis/apps/v1/namespaces/{quote(only[0])}/daemonsets/{quote(only[1])}"
        return {only: read_looked(await api.get(path))}
    found = {}
    async for raw in items_of(api, DAEMON_SETS):
        metadata: Mapping[str, Any] = raw.get("metadata") or {}
        found[str(metadata.get("namespace")), str(metadata.get("name"))] = read_looked(raw)
    return found


async def _leader(cluster: Cluster, namespace: str) -> str | None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace)}/leases/watchbudget"
    api = cluster.api()
    try:
        answer = await api.fetch(path)
    except NotFound:
        return ""
    except Forbidden:
        return None
    return leader_of(api.decode(path, answer.body), answer.headers.get("Date", ""))


def leader_of(lease: Mapping[str, Any], date: str) -> str:
    """Who holds a Lease; empty if nobody does, or whoever did is silent for long.

    Args:
        lease: the object.
        date: of the server's answer, as in HTTP; a time that cannot be read makes nobody silent.
    """
    spec = lease.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    holder = str(spec.get("holderIdentity") or "")
    try:
        silent = parsedate_to_datetime(date) - datetime.fromisoformat(str(spec.get("renewTime")))
    except (ValueError, TypeError):
        silent = timedelta(0)
    if silent > SILENT:
        return ""
    return holder.rpartition("_")[0] or holder


def _paused(key: Key, its: Looked, told: list[tuple[str, RolloutStatus]], messages: Mapping[str, str]) -> str:
    """Why it is paused. A budget has one message: where several are paused, it is about the first."""
    if its.paused is not None:
        return f"paused {its.paused}" if its.paused.startswith("by ") else f"paused: {its.paused}"
    for budget, rollout in told:
        if rollout.paused_reason:
            about, _, message = messages.get(budget, "").partition(": ")
            return (
                f"{rollout.paused_reason}: {message}"
                if about.split(" ")[0] == "/".join(key)
                else rollout.paused_reason
            )
    return ""
