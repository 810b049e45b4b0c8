"""`watchbudget audit`."""

from __future__ import annotations

import click

from watchbudget.cli.console import EXIT_CLEAN, EXIT_FAILED, EXIT_FINDINGS, err, out, progress
from watchbudget.cli.query import Query, fleet_options, run
from watchbudget.policy.model import Audit, Verdict
from watchbudget.report.contract import all_problems, to_json, to_yaml
from watchbudget.report.html import render_html
from watchbudget.report.table import render_problems, render_table

__all__ = ["command", "exit_code"]

_FAIL_ON: dict[str, tuple[Verdict, ...]] = {
    "warn": (Verdict.WARN, Verdict.DENY),
    "deny": (Verdict.DENY,),
    "never": (),
}


@click.command("audit")
@fleet_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml", "html"]),
    default="table",
    help="table for people, json or yaml for programs, html for a report with charts.",
)
@click.option(
    "--fail-on",
    type=click.Choice(list(_FAIL_ON)),
    default="deny",
    help="The verdict from which the exit code is 1.",
)
@click.option("--all", "show_all", is_flag=True, help="List the DaemonSets that cost nothing, too.")
def command(*, query: Query, output: str, fail_on: str, show_all: bool) -> None:
    """Price every DaemonSet of a cluster or of manifests, and judge it.

    Without -f it audits the cluster of the current context: read-only, with nothing installed,
    and without listing what it prices. Without --budget the WatchBudgets found there judge,
    else a built-in one that warns.

    \b
    watchbudget audit                                  the current context
    watchbudget audit -f manifests/ --nodes 500        a folder, priced for 500 nodes
    helm template . | watchbudget audit -f -           a chart
    watchbudget audit -o html > report.html            with charts
    watchbudget audit -f . --fail-on warn              in CI

    Exit codes: 0 clean, 1 findings at or above --fail-on, 2 the audit itself failed or is
    incomplete.
    """  # noqa: D301 - click's \b keeps the lines apart
    with progress() as report:
        audit, judged = run(query, report)
        document = render_html(audit, judged) if output == "html" else None
    render_problems(audit, err())
    if document is not None:
        click.echo(document)
    elif output == "table":
        render_table(audit, out(), show_all=show_all)
    else:
        click.echo(to_json(audit) if output == "json" else to_yaml(audit))
    raise SystemExit(exit_code(audit, fail_on))


def exit_code(audit: Audit, fail_on: str) -> int:
    """2 if anything could not be audited, 1 if a verdict is at or above `fail_on`, else 0."""
    if any(problem.severity == "error" for problem in all_problems(audit)):
        return EXIT_FAILED
    if any(judgement.verdict in _FAIL_ON[fail_on] for judgement in audit.judgements):
        return EXIT_FINDINGS
    return EXIT_CLEAN
