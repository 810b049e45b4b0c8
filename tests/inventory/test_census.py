"""The census by metrics, by a page, and by neither."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from fake_apiserver import FakeApiServer, async_test, fake_api, json_answer, status_answer
from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.inventory.census import TYPICAL_STORED_BYTES, count, read_census, read_metrics
from watchbudget.inventory.fleet import Problem, ResourceCensus

NODES = GroupResource("", "nodes")
DATE = "Tue, 24 Nov 2026 10:20:30 GMT"
READ_AT = "2026-11-24T10:20:30Z"

METRICS = """\
apiserver_resource_objects{group="",resource="namespaces"} 300
apiserver_resource_objects{group="",resource="nodes"} 12
apiserver_resource_size_estimate_bytes{group="",resource="namespaces"} 240000
apiserver_resource_objects{group="networking.k8s.io",resource="networkpolicies"} 600
apiserver_resource_size_estimate_bytes{group="networking.k8s.io",resource="networkpolicies"} 300000
"""
OLD_METRICS = """\
apiserver_storage_objects{resource="namespaces"} 300
apiserver_storage_objects{resource="networkpolicies.networking.k8s.io"} 600
"""


class Server:
    """An API server with as many permissions as a test gives it; custom resources answer in JSON."""

    def __init__(
        self, *, metrics: str | None, lists: bool = True, total: int = 300, remaining: bool = True
    ) -> None:
        self.metrics, self.lists, self.total, self.remaining = metrics, lists, total, remaining

    def __call__(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/metrics":
            if self.metrics is None:
                return status_answer(403, "no metrics for you")
            return web.Response(text=self.metrics, headers={"Date": DATE})
        if request.path == "/apis/networking.k8s.io":
            return json_answer({"preferredVersion": {"version": "v1"}})
        if request.path == "/apis/networking.k8s.io/v1":
            return json_answer({"resources": [{"name": "networkpolicies"}, {"name": "x"}]})
        if request.path.startswith("/apis/gone.io"):
            return status_answer(404)
        if not self.lists:
            return status_answer(403, "no lists for you")
        assert request.query.get("resourceVersion") is None
        shown = min(int(request.query["limit"]), self.total)
        metadata: dict[str, object] = {}
        if shown < self.total:
            metadata = {"continue": "more"} | (
                {"remainingItemCount": self.total - shown} if self.remaining else {}
            )
        page = {"metadata": metadata, "items": [{"pad": "x" * 90}] * shown}
        return json_answer(page, Date=DATE)


async def census(
    fake: FakeApiServer, *resources: GroupResource
) -> tuple[tuple[ResourceCensus, ...], list[Problem]]:
    wanted = resources or DEFAULT_WATCHED
    problems: list[Problem] = []
    metrics = await read_metrics(fake.api, [*wanted, NODES])
    return await read_census(fake.api, wanted, metrics, problems), problems


@async_test
async def test_metrics_tell_everything_with_one_request(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=METRICS, lists=False)) as fake:
        entries, problems = await census(fake)
        assert entries == (
            ResourceCensus(NAMESPACES, 300, 240000, "metrics", read_at=READ_AT),
            ResourceCensus(NETWORK_POLICIES, 600, 300000, "metrics", read_at=READ_AT),
        )
        assert problems == []
        assert fake.requests == ["GET /metrics"]


@async_test
async def test_an_older_server_is_asked_for_one_page_of_each(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=OLD_METRICS)) as fake:
        entries, problems = await census(fake)
        assert [(entry.objects, entry.source) for entry in entries] == [(300, "page"), (300, "page")]
        assert entries[0].read_at == READ_AT
        assert 100 * 300 <= entries[0].stored_bytes <= 110 * 300
        assert problems == []
        assert fake.requests == [
            "GET /metrics",
            "GET /api/v1/namespaces?limit=100",
            "GET /apis/networking.k8s.io",
            "GET /apis/networking.k8s.io/v1/networkpolicies?limit=100",
        ]


@async_test
async def test_no_metrics_means_one_page(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=None, total=7)) as fake:
        entries, problems = await census(fake, NAMESPACES)
        assert (entries[0].objects, entries[0].source) == (7, "page")
        assert problems == []


@async_test
async def test_a_page_without_remaining_count_needs_the_metrics(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=OLD_METRICS, remaining=False)) as fake:
        entries, problems = await census(fake, NAMESPACES)
        assert entries[0].objects == 300
    async with fake_api(tmp_path, Server(metrics=None, remaining=False)) as fake:
        entries, problems = await census(fake, NAMESPACES)
        assert entries == ()
        assert "does not count its namespaces" in problems[0].message
        assert "--objects namespaces=N:BYTES" in problems[0].message


@async_test
async def test_neither_permission_is_an_error_that_names_both(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=None, lists=False)) as fake:
        entries, problems = await census(fake)
        assert entries == ()
        assert [problem.severity for problem in problems] == ["error", "error"]
        for problem, resource in zip(problems, DEFAULT_WATCHED, strict=True):
            assert "`get /metrics`" in problem.message
            assert f"`list {resource}`" in problem.message
            assert f"--objects {resource}=N:BYTES" in problem.message


@async_test
async def test_a_count_without_a_size_is_flagged(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=OLD_METRICS, lists=False)) as fake:
        entries, problems = await census(fake, NAMESPACES)
        size = 300 * TYPICAL_STORED_BYTES[NAMESPACES]
        assert entries == (
            ResourceCensus(NAMESPACES, 300, size, "metrics", bytes_assumed=True, read_at=READ_AT),
        )
        assert problems[0].severity == "warning"
        assert "size had to be assumed" in problems[0].message


@async_test
async def test_a_resource_that_is_not_served_is_none_and_said(tmp_path: Path):
    gone = GroupResource("gone.io", "things")
    async with fake_api(tmp_path, Server(metrics=METRICS)) as fake:
        entries, problems = await census(fake, NAMESPACES, gone)
        assert entries[1] == ResourceCensus(gone, 0, 0, "page", served=False)
        assert (problems[0].severity, "serves no things.gone.io" in problems[0].message) == ("warning", True)


@async_test
async def test_an_empty_resource_has_no_bytes(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=None, total=0)) as fake:
        entries, _ = await census(fake, NAMESPACES)
        assert (entries[0].objects, entries[0].stored_bytes) == (0, 0)


@async_test
async def test_broken_metrics_and_broken_pages_are_no_crash(tmp_path: Path):
    def handler(request: web.BaseRequest) -> web.Response:
        if request.path == "/metrics":
            return web.Response(text='apiserver_storage_objects{resource="namespaces"} many\n')
        return web.Response(body=b"k8s\x00\xff", content_type="application/vnd.kubernetes.protobuf")

    async with fake_api(tmp_path, handler) as fake:
        entries, problems = await census(fake, NAMESPACES)
        assert entries == ()
        assert "could not be measured" in problems[0].message


@async_test
async def test_nodes_come_with_the_metrics_or_from_one_object(tmp_path: Path):
    async with fake_api(tmp_path, Server(metrics=METRICS)) as fake:
        assert await count(fake.api, NODES, await read_metrics(fake.api, [NODES])) == 12
        assert fake.requests == ["GET /metrics"]
    async with fake_api(tmp_path, Server(metrics=None, total=40)) as fake:
        assert await count(fake.api, NODES, await read_metrics(fake.api, [NODES])) == 40
        assert fake.requests[-1] == "GET /api/v1/nodes?limit=1"


@async_test
async def test_who_never_lists_has_the_metrics_alone(tmp_path: Path):
    server = Server(metrics=OLD_METRICS)
    async with fake_api(tmp_path, server) as fake:
        problems: list[Problem] = []
        known = await read_metrics(fake.api, DEFAULT_WATCHED)
        wanted = (
            *DEFAULT_WATCHED,
            GroupResource("gone.io", "things"),
            GroupResource("networking.k8s.io", "x"),
        )
        entries = await read_census(fake.api, wanted, known, problems, pages=False)
        size = TYPICAL_STORED_BYTES[NAMESPACES]
        assert (entries[0].objects, entries[0].stored_bytes, entries[0].bytes_assumed) == (
            300,
            300 * size,
            True,
        )
        assert (entries[2].objects, entries[2].source) == (0, "metrics")
        assert [entry.served for entry in entries] == [True, True, False]
        assert len(entries) == 3
        assert not [each for each in fake.requests if "limit=" in each]
    assert [each.severity for each in problems] == ["warning", "error"]
    assert "does not tell in its metrics" in problems[1].message
