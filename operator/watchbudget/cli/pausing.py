"""Pausing and resuming: the annotations, set as `kubectl annotate` would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from watchbudget.api.status import RolloutStatus, read_status
from watchbudget.cli.console import FailedError
from watchbudget.cli.reach import MERGE_PATCH, Cluster, items_of
from watchbudget.cli.starts import BUDGETS, DAEMON_SETS
from watchbudget.controller.looked import RESUMED, read_looked
from watchbudget.controller.wire import WireError, explain
from watchbudget.inventory.errors import NotFound
from watchbudget.rollout.gate import PAUSED
from watchbudget.rollout.model import Key

__all__ = ["pause_in", "resume_in"]

FAILING = frozenset({"StartsFailing", "CrashLooping"})
"""Reasons of automatic pauses, as the pacer has them (rollout/model.py)."""

TIMEOUT = 30.0
_MANAGER = "fieldManager=watchbudget-cli"


async def pause_in(cluster: Cluster, key: Key | None, budget: str | None, reason: str) -> list[str]:
    """Pause a DaemonSet, a budget, or all budgets with a `rollout`; return what was done.

    Raises:
        FailedError: it could not be done.
        ClusterError: budgets cannot be read.
    """
    if key is not None:
        await _annotate(cluster, _daemon_set(key), {PAUSED: reason})
        return [f"{'/'.join(key)} is paused"]
    names = [budget] if budget is not None else await _pacing(cluster)
    if not names:
        raise FailedError("no WatchBudget paces starts here: none has spec.rollout")
    for name in names:
        await _annotate(cluster, _budget(name), {PAUSED: reason})
    return [f"budget {name} is paused" for name in names]


async def resume_in(cluster: Cluster, key: Key | None, budget: str | None) -> list[str]:
    """Resume a DaemonSet, a budget, or all that is paused by annotation; return what was done.

    Raises:
        FailedError: it could not be done.
        ClusterError: something cannot be read.
    """
    if budget is not None:
        await _annotate(cluster, _budget(budget), {PAUSED: None})
        return [f"budget {budget} goes on"]
    if key is not None:
        return [await _resume(cluster, key)]
    done = []
    for name, raw in await _budgets(cluster):
        if PAUSED in _annotations(raw):
            await _annotate(cluster, _budget(name), {PAUSED: None})
            done.append(f"budget {name} goes on")
    async for raw in items_of(cluster.api(), DAEMON_SETS):
        metadata = raw.get("metadata") or {}
        if PAUSED in _annotations(raw):
            done.append(await _resume(cluster, (str(metadata.get("namespace")), str(metadata.get("name")))))
    return done or ["nothing is paused by annotation"]


async def _resume(cluster: Cluster, key: Key) -> str:
    """Take the pause away; where starts fail, accept that of the newest revision."""
    path = _daemon_set(key)
    raw = await cluster.api().get(path)
    annotations: dict[str, str | None] = {PAUSED: None}
    said = f"{'/'.join(key)} goes on"
    if await _is_failing(cluster, key):
        revision = await _newest_revision(cluster, key, raw)
        if revision:
            annotations[RESUMED] = revision
            said += f", failures of its revision {revision} accepted"
    await _annotate(cluster, path, annotations)
    return said


async def _is_failing(cluster: Cluster, key: Key) -> bool:
    for _, raw in await _budgets(cluster):
        status = read_status(raw.get("status"))
        rollouts: tuple[RolloutStatus, ...] = status.rollouts if status else ()
        for its in rollouts:
            # People's word hides why it would pause by itself; failures of a while ago tell.
            failing = its.paused_reason in FAILING or (its.paused_reason == "Paused" and its.failed)
            if (its.namespace, its.name) == key and failing:
                return True
    return False


async def _newest_revision(cluster: Cluster, key: Key, raw: Mapping[str, Any]) -> str:
    """The hash of the DaemonSet's newest ControllerRevision, as its pods carry it."""
    looked = read_looked(raw)
    path = f"/apis/apps/v1/namespaces/{quote(key[0])}/controllerrevisions"
    newest, found = -1, ""
    async for revision in items_of(cluster.api(), path, [("labelSelector", looked.selector)]):
        metadata, number = revision.get("metadata") or {}, revision.get("revision")
        owners = metadata.get("ownerReferences") or []
        ours = any(isinstance(owner, dict) and owner.get("uid") == looked.uid for owner in owners)
        if ours and isinstance(number, int) and number > newest:
            newest, found = number, str((metadata.get("labels") or {}).get("controller-revision-hash") or "")
    return found


async def _pacing(cluster: Cluster) -> list[str]:
    return [
        name
        for name, raw in await _budgets(cluster)
        if isinstance((raw.get("spec") or {}).get("rollout"), dict)
    ]


async def _budgets(cluster: Cluster) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        return [(str(raw["metadata"]["name"]), raw) async for raw in items_of(cluster.api(), BUDGETS)]
    except NotFound:  # the definition is not installed
        return []


async def _annotate(cluster: Cluster, path: str, annotations: Mapping[str, str | None]) -> None:
    patch = {"metadata": {"annotations": annotations}}
    try:
        reply = await cluster.client.request(
            "PATCH", f"{path}?{_MANAGER}", patch, content_type=MERGE_PATCH, timeout=TIMEOUT
        )
    except WireError as error:
        raise FailedError(f"{cluster.server}: {error}") from error
    if reply.status != 200:
        raise FailedError(explain("PATCH", path, reply))


def _annotations(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = raw.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}


def _daemon_set(key: Key) -> str:
    return f"/apis/apps/v1/namespaces/{quote(key[0])}/daemonsets/{quote(key[1])}"


def _budget(name: str) -> str:
    return f"{BUDGETS}/{quote(name)}"
