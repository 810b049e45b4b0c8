"""What is printed of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from results import show
from storm.demands import Demand
from storm.figures import Outcome

__all__ = ["show_all"]


def show_all(outcomes: Mapping[str, Outcome], found: Sequence[Demand]) -> None:
    """Print the tables: the storm, the bystanders, the demands."""
    show(
        "The storm",
        ["scenario", "served s", "ready s", "flight", "refused", "API RSS MiB", "API CPU s", "CPU s",
         "others'", "node-s"],
        [_storm(each) for each in outcomes.values()],
    )  # fmt: skip
    print(
        "served: until the last first list was; ready: until the last pod was; flight: most lists in flight\n"
        "CPU: control plane, WatchBudget, agents and bystanders; others': what work beside the bench took\n"
        "node-s: node-seconds without a Ready agent\n"
    )
    show(
        "The bystanders: p50 / p99 / most, ms (failed requests)",
        ["scenario", "same level, all", "its reads", "its writes", "other level, all"],
        [_bystanders(each) for each in outcomes.values()],
    )
    if found:
        show(
            "The demands",
            ["demand", "bound", "measured", "", "figures"],
            [
                [
                    each.name,
                    f"{each.bound:.3g}",
                    f"{each.value:.3g}",
                    "met" if each.met else "MISSED",
                    each.detail,
                ]
                for each in found
            ],
        )


def _storm(outcome: Outcome) -> list[str]:
    others = outcome.cpu["rest of the machine"]
    return [
        outcome.name + ("" if outcome.finished else " (unfinished)"),
        f"{outcome.served_seconds:.1f}",
        f"{outcome.ready_seconds:.1f}",
        f"{outcome.peak_in_flight}",
        f"{outcome.refused}" + (f" +{outcome.failed} failed" if outcome.failed else ""),
        f"{outcome.rss_before / 2**20:.0f} +{outcome.rss_growth / 2**20:.0f}",
        f"{outcome.cpu['kube-apiserver']:.1f}",
        f"{sum(outcome.cpu.values()) - others:.1f}",
        f"{others:.1f}",
        f"{outcome.missing_node_seconds:,.0f}",
    ]


def _bystanders(outcome: Outcome) -> list[str]:
    cells = [outcome.name]
    for series in ("same level", "same level read", "same level write", "other level"):
        seen = outcome.bystanders.get(series)
        if seen is None:
            cells.append("-")
            continue
        failed = f" ({seen.failed})" if seen.failed else ""
        cells.append(f"{seen.p50 * 1000:.0f} / {seen.p99 * 1000:.0f} / {seen.most * 1000:.0f}{failed}")
    return cells
