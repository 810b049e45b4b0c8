"""A fleet read from a server that is old, odd, paged or taken away half-way."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from fake_apiserver import async_test, fake_api, json_answer, status_answer
from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.inventory.cluster import read_fleet
from watchbudget.inventory.errors import ClusterError, Forbidden, Unauthorized, Unreachable
from watchbudget.inventory.fleet import Fleet, Problem
from watchbudget.inventory.transport import Api

METRICS = """\
apiserver_resource_objects{group="",resource="namespaces"} 300
apiserver_resource_objects{group="",resource="nodes"} 12
apiserver_resource_size_estimate_bytes{group="",resource="namespaces"} 240000
apiserver_resource_objects{group="networking.k8s.io",resource="networkpolicies"} 600
apiserver_resource_size_estimate_bytes{group="networking.k8s.io",resource="networkpolicies"} 300000
"""
DAEMON_SETS = "/apis/apps/v1/daemonsets"


def agent(name: str, **changes: object) -> dict[str, object]:
    pod = {"containers": [{"name": "c", "image": "i"}]}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"template": {"spec": pod}}} | changes


class Server:
    """A small cluster; `override` maps a path to an answer, or to a function that makes one."""

    def __init__(self, **override: object) -> None:
        self.override = override
        self.version: object = {"major": "1", "minor": "36"}
        self.budgets: list[object] = []
        self.pages: list[list[object]] = [[agent("a")]]
        self.seen = 0
        self.ends_after: int | None = None
        self.ends_with = 401

    def __call__(self, request: web.BaseRequest) -> web.Response:
        self.seen += 1
        if self.ends_after is not None and self.seen > self.ends_after:
            return status_answer(self.ends_with, "the end")
        if request.path == DAEMON_SETS:
            number = int(request.query.get("continue", 0))
            metadata = {"continue": str(number + 1)} if number + 1 < len(self.pages) else {}
            return json_answer({"metadata": metadata, "items": self.pages[number]})
        fixed = {
            "/version": self.version,
            "/apis/watchbudget.io/v1alpha1/watchbudgets": {"metadata": {}, "items": self.budgets},
            "/api/v1/namespaces/ns": {"metadata": {"name": "ns", "labels": {"a": "b"}}},
        }
        if request.path in fixed:
            return json_answer(fixed[request.path])
        if request.path == "/metrics":
            return web.Response(text=METRICS)
        if request.path.endswith("subjectaccessreviews"):
            return json_answer({"status": {"allowed": False}}, 201)
        if "/serviceaccounts/" in request.path or "/configmaps/" in request.path:
            return status_answer(404)
        return json_answer({"metadata": {}, "items": []})


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ({"major": "1", "minor": "36"}, (1, 36)),
        ({"major": "1", "minor": "33+"}, (1, 33)),  # EKS and GKE
        ({"major": "1", "minor": "30"}, (1, 30)),
    ],
)
@async_test
async def test_the_version_of_the_server(tmp_path: Path, answer: object, version: tuple[int, int]):
    server = Server()
    server.version = answer
    async with fake_api(tmp_path, server) as fake:
        fleet = await read_fleet(fake.api)
    assert fleet.census.server_version == version
    assert fleet.problems == ()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"major": "1", "minor": "28"}, "runs Kubernetes 1.28, older than 1.30"),
        ({"major": "", "minor": ""}, "gives no Kubernetes version"),
        ({}, "gives no Kubernetes version"),
        ({"major": 1, "minor": None}, "gives no Kubernetes version"),
    ],
)
@async_test
async def test_an_old_or_odd_server_is_audited_with_a_warning(tmp_path: Path, answer: object, said: str):
    server = Server()
    server.version = answer
    async with fake_api(tmp_path, server) as fake:
        fleet = await read_fleet(fake.api)
    assert [problem.severity for problem in fleet.problems] == ["warning"]
    assert said in fleet.problems[0].message
    assert len(fleet.daemon_sets) == 1


@async_test
async def test_daemon_sets_come_in_pages_and_are_sorted(tmp_path: Path):
    server = Server()
    server.pages = [[agent("c"), agent("b")], [agent("a")]]
    async with fake_api(tmp_path, server) as fake:
        fleet = await read_fleet(fake.api)
    assert [item.name for item in fleet.daemon_sets] == ["a", "b", "c"]
    assert (fleet.nodes, fleet.nodes_source) == (12, "cluster")
    assert fleet.namespace_labels["ns"]["a"] == "b"


@async_test
async def test_a_malformed_daemon_set_is_told_and_the_others_are_read(tmp_path: Path):
    server = Server()
    server.pages = [[agent("a"), agent("b", metadata={"name": 5}), agent("c", spec="none")]]
    async with fake_api(tmp_path, server) as fake:
        fleet = await read_fleet(fake.api)
    assert "a" in {item.name for item in fleet.daemon_sets}
    assert {problem.severity for problem in fleet.problems} == {"error"}
    assert {"metadata.name", "spec"} <= {problem.field for problem in fleet.problems}


@async_test
async def test_without_any_daemon_set_there_is_nothing_but_the_reason(tmp_path: Path):
    def handler(request: web.BaseRequest) -> web.Response:
        return status_answer(403, "no") if request.path == DAEMON_SETS else Server()(request)

    async with fake_api(tmp_path, handler) as fake:
        with pytest.raises(Forbidden, match=r"list daemonsets\.apps"):
            await read_fleet(fake.api)


async def attempt(api: Api) -> tuple[Fleet | None, ClusterError | None]:
    try:
        return await read_fleet(api), None
    except ClusterError as error:
        return None, error


@pytest.mark.parametrize("code", [401, 500, 404])
@async_test
async def test_a_server_that_refuses_half_way_leaves_what_was_read(tmp_path: Path, code: int):
    """Whatever request is the first to be refused."""
    whole = Server()
    async with fake_api(tmp_path, whole) as fake:
        complete = await read_fleet(fake.api)
    raised = 0
    for number in range(whole.seen):
        server = Server()
        server.ends_after, server.ends_with = number, code
        async with fake_api(tmp_path, server) as fake:
            fleet, error = await attempt(fake.api)
        if fleet is None:
            assert fake.url in str(error)
            raised += 1
            continue
        assert fleet.daemon_sets == complete.daemon_sets
        if code != 404:  # which is the ordinary answer for accounts, ConfigMaps and budgets
            assert "error" in {problem.severity for problem in fleet.problems}
        if code == 401:
            assert any("does not accept the credentials" in str(problem) for problem in fleet.problems)
        assert len(set(fleet.problems)) == len(fleet.problems)
    assert raised == 2  # /version and the DaemonSets


@async_test
async def test_a_list_of_daemon_sets_that_breaks_off_is_used_and_told(tmp_path: Path):
    server = Server()
    server.pages = [[agent("a")], [agent("b")]]

    def handler(request: web.BaseRequest) -> web.Response:
        return status_answer(500, "etcd") if request.query.get("continue") else server(request)

    async with fake_api(tmp_path, handler) as fake:
        fleet = await read_fleet(fake.api)
    assert [item.name for item in fleet.daemon_sets] == ["a"]
    assert [problem.severity for problem in fleet.problems] == ["error"]
    assert "only 1 DaemonSets were read" in fleet.problems[0].message


@async_test
async def test_what_the_clusters_budgets_watch_is_counted_and_asked_for_too(tmp_path: Path):
    services = GroupResource("", "services")
    server = Server()
    server.budgets = [
        {"metadata": {"name": "b"}, "spec": {"resources": [{"group": "", "resource": "services"}, "x", {}]}},
        {"metadata": {"name": "odd"}, "spec": {"resources": 5}},
        {"metadata": {"name": "bare"}},
    ]
    async with fake_api(tmp_path, server) as fake:
        fleet = await read_fleet(fake.api)
    assert len(fleet.budget_documents) == 3
    assert [entry.resource for entry in fleet.census.resources] == [*DEFAULT_WATCHED, services]
    assert ("ns", "default", services, "watch") in fleet.access.allowed


@async_test
async def test_no_server_is_an_error_not_a_fleet(tmp_path: Path):
    async with fake_api(tmp_path, Server()) as fake:
        pass
    async with fake_api(tmp_path, Server()) as other:
        other.api.server = fake.url
        other.api._client.configuration.host = fake.url  # nobody listens there any more
        with pytest.raises(Unreachable):
            await read_fleet(other.api)


@async_test
async def test_an_expired_login_is_an_error_not_a_fleet(tmp_path: Path):
    async with fake_api(tmp_path, lambda request: status_answer(401)) as fake:
        with pytest.raises(Unauthorized):
            await read_fleet(fake.api)


@async_test
async def test_a_forbidden_version_is_a_warning(tmp_path: Path):
    def handler(request: web.BaseRequest) -> web.Response:
        return status_answer(403) if request.path == "/version" else Server()(request)

    async with fake_api(tmp_path, handler) as fake:
        fleet = await read_fleet(fake.api)
    assert fleet.census.server_version is None
    problem: Problem = fleet.problems[0]
    assert (problem.severity, "`get /version`" in problem.message) == ("warning", True)


@async_test
async def test_what_the_caller_knows_is_not_counted_and_needs_no_permission(tmp_path: Path):
    def handler(request: web.BaseRequest) -> web.Response:
        forbidden = request.path in {"/metrics", "/api/v1/namespaces"}
        return status_answer(403) if forbidden else Server()(request)

    async with fake_api(tmp_path, handler) as fake:
        fleet = await read_fleet(fake.api, known=[NAMESPACES])
    assert fleet.problems == ()
    assert [entry.resource for entry in fleet.census.resources] == [NETWORK_POLICIES]
    assert ("ns", "default", NAMESPACES, "list") in fleet.access.allowed
