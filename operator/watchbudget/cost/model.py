"""The bill as a value. All sizes in bytes; seats are those of API priority and fairness."""

from __future__ import annotations

from msgspec import Struct

from watchbudget.api.resources import GroupResource

__all__ = ["Bill", "Line"]


class Line(Struct, frozen=True):
    """What watching one resource costs one pod.

    `certain` is False for demands that are `depends` or `unknown`, and for a demand with a
    selector, whose share of the objects nobody counted: the line then is an upper bound and
    enters the `up_to` figures only.
    """

    resource: GroupResource
    certain: bool
    watchers: int
    objects: int
    stored_bytes: int
    cache_bytes: int
    peak_bytes: int
    list_bytes: int
    seats: int
    calibration: str  # id of the row of the calibration that was used
    assumed: bool = False  # the row is not known to be that of the agent's client library, only the nearest
    assumed_because: str | None = None
    container: str | None = None  # the container that holds the cache, where the agent was recognised
    base_bytes: int = 0  # of the process that holds the cache, before it caches anything


class Bill(Struct, frozen=True):
    """What one DaemonSet's watches cost, per pod and in total.

    `peak_per_pod` is that of a re-list in a running process, over all its caches;
    `base_bytes` the memory of an idle client of that stack, which a limit must hold too.
    Totals are per pod times `nodes`. `unpriced` names what is watched, or may be, without a
    census: the figures leave it out, so they are too low.
    """

    nodes: int
    lines: tuple[Line, ...] = ()
    cache_per_pod: int = 0
    peak_per_pod: int = 0
    base_bytes: int = 0
    list_bytes_per_start: int = 0
    seats_per_start: int = 0
    cache_per_pod_up_to: int = 0
    peak_per_pod_up_to: int = 0
    list_bytes_per_start_up_to: int = 0
    unpriced: tuple[GroupResource, ...] = ()

    @property
    def cache_total(self) -> int:
        """Cache bytes on all nodes together."""
        return self.cache_per_pod * self.nodes

    @property
    def cache_total_up_to(self) -> int:
        """The same, with every uncertain demand counted as a watch."""
        return self.cache_per_pod_up_to * self.nodes

    @property
    def list_bytes_if_all_restart(self) -> int:
        """What the API server is asked for when every pod starts at once."""
        return self.list_bytes_per_start * self.nodes
