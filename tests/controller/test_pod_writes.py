"""What is done to pods: each write behind the fence, few at once, none repeated, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jsonpatch
import pytest

from fake_apiserver import async_test
from rollout_pods import held_pod, path_of, permitted_pod
from scripted_api import ScriptedApi
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.pod_patches import free_patch, release_patch
from watchbudget.controller.pod_reading import Pod
from watchbudget.controller.pod_writes import AT_ONCE, PodWrites
from watchbudget.controller.pods import Pods
from watchbudget.controller.wire import Reply, WireError
from watchbudget.rollout.gate import GATE, LABEL
from watchbudget.rollout.model import Phase


class Lead:
    grace = 3.0

    def __init__(self) -> None:
        self.leads = True

    def fence(self) -> None:
        if not self.leads:
            raise NotLeading("somebody else does")


class Setting:
    def __init__(self) -> None:
        self.api, self.lead, self.now = ScriptedApi(page=100), Lead(), 0.0
        self.pods = Pods(self.api, clock=lambda: self.now)
        self.writes = PodWrites(self.api, self.lead, self.pods, clock=lambda: self.now)

    def pod(self, name: str) -> Pod:
        return next(pod for pod in self.pods.all() if pod.start.name == name)

    def writes_sent(self) -> list[str]:
        return [call for call in self.api.calls if call.split()[0] in ("PATCH", "DELETE")]


@asynccontextmanager
async def setting(*raws: dict[str, Any]) -> AsyncIterator[Setting]:
    its = Setting()
    for raw in raws:
        its.api.add(path_of(raw["metadata"]["name"]), raw)
    watching = asyncio.create_task(its.pods.run())
    await its.pods.refresh()
    while not its.api.watchers:  # noqa: ASYNC110
        await asyncio.sleep(0)
    yield its
    await its.writes.close()
    watching.cancel()


def patched(raw: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = jsonpatch.apply_patch(raw, patch)
    return result


def test_release_takes_our_gate_and_no_other():
    raw = held_pod(schedulingGates=[{"name": "other"}, {"name": GATE}, {"name": "third"}])
    after = patched(raw, release_patch("a", 1))
    assert after["spec"]["schedulingGates"] == [{"name": "other"}, {"name": "third"}]
    assert after["metadata"]["labels"] == raw["metadata"]["labels"] | {LABEL: "permitted"}


@pytest.mark.parametrize("patch", [release_patch("b", 0), release_patch("a", 1), free_patch("b", 0)])
def test_a_patch_fails_if_the_pod_is_not_as_it_was_seen(patch: list[dict[str, Any]]):
    with pytest.raises(jsonpatch.JsonPatchException):
        patched(held_pod(schedulingGates=[{"name": GATE}, {"name": "other"}]), patch)


def test_free_leaves_nothing_of_ours():
    for raw, gate in ((held_pod(), 0), (permitted_pod(), None)):
        after = patched(raw, free_patch("a", gate))
        assert after["spec"]["schedulingGates"] == []
        assert LABEL not in after["metadata"]["labels"]


@async_test
async def test_a_permit_counts_from_the_answer_on_whatever_the_watch_brings():
    async with setting(held_pod("a")) as its:
        its.writes.release(its.pod("a"))
        await its.writes.settled()
        assert its.pod("a").start.phase is Phase.RELEASED
        assert its.api.objects[path_of("a")]["metadata"]["labels"][LABEL] == "permitted"
        assert its.writes.written.done == 1


@async_test
async def test_who_does_not_lead_writes_nothing_but_lets_go():
    async with setting(held_pod("a"), held_pod("b"), permitted_pod("c")) as its:
        its.lead.leads = False
        its.writes.release(its.pod("a"))
        its.writes.end(its.pod("c"))
        its.writes.delete("logging", "c", "c")
        await its.writes.settled()
        assert its.writes_sent() == []
        its.writes.let_go(its.pod("b"))
        await its.writes.settled()
        assert its.writes_sent() == [f"PATCH {path_of('b')}"]
        assert LABEL not in its.api.objects[path_of("b")]["metadata"]["labels"]


@async_test
async def test_the_fence_is_asked_right_before_each_write():
    names = [f"p{number}" for number in range(3 * AT_ONCE)]
    async with setting(*map(held_pod, names)) as its:
        for name in names:
            its.writes.release(its.pod(name))
        while not its.writes_sent():  # noqa: ASYNC110
            await asyncio.sleep(0)
        its.lead.leads = False  # those that wait for their turn are not sent
        await its.writes.settled()
        assert 0 < len(its.writes_sent()) <= AT_ONCE


@async_test
async def test_few_at_once_and_those_that_hang_do_not_hold_up_the_letting_go():
    names = [f"p{number}" for number in range(3 * AT_ONCE)]
    async with setting(*map(held_pod, names)) as its:
        under_way = most = 0
        go = asyncio.Event()
        send = its.api.request

        async def slow(method: str, path: str, *args: Any, **options: Any) -> Reply:  # noqa: ANN401
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            if method == "PATCH" and not path.endswith("/p0"):
                await go.wait()
            under_way -= 1
            return await send(method, path, *args, **options)

        its.api.request = slow  # type: ignore[method-assign]
        for name in names[1:]:
            its.writes.release(its.pod(name))
        its.writes.let_go(its.pod("p0"))
        while its.writes.written.done == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert most <= AT_ONCE + 1
        go.set()
        await its.writes.settled()
        assert its.writes.written.done == len(names)
        assert most <= AT_ONCE + 1


@async_test
async def test_a_pod_is_written_once_at_a_time_and_not_again_while_the_watch_lags():
    async with setting(permitted_pod("a")) as its:
        its.api.watchers.clear()  # nothing comes by the watch any more
        its.api.watched.clear()
        for _ in range(3):
            its.writes.end(its.pod("a"))
        await its.writes.settled()
        its.writes.end(its.pod("a"))
        await its.writes.settled()
        assert its.writes_sent() == [f"PATCH {path_of('a')}"]
        its.now += 6
        its.writes.end(its.pod("a"))
        await its.writes.settled()
        assert len(its.writes_sent()) == 2


@async_test
async def test_a_permit_that_nobody_answered_is_looked_for():
    async with setting(held_pod("a")) as its:
        send = its.api.request

        async def cut(method: str, path: str, *args: Any, **options: Any) -> Reply:  # noqa: ANN401
            reply = await send(method, path, *args, **options)
            if method == "PATCH":
                raise WireError("cut after it was done")
            return reply

        its.api.request = cut  # type: ignore[method-assign]
        its.writes.release(its.pod("a"))
        await its.writes.settled()
        assert its.pod("a").start.phase is Phase.RELEASED
        assert its.writes.written.take() == (0, 1)
        assert its.writes.written.take() == (0, 0)


@async_test
async def test_a_pod_that_changed_is_read_again():
    other = held_pod("a", schedulingGates=[{"name": "other"}, {"name": GATE}])
    async with setting(other) as its:
        stale = Pod(its.pod("a").start, gate=0)
        its.writes.release(stale)
        await its.writes.settled()
        assert f"GET {path_of('a')}" in its.api.calls
        its.writes.release(its.pod("a"))  # now from where the gate is
        await its.writes.settled()
        assert its.api.objects[path_of("a")]["spec"]["schedulingGates"] == [{"name": "other"}]


@async_test
async def test_refusals_are_counted_and_told_once(caplog: pytest.LogCaptureFixture):
    async with setting(held_pod("a"), held_pod("b")) as its:
        its.api.intervene = lambda method, _path, _body: Reply(429, {}) if method == "PATCH" else None
        for name in "abab":
            its.writes.release(its.pod(name))
            await its.writes.settled()
        assert its.writes.written.take() == (4, 0)
        assert (its.writes.written.done, its.writes.written.failed) == (0, 4)
        assert len(caplog.records) == 1


@async_test
async def test_a_rule_that_refuses_a_patch_is_no_change_of_the_pod(caplog: pytest.LogCaptureFixture):
    """An admission policy answers 422, as a test in a patch does that does not hold."""
    policy = Reply(422, {"message": "ValidatingAdmissionPolicy 'limits' denied request: no"})
    async with setting(held_pod("a"), held_pod("b")) as its:
        its.api.intervene = lambda method, _path, _body: policy if method == "PATCH" else None
        for name in "ab":
            assert its.writes.let_go(its.pod(name))
            await its.writes.settled()
            assert not its.writes.let_go(its.pod(name))  # not five times a second
        assert its.writes.written.failed == 2
        (told,) = caplog.records
        assert "denied request" in told.getMessage()
        its.now += 6
        freed: list[str] = []
        its.api.intervene = lambda *_: None
        assert its.writes.let_go(its.pod("a"), lambda: freed.append("a"))
        await its.writes.settled()
        assert freed == ["a"]


@async_test
@pytest.mark.parametrize("status", [403, 409, 422, 429, 500, 504])
async def test_a_permit_is_free_again_only_where_it_surely_was_not_written(status: int):
    async with setting(held_pod("a")) as its:
        its.api.intervene = lambda method, _path, _body: Reply(status, {}) if method == "PATCH" else None
        refused: list[str] = []
        its.writes.release(its.pod("a"), lambda: refused.append("a"))
        await its.writes.settled()
        assert refused == (["a"] if status < 500 else [])


@async_test
async def test_what_is_gone_is_no_failure(caplog: pytest.LogCaptureFixture):
    async with setting(held_pod("a")) as its:
        pod = its.pod("a")
        its.api.remove(path_of("a"))
        its.writes.release(pod)
        await its.writes.settled()
        its.writes.end(pod)
        await its.writes.settled()
        assert its.writes.written.failed == 0
        assert caplog.records == []


@async_test
async def test_a_deletion_is_of_this_pod_only():
    async with setting(permitted_pod("a"), permitted_pod("b")) as its:
        taken: list[str] = []
        its.writes.delete("logging", "a", "another", lambda: taken.append("wrong"))
        its.writes.delete("logging", "b", "b", lambda: taken.append("b"))
        await its.writes.settled()
        assert taken == ["b"]
        assert list(its.api.objects) == [path_of("a")]
