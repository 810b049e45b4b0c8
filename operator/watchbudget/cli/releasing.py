"""Break glass: held pods freed by the user's own hand, many at once."""

from __future__ import annotations

import asyncio

from watchbudget.cli.console import Progress
from watchbudget.cli.reach import Cluster
from watchbudget.cli.starts import labelled_pods
from watchbudget.controller.pod_patches import free_patch
from watchbudget.controller.pod_reading import Pod
from watchbudget.controller.pods import pod_path
from watchbudget.controller.wire import JSON_PATCH, WireError, explain
from watchbudget.rollout.model import Key

__all__ = ["held_pods", "release_all"]

AT_ONCE = 20
ATTEMPTS = 5
ROUNDS = 3
"""Pods may change or be born between the list and the patch: then those are listed again."""

TIMEOUT = 30.0


async def held_pods(cluster: Cluster, key: Key | None) -> list[Pod]:
    """Pods that our gate holds: of one DaemonSet, or all.

    Raises:
        ClusterError: they cannot be read.
    """
    pods = await labelled_pods(cluster, None if key is None else key[0])
    return [pod for pod in pods if pod.gate is not None and key in (None, pod.start.daemon_set)]


async def release_all(cluster: Cluster, key: Key | None, report: Progress) -> list[str]:
    """Free them, and those that are born meanwhile; return what could not be freed and why.

    Raises:
        ClusterError: they cannot be read.
    """
    problems: dict[str, str] = {}
    for _ in range(ROUNDS):
        held = await held_pods(cluster, key)
        if not held:
            return []
        done, at_once = 0, asyncio.Semaphore(AT_ONCE)

        async def one(pod: Pod, total: int = len(held), at_once: asyncio.Semaphore = at_once) -> None:
            nonlocal done
            async with at_once:
                problems[pod.start.uid] = await _free(cluster, pod)
            done += 1
            report("Freeing", done, total)

        await asyncio.gather(*(one(pod) for pod in held))
        if all(problems[pod.start.uid] for pod in held):  # not one: that will not change
            break
    left = {pod.start.uid: pod for pod in await held_pods(cluster, key)}
    return sorted(
        f"{pod.start.namespace}/{pod.start.name}: {problems[uid] or 'it kept changing'}"
        for uid, pod in left.items()
        if uid in problems  # others were born meanwhile
    )


async def _free(cluster: Cluster, pod: Pod) -> str:
    """Free one; return what is wrong, empty if nothing is."""
    path = pod_path(pod.start.namespace, pod.start.name)
    problem = ""
    for attempt in range(ATTEMPTS):
        try:
            reply = await cluster.client.request(
                "PATCH",
                path,
                free_patch(pod.start.uid, pod.gate),
                content_type=JSON_PATCH,
                timeout=TIMEOUT,
            )
        except WireError as error:
            problem = str(error)
        else:
            if reply.status in {200, 404, 422}:  # freed, gone, or not as it was: the next list tells
                return ""
            problem = explain("PATCH", path, reply)
            if reply.status not in {429, 500, 502, 503, 504}:
                return problem
        await asyncio.sleep(0.5 * 2**attempt)
    return problem
