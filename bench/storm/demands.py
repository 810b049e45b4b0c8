"""What WatchBudget must reach, and what it did: each bound is against a native scenario of the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from storm.figures import Outcome

__all__ = ["SERIES", "Demand", "demands"]

SERIES = "same level"
"""The bystander that the bounds are about, reads and writes together; the rest stands in the table."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One bound. ``value`` must not exceed ``bound``."""

    name: str
    value: float
    bound: float
    detail: str

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.value <= self.bound


def demands(outcomes: Mapping[str, Outcome], *, streaming: bool) -> list[Demand]:
    """Return every demand whose two scenarios were run; settle of 0 s, as the bench's agents list first."""
    found: list[Demand] = []
    for native in ("rollout-100%", "install", "two"):
        if f"wb-{native}" in outcomes and native in outcomes:
            found += _against_storm(outcomes[native], outcomes[f"wb-{native}"], streaming=streaming)
    for governed, native in (("wb-rollout-100%", "rollout-1"), ("wb-two", "two-1")):
        if governed in outcomes and native in outcomes:
            found += _against_one(outcomes[native], outcomes[governed])
    if "wb-rollout-100%" in outcomes and "rollout-10%" in outcomes:
        native_, governed_ = outcomes["rollout-10%"], outcomes["wb-rollout-100%"]
        found.append(
            _ratio(
                "wb-rollout-100%: node-seconds without a ready agent, of rollout-10%'s",
                governed_.missing_node_seconds,
                native_.missing_node_seconds,
                1.0,
                "{:.0f} of {:.0f}",
            )
        )
    return found


def _against_storm(native: Outcome, governed: Outcome, *, streaming: bool) -> list[Demand]:
    name = governed.name
    found = [
        _ratio(
            f"{name}: bystander p99, of {native.name}'s",
            governed.bystanders[SERIES].p99,
            native.bystanders[SERIES].p99,
            1 / 25,
            "{:.3f} s of {:.3f} s",
        ),
        Demand(f"{name}: lists refused", governed.refused, 0, f"natively {native.refused}"),
        _ratio(
            f"{name}: time until all lists are served, of {native.name}'s",
            governed.served_seconds,
            native.served_seconds,
            1.15,
            "{:.1f} s of {:.1f} s",
        ),
    ]
    if not streaming:
        memory = (governed.rss_growth / 2**20, native.rss_growth / 2**20)
        found.append(
            _ratio(
                f"{name}: API server's growth, of {native.name}'s", *memory, 0.5, "{:.0f} MiB of {:.0f} MiB"
            )
        )
    return found


def _against_one(native: Outcome, governed: Outcome) -> list[Demand]:
    return [
        _ratio(
            f"{governed.name}: total time, of {native.name}'s",
            max(governed.served_seconds, governed.ready_seconds),
            max(native.served_seconds, native.ready_seconds),
            1 / 5,
            "{:.1f} s of {:.1f} s",
        ),
        _ratio(
            f"{governed.name}: bystander p99, of {native.name}'s",
            governed.bystanders[SERIES].p99,
            native.bystanders[SERIES].p99,
            3.0,
            "{:.3f} s of {:.3f} s",
        ),
    ]


def _ratio(name: str, value: float, of: float, bound: float, detail: str) -> Demand:
    return Demand(name, value / of if of else float("inf"), bound, detail.format(value, of))
