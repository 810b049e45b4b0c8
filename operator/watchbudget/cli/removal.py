"""What of the operator is in a cluster, and how it goes without leaving a pod behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from watchbudget.cli.console import Progress
from watchbudget.cli.reach import Cluster, items_of
from watchbudget.cli.releasing import held_pods
from watchbudget.controller.pod_reading import Pod
from watchbudget.controller.pods import pod_path
from watchbudget.controller.wire import JSON, WireError, explain
from watchbudget.inventory.errors import NotFound

__all__ = ["Found", "find", "remove"]

OURS = "app.kubernetes.io/part-of=watchbudget"
NAME = "watchbudget"

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_RBAC = "rbac.authorization.k8s.io/v1"
WEBHOOKS = (
    f"{_ADMISSION}/mutatingwebhookconfigurations",
    f"{_ADMISSION}/validatingwebhookconfigurations",
)

IN_NAMESPACE = (
    "/apis/apps/v1/namespaces/{}/deployments",  # first: nothing else works without it
    "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "/api/v1/namespaces/{}/services",
    "/api/v1/namespaces/{}/resourcequotas",
    f"/apis/{_RBAC}/namespaces/{{}}/rolebindings",
    f"/apis/{_RBAC}/namespaces/{{}}/roles",
    "/api/v1/namespaces/{}/serviceaccounts",
)

IN_CLUSTER = (
    f"/apis/{_RBAC}/clusterrolebindings",
    f"/apis/{_RBAC}/clusterroles",
    f"{_ADMISSION}/validatingadmissionpolicybindings",
    f"{_ADMISSION}/validatingadmissionpolicies",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
)

NAMED = (
    f"/apis/coordination.k8s.io/v1/namespaces/{{}}/leases/{NAME}",
    f"/api/v1/namespaces/{{}}/secrets/{NAME}-tls",
)
"""What the process makes itself, unlabelled."""

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/watchbudgets.watchbudget.io"

AT_ONCE = 20
TIMEOUT = 30.0
PUT_BACK = "does something (Argo CD, Flux) put the webhook configurations back?"
QUIET_LOOKS, MOST_LOOKS = 2, 60
"""API servers learn by a watch that the webhook is gone: until then pods may still be born held. So nobody
must be held at two looks, a second apart."""


class Found(Struct, frozen=True):
    """What there is to delete, as paths, in the order in which it goes.

    Attributes:
        webhooks: first.
        held: how many pods are held now; those that are when their turn comes are deleted.
        objects: last.
    """

    webhooks: tuple[str, ...]
    held: int
    objects: tuple[str, ...]

    @property
    def anything(self) -> bool:
        """Whether there is something to do."""
        return bool(self.webhooks or self.held or self.objects)

    def lines(self) -> Iterator[str]:
        """As people name it."""
        yield from map(_named, self.webhooks)
        if self.held:
            yield f"{self.held} held pods"
        yield from map(_named, self.objects)


async def find(cluster: Cluster, namespace: str, *, everything: bool) -> Found:
    """Look for everything of the operator's.

    Args:
        cluster: where.
        namespace: of the operator.
        everything: the budgets' definition too.

    Raises:
        ClusterError: it cannot be looked for.
    """
    webhooks = [path for kind in WEBHOOKS for path in await _labelled(cluster, kind, named=True)]
    own = f"/api/v1/namespaces/{quote(namespace)}"
    objects = [
        path for kind in IN_NAMESPACE for path in await _labelled(cluster, kind.format(quote(namespace)))
    ]
    named = [path.format(quote(namespace)) for path in NAMED]
    objects += [path for path in named if await _get(cluster, path) is not None]
    objects += [path for kind in IN_CLUSTER for path in await _labelled(cluster, kind)]
    its = await _get(cluster, own)
    if its is not None and _is_ours(its):
        objects.append(own)
    if everything and await _get(cluster, DEFINITION) is not None:
        objects.append(DEFINITION)
    return Found(tuple(webhooks), len(await held_pods(cluster, None)), tuple(objects))


async def remove(cluster: Cluster, found: Found, report: Progress) -> list[str]:
    """Delete it; return what could not be. Nothing is begun while a step before is not done.

    Raises:
        ClusterError: the cluster cannot be read.
    """
    total = len(found.webhooks) + len(found.objects)
    problems: list[str] = []
    for done, path in enumerate(found.webhooks):
        report("Deleting", done, total)
        problems += await _delete(cluster, path)
    if not problems:
        problems = await _remove_held(cluster, report)
    if problems:
        return problems
    for done, path in enumerate(found.objects, start=len(found.webhooks)):
        report("Deleting", done, total)
        problems += await _delete(cluster, path)
    return problems


async def _remove_held(cluster: Cluster, report: Progress) -> list[str]:
    """Delete held pods until none is born held any more."""
    quiet, at_once = 0, asyncio.Semaphore(AT_ONCE)

    async def one(pod: Pod) -> list[str]:
        uid = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.start.uid}}
        async with at_once:
            return await _delete(cluster, pod_path(pod.start.namespace, pod.start.name), uid)

    for look in range(MOST_LOOKS):
        if look:
            await asyncio.sleep(1)
        held = await held_pods(cluster, None)
        quiet = 0 if held else quiet + 1
        if quiet == QUIET_LOOKS:
            return []
        report("Deleting held pods", len(held))
        problems = [problem for found in await asyncio.gather(*map(one, held)) for problem in found]
        if problems:
            return problems
    return [f"pods are still born held after {MOST_LOOKS} s: {PUT_BACK}"]


async def _labelled(cluster: Cluster, collection: str, *, named: bool = False) -> list[str]:
    """Paths of what carries our label, and with `named` of what has our name."""
    try:
        return [
            f"{collection}/{quote(str(raw['metadata']['name']))}"
            async for raw in items_of(cluster.api(), collection, () if named else [("labelSelector", OURS)])
            if _is_ours(raw) or (named and raw["metadata"]["name"] == NAME)
        ]
    except NotFound:  # a group that this server does not serve
        return []


def _is_ours(raw: Mapping[str, Any]) -> bool:
    key, _, value = OURS.partition("=")
    return (raw["metadata"].get("labels") or {}).get(key) == value


async def _get(cluster: Cluster, path: str) -> Mapping[str, Any] | None:
    return await cluster.api().find(path)


async def _delete(cluster: Cluster, path: str, options: object = None) -> list[str]:
    """Delete one object; what is wrong, nothing if it is gone."""
    try:
        reply = await cluster.client.request("DELETE", path, options, content_type=JSON, timeout=TIMEOUT)
    except WireError as error:
        return [f"{_named(path)}: {error}"]
    if reply.status in {200, 202, 404} or (reply.status == 409 and options is not None):
        return []
    return [f"{_named(path)}: {explain('DELETE', path, reply)}"]


def _named(path: str) -> str:
    """`deployments/watchbudget in watchbudget-system`."""
    *before, kind, name = path.split("/")
    where = f" in {before[-1]}" if len(before) > 1 and before[-2] == "namespaces" else ""
    return f"{kind}/{name}{where}"
