"""From demands and census to the bill: objects × (overhead + factor × stored bytes), per pod and per node.

Cache and peak come from the calibration. List bytes are the stored bytes, as the census counts
them: protobuf sends about as much (measured: 1.1 kB for a namespace stored in 1.09), JSON 1.3 to 1.9
times that, and which of them an agent asks for is seldom known. So they are a floor that is close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
    unpriced: list[GroupResource] = []
    for demand in demands:
        if demand.watches is Watches.NO:
            continue
        known = census.of(demand.resource)
        if known is None:
            unpriced.append(demand.resource)
        else:
            certain = counts(demand) and demand.selector is None
            lines.append(_line(demand, known, census.server_version, calibration, certain=certain))
    sure = [line for line in lines if line.certain]
    return Bill(
        nodes=max(0, nodes),
        lines=tuple(lines),
        cache_per_pod=sum(line.cache_bytes for line in sure),
        peak_per_pod=sum(line.peak_bytes for line in sure),
        base_bytes=_base(sure or lines),
        list_bytes_per_start=sum(line.list_bytes for line in sure),
        seats_per_start=sum(line.seats for line in sure),
        cache_per_pod_up_to=sum(line.cache_bytes for line in lines),
        peak_per_pod_up_to=sum(line.peak_bytes for line in lines),
        list_bytes_per_start_up_to=sum(line.list_bytes for line in lines),
        unpriced=tuple(dict.fromkeys(unpriced)),
    )


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
    cache = watchers * (objects * row.overhead_bytes + _times(row.exact_factor, stored))
    return Line(
        resource=demand.resource,
        certain=certain,
        watchers=watchers,
        objects=objects,
        stored_bytes=stored,
        cache_bytes=cache,
        peak_bytes=_times(row.exact_peak, cache),
        list_bytes=watchers * stored,
        seats=watchers * seats_of_list(objects, stored, server_version),
        calibration=row.id,
        assumed=assumed or demand.stack_assumed is not None,
        assumed_because=demand.stack_assumed,
        container=demand.agent.container if demand.agent else None,
        base_bytes=row.base_bytes,
    )


def _times(factor: tuple[int, int], size: int) -> int:
    """The product, rounded up, and exact for integers of any size."""
    numerator, denominator = factor
    return -(-size * numerator // denominator)


def _base(lines: list[Line]) -> int:
    """One idle process per container that caches anything, however many caches it holds.

    Caches whose container is not known are taken to be in one of those.
    """
    by_container: dict[str | None, int] = {None: 0}
    for line in lines:
        by_container[line.container] = max(line.base_bytes, by_container.get(line.container, 0))
    unknown = by_container.pop(None)
    return max(unknown, sum(by_container.values()))
