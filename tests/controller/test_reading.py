"""What is read around DaemonSets: by name, again when it is old, and kept where it cannot be read again."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fake_apiserver import FakeApiServer, async_test, fake_api, json_answer, status_answer
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES
from watchbudget.controller.reading import EXPECTED_SECONDS, MOST_EXPECTED, RETRY, Around, Reader, relist
from watchbudget.controller.store import Kind, Store
from watchbudget.inventory.errors import ClusterError

REFRESH = 300.0
Raw = dict[str, Any]


def metrics(namespaces: int | None = 100, policies: int | None = 50, nodes: int | None = 3) -> str:
    lines = []
    for group, resource, count in (
        ("", "namespaces", namespaces),
        ("networking.k8s.io", "networkpolicies", policies),
        ("", "nodes", nodes),
    ):
        if count is not None:
            labels = f'{{group="{group}",resource="{resource}"}}'
            lines.append(f"apiserver_resource_objects{labels} {count}")
            lines.append(f"apiserver_resource_size_estimate_bytes{labels} {count * 1000}")
    return "\n".join(lines)


def daemon_set(name: str = "agent", namespace: str = "logging", config: str | None = "conf") -> Raw:
    volumes = [{"name": "c", "configMap": {"name": config}}] if config else []
    template = {"spec": {"serviceAccountName": name, "containers": [{"name": "a"}], "volumes": volumes}}
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "1"},
        "spec": {"selector": {}, "template": template},
    }


class Server:
    """Objects and lists by path; `broken` gives a status for a path, None to answer it."""

    def __init__(self) -> None:
        self.metrics = metrics()
        self.objects: dict[str, Raw] = {}
        self.broken: Callable[[str], int | None] = lambda _: None
        self.asked: list[str] = []

    def add_namespace(self, name: str, **labels: str) -> None:
        self.objects[f"/api/v1/namespaces/{name}"] = {"metadata": {"name": name, "labels": labels}}

    def add(self, path: str, raw: Raw) -> None:
        namespace, _, name = path.removeprefix("/api/v1/namespaces/").split("/")
        self.objects[path] = {"metadata": {"name": name, "namespace": namespace}, **raw}

    def __call__(self, request: web.BaseRequest) -> web.Response:
        path = request.path
        self.asked.append(path)
        if (status := self.broken(path)) is not None:
            return status_answer(status)
        if path == "/metrics":
            return web.Response(text=self.metrics, headers={"Date": "Tue, 24 Nov 2026 10:20:30 GMT"})
        if path == "/version":
            return json_answer({"major": "1", "minor": "36"})
        if path == "/apis/networking.k8s.io":
            return json_answer({"preferredVersion": {"version": "v1"}})
        if path == "/apis/networking.k8s.io/v1":
            return json_answer({"resources": [{"name": "networkpolicies"}]})
        if path in self.objects:
            return json_answer(self.objects[path])
        if path.rpartition("/")[2] in {"roles", "rolebindings", "limitranges", "deployments"}:
            items = self.objects.get(f"list {path}", {"items": []})["items"]
            return json_answer({"metadata": {"resourceVersion": "9"}, "items": items})
        return status_answer(404)


class Rig:
    """A reader with a clock by hand, a store and a server."""

    def __init__(self, fake: FakeApiServer, server: Server) -> None:
        self.fake, self.server = fake, server
        self.time = 0.0
        self.store = Store(lambda: None, clock=lambda: self.time)
        self.reader = Reader(refresh=REFRESH, clock=lambda: self.time)

    def put(self, *raws: Raw) -> None:
        for raw in raws:
            self.store.tell(Kind.DAEMON_SET, raw)

    async def complete(self) -> list[str]:
        """Complete, and what was asked for it."""
        self.server.asked.clear()
        self.fake.api._gone = None  # as a connection of its own
        await self.reader.complete(self.fake.api, self.store.view())
        return list(dict.fromkeys(self.server.asked))

    async def count(self) -> None:
        self.fake.api._gone = None
        await self.reader.read_census(self.fake.api, self.store.view())

    @property
    def fleet(self) -> Any:  # noqa: ANN401
        return self.reader.fleet(self.store.view())


@asynccontextmanager
async def rigged(tmp_path: Path) -> AsyncIterator[Rig]:
    server = Server()
    server.add_namespace("logging", team="a")
    server.add("/api/v1/namespaces/logging/serviceaccounts/agent", {})
    server.add("/api/v1/namespaces/logging/configmaps/conf", {"data": {"k": "v"}})
    async with fake_api(tmp_path, server) as fake:
        yield Rig(fake, server)


@async_test
async def test_everything_is_asked_by_name_once_and_again_when_it_is_old(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        rig.put(daemon_set(), daemon_set("other", config=None))
        asked = await rig.complete()
        assert sorted(asked) == [
            "/api/v1/namespaces/logging",
            "/api/v1/namespaces/logging/configmaps/conf",
            "/api/v1/namespaces/logging/limitranges",
            "/api/v1/namespaces/logging/serviceaccounts/agent",
            "/api/v1/namespaces/logging/serviceaccounts/other",
            "/apis/apps/v1/namespaces/logging/deployments",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/logging/rolebindings",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/logging/roles",
        ]
        fleet = rig.fleet
        assert fleet.namespace_labels["logging"]["team"] == "a"
        assert [each.name for each in fleet.config_maps] == ["conf"]
        assert [each.name for each in fleet.service_accounts] == ["agent"]  # the other does not exist
        assert fleet.complete_rbac
        assert await rig.complete() == []
        rig.time = REFRESH + 1
        assert len(await rig.complete()) == len(asked)
        rig.time += 1
        rig.put(daemon_set("third", "else", config=None))
        assert all("/else" in path for path in await rig.complete())


@async_test
async def test_what_nobody_needs_any_more_is_forgotten(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        rig.put(daemon_set())
        await rig.complete()
        assert len(rig.reader.known()) == 3
        rig.store.tell(Kind.DAEMON_SET, daemon_set() | {}, deleted=True)
        await rig.complete()
        assert len(rig.reader.known()) == 3  # it may come again
        rig.time += REFRESH + 1
        await rig.complete()
        assert rig.reader.known() == {}
        assert rig.fleet.namespace_labels == {}


@pytest.mark.parametrize("status", [500, 429, 403])
def test_what_cannot_be_read_again_stays_as_it_was(status: int, tmp_path: Path):
    @async_test
    async def run():
        async with rigged(tmp_path) as rig:
            role = {"metadata": {"name": "r", "namespace": "logging"}, "rules": []}
            path = "/apis/rbac.authorization.k8s.io/v1/namespaces/logging/roles"
            rig.server.objects[f"list {path}"] = {"items": [role]}
            rig.put(daemon_set())
            await rig.complete()
            before = rig.fleet
            assert [each.name for each in before.rbac.roles] == ["r"]
            rig.time = REFRESH + 1
            rig.server.broken = lambda _: status
            await rig.complete()
            assert rig.fleet == before
            rig.server.broken = lambda path: None if "roles" in path else status  # a part only
            rig.time += REFRESH
            await rig.complete()
            assert rig.fleet == before

    run()


@async_test
async def test_a_connection_that_breaks_changes_nothing_that_is_known(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        rig.put(daemon_set())
        await rig.complete()
        before = rig.fleet
        rig.time = REFRESH + 1

        def cut(_: str) -> int:
            raise ConnectionResetError

        rig.server.broken = cut
        await rig.complete()
        assert rig.fleet == before


@async_test
async def test_what_failed_is_tried_again_soon_and_what_is_forbidden_is_not(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        rig.put(daemon_set())
        rig.server.broken = lambda path: 403 if "limitranges" in path else 500
        await rig.complete()
        assert rig.reader.known() == {}
        assert not rig.fleet.complete_rbac
        rig.server.broken = lambda path: 403 if "limitranges" in path else None
        rig.time = RETRY - 1
        assert await rig.complete() == []
        rig.time = RETRY + 1
        assert "/api/v1/namespaces/logging/limitranges" in await rig.complete()
        assert len(rig.reader.known()) == 3
        assert rig.fleet.complete_rbac
        rig.time += RETRY + 1
        assert await rig.complete() == []  # what is left is forbidden


@async_test
async def test_a_gap_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with rigged(tmp_path) as rig:
        rig.put(daemon_set())
        rig.server.broken = lambda path: 403 if "limitranges" in path else None
        for _ in range(3):
            await rig.complete()
            rig.time += REFRESH + 1
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1
    assert "default memory limits (LimitRanges) are unknown" in caplog.text


@async_test
async def test_parts_that_did_not_change_are_the_same_objects(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        rig.put(daemon_set())
        await rig.complete()
        before = rig.fleet
        rig.time = REFRESH + 1
        await rig.complete()
        after = rig.fleet
        assert after.rbac is before.rbac
        assert after.config_maps is before.config_maps
        rig.server.add("/api/v1/namespaces/logging/configmaps/conf", {"data": {"k": "other"}})
        rig.time += REFRESH + 1
        await rig.complete()
        assert rig.fleet.config_maps != before.config_maps


@async_test
async def test_what_a_new_daemon_set_rests_on_is_read_before_it_is_there(tmp_path: Path):
    around = Around("logging", ("logging", "agent"), {("logging", "conf"): False})
    key = ("logging", "agent")
    async with rigged(tmp_path) as rig:
        del rig.server.objects["/api/v1/namespaces/logging/configmaps/conf"]
        rig.reader.expect(key, around)
        await rig.complete()
        assert not set(around.things()) <= rig.reader.known().keys()
        rig.server.add("/api/v1/namespaces/logging/configmaps/conf", {"data": {}})
        rig.reader.expect(key, around)  # it comes again, corrected
        assert rig.reader.expected() == {key}
        await rig.complete()
        assert set(around.things()) <= rig.reader.known().keys()
        rig.put(daemon_set())
        await rig.complete()
        assert rig.reader.expected() == frozenset()
        assert set(around.things()) <= rig.reader.known().keys()


@async_test
async def test_what_was_announced_and_never_came_is_forgotten(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        for number in range(MOST_EXPECTED + 5):
            rig.reader.expect(("logging", f"a{number}"), Around("logging", ("logging", "agent"), {}))
        assert len(rig.reader.expected()) == MOST_EXPECTED
        rig.time = EXPECTED_SECONDS + 1
        await rig.complete()
        assert (rig.reader.expected(), rig.reader.known()) == (frozenset(), {})


@async_test
async def test_names_that_there_cannot_be_are_not_asked_for(tmp_path: Path):
    """They would be the path of something else: of all namespaces, of a whole namespace."""
    async with rigged(tmp_path) as rig:
        for odd in ("", "..", "a/../b", "%2e%2e", "x?watch=1"):
            rig.reader.expect((odd, odd), Around(odd, (odd, odd), {(odd, odd): False}))
            rig.reader.expect(
                ("logging", odd), Around("logging", ("logging", odd), {("logging", odd): False})
            )
        assert {path for path in await rig.complete() if "/namespaces/logging" not in path} == set()
        assert not [path for path in rig.server.asked if "configmaps" in path or "serviceaccounts" in path]


@async_test
async def test_the_census_is_that_of_the_metrics_and_nothing_is_listed(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        assert rig.reader.census_age is None
        await rig.count()
        counts = {entry.resource: (entry.objects, entry.stored_bytes) for entry in rig.fleet.census.resources}
        assert counts == {NAMESPACES: (100, 100_000), NETWORK_POLICIES: (50, 50_000)}
        assert rig.fleet.nodes == 3
        assert rig.server.asked == ["/version", "/metrics"]
        rig.time = 7.0
        assert rig.reader.census_age == 7.0


@async_test
async def test_a_server_that_has_not_counted_yet_leaves_the_census_as_old_as_it_is(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        rig.server.metrics = ""
        with pytest.raises(ClusterError, match="how many nodes"):
            await rig.count()
        rig.server.metrics = metrics()
        await rig.count()
        before = rig.reader.census
        rig.time = 60.0
        for partly in (metrics(nodes=None), metrics(policies=None), "# nothing"):
            rig.server.metrics = partly
            try:
                await rig.count()
            except ClusterError:
                assert partly != metrics(policies=None)
            assert rig.reader.census == before
            assert rig.reader.census_age == 60.0
        assert not [path for path in rig.server.asked if path.endswith(("/networkpolicies", "/namespaces"))]


@async_test
async def test_a_resource_that_nobody_serves_is_counted_as_none(tmp_path: Path):
    spec = {"resources": [{"group": "gone.io", "resource": "things"}]}
    raw = {"metadata": {"name": "b", "uid": "u", "resourceVersion": "1", "generation": 1}, "spec": spec}
    async with rigged(tmp_path) as rig:
        await rig.count()
        rig.store.tell(Kind.BUDGET, raw)
        assert rig.reader.lacks_census(rig.store.view())
        await rig.count()
        assert not rig.reader.lacks_census(rig.store.view())
        assert {str(entry.resource): entry.objects for entry in rig.reader.census.resources} == {
            "namespaces": 100,
            "networkpolicies.networking.k8s.io": 50,
            "things.gone.io": 0,
        }


@async_test
async def test_counts_that_barely_move_are_no_news(tmp_path: Path):
    async with rigged(tmp_path) as rig:
        rig.server.metrics = metrics(namespaces=10_000)
        await rig.count()
        before = rig.reader.census
        rig.server.metrics = metrics(namespaces=10_049)
        await rig.count()
        assert rig.reader.census is before
        rig.server.metrics = metrics(namespaces=10_051)
        await rig.count()
        assert rig.reader.census.resources[0].objects == 10_051


@async_test
async def test_a_full_list_without_our_type_and_one_that_breaks_off(tmp_path: Path):
    server = Server()
    for kind in Kind:
        server.objects[kind.path] = {"metadata": {"resourceVersion": "9"}, "items": []}
    roles = server.objects[Kind.CLUSTER_ROLE.path]["items"]
    roles.append({"metadata": {"name": "r", "resourceVersion": "3", "uid": "u"}, "rules": []})
    async with fake_api(tmp_path, server) as fake:
        store = Store(lambda: None)
        assert await relist(fake.api, store)
        assert [role.name for role in store.view().rbac.roles] == ["r"]
        budgets = server.objects.pop(Kind.BUDGET.path)
        roles.clear()
        assert not await relist(fake.api, store)
        assert store.view().rbac.roles == ()
        server.objects[Kind.BUDGET.path] = budgets
        server.broken = lambda path: 403 if path == Kind.CLUSTER_ROLE_BINDING.path else None
        roles.append({"metadata": {"name": "r", "resourceVersion": "9", "uid": "u"}, "rules": []})
        with pytest.raises(ClusterError, match="clusterrolebindings"):
            await relist(fake.api, store)
        assert [role.name for role in store.view().rbac.roles] == ["r"]
