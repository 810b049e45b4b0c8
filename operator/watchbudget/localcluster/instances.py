"""Clusters with a name, which outlive the command that started them.

Each has a directory below the cache directory; ``instance.json`` in it is the record of its processes and is
written last, so a directory without it is what an interrupted start has left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from watchbudget.localcluster.access import ClusterAccess
from watchbudget.localcluster.cachedir import cache_root, exclusive_lock
from watchbudget.localcluster.components import Layout, Ports
from watchbudget.localcluster.errors import LocalClusterError
from watchbudget.localcluster.process import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Instance", "directory", "instance_lock", "names"]

RECORD = "instance.json"


@dataclass(frozen=True)
class Record:
    """What has to be known of an instance to use and to end it.

    Attributes:
        ports: Of its components.
        binaries: Paths, by component.
        processes: By component.
        owner: The command that runs it in the foreground, if one does.
    """

    ports: Ports
    binaries: dict[str, Path]
    processes: dict[str, ProcessId]
    owner: ProcessId | None

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(dataclasses.asdict(self), default=str, indent=2))
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read what `write` wrote."""
        raw = json.loads(path.read_text())
        return cls(
            Ports(**raw["ports"]),
            {name: Path(binary) for name, binary in raw["binaries"].items()},
            {name: ProcessId(**process) for name, process in raw["processes"].items()},
            ProcessId(**raw["owner"]) if raw["owner"] else None,
        )


class Instance(ClusterAccess):
    """A named cluster that was started before, perhaps by another process."""

    def __init__(self, name: str) -> None:
        """Read its record.

        Raises:
            LocalClusterError: There is none of that name.
        """
        self.name = name
        path = directory(name) / RECORD
        try:
            self.record = Record.read(path)
        except FileNotFoundError:
            others = ", ".join(names()) or "none"
            raise LocalClusterError(f"There is no local cluster {name!r} (there are: {others})") from None
        except (ValueError, KeyError, TypeError) as error:
            hint = f"If nothing of it runs, remove {path.parent}"
            raise LocalClusterError(f"{path} is no record of a local cluster ({error}); {hint}") from error
        self._layout = Layout(path.parent, self.record.binaries, self.record.ports)

    def alive(self) -> dict[str, bool]:
        """Tell of each component whether its process runs."""
        return {name: process.alive() for name, process in self.record.processes.items()}

    def end(self) -> None:
        """End its processes, and no others, and remove its directory."""
        self.close()
        owner = self.record.owner
        if owner is not None and owner.pid != os.getpid() and owner.signal(signal.SIGTERM):
            owner.wait_gone(10)
        processes = list(reversed(self.record.processes.values()))
        for process in processes:
            process.signal(signal.SIGKILL)
        if not all(process.wait_gone(10) for process in processes):
            raise LocalClusterError(f"Not all processes of local cluster {self.name!r} have ended; try again")
        shutil.rmtree(self.state_dir, ignore_errors=True)


def directory(name: str) -> Path:
    """Return the directory of the instance ``name``, which need not exist.

    Raises:
        LocalClusterError: That is no name: it would not do as a directory's.
    """
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", name):
        raise LocalClusterError(
            f"{name!r} is no name; use lower case letters, digits and hyphens, 42 at most"
        )
    return cache_root() / "instances" / name


def names() -> list[str]:
    """Return the names of the instances that have a record, whether or not they still run."""
    return sorted(path.parent.name for path in (cache_root() / "instances").glob(f"*/{RECORD}"))


@contextlib.contextmanager
def instance_lock(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Keep two commands from starting or ending one instance at once; the second says that it waits."""
    place = directory(name)
    with exclusive_lock(
        place.with_name(f"{name}.lock"), lambda: say(f"Waiting for another command on {name!r}")
    ):
        yield
