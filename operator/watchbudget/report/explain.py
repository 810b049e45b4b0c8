"""One DaemonSet's whole chain, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.text import Text

from watchbudget.cost.calibration import Calibration
from watchbudget.policy.model import Audit, Judgement
from watchbudget.report.chain import chain
from watchbudget.report.columns import VERDICT_STYLES
from watchbudget.report.plain_console import READABLE, Encodable
from watchbudget.report.steps import Item
from watchbudget.report.words import title

__all__ = ["explain"]

_STYLES = {"source": "dim", "deny": "bold red", "warn": "yellow", "note": "dim", "code": "cyan"}


def explain(judgement: Judgement, audit: Audit, calibration: Calibration | None = None) -> RenderableType:
    """The explanation, for any width and without need of colour.

    `calibration` is the one the bill was made with; by default the package's own.
    """
    heading = Text(f"{title(judgement)}: ", style="bold", overflow="fold")
    heading.append(str(judgement.verdict), style=VERDICT_STYLES[judgement.verdict])
    parts: list[RenderableType] = [heading]
    for number, step in enumerate(chain(judgement, audit, calibration), start=1):
        parts += ["", Text(f"{number}. {step.title}", style="bold")]
        parts += [Padding(_drawn(item), (0, 0, 0, 3)) for item in step.items]
    return Encodable(Constrain(Group(*parts), READABLE))


def _drawn(item: Item) -> RenderableType:
    text = Text(item.text, style=_STYLES.get(item.kind, ""), overflow="fold")
    if item.kind == "sum":
        return Padding(text, (0, 0, 0, 2))
    return text
