"""From demands and census to the bill: objects × (overhead + factor × stored bytes), per pod and per node.

Cache and peak come from the calibration. List bytes are the stored bytes, as the census counts
them: protobuf sends about as much (measured: 1.1 kB for a namespace stored in 1.09), JSON 1.3 to 1.9
times that, and which of them an agent asks for is seldom known. So they are a floor that is close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct, field

from watchbudget.api.resources import GroupResource
from watchbudget.cost.calibration import Calibration
from watchbudget.cost.model import Bill, Line
from watchbudget.cost.seats import seats_of_list
from watchbudget.demand.model import Demand, Watches
from watchbudget.inventory.fleet import Census, ResourceCensus

__all__ = ["bill_of"]


def _certain(demand: Demand) -> bool:
    return demand.watches is Watches.YES


def bill_of(
    demands: Iterable[Demand],
    census: Census,
    nodes: int,
    calibration: Calibration,
    *,
    counts: Callable[[Demand], bool] = _certain,
) -> Bill:
    """What the demands of one DaemonSet cost.

    A demand that `counts` (by default: one that is `yes`) enters the certain figures; every other
    one that is not `no` enters the `up_to` figures only, and so does any demand with a selector:
    how many objects it selects is not in the census, so the full count is an upper bound.
    The peak is the sum over all caches, because a restart of the API server makes
    them re-list at the same moment. The server's version comes from the census.
    """
    lines: list[Line] = []
    unpriced: dict[GroupResource, None] = {}
    sure, possible = _Sums(), _Sums()
    for demand in demands:
        if demand.watches is Watches.NO:
            continue
        known = census.of(demand.resource)
        if known is None:
            unpriced[demand.resource] = None
            continue
        certain = counts(demand) and demand.selector is None
        line = _line(demand, known, census.server_version, calibration, certain=certain)
        lines.append(line)
        possible.add(line)
        if certain:
            sure.add(line)
    return Bill(
        nodes=max(0, nodes),
        lines=tuple(lines),
        cache_per_pod=sure.cache_bytes,
        peak_per_pod=sure.peak_bytes,
        base_bytes=sure.base() if sure.base_bytes else possible.base(),
        list_bytes_per_start=sure.list_bytes,
        seats_per_start=sure.seats,
        cache_per_pod_up_to=possible.cache_bytes,
        peak_per_pod_up_to=possible.peak_bytes,
        list_bytes_per_start_up_to=possible.list_bytes,
        unpriced=tuple(unpriced),
    )


class _Sums(Struct):
    """What lines come to together, bytes and seats; `base_bytes` by container."""

    cache_bytes: int = 0
    peak_bytes: int = 0
    list_bytes: int = 0
    seats: int = 0
    base_bytes: dict[str | None, int] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        self.cache_bytes += line.cache_bytes
        self.peak_bytes += line.peak_bytes
        self.list_bytes += line.list_bytes
        self.seats += line.seats
        if line.base_bytes > self.base_bytes.get(line.container, -1):
            self.base_bytes[line.container] = line.base_bytes

    def base(self) -> int:
        """One idle process per container that caches anything, however many caches it holds.

        Caches whose container is not known are taken to be in one of those.
        """
        unknown = self.base_bytes.get(None, 0)
        return max(unknown, sum(self.base_bytes.values()) - unknown)


def _line(
    demand: Demand,
    known: ResourceCensus,
    server_version: tuple[int, int] | None,
    calibration: Calibration,
    *,
    certain: bool,
) -> Line:
    row, assumed = calibration.for_stack(demand.stack)
    watchers = max(1, demand.watchers_per_pod)
    objects, stored = max(0, known.objects), max(0, known.stored_bytes)
    cache = watchers * row.cache_bytes(objects, stored)
    return Line(
        resource=demand.resource,
        certain=certain,
        watchers=watchers,
        objects=objects,
        stored_bytes=stored,
        cache_bytes=cache,
        peak_bytes=row.peak_bytes(cache),
        list_bytes=watchers * stored,
        seats=watchers * seats_of_list(objects, stored, server_version),
        calibration=row.id,
        assumed=assumed or demand.stack_assumed is not None,
        assumed_because=demand.stack_assumed,
        container=demand.agent.container if demand.agent else None,
        base_bytes=row.base_bytes,
    )
