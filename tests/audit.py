"""What the API server's audit log tells."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from watchbudget.localcluster import LocalCluster

__all__ = ["Event", "audited"]

Event = dict[str, Any]


def audited(cluster: LocalCluster, *, containing: str = "", offset: int = 0) -> Iterator[Event]:
    """Yield, in the order of the log, what was asked and answered until now, and when watches began.

    An object may be seen to have changed a moment before the log tells of it: the API server writes the line
    when it is about to answer whoever changed it. So a request of our own goes first, and after its line
    those before it are there.

    Args:
        cluster: whose API server answers.
        containing: only lines with this text: whole logs take long to decode.
        offset: where to begin in the log, in bytes.
    """
    mark = uuid.uuid4().hex
    cluster.request("GET", f"/version?mark={mark}")
    with cluster.audit_log.open("rb") as log:
        log.seek(offset)
        for line in log:
            if containing.encode() in line and line.endswith(b"\n"):  # the last may be half written
                yield json.loads(line)
