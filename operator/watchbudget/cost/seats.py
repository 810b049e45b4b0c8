"""How many seats of API priority and fairness one full list takes.

Source: k8s.io/apiserver pkg/util/flowcontrol/request/list_work_estimator.go (v0.36.3), for a list, or
a watch that asks for initial events, of everything, served from the watch cache.
"""

from __future__ import annotations

__all__ = ["MAX_SEATS", "seats_of_list"]

BYTES_PER_SEAT = 100_000
"""`bytesPerSeat`, with feature SizeBasedListCostEstimate: beta and on since 1.34."""

OBJECTS_PER_SEAT = 100
"""`objectsPerSeat` (config.go), what counts before 1.34."""

MAX_SEATS = 10
"""Lists from the cache stop at 1 MB (`cacheWithStreamingMaxMemoryUsage`), older servers at 10 seats.

So priority and fairness cannot tell 1 MB of namespaces from 200 MB: the bytes matter beside it.
"""

SIZE_BASED_SINCE = (1, 34)


def seats_of_list(objects: int, stored_bytes: int, server_version: tuple[int, int] | None) -> int:
    """Seats of one list of all objects; at least 1. An unknown server is taken for a current one.

    The estimator multiplies the count by a mean size in whole bytes; the stored bytes are that
    product. A priority level with few seats lowers the maximum further (apf_controller.go:
    15% of its seats); the built-in levels for service accounts have enough for 10.
    """
    if server_version is None or server_version >= SIZE_BASED_SINCE:
        wanted = -(-stored_bytes // BYTES_PER_SEAT)
    else:
        wanted = -(-objects // OBJECTS_PER_SEAT)
    return max(1, min(MAX_SEATS, wanted))
