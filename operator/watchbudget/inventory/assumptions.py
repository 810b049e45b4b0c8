"""Figures that were asked for, or must be assumed, in the place of figures that were not read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from watchbudget.api.resources import GroupResource
from watchbudget.inventory.census import OTHER_STORED_BYTES, TYPICAL_STORED_BYTES
from watchbudget.inventory.fleet import Census, Fleet, ResourceCensus

__all__ = ["ASSUMED_NODES", "ASSUMED_OBJECTS", "with_figures"]

ASSUMED_OBJECTS = 1000
"""Objects per resource where manifests are audited and no count is given."""

ASSUMED_NODES = 100
"""Nodes where manifests are audited and no number is given."""


def with_figures(
    fleet: Fleet,
    resources: Iterable[GroupResource],
    *,
    objects: Mapping[GroupResource, tuple[int, int | None]],
    nodes: int | None,
    assume: bool,
) -> Fleet:
    """The fleet with a census of all these resources, as far as anything is known or may be assumed.

    Args:
        fleet: as it was read.
        resources: what is to be priced.
        objects: asked for: how many objects, and of how many stored bytes each; None takes the mean
            that was read, else a typical size, marked as assumed.
        nodes: asked for: the nodes that every DaemonSet runs on.
        assume: whether counts and nodes that nobody knows are assumed, as for manifests; a cluster's
            stay unknown, for they could be read.
    """
    counts = (
        _count(fleet, each, objects.get(each), assume=assume)
        for each in dict.fromkeys((*resources, *objects))
    )
    census = Census(tuple(count for count in counts if count), fleet.census.server_version)
    if nodes is not None:
        daemon_sets = tuple(replace(item, nodes=nodes) for item in fleet.daemon_sets)
        return replace(fleet, daemon_sets=daemon_sets, census=census, nodes=nodes, nodes_source="flag")
    if assume:
        return replace(fleet, census=census, nodes=ASSUMED_NODES, nodes_source="assumed")
    return replace(fleet, census=census)


def _count(
    fleet: Fleet, resource: GroupResource, asked: tuple[int, int | None] | None, *, assume: bool
) -> ResourceCensus | None:
    known = fleet.census.of(resource)
    typical = TYPICAL_STORED_BYTES.get(resource, OTHER_STORED_BYTES)
    if asked is None:
        stored = ASSUMED_OBJECTS * typical
        guess = ResourceCensus(resource, ASSUMED_OBJECTS, stored, "assumed", bytes_assumed=True)
        return known or (guess if assume else None)
    number, size = asked
    if size is not None:
        return ResourceCensus(resource, number, number * size, "flag")
    if known and known.objects:
        stored = number * known.stored_bytes // known.objects
        return ResourceCensus(resource, number, stored, "flag", bytes_assumed=known.bytes_assumed)
    return ResourceCensus(resource, number, number * typical, "flag", bytes_assumed=True)
