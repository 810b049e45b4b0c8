"""The Fleet of a live cluster: read-only, with nothing installed in it.

What is asked grows with the DaemonSets (their namespaces, accounts and ConfigMaps), never with the
namespaces, network policies or pods of the cluster, which are not listed and not watched. The one
exception is the census where the server's /metrics may not be read: one page of each watched resource.

Lists come in pages, and raw objects are dropped page by page.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from watchbudget.api.resources import DEFAULT_WATCHED, GroupResource
from watchbudget.inventory import parse
from watchbudget.inventory.access import review_access
from watchbudget.inventory.census import Metrics, count, read_census, read_metrics
from watchbudget.inventory.errors import ClusterError, Forbidden, NotFound
from watchbudget.inventory.fleet import CLUSTER, Census, DaemonSet, Fleet, Problem, Source
from watchbudget.inventory.gaps import Gaps
from watchbudget.inventory.rbac import Binding, Rbac, Role
from watchbudget.inventory.references import config_map_references
from watchbudget.inventory.surroundings import (
    merged,
    read_accounts,
    read_config_maps,
    read_namespaces,
    typed,
)

if TYPE_CHECKING:
    from watchbudget.inventory.transport import Api

__all__ = ["NODES", "OLDEST_SUPPORTED", "Progress", "load", "read_fleet", "server_version"]

OLDEST_SUPPORTED = (1, 30)
"""Older servers are audited with a warning: seats and list costs are those of another estimator."""

NODES = GroupResource("", "nodes")
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_BUDGETS = "/apis/watchbudget.io/v1alpha1/watchbudgets"


class Progress(Protocol):
    """Called with a stage in words, how much is done and, where known, of how much."""

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Show it."""


