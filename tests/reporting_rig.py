"""A reporter beside a real API server, and beside none: what the tests of reporting share."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from policy_samples import CENSUS, audit
from watchbudget.controller.client import Client
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.reporting import Reporter
from watchbudget.controller.store import Kind, Store, View
from watchbudget.controller.wire import JSON, Reply, Transport
from watchbudget.inventory.connection import open_client
from watchbudget.inventory.fleet import Census, Fleet
from watchbudget.localcluster import LocalCluster
from watchbudget.policy.model import Audit

BUDGETS = "/apis/watchbudget.io/v1alpha1/watchbudgets"
BEGINNING = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


@dataclass
class Clock:
    """Seconds, and the time of day, that only a test moves on."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def text(self) -> str:
        passed = dt.timedelta(seconds=self.seconds - 1000)
        return (BEGINNING + passed).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Leader:
    """A fence that a test opens and closes."""

    leads: bool = True
    grace: float = 5.0

    def fence(self) -> None:
        if not self.leads:
            raise NotLeading("not leading")


@dataclass
class Sent:
    """One request."""

    method: str
    path: str
    body: Any
    content_type: str
    timeout: float = 0.0


@dataclass
class Recording:
    """A transport that notes what goes through it; with `real` it goes on to a server."""

    real: Transport | None = None
    answer: Any = None  # called with each request in place of a server
    sent: list[Sent] = field(default_factory=list)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        timeout: float,  # noqa: ASYNC109 - as the protocol has it
    ) -> Reply:
        request = Sent(method, path, body, content_type, timeout)
        self.sent.append(request)
        if self.real is not None:
            return await self.real.request(method, path, body, content_type=content_type, timeout=timeout)
        reply: Reply = self.answer(request)
        return reply


@dataclass
class Rig:
    """A reporter and what it needs."""

    reporter: Reporter
    wire: Recording
    clock: Clock
    leader: Leader
    metrics: OperatorMetrics

    def count(self, name: str, **labels: str) -> float:
        registry = self.metrics.registry
        return registry.get_sample_value(name, labels) or 0.0


def rig(wire: Recording, clock: Clock | None = None, **options: Any) -> Rig:  # noqa: ANN401
    clock, leader = clock or Clock(), Leader()
    metrics = OperatorMetrics(CollectorRegistry())
    reporter = Reporter(wire, leader, metrics, "test", clock=clock, now=clock.text, **options)
    return Rig(reporter, wire, clock, leader, metrics)


@asynccontextmanager
async def live_rig(kubeconfig: Path, **options: Any) -> AsyncIterator[Rig]:  # noqa: ANN401
    """A reporter with the connection of production."""
    async with open_client(str(kubeconfig)) as (client, _):
        yield rig(Recording(Client(client)), **options)


def view_of(cluster: LocalCluster, namespace: str) -> View:
    """What the watches would tell of all budgets and of one namespace's DaemonSets."""
    store = Store(lambda: None)
    answer = cluster.request("GET", BUDGETS, check=False)
    for raw in answer.json()["items"] if answer.status == 200 else ():
        store.tell(Kind.BUDGET, raw)
    path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets"
    for raw in cluster.request("GET", path).json()["items"]:
        store.tell(Kind.DAEMON_SET, raw)
    return store.view()


def judged(view: View, census: Census = CENSUS, nodes: int = 3) -> Audit:
    """The judgement of what was seen."""
    items = tuple(stored.value for stored in view.daemon_sets.values())
    return audit(
        Fleet(daemon_sets=items, nodes=nodes, census=census, nodes_source="flag"),  # type: ignore[arg-type]
        *view.budgets,
    )


def told(store: Store, kind: Kind, *raws: Mapping[str, Any]) -> View:
    """The store's view after these objects."""
    for raw in raws:
        store.tell(kind, raw)
    return store.view()
