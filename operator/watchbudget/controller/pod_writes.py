"""What the pacer decides, done to pods: a few at once, each behind the fence, none repeated.

What fails is decided again in a later pass, from what is seen then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from watchbudget.controller.fenced import Fence
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.pod_patches import fits, free_patch, release_patch
from watchbudget.controller.pod_reading import Pod
from watchbudget.controller.pods import Pods, pod_path
from watchbudget.controller.trouble import Trouble
from watchbudget.controller.wire import JSON, JSON_PATCH, Reply, Transport, WireError, explain
from watchbudget.rollout.gate import LABEL

__all__ = ["PodWrites", "Written"]

AT_ONCE = 10
"""Writes under way at once: the paced lists are the load, not we."""

TIMEOUT = 5.0
"""Seconds for a write behind the fence, at most; the fence may ask for less. Others too."""

NOT_AGAIN = 5.0
"""Seconds for which a write that was done is not done again while the watch does not show it yet, nor one
that was refused for what it is."""

log = logging.getLogger(__name__)

_Send = Callable[[str, str, object, str], Awaitable[Reply]]


class Written:
    """What writes have come to since the last call of `take`, as far as it tells of the API server.

    Attributes:
        refused: answers 429.
        timeouts: no answer in time.
        done: writes that were done, ever.
        failed: writes that were not, for whatever reason, ever.
    """

    def __init__(self) -> None:
        self.refused = self.timeouts = self.done = self.failed = 0

    def take(self) -> tuple[int, int]:
        """Refused and timed out since the last call."""
        taken = self.refused, self.timeouts
        self.refused = self.timeouts = 0
        return taken


class PodWrites:
    """Starts writes and returns at once. Of one event loop; one write per pod at a time.

    Attributes:
        written: what came of them.
    """

    def __init__(
        self,
        transport: Transport,
        fence: Fence,
        pods: Pods,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            transport: to the API server.
            fence: asked right before each write that only the leader may do.
            pods: told what the answers show.
            clock: seconds that only ever grow.
        """
        self.written = Written()
        self._transport, self._fence, self._pods, self._clock = transport, fence, pods, clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._rests: dict[tuple[str, str], float] = {}  # until when a write is not sent again
        # Those whom nobody leads must not queue behind writes of a leader that hang.
        self._fenced, self._free = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._trouble = Trouble(log)

    def release(self, pod: Pod, refused: Callable[[], None] = lambda: None) -> None:
        """Give a held pod its permit; `refused` is called if the API server says that it will not."""
        if pod.gate is not None:
            patch = release_patch(pod.start.uid, pod.gate)
            self._begin(
                pod.start.uid,
                "release",
                lambda: self._patch(pod, patch, self._behind_fence),
                refused=refused,
            )

    def end(self, pod: Pod) -> None:
        """Take the label off a pod that has started."""
        patch = free_patch(pod.start.uid, pod.gate)
        self._begin(pod.start.uid, "end", lambda: self._patch(pod, patch, self._behind_fence))

    def let_go(self, pod: Pod, done: Callable[[], None] = lambda: None) -> bool:
        """Let a held pod go without a permit; any replica may, so no fence is asked.

        Returns:
            Whether that was begun just now; `done` is called if it is done.
        """
        patch = free_patch(pod.start.uid, pod.gate)
        return self._begin(pod.start.uid, "let go", lambda: self._patch(pod, patch, self._unfenced), done)

    def delete(self, namespace: str, name: str, uid: str, done: Callable[[], None] = lambda: None) -> None:
        """Delete an old pod, no other that may have its name by then; `done` is called if that was taken."""
        path = pod_path(namespace, name)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        self._begin(uid, "delete", lambda: self._behind_fence("DELETE", path, body, JSON), done)

    async def settled(self) -> None:
        """Return when no write is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    async def close(self) -> None:
        """Break off all writes; some may have been done all the same."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self,
        uid: str,
        what: str,
        write: Callable[[], Awaitable[Reply]],
        done: Callable[[], None] = lambda: None,
        refused: Callable[[], None] = lambda: None,
    ) -> bool:
        now = self._clock()
        if uid in self._under_way or now < self._rests.get((uid, what), now):
            return False
        self._rests = {each: until for each, until in self._rests.items() if until > now}
        self._under_way[uid] = asyncio.create_task(self._carry_out(uid, what, write, done, refused))
        return True

    async def _carry_out(
        self,
        uid: str,
        what: str,
        write: Callable[[], Awaitable[Reply]],
        done: Callable[[], None],
        refused: Callable[[], None],
    ) -> None:
        try:
            reply = await write()
        except NotLeading:
            return  # whoever leads now sees the same pods
        except WireError as error:
            self.written.timeouts += 1
            self._failed(what, error)
        except Exception:  # a fault of ours: the pod is seen again at the next pass
            self.written.failed += 1
            log.exception("%s of the pod %s failed", what, uid)
        else:
            if reply.status in {200, 202}:
                self.written.done += 1
                self._rests[uid, what] = self._clock() + NOT_AGAIN
                self._trouble.over()
                done()
                return
            if reply.status < 500:  # beyond, it may have been done all the same, or be yet
                refused()
            if reply.status == 429:
                self.written.refused += 1
                self._failed(what, "refused by priority and fairness (HTTP 429)")
            elif reply.status not in {404, 409}:  # gone, or no longer as it was seen
                if reply.status < 500:
                    self._rests[uid, what] = self._clock() + NOT_AGAIN
                self._failed(what, explain(what, uid, reply), reply.status)
        finally:
            self._under_way.pop(uid, None)

    async def _patch(self, pod: Pod, patch: list[dict[str, Any]], send: _Send) -> Reply:
        """Patch a pod. What it is afterwards is taken from the answer, or asked where that is in doubt.

        HTTP 422 says either that the pod is no longer as it was seen, which is answered by 409 here, or that
        somebody's rules refuse the patch: an admission policy answers so, too.
        """
        path = pod_path(pod.start.namespace, pod.start.name)
        try:
            reply = await send("PATCH", path, patch, JSON_PATCH)
        except WireError:
            await self._look(path)
            raise
        if reply.status == 200 and LABEL in (_labels(reply.body) or ()):
            self._pods.put(reply.body)
        elif reply.status == 422 and not fits(patch, await self._look(path)):
            return Reply(409, reply.body)
        return reply

    async def _look(self, path: str) -> Mapping[str, Any]:
        """It may have a permit although nobody answered so, or be another than was seen; empty: unknown."""
        try:
            reply = await self._transport.request("GET", path, timeout=TIMEOUT)
        except WireError:
            return {}  # the watch tells
        if reply.status != 200:
            return {}
        self._pods.put(reply.body)
        return reply.body

    async def _behind_fence(self, method: str, path: str, body: object, content_type: str) -> Reply:
        async with self._fenced:
            self._fence.fence()
            timeout = min(TIMEOUT, self._fence.grace)
            return await self._transport.request(
                method, path, body, content_type=content_type, timeout=timeout
            )

    async def _unfenced(self, method: str, path: str, body: object, content_type: str) -> Reply:
        async with self._free:
            return await self._transport.request(
                method, path, body, content_type=content_type, timeout=TIMEOUT
            )

    def _failed(self, what: str, error: object, status: int | None = None) -> None:
        """Tell of it once, not of every pod: words of one status differ by the pod's name alone."""
        self.written.failed += 1
        self._trouble.tell(f"A pod could not be changed ({what})", error, same_as=status)


def _labels(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    metadata = raw.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return labels if isinstance(labels, Mapping) else None
