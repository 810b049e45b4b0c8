"""The audit for people at a terminal: worst first, with units, within the width there is."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from watchbudget.api.quantity import format_bytes
from watchbudget.policy.model import Action, Audit, Judgement
from watchbudget.report.columns import daemon_set_table
from watchbudget.report.contract import all_problems
from watchbudget.report.figures import ABOUT_MEANS, MergedFinding, about, merged, split
from watchbudget.report.plain_console import READABLE, Encodable
from watchbudget.report.sentences import EMPTY, census_phrase, clean_sentence, node_phrase, total_sentences
from watchbudget.report.words import counted, join_words, name, prose, resource_labels, title

__all__ = ["audit_view", "problems_view", "render_problems", "render_table"]

EXPLAINED = 20
"""DaemonSets whose findings are told below the table; more is a job for `-o json` or the HTML report."""

ACTION_STYLES = {Action.DENY: "bold red", Action.WARN: "yellow"}


def render_table(audit: Audit, console: Console, *, show_all: bool = False) -> None:
    """Print the audit. `show_all` lists the DaemonSets that cost nothing, and every finding, too."""
    console.print(audit_view(audit, console, show_all=show_all))


def render_problems(audit: Audit, console: Console) -> None:
    """Print what could not be read or had to be assumed; nothing if there was nothing."""
    if all_problems(audit):
        console.print(problems_view(audit))


def audit_view(audit: Audit, console: Console, *, show_all: bool = False) -> RenderableType:
    """The answer: census, table, findings, totals. Problems are not data: `render_problems` tells them.

    Console decides width, colours and signs.
    """
    parts: list[RenderableType] = [_readable(_census_line(audit)), ""]
    if audit.judgements:
        parts += _judged(audit, console, show_all=show_all)
    else:
        parts += [EMPTY, ""]
    errors = sum(problem.severity == "error" for problem in all_problems(audit))
    if errors:
        text = f"This audit is incomplete: {counted(errors, 'error')} on standard error."
        parts += [_readable(Text(text, style="bold red")), ""]
    if audit.judgements:
        parts.append(_readable(Text(total_sentences(audit), style="bold")))
    return Encodable(Group(*parts))


def _judged(audit: Audit, console: Console, *, show_all: bool) -> list[RenderableType]:
    shown, clean = split(audit)
    listed = (*shown, *clean) if show_all else shown
    parts: list[RenderableType] = []
    if listed:
        parts += [daemon_set_table(listed, resource_labels(audit), console), ""]
    if any(about(judgement.bill) for judgement in listed):
        parts += [Text(ABOUT_MEANS, style="dim"), ""]
    sentence = clean_sentence(audit)
    if sentence and not show_all:
        parts += [Text(f"{sentence} --all shows {'it' if len(clean) == 1 else 'them'}.", style="dim"), ""]
    guilty = [judgement for judgement in shown if judgement.findings]
    told = guilty if show_all else guilty[:EXPLAINED]
    for judgement in told:
        parts += [_readable(_findings(judgement)), ""]
    if len(guilty) > len(told):
        more = counted(
            len(guilty) - len(told), "more DaemonSet has findings", "more DaemonSets have findings"
        )
        parts += [f"{more}: --all tells them.", ""]
    return parts


def _readable(content: RenderableType) -> Constrain:
    return Constrain(content, READABLE)


def _census_line(audit: Audit) -> Text:
    labels = resource_labels(audit)
    counts = [census_phrase(entry, labels[entry.resource]) for entry in audit.fleet.census.resources]
    line = Text(join_words([*counts, node_phrase(audit)]) + ".")
    line.highlight_words(["ASSUMED"], "bold yellow")
    if audit.budgets:
        budgets = join_words(name(budget) for budget in audit.budgets)
        line.append(f" Judged by {'budget' if len(audit.budgets) == 1 else 'budgets'} {budgets}.")
    return line


def _findings(judgement: Judgement) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for item in merged(judgement.findings):
        finding = item.finding
        exempt = finding.exempted is not None
        style = "dim" if exempt else ACTION_STYLES.get(finding.action, "")
        grid.add_row(Text("exempt" if exempt else str(finding.action), style=style), _finding_text(item))
    return Group(Text(title(judgement), style="bold", overflow="fold"), Padding(grid, (0, 0, 0, 2)))


def _finding_text(item: MergedFinding) -> Text:
    finding = item.finding
    budgets = join_words(name(budget) for budget in item.budgets)
    text = Text(style="dim" if finding.exempted is not None else "")
    text.append(name(finding.rule), style="bold")
    text.append(f" ({budgets}) {prose(finding.message)}")
    if finding.exempted is not None:
        return text.append(f"\nExempted: {prose(finding.exempted)}")
    freed = f" Frees {format_bytes(finding.freed_bytes)}." if finding.freed_bytes else ""
    return text.append("\nFix: ", style="green").append(f"{prose(finding.remedy.text)}{freed}")


def problems_view(audit: Audit) -> RenderableType:
    """Errors, which make the audit incomplete, and warnings, on which figures rest."""
    problems = all_problems(audit)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for problem in problems:
        style = "bold red" if problem.severity == "error" else "yellow"
        grid.add_row(Text(problem.severity, style=style), prose(str(problem)))
    errors = sum(problem.severity == "error" for problem in problems)
    heading = (
        f"This audit is incomplete ({counted(errors, 'error')}):"
        if errors
        else "To know about these figures:"
    )
    return Encodable(_readable(Group(Text(heading, style="bold"), Padding(grid, (0, 0, 0, 2)))))
