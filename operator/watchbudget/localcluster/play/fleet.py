"""Plays the agents of all pods in one namespace, and tells the control plane when each is ready.

A process of its own. It watches the pods as the kubelets' user; for each whose container runs it starts an
`Agent`, and when that has listed it sets the annotation that KWOK's stage `agent-ready` waits for.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp

from watchbudget.localcluster.play.agent import Agent, Manner, Tally
from watchbudget.localcluster.play.child import serve

__all__ = ["FleetRecord", "FleetSettings", "run_fleet"]

START = "watchbudget.io/start"
SYNCED = "localcluster.watchbudget.io/synced"
_PATCHES_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class FleetSettings:
    """What a fleet needs to know.

    Attributes:
        manner: How its agents behave.
        ca_file: The API server's authority.
        certificate: Client certificate of the kubelets' user, for watching and patching pods.
        key: Its key.
        namespace: Where the DaemonSets are.
        tokens: The service account's token of each DaemonSet, by the DaemonSet's name.
        broken_nodes: Their agents crash-loop.
    """

    manner: Manner
    ca_file: Path
    certificate: Path
    key: Path
    namespace: str
    tokens: dict[str, str]
    broken_nodes: frozenset[str] = frozenset()


@dataclass
class FleetRecord:
    """What was seen since `begin`, in monotonic seconds."""

    tally: Tally = field(default_factory=Tally)
    began: float = 0.0
    with_agent: list[tuple[float, int]] = field(default_factory=list)
    """How many (DaemonSet, node) pairs had a Ready agent from then on."""
    held: list[tuple[float, int]] = field(default_factory=list)
    """How many pods WatchBudget held from then on."""
    permitted: list[tuple[float, int]] = field(default_factory=list)
    """How many had a permit."""
    ready: list[float] = field(default_factory=list)
    """When each new pod got Ready."""
    cpu_seconds: float = 0.0


@dataclass
class _Pod:
    name: str
    owner: str
    node: str = ""
    new: bool = False
    ready: bool = False
    start: str = ""
    task: asyncio.Task[None] | None = None


class _Fleet:
    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._path = f"{settings.manner.url}/api/v1/namespaces/{settings.namespace}/pods"
        self._agents_tls = ssl.create_default_context(cafile=str(settings.ca_file))
        tls = ssl.create_default_context(cafile=str(settings.ca_file))
        tls.load_cert_chain(settings.certificate, settings.key)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0), read_bufsize=2**20
        )
        self._patching = asyncio.Semaphore(_PATCHES_AT_ONCE)
        self._pods: dict[str, _Pod] = {}
        self._ready_pods: Counter[tuple[str, str]] = Counter()
        self._starts: Counter[str] = Counter()
        self._version = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._cold = False
        self._fault: str | None = None
        self._record = FleetRecord()
        self._spawn(self._watch())

    async def close(self) -> None:
        for task in (*self._tasks, *(pod.task for pod in self._pods.values() if pod.task)):
            task.cancel()
        await self._session.close()

    async def begin(self) -> float:
        """From now on new pods list, and everything is counted; returns the time."""
        self._cold = True
        self._record = FleetRecord(began=time.monotonic(), cpu_seconds=time.process_time())
        self._note_agents()
        return self._record.began

    async def progress(self) -> dict[str, Any]:
        """Return how far it is; raises what went wrong in the background."""
        if self._fault:
            raise RuntimeError(self._fault)
        new = [pod for pod in self._pods.values() if pod.new]
        return {
            "pods": len(self._pods),
            "ready": sum(pod.ready for pod in self._pods.values()),
            "new": len(new),
            "newReady": sum(pod.ready for pod in new),
            "inFlight": sum(delta for _, delta in self._record.tally.in_flight),
            "served": len(self._record.tally.served),
            "refused": len(self._record.tally.refused),
        }

    async def record(self) -> FleetRecord:
        """Return what was counted since `begin`."""
        self._record.cpu_seconds = time.process_time() - self._record.cpu_seconds
        return self._record

    async def unready(self) -> None:
        """Let every pod's agent lose its readiness, as a broken one does."""
        await asyncio.gather(*(self._lose_readiness(pod) for pod in self._pods.values() if pod.ready))

    async def restart(self) -> None:
        """Restart every agent's process in its pod, as when an API server comes back: all list at once."""
        for pod in self._pods.values():
            if pod.task:
                pod.task.cancel()
            pod.new = True
            pod.task = self._start(pod)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = self._fault or repr(error)

    async def _watch(self) -> None:
        async with self._session.get(self._path) as answer:
            answer.raise_for_status()
            listed = await answer.json()
        for pod in listed["items"] or ():
            self._seen("ADDED", pod)
        self._version = listed["metadata"]["resourceVersion"]
        timeout = aiohttp.ClientTimeout(total=None)
        while True:  # the server ends watches that take a burst of events too slowly; informers go on as well
            query = f"watch=true&allowWatchBookmarks=true&resourceVersion={self._version}"
            async with self._session.get(f"{self._path}?{query}", timeout=timeout) as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(f"the watch of the pods failed: {event['object']}")
                    self._version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._seen(event["type"], event["object"])

    def _seen(self, kind: str, found: dict[str, Any]) -> None:
        metadata, uid = found["metadata"], found["metadata"]["uid"]
        owner = (metadata.get("ownerReferences") or [{}])[0].get("name", "")
        if owner not in self._settings.tokens:
            return
        gone = kind == "DELETED" or "deletionTimestamp" in metadata
        if uid not in self._pods:
            if gone:
                return
            self._pods[uid] = _Pod(metadata["name"], owner, new=self._cold)
        pod = self._pods[uid]
        pod.node = pod.node or found["spec"].get("nodeName", "")
        conditions = found.get("status", {}).get("conditions") or ()
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        self._set_ready(pod, ready and not gone)
        self._set_start(pod, "" if gone else metadata.get("labels", {}).get(START, ""))
        if gone:
            if pod.task:
                pod.task.cancel()
            del self._pods[uid]
        elif pod.task is None and found.get("status", {}).get("phase") == "Running":
            pod.task = self._start(pod)

    def _set_ready(self, pod: _Pod, ready: bool) -> None:  # noqa: FBT001
        if ready == pod.ready:
            return
        pod.ready = ready
        self._ready_pods[pod.owner, pod.node] += 1 if ready else -1
        if ready and pod.new:
            self._record.ready.append(time.monotonic())
        self._note_agents()

    def _set_start(self, pod: _Pod, start: str) -> None:
        if start == pod.start:
            return
        self._starts[pod.start] -= 1
        self._starts[start] += 1
        pod.start = start
        now = time.monotonic()
        self._record.held.append((now, self._starts["held"]))
        self._record.permitted.append((now, self._starts["permitted"]))

    def _note_agents(self) -> None:
        count = sum(number > 0 for number in self._ready_pods.values())
        self._record.with_agent.append((time.monotonic(), count))

    def _start(self, pod: _Pod) -> asyncio.Task[None]:
        settings = self._settings
        agent = Agent(
            settings.manner,
            self._agents_tls,
            settings.tokens[pod.owner],
            self._record.tally,
            lambda: self._version,
        )
        if pod.new and pod.node in settings.broken_nodes:
            self._spawn(self._report_crash(pod))
            return self._spawn(agent.crash_loop())
        return self._spawn(agent.run(lambda: self._tell_ready(pod), warm=not pod.new))

    def _tell_ready(self, pod: _Pod) -> None:
        self._spawn(self._patch(pod, "", {"metadata": {"annotations": {SYNCED: "true"}}}))

    async def _lose_readiness(self, pod: _Pod) -> None:
        await self._patch(pod, "", {"metadata": {"annotations": {SYNCED: "false"}}})
        await self._patch(pod, "/status", {"status": {"conditions": _not_ready()}})

    async def _report_crash(self, pod: _Pod) -> None:
        state = {"waiting": {"reason": "CrashLoopBackOff"}}
        container = {"name": "agent", "image": "agent", "imageID": "", "ready": False, "restartCount": 3}
        status = {"phase": "Running", "containerStatuses": [container | {"state": state}]}
        await self._patch(pod, "/status", {"status": status | {"conditions": _not_ready()}})

    async def _patch(self, pod: _Pod, subresource: str, body: object) -> None:
        """Patch, again and again if need be: a kubelet does not give up either."""
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        url, data = f"{self._path}/{pod.name}{subresource}", json.dumps(body)
        async with self._patching:
            while True:
                try:
                    async with self._session.patch(url, data=data, headers=headers) as answer:
                        await answer.read()
                        if answer.status < 300 or answer.status in (404, 409):
                            return
                        if answer.status != 429 and answer.status < 500:
                            raise RuntimeError(f"patch of {pod.name} answered {answer.status}")
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.2)


def _not_ready() -> list[dict[str, str]]:
    reason = {"status": "False", "reason": "ContainersNotReady"}
    return [{"type": kind} | reason for kind in ("Ready", "ContainersReady")]


def run_fleet(connection: Connection, settings: FleetSettings) -> None:
    """Play the fleet until the other side is gone."""

    async def main() -> None:
        fleet = _Fleet(settings)
        calls = (fleet.begin, fleet.progress, fleet.record, fleet.unready, fleet.restart)
        try:
            await serve(connection, {call.__name__: call for call in calls})
        finally:
            await fleet.close()

    asyncio.run(main())
