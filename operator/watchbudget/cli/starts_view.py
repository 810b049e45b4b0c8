"""How starts stand, for people at a terminal and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from watchbudget.cli.starts import Row, State
from watchbudget.report.layout import Column, drawn
from watchbudget.report.plain_console import Encodable
from watchbudget.report.words import counted, name, prose

__all__ = ["state_json", "state_view"]

BAR = 20
"""Characters of a progress bar."""


def state_view(state: State) -> RenderableType:
    """Budgets, then DaemonSets that roll, then what there is to know."""
    parts: list[RenderableType] = []
    if state.budgets:
        parts += [_budgets(state), ""]
    if state.rows:
        parts += [_rows(state), ""]
    parts += [Text(line, style=style) for line, style in _sentences(state)]
    return Encodable(Group(*parts))


def _budgets(state: State) -> RenderableType:
    starts = [budget.status.starts for budget in state.budgets]
    said = [
        next((each for each in budget.status.conditions if each.type == "Progressing"), None)
        for budget in state.budgets
    ]
    return drawn(
        [
            Column("BUDGET", tuple(Text(name(budget.name)) for budget in state.budgets)),
            Column("IN FLIGHT", _numbers([its.in_flight if its else None for its in starts]), "right"),
            Column("PERMITS", _numbers([its.permits if its else None for its in starts]), "right"),
            Column("HELD", _numbers([its.held if its else None for its in starts]), "right"),
            Column("BLOCKED", _numbers([its.blocked if its else None for its in starts]), "right"),
            Column("STATE", tuple(Text(each.reason if each else "not reported yet") for each in said)),
        ]
    )


def _rows(state: State) -> RenderableType:
    rows = state.rows
    return drawn(
        [
            Column("DAEMONSET", tuple(Text(name("/".join(row.key))) for row in rows)),
            Column("NODES", _numbers([row.its.nodes for row in rows]), "right"),
            Column("READY", _numbers([row.its.ready for row in rows]), "right"),
            Column("HELD", _numbers([row.held for row in rows]), "right"),
            Column("STARTING", _numbers([row.in_flight for row in rows]), "right"),
            Column("FAILED", _numbers([_failed(row) for row in rows]), "right"),
            Column("RUNNING NEWEST", tuple(_bar(row) for row in rows)),
        ]
    )


def _failed(row: Row) -> int | None:
    """What is reported comes later than what is seen."""
    return max(row.failed or 0, row.failing) if row.failing else row.failed


def _bar(row: Row) -> Text:
    """What is started of the newest template: updated pods that wait, start or failed do not count."""
    nodes = row.its.nodes
    started = max(0, min(row.its.updated - row.held - row.in_flight - row.failing, nodes))
    share = started / nodes if nodes else float(row.done)  # no nodes, or not counted yet
    full = int(share * BAR)
    style = "yellow" if row.paused else "green"
    return Text.assemble(("#" * full, style), ("." * (BAR - full), "dim"), f" {int(share * 100):3d}%")


def _sentences(state: State) -> list[tuple[str, str]]:
    lines = [
        (f"{name('/'.join(row.key))}: {prose(row.paused)}", "yellow") for row in state.rows if row.paused
    ]
    for budget in state.budgets:
        starts = budget.status.starts
        if starts is not None and starts.paused_reason == "BudgetPaused":
            lines.append((f"Budget {name(budget.name)} is paused: {prose(starts.message or '')}", "yellow"))
    if not state.budgets:
        lines.append(("No WatchBudget paces starts here: none has spec.rollout.", ""))
    if state.held and state.leader == "":
        held = counted(state.held, "held pod")
        line = (
            f"Nobody leads, so nobody gives permits to {held}. Any running replica lets them go after "
            "maxHold; `watchbudget rollout release --all` does at once."
        )
        lines.append((line, "bold red"))
    elif state.budgets and state.leader == "":
        lines.append(("Nobody leads: new pods start at once, and what budgets report is old.", "bold red"))
    elif state.leader:
        lines.append((f"Permits are given by {name(state.leader)}.", "dim"))
    if not any(row.held or row.in_flight for row in state.rows):
        lines.append(("No pod is held or starting.", ""))
    return lines


def _numbers(numbers: list[int | None]) -> tuple[Text, ...]:
    return tuple(Text("" if number is None else f"{number:,}") for number in numbers)


def state_json(state: State) -> dict[str, Any]:
    """For programs: the same, complete."""
    return {
        "leader": state.leader,
        "budgets": [
            {
                "name": budget.name,
                "starts": budget.status.starts.model_dump(mode="json", exclude_none=True)
                if budget.status.starts
                else None,
            }
            for budget in state.budgets
        ],
        "daemonSets": [
            {
                "namespace": row.key[0],
                "name": row.key[1],
                "nodes": row.its.nodes,
                "updated": row.its.updated,
                "ready": row.its.ready,
                "held": row.held,
                "inFlight": row.in_flight,
                "failing": row.failing,
                "failed": row.failed,
                "paused": row.paused or None,
                "startedAt": row.since,
                "budgets": list(row.budgets),
                "done": row.done,
            }
            for row in state.rows
        ],
    }
