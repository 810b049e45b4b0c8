"""What is done to the fleet, with whom in charge."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace  # noqa: TID251 - of a dataclass
from enum import Enum

__all__ = ["SCENARIOS", "WIDTHS", "Change", "Play", "Scenario", "named"]


class Change(Enum):
    """What begins the storm."""

    ROLLOUT = "the pod template changes"
    INSTALL = "the DaemonSet is created"
    JOIN = "nodes join, a third of those that are there, all at once"
    REPLACE = "the pod template changes while no pod is ready"
    RELIST = "all agents restart in their pods, which passes no gate"


class Play(Enum):
    """How the agents behave."""

    AFTER_LIST = "ready once they have listed"
    READY_FIRST = "ready before they list"
    SLOW = "10 to 30 s from start to first request"
    BROKEN = "on 1% of the nodes they crash-loop"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One run.

    Attributes:
        name: On the command line and in results.
        change: What begins it.
        max_unavailable: Of the DaemonSet, as its owner writes it.
        daemon_sets: How many heavy DaemonSets do it at once.
        settle: Of the governing WatchBudget; None: nobody governs.
        unavailable: Its maxUnavailable; None: its default.
        agents: How they behave.
        compare: The native scenario it is measured against, if it is governed.
        standard: Whether it runs unless others are named.
    """

    name: str
    change: Change
    max_unavailable: str = "100%"
    daemon_sets: int = 1
    settle: str | None = None
    unavailable: int | None = None
    agents: Play = Play.AFTER_LIST
    compare: str | None = None
    standard: bool = True

    @property
    def governed(self) -> bool:
        """Whether WatchBudget has a say."""
        return self.settle is not None


def _pair(name: str, change: Change, **more: object) -> tuple[Scenario, Scenario]:
    """Return a native scenario and the same, governed."""
    native = Scenario(name=name, change=change, **more)  # type: ignore[arg-type]
    governed = Scenario(name=f"wb-{name}", change=change, settle="0s", compare=name, **more)  # type: ignore[arg-type]
    return native, governed


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="rollout-1", change=Change.ROLLOUT, max_unavailable="1"),
    Scenario(name="rollout-10%", change=Change.ROLLOUT, max_unavailable="10%"),
    *_pair("rollout-100%", Change.ROLLOUT),
    Scenario(name="wb-rollout-settle-5s", change=Change.ROLLOUT, settle="5s", compare="rollout-100%"),
    *_pair("install", Change.INSTALL),
    Scenario(name="wb-install-settle-5s", change=Change.INSTALL, settle="5s", compare="install"),
    *_pair("join", Change.JOIN),
    *_pair("not-ready", Change.REPLACE, max_unavailable="1"),
    *_pair("relist", Change.RELIST),
    *_pair("two", Change.ROLLOUT, daemon_sets=2),
    Scenario(
        name="two-1",
        change=Change.ROLLOUT,
        daemon_sets=2,
        max_unavailable="1",
        standard=False,
    ),
    *_pair("ready-first", Change.ROLLOUT, agents=Play.READY_FIRST, standard=False),
    Scenario(
        name="wb-ready-settle-5s",
        change=Change.ROLLOUT,
        agents=Play.READY_FIRST,
        settle="5s",
        compare="ready-first",
        standard=False,
    ),
    *_pair("slow", Change.ROLLOUT, agents=Play.SLOW, standard=False),
    *_pair("broken", Change.ROLLOUT, agents=Play.BROKEN, standard=False),
)

WIDTHS = (
    "rollout-N and wb-rollout-N: natively and governed, with any maxUnavailable N of pods (natively also N%)"
)

_WIDTH = re.compile(r"(wb-)?rollout-([1-9][0-9]{0,3})(%?)", re.ASCII)


def named(name: str) -> Scenario | None:
    """Return the scenario of that name, or None if there is none; rollouts of any width have one."""
    known = {each.name: each for each in SCENARIOS}
    width = _WIDTH.fullmatch(name)
    if name in known or width is None:
        return known.get(name)
    if not width[1]:
        return replace(known["rollout-100%"], name=name, max_unavailable=width[2] + width[3])
    return None if width[3] else replace(known["wb-rollout-100%"], name=name, unavailable=int(width[2]))