def load(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    resources: Sequence[GroupResource] = DEFAULT_WATCHED,
    known: Collection[GroupResource] = (),
    namespaces: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Fleet:
    """Connect, read the fleet and disconnect; see `connection.connect` and `read_fleet`."""
    from watchbudget.inventory.connection import connect  # noqa: PLC0415 - loads the Kubernetes client

    async def read() -> Fleet:
        async with connect(kubeconfig, context) as api:
            return await read_fleet(
                api, resources=resources, known=known, namespaces=namespaces, progress=progress
            )

    return asyncio.run(read())


async def read_fleet(
    api: Api,
    *,
    resources: Sequence[GroupResource] = DEFAULT_WATCHED,
    known: Collection[GroupResource] = (),
    namespaces: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Fleet:
    """Read everything a judgement needs.

    What cannot be read, for want of a permission or because the server went away, is a problem of
    the fleet, and the rest is there.

    Args:
        api: the server.
        resources: what to count, and to ask access reviews for; what the cluster's own budgets
            name is added.
        known: those whose number and size the caller has, which need no permission to count.
        namespaces: only DaemonSets of these; None for all.
        progress: told what is going on.

    Raises:
        ClusterError: not even the DaemonSets can be read.
    """
    report = progress or _silent
    gaps = Gaps()
    report("Connecting")
    version = await server_version(api, gaps.problems)
    report("Reading DaemonSets")
    daemon_sets, references = await _read_daemon_sets(api, namespaces, gaps)
    budgets = await _read_budgets(api, gaps)
    report("Reading roles and bindings")
    roles, bindings, complete = await _read_cluster_roles(api, gaps)
    own = {item.namespace for item in daemon_sets} | set(namespaces or ())
    parts = await read_namespaces(api, own, gaps, _stage(report, "Reading their namespaces"))
    around = merged(parts.values())
    complete = complete and around.complete
    accounts = [(item.namespace, item.service_account) for item in daemon_sets]
    service_accounts = await read_accounts(api, accounts, gaps, _stage(report, "Reading service accounts"))
    config_maps = await read_config_maps(api, references, gaps, _stage(report, "Reading ConfigMaps"))
    report("Counting objects")
    watched = tuple(dict.fromkeys((*resources, *_named_resources(budgets))))
    metrics = Metrics()
    with gaps.around("the server's own counts cannot be read"):
        metrics = await read_metrics(api, (*watched, NODES))
    counted = [resource for resource in watched if resource not in known]
    entries = await read_census(api, counted, metrics, gaps.problems)
    nodes = await _count_nodes(api, metrics, gaps)
    asking = _stage(report, "Asking what service accounts may do")
    access = await review_access(api, accounts, watched, gaps.problems, asking)
    if access.state != "asked" and not complete:
        message = (
            "neither roles nor access reviews tell what all service accounts may do: grants may be missing"
        )
        gaps.problems.append(Problem(CLUSTER, message))
    return Fleet(
        daemon_sets=tuple(sorted(daemon_sets, key=lambda item: item.key)),
        rbac=Rbac((*roles, *around.roles), (*bindings, *around.bindings)),
        access=access,
        service_accounts=service_accounts,
        config_maps=config_maps,
        limit_ranges=tuple(around.limit_ranges),
        namespace_labels=around.labels,
        shared_accounts=around.shared_accounts,
        census=Census(entries, version),
        nodes=max((item.nodes or 0 for item in daemon_sets), default=0) if nodes is None else nodes,
        nodes_source="assumed" if nodes is None else "cluster",
        complete_rbac=complete,
        problems=gaps.told(),
        budget_documents=tuple(budgets),
    )


async def server_version(api: Api, problems: list[Problem]) -> tuple[int, int] | None:
    """The server's minor version, such as (1, 36); None, and a problem, where it does not say."""
    try:
        answer = await api.get("/version")
    except Forbidden as error:  # readable by everyone unless someone took that away
        problems.append(Problem(CLUSTER, f"the server's version is unknown: {error}", severity="warning"))
        return None
    numbers = [re.match(r"\d+", str(answer.get(part))) for part in ("major", "minor")]  # "36+" on EKS and GKE
    if numbers[0] is None or numbers[1] is None:
        message = f"{api.server}: /version gives no Kubernetes version; list costs are those of today's"
        problems.append(Problem(CLUSTER, message, severity="warning"))
        return None
    version = int(numbers[0][0]), int(numbers[1][0])
    if version < OLDEST_SUPPORTED:
        message = (
            f"{api.server} runs Kubernetes {version[0]}.{version[1]}, older than "
            f"{OLDEST_SUPPORTED[0]}.{OLDEST_SUPPORTED[1]}: the audit goes on, the operator will not run there"
        )
        problems.append(Problem(CLUSTER, message, severity="warning"))
    return version


async def _read_daemon_sets(
    api: Api, namespaces: Sequence[str] | None, gaps: Gaps
) -> tuple[list[DaemonSet], dict[tuple[str, str], bool]]:
    """The DaemonSets, and the ConfigMaps that they refer to."""
    daemon_sets: list[DaemonSet] = []
    references: dict[tuple[str, str], bool] = {}
    parse_typed = typed("apps/v1", "DaemonSet", parse.daemon_set, gaps.problems)

    def parse_item(raw: Mapping[str, Any]) -> DaemonSet | None:
        item = parse_typed(raw)
        if item is not None:
            for name, optional in config_map_references(raw).items():
                key = item.namespace, name
                references[key] = references.get(key, True) and optional
        return item

    if namespaces is None:
        try:
            await api.collect("/apis/apps/v1/daemonsets", parse_item, daemon_sets)
        except ClusterError as error:
            if not daemon_sets:
                raise
            gaps.problems.append(Problem(CLUSTER, f"only {len(daemon_sets)} DaemonSets were read: {error}"))
        return daemon_sets, references
    for namespace in dict.fromkeys(namespaces):
        found: list[DaemonSet] = []
        with gaps.around(f"not all DaemonSets of namespace {namespace} could be read", forbidden="error"):
            path = f"/apis/apps/v1/namespaces/{quote(namespace, safe='')}/daemonsets"
            await api.collect(path, parse_item, found)
        daemon_sets += found
    return daemon_sets, references


async def _read_budgets(api: Api, gaps: Gaps) -> list[tuple[Source, Mapping[str, object]]]:
    budgets: list[tuple[Source, Mapping[str, object]]] = []
    with gaps.around("the cluster's WatchBudgets are unknown, and do not judge"), suppress(NotFound):
        await api.collect(
            _BUDGETS,
            lambda raw: (CLUSTER, {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget", **raw}),
            budgets,
        )
    return budgets


async def _read_cluster_roles(api: Api, gaps: Gaps) -> tuple[list[Role], list[Binding], bool]:
    """ClusterRoles, ClusterRoleBindings, and whether both could be read."""
    roles: list[Role] = []
    bindings: list[Binding] = []
    before = gaps.count
    version = "rbac.authorization.k8s.io/v1"
    effect = "by which role a service account may list and watch cannot be told"
    with gaps.around(effect):
        await api.collect(
            f"{_RBAC}/clusterroles", typed(version, "ClusterRole", parse.role, gaps.problems), roles
        )
    with gaps.around(effect):
        parse_binding = typed(version, "ClusterRoleBinding", parse.binding, gaps.problems)
        await api.collect(f"{_RBAC}/clusterrolebindings", parse_binding, bindings)
    return roles, bindings, gaps.count == before


async def _count_nodes(api: Api, metrics: Metrics, gaps: Gaps) -> int | None:
    with gaps.around("the number of nodes is unknown; taken from the largest DaemonSet (or give --nodes N)"):
        return await count(api, NODES, metrics)
    return None


def _named_resources(budgets: Sequence[tuple[Source, Mapping[str, object]]]) -> Iterator[GroupResource]:
    """What budgets watch; what is malformed here is reported where budgets are parsed."""
    for _, budget in budgets:
        spec = budget.get("spec")
        entries = spec.get("resources") if isinstance(spec, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            group, resource = (
                (entry.get("group", ""), entry.get("resource")) if isinstance(entry, dict) else ("", "")
            )
            if isinstance(group, str) and isinstance(resource, str) and resource:
                yield GroupResource(group, resource)


def _stage(report: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: report(stage, done, total)


def _silent(stage: str, done: int = 0, total: int | None = None) -> None:
    """Progress of interest to nobody."""
