"""How many objects an API server stores, and how large, as its /metrics say. Pure.

Three gauges, set from etcd about once a minute (k8s.io/apiserver pkg/storage/etcd3/metrics/metrics.go):

- `apiserver_resource_objects{group,resource}`, since 1.34;
- `apiserver_resource_size_estimate_bytes{group,resource}`, since 1.34: mean stored size times count;
- `apiserver_storage_objects{resource="networkpolicies.networking.k8s.io"}`, deprecated since 1.34.

Each is -1 where the server could not tell.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from watchbudget.api.resources import GroupResource

__all__ = ["Gauge", "LineFilter", "read_gauges"]

_OBJECTS = "apiserver_resource_objects"
_BYTES = "apiserver_resource_size_estimate_bytes"
_OLD_OBJECTS = "apiserver_storage_objects"

LONGEST_LINE = 64 * 1024
"""Bytes: a line of metrics is some hundred long; a longer one is none of ours."""


class Gauge(Struct, frozen=True):
    """What the metrics say of one resource; None where they do not say."""

    objects: int | None = None
    stored_bytes: int | None = None


class LineFilter:
    """Takes metrics text in chunks as they arrive and keeps only the lines that count.

    A large server's /metrics are tens of megabytes; of these it holds one line at a time.

    Attributes:
        kept: the lines, without their ends.
    """

    def __init__(self, resources: Collection[GroupResource]) -> None:
        self.kept: list[str] = []
        self._prefixes = tuple(f"{name}{{".encode() for name in (_OBJECTS, _BYTES, _OLD_OBJECTS))
        self._labels = tuple(
            f'resource="{name}"'.encode()
            for resource in resources
            for name in dict.fromkeys((resource.resource, str(resource)))
        )
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of text; end with a `feed` of a line end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = b"#"  # what follows is the rest of a comment
        self.kept.extend(
            line.decode("utf-8", "replace")
            for line in lines
            if line.startswith(self._prefixes) and any(label in line for label in self._labels)
        )


def read_gauges(lines: Iterable[str], resources: Collection[GroupResource]) -> dict[GroupResource, Gauge]:
    """Read the metrics lines of some resources, in the text format of any server version.

    Raises:
        ValueError: a line is not in Prometheus' text format.
    """
    text = "".join(f"{line}\n" for line in lines)
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault((sample.name, _resource(sample.name, sample.labels)), sample.value)

    def value(name: str, resource: GroupResource) -> int | None:
        number = found.get((name, str(resource)), math.nan)
        return int(number) if math.isfinite(number) and number >= 0 else None

    gauges: dict[GroupResource, Gauge] = {}
    for resource in resources:
        objects = value(_OBJECTS, resource)
        if objects is None:
            objects = value(_OLD_OBJECTS, resource)
        size = value(_BYTES, resource)
        gauges[resource] = Gauge(objects, None if objects and not size else size)
    return gauges


def _resource(metric: str, labels: Mapping[str, str]) -> str:
    """The resource as `GroupResource` writes it."""
    name = labels.get("resource", "")
    return name if metric == _OLD_OBJECTS else str(GroupResource(labels.get("group", ""), name))
