"""How much memory a re-list needs, by the container that must hold it."""

from __future__ import annotations

from msgspec import Struct

from watchbudget.cost.model import Line
from watchbudget.policy.context import Context

__all__ = ["Need", "needs_of"]


class Need(Struct, frozen=True):
    """Base and re-list peak of one container's caches, bytes; `container` None where that is not known."""

    container: str | None
    base: int
    peak: int
    request: int | None = None

    @property
    def total(self) -> int:
        """What a limit must hold at the least: the agent's other work comes on top."""
        return self.base + self.peak


def needs_of(context: Context) -> tuple[Need, ...]:
    """What each watching container needs, dearest first. Only what is certain counts.

    Where an agent was not recognised, a single long-running container must be the one.
    """
    running = [container for container in context.daemon_set.containers if container.long_running]
    only = running[0].name if len(running) == 1 else None
    groups: dict[str | None, list[Line]] = {}
    for line in context.certain_lines:
        groups.setdefault(line.container or only, []).append(line)
    requests = {container.name: container.memory_request for container in running}
    needs = (
        Need(
            name,
            max(line.base_bytes for line in lines),
            sum(line.peak_bytes for line in lines),
            requests.get(name or ""),
        )
        for name, lines in groups.items()
    )
    return tuple(sorted(needs, key=lambda need: (-need.total, need.container or "")))
