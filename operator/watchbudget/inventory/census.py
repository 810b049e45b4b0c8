"""The census of a live cluster: how many objects of each watched resource, of what stored size.

The API server counts them itself and says so on /metrics, at the price of one request however many
there are. Where it does not (no permission, an older server), one page of `PAGE` objects tells the
size of one and, by `remainingItemCount`, the number of all. That page never carries
`resourceVersion=0`: with it the server ignores the limit and sends everything
(`computeListLimit` in k8s.io/apiserver pkg/storage/cacher/delegator.go).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from msgspec import Struct, field

from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.inventory.errors import ClusterError, Forbidden, NotFound
from watchbudget.inventory.fleet import CLUSTER, Problem, ResourceCensus
from watchbudget.inventory.metrics import Gauge, LineFilter, read_gauges
from watchbudget.inventory.protobuf import Page, measure

if TYPE_CHECKING:
    import aiohttp

    from watchbudget.inventory.transport import Answer, Api

__all__ = ["OTHER_STORED_BYTES", "TYPICAL_STORED_BYTES", "Metrics", "count", "read_census", "read_metrics"]

PAGE = 100
"""Objects on the page that a size is estimated from: large enough that the few small system
objects at its beginning do not rule the mean, small enough to cost the server one seat."""

TYPICAL_STORED_BYTES: Mapping[GroupResource, int] = {NAMESPACES: 1090, NETWORK_POLICIES: 430}
"""Stored bytes of an object where the count is known and the size is not: docs/benchmarks.md."""

OTHER_STORED_BYTES = 1000
"""The same for any other resource: a round figure."""

_PROTOBUF = "application/vnd.kubernetes.protobuf"
_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class Metrics(Struct, frozen=True):
    """What /metrics said; empty where it could not be read."""

    gauges: Mapping[GroupResource, Gauge] = field(default_factory=dict)
    read_at: str | None = None

    def of(self, resource: GroupResource) -> Gauge:
        """The figures of one resource."""
        return self.gauges.get(resource, Gauge())


async def read_metrics(api: Api, resources: Collection[GroupResource]) -> Metrics:
    """Read /metrics, keeping only the lines of these resources.

    Missing permission is no error: the figures are empty then, and the fallback says what it lacks.

    Raises:
        ClusterError: other than that the server forbids or does not have /metrics.
    """

    async def read(response: aiohttp.ClientResponse) -> Metrics:
        lines = LineFilter(resources)
        async for chunk in response.content.iter_any():
            lines.feed(chunk)
        lines.feed(b"\n")
        try:
            return Metrics(read_gauges(lines.kept, resources), _date(response.headers))
        except ValueError:  # not metrics after all, such as a proxy's page; the fallback asks the server
            return Metrics()

    try:
        return await api.send("GET", "/metrics", read, accept="text/plain")
    except (Forbidden, NotFound):
        return Metrics()


async def read_census(
    api: Api,
    resources: Sequence[GroupResource],
    metrics: Metrics,
    problems: list[Problem],
    *,
    pages: bool = True,
) -> tuple[ResourceCensus, ...]:
    """The census of each resource, from the metrics or else from one page.

    Args:
        api: the server.
        resources: what to count.
        metrics: from `read_metrics`.
        problems: gets an error for each resource that cannot be counted, which has no entry then.
        pages: False for who never lists them, not even a page: what the metrics do not tell is not counted.
    """
    entries = []
    read = _read_one if pages else _read_metrics_only
    for resource in resources:
        try:
            entries.append(await read(api, resource, metrics, problems))
        except Forbidden as error:
            problems.append(_not_permitted(resource, metrics.of(resource), error))
            entries.extend(_assumed(resource, metrics))
        except ClusterError as error:
            problems.append(Problem(CLUSTER, f"the {resource} could not be counted: {error}"))
    return tuple(entries)


async def count(api: Api, resource: GroupResource, metrics: Metrics) -> int:
    """How many objects there are, by the metrics or by `limit=1` of the metadata alone.

    Raises:
        ClusterError: neither can be read.
    """
    known = metrics.of(resource).objects
    if known is not None:
        return known
    path = await _path(api, resource)
    page = _json_page(api, path, await api.fetch(path, [("limit", "1")], accept=_METADATA))
    return page.items + (page.remaining or 0)


async def _read_one(
    api: Api, resource: GroupResource, metrics: Metrics, problems: list[Problem]
) -> ResourceCensus:
    known = metrics.of(resource)
    if known.objects is not None and known.stored_bytes is not None:
        return ResourceCensus(resource, known.objects, known.stored_bytes, "metrics", read_at=metrics.read_at)
    try:
        path = await _path(api, resource)
        # Custom resources know no protobuf and are answered, as they are stored, in JSON.
        answer = await api.fetch(path, [("limit", str(PAGE))], accept=f"{_PROTOBUF}, application/json")
    except NotFound:
        problems.append(
            Problem(CLUSTER, f"{api.server} serves no {resource}: counted as none", severity="warning")
        )
        return ResourceCensus(resource, 0, 0, "page", served=False)
    page = _protobuf_page(answer) if answer.content_type == _PROTOBUF else _json_page(api, path, answer)
    objects = page.items if page.last else _total(page, known)
    if objects is None:
        message = f"{api.server} does not count its {resource}; give --objects {resource}=N:BYTES"
        raise ClusterError(message)
    stored = round(page.stored_bytes * objects / page.items) if page.items else 0
    return ResourceCensus(resource, objects, stored, "page", read_at=_date(answer.headers))


async def _read_metrics_only(
    api: Api, resource: GroupResource, metrics: Metrics, problems: list[Problem]
) -> ResourceCensus:
    known = metrics.of(resource)
    if known.objects is not None and known.stored_bytes is not None:
        return ResourceCensus(resource, known.objects, known.stored_bytes, "metrics", read_at=metrics.read_at)
    if known.objects is not None:
        return _assumed(resource, metrics)[0]
    # A server that has just started has not counted yet; what nobody serves it never counts.
    if not await _served(api, resource):
        message = f"{api.server} serves no {resource}: counted as none"
        problems.append(Problem(CLUSTER, message, severity="warning"))
        return ResourceCensus(resource, 0, 0, "metrics", read_at=metrics.read_at, served=False)
    raise ClusterError(f"{api.server} does not tell in its metrics how many there are")


async def _served(api: Api, resource: GroupResource) -> bool:
    try:
        path = (await _path(api, resource)).rpartition("/")[0]
        listed = (await api.get(path)).get("resources")
    except NotFound:
        return False
    found = listed if isinstance(listed, list) else ()
    return resource.resource in {each.get("name") for each in found if isinstance(each, dict)}


def _total(page: Page, known: Gauge) -> int | None:
    if page.remaining is not None:
        return page.items + page.remaining
    return known.objects


async def _path(api: Api, resource: GroupResource) -> str:
    if not resource.group:
        return f"/api/v1/{resource.resource}"
    group = await api.get(f"/apis/{resource.group}")
    preferred = group.get("preferredVersion")
    version = preferred.get("version") if isinstance(preferred, dict) else None
    return f"/apis/{resource.group}/{version or 'v1'}/{resource.resource}"


def _protobuf_page(answer: Answer) -> Page:
    try:
        return measure(answer.body)
    except ValueError as error:
        raise ClusterError(f"a list could not be measured: {error}") from error


def _json_page(api: Api, path: str, answer: Answer) -> Page:
    page = api.decode(path, answer.body)
    items, metadata = page.get("items") or [], page.get("metadata") or {}
    if not isinstance(items, list) or not isinstance(metadata, dict):
        raise ClusterError(f"{api.server}: {path} is no list")
    remaining = metadata.get("remainingItemCount")
    return Page(
        len(items),
        len(answer.body),
        remaining if isinstance(remaining, int) else None,
        not metadata.get("continue"),
    )


def _not_permitted(resource: GroupResource, known: Gauge, error: Forbidden) -> Problem:
    if known.objects is not None:
        return Problem(
            CLUSTER,
            f"the {resource} were counted, but their size had to be assumed: {error}; or give "
            f"--objects {resource}={known.objects}:BYTES",
            severity="warning",
        )
    return Problem(
        CLUSTER,
        f"the {resource} could not be counted: neither `get /metrics` nor `{error.permission}` is allowed. "
        f"Allow the first (kubectl create clusterrole NAME --verb=get --non-resource-url=/metrics, and bind "
        f"it), or give --objects {resource}=N:BYTES",
    )


def _assumed(resource: GroupResource, metrics: Metrics) -> tuple[ResourceCensus, ...]:
    objects = metrics.of(resource).objects
    if objects is None:
        return ()
    size = TYPICAL_STORED_BYTES.get(resource, OTHER_STORED_BYTES)
    return (
        ResourceCensus(
            resource, objects, objects * size, "metrics", bytes_assumed=True, read_at=metrics.read_at
        ),
    )


def _date(headers: Mapping[str, str]) -> str | None:
    """The server's own time, RFC 3339."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
