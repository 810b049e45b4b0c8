"""One cell: a fresh client of one library with a full cache of one kind of object, and its re-list."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from calibration.figures import Cell
from calibration.libraries import Library, environment
from storm.meter import peak_bytes, reset_peak, resident_bytes
from waiting import wait_until
from watchbudget.localcluster.cluster import LocalCluster

__all__ = ["ACCOUNT", "NAMESPACE", "NOTHING", "Subject", "idle", "measure"]

NAMESPACE, ACCOUNT = "calibration", "client"
NOTHING = "calibration=none"
"""A selector that no object matches: a client's own memory."""

CALM_FOR = 10.0
"""Seconds without a change of more than a fiftieth: then a process is at rest. Less than the minutes after
which Go gives memory back, because a node's agents are re-listed or limited when they have just started."""

WITHIN = 180.0
"""Seconds to synchronize, to re-list, or to come to rest, at most."""


class Subject(NamedTuple):
    """What is cached.

    Attributes:
        kind: Of object, as tables name it.
        resource: Plural, as the API server names it.
        objects: How many there are.
        stored: Bytes that one takes in etcd.
    """

    kind: str
    resource: str
    objects: int
    stored: int


def idle(cluster: LocalCluster, library: Library, argv: list[str], resource: str) -> int:
    """Return the resident bytes of a client that has nothing to cache."""
    with _client(cluster, library, argv, resource, NOTHING, 0) as pid:
        return _rest(pid)


def measure(cluster: LocalCluster, library: Library, argv: list[str], subject: Subject, base: int) -> Cell:
    """Fill one client's cache, have it list anew, and say what it held.

    Args:
        cluster: Where the objects are.
        library: The client's.
        argv: What starts it.
        subject: What it caches.
        base: Its resident bytes without objects.
    """
    with _client(cluster, library, argv, subject.resource, "", subject.objects) as pid:
        first_peak, steady = peak_bytes(pid), _rest(pid)
        logged = cluster.audit_log.stat().st_size
        reset_peak(pid)
        # Its watch cannot be resumed: a new API server's cache begins later than what the client saw last.
        cluster.stop_component("kube-apiserver")
        cluster.start_component("kube-apiserver")
        wait_until(
            lambda: _listed(cluster.audit_log, logged, subject.resource), f"{library.row} lists anew", WITHIN
        )
        after = _rest(pid)
        return Cell(
            row=library.row,
            kind=subject.kind,
            objects=subject.objects,
            stored=subject.stored,
            base=base,
            steady=steady,
            first_peak=first_peak,
            relist_peak=peak_bytes(pid),
            after=after,
        )


@contextmanager
def _client(
    cluster: LocalCluster, library: Library, argv: list[str], resource: str, selector: str, objects: int
) -> Iterator[int]:
    """Run a client until the block ends; its process id, once its cache is full."""
    kubeconfig = cluster.kubeconfig_for(NAMESPACE, ACCOUNT)
    log = kubeconfig.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [*argv, resource, selector], env=environment(library, kubeconfig), stdout=output, stderr=output
        )
    try:
        said = f"synced {objects}"

        def synced() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{library.row} ended:\n{log.read_text()[-2000:]}")
            lines = [line for line in log.read_text().splitlines() if line.startswith("synced ")]
            if lines and lines[0] != said:
                raise RuntimeError(f"{library.row} has {lines[0]}, not {objects}, {resource}")
            return bool(lines)

        wait_until(synced, f"{library.row} has {objects} {resource}", WITHIN)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _rest(pid: int) -> int:
    """Wait until a process's memory changes no more, and return it: bytes, a median of the last seconds."""
    seen: list[int] = []
    deadline, wanted = time.monotonic() + WITHIN, int(CALM_FOR / 0.25)
    while time.monotonic() < deadline:
        seen = [*seen, resident_bytes(pid)][-wanted:]
        if len(seen) == wanted and max(seen) - min(seen) < max(seen) / 50:
            break
        time.sleep(0.25)
    return int(statistics.median(seen))


def _listed(log: Path, offset: int, resource: str) -> bool:
    """Whether the audit log tells of a list of ours that was served, or of a watch that began as one."""
    user = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    with log.open("rb") as lines:
        lines.seek(offset)
        events = (json.loads(line) for line in lines if user.encode() in line and line.endswith(b"\n"))
        return any(_is_list(event, resource) for event in events)


def _is_list(event: dict[str, Any], resource: str) -> bool:
    if event.get("objectRef", {}).get("resource") != resource or event["responseStatus"].get("code") != 200:
        return False
    if event["verb"] == "list":
        return bool(event["stage"] == "ResponseComplete")
    return event["verb"] == "watch" and "sendInitialEvents=true" in event["requestURI"]
