"""A DaemonSet that is rolled in waves, with all its pods: read when it has old ones, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from watchbudget.controller.listing import TABLE, WatchTransport, list_pages
from watchbudget.controller.pod_reading import Pod
from watchbudget.controller.wire import WireError
from watchbudget.rollout.gate import HELD, PERMITTED
from watchbudget.rollout.model import Phase
from watchbudget.rollout.roll import DaemonPod, Roll, pods_of_table, roll_of

__all__ = ["read_roll", "with_newer"]


async def read_roll(
    transport: WatchTransport, raw: Mapping[str, Any], selector: str, nodes: Mapping[str, str]
) -> Roll | None:
    """The DaemonSet with its pods; None where it is not rolled in waves or has no usable selector.

    Revisions first: a pod of a revision that is not known yet would count as old.

    Args:
        transport: to the API server.
        raw: the DaemonSet.
        selector: of its pods and revisions.
        nodes: by uid of pod, which node those are for that are on none yet.

    Raises:
        WireError: a list cannot be read.
    """
    roll = roll_of(raw, (), ())
    if not selector or roll is None:
        return None
    namespace, query = quote(roll.key[0]), {"labelSelector": selector}
    revisions: list[Mapping[str, Any]] = []
    path = f"/apis/apps/v1/namespaces/{namespace}/controllerrevisions"
    async for page in list_pages(transport, path, query):
        revisions += [{field: each.get(field) for field in ("metadata", "revision")} for each in _items(page)]
    pods: list[DaemonPod] = []
    async for page in list_pages(transport, f"/api/v1/namespaces/{namespace}/pods", query, accept=TABLE):
        found = pods_of_table(page, roll.uid, nodes)
        if found is None:
            raise WireError("the server's table of pods has other columns than it should")
        pods += found
    return roll_of(raw, revisions, pods)


def with_newer(roll: Roll, pods: Iterable[Pod]) -> Roll:
    """The same with what the watch has brought of its held and permitted pods since it was read.

    A pod that the list does not have was born later, and under OnDelete only once its node had none.

    Args:
        roll: as it was read.
        pods: with our label, of this DaemonSet.
    """
    newer = {pod.start.uid: _daemon_pod(pod) for pod in pods}
    listed = {pod.uid for pod in roll.pods}
    taken = {pod.node for uid, pod in newer.items() if uid not in listed and pod.node}
    kept = [newer.pop(pod.uid, pod) for pod in roll.pods if pod.uid in newer or pod.node not in taken]
    return replace(roll, pods=(*kept, *newer.values()))


def _daemon_pod(pod: Pod) -> DaemonPod:
    start = pod.start
    return DaemonPod(
        uid=start.uid,
        name=start.name,
        node=start.node,
        revision=start.revision,
        generation="",
        ready=start.phase is Phase.READY,
        deleting=False,
        label=HELD if pod.gate is not None else PERMITTED,
    )


def _items(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = page.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
