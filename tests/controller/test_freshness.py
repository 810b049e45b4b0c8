"""When an answer waits for a newer judgement, for how long, and when it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from controller_reviews import body
from fake_apiserver import async_test
from watchbudget.controller import freshness
from watchbudget.controller.freshness import Freshness
from watchbudget.controller.judging import Judged
from watchbudget.controller.reading import Around
from watchbudget.controller.review import AdmissionRequest, parse
from watchbudget.controller.store import Key, Kind, Store

KNOWN = [("namespace", ("", "logging")), ("account", ("logging", "agent")), ("config", ("logging", "agent"))]


class Scene:
    """A store, a judgement of it, and a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0
        self.unbound: set[Key] = set()
        self.asked: list[Key] = []
        self.hurried = 0
        self.store = Store(lambda: None)
        self.judged: Judged | None = None
        self.judge(dict.fromkeys(KNOWN, self.now))
        self.fresh = Freshness(self.store, lambda: self.judged, self.expect, self.hurry, lambda: self.now)

    def judge(self, known: dict[Any, float], expected: tuple[Key, ...] = ()) -> None:
        snapshot: Any = None
        self.judged = Judged(
            view=self.store.view(),
            audit=snapshot,
            snapshot=snapshot,
            known=known,
            unbound=frozenset(self.unbound),
            expected=frozenset(expected),
            began=self.now,
            seconds=0,
        )

    def expect(self, key: Key, _: Around) -> None:
        self.asked.append(key)

    def hurry(self) -> None:
        self.hurried += 1

    def tell_role(self, name: str) -> None:
        self.store.tell(Kind.CLUSTER_ROLE, {"metadata": {"name": name}, "rules": []})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "WATCH_DELAY", 0.0)
    monkeypatch.setattr(freshness, "LONGEST", 0.2)


def daemon_set(**fields: object) -> AdmissionRequest:
    volumes = [{"name": "config", "configMap": {"name": "agent"}}]
    pod = {"serviceAccountName": "agent", "volumes": volumes, "containers": []}
    raw = {"metadata": {"name": "agent"}, "spec": {"template": {"spec": pod}}}
    return parse(body(**({"object": raw} | fields)))


def binding(role: str) -> AdmissionRequest:
    kind = {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRoleBinding"}
    raw = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": role}}
    return parse(body(kind=kind, object=raw, namespace=""))


@async_test
async def test_what_is_known_is_answered_at_once():
    scene = Scene()
    assert scene.fresh.wanting(daemon_set()) is None


@async_test
@pytest.mark.parametrize("missing", KNOWN)
async def test_anything_around_it_that_is_unknown_is_wanted(missing: Any):  # noqa: ANN401
    scene = Scene()
    scene.judge({thing: scene.now for thing in KNOWN if thing != missing})
    around = scene.fresh.wanting(daemon_set())
    assert around is not None
    assert missing in around.things()


@async_test
async def test_nobody_is_refused_by_a_config_map_that_was_read_a_while_ago():
    scene = Scene()
    assert scene.fresh.outdated(daemon_set()) is None
    scene.now += freshness.CONFIGURATION_HOLDS + 0.1
    assert scene.fresh.wanting(daemon_set()) is None
    assert scene.fresh.outdated(daemon_set()) is not None
    scene.judge({**dict.fromkeys(KNOWN, 0.0), KNOWN[2]: scene.now})
    assert scene.fresh.outdated(daemon_set()) is None


@async_test
async def test_a_role_that_came_after_the_judgement_is_wanted_in_it():
    scene = Scene()
    scene.tell_role("new")
    assert scene.fresh.wanting(daemon_set()) is not None


@async_test
async def test_it_waits_for_the_judgement_that_looked_and_then_not_again():
    scene = Scene()
    scene.judge({})
    request = daemon_set()
    around = scene.fresh.wanting(request)
    assert around is not None
    waiting = asyncio.create_task(scene.fresh.wait(request, around))
    await asyncio.sleep(0.01)
    assert scene.asked == [("logging", "agent")]

    scene.judge({})  # one that did not look for it
    scene.fresh.published()
    await asyncio.sleep(0.01)
    assert not waiting.done()

    scene.judge({}, expected=(("logging", "agent"),))  # it looked, and found nothing
    scene.fresh.published()
    await asyncio.wait_for(waiting, 1)
    assert scene.fresh.wanting(request) is None  # by the second webhook
    scene.now += freshness.AGAIN_AFTER
    assert scene.fresh.wanting(request) is not None


@async_test
async def test_a_judgement_that_began_before_it_was_asked_for_does_not_count():
    scene = Scene()
    scene.judge({})
    request = daemon_set()
    around = scene.fresh.wanting(request)
    assert around is not None
    waiting = asyncio.create_task(scene.fresh.wait(request, around))
    await asyncio.sleep(0.01)
    scene.judge({}, expected=(("logging", "agent"),))
    assert scene.judged is not None
    scene.judged = replace(scene.judged, began=scene.now - 1)
    scene.fresh.published()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await waiting  # it ends by itself
    assert scene.fresh.wanting(request) is not None  # the second webhook goes on with it


@async_test
@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"spec": None},
        {"spec": {"template": 3}},
        {"spec": {"template": {"spec": {"serviceAccountName": 3}}}},
        {"spec": {"template": {"spec": []}}},
    ],
)
async def test_an_object_of_odd_shape_never_waits_and_never_raises(odd: dict[str, Any]):
    scene = Scene()
    scene.judge({("namespace", ("", "logging")): scene.now, ("account", ("logging", "default")): scene.now})
    assert scene.fresh.wanting(daemon_set(object=odd)) is None


@async_test
async def test_nothing_waits_before_the_first_judgement_or_for_a_deletion():
    scene = Scene()
    scene.judge({})
    assert scene.fresh.wanting(daemon_set(operation="DELETE", object=None, oldObject={})) is None
    scene.judged = None
    assert scene.fresh.wanting(daemon_set()) is None
    assert not scene.fresh.role_unknown(binding("any"))


@async_test
async def test_a_binding_waits_for_a_role_that_is_not_known_and_for_no_other():
    scene = Scene()
    scene.tell_role("known")
    scene.judge({})
    assert not scene.fresh.role_unknown(binding("known"))
    assert scene.fresh.role_unknown(binding("new"))
    waiting = asyncio.create_task(scene.fresh.wait_for_role())
    await asyncio.sleep(0.01)
    assert scene.hurried == 1
    scene.judge({})
    scene.fresh.published()
    await asyncio.wait_for(waiting, 1)


@async_test
async def test_an_agent_that_was_deleted_with_its_roles_and_comes_again_is_waited_for():
    scene = Scene()
    scene.unbound.add(("logging", "agent"))
    scene.judge(dict.fromkeys(KNOWN, scene.now))
    assert scene.fresh.wanting(daemon_set()) is not None
    assert scene.fresh.wanting(daemon_set(operation="UPDATE", oldObject={})) is None
