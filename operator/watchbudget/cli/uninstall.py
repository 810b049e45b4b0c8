"""`watchbudget uninstall`."""

from __future__ import annotations

import sys

import click

from watchbudget.cli.console import EXIT_CLEAN, EXIT_FAILED, progress
from watchbudget.cli.reach import Target, cluster_options, run_in

__all__ = ["command"]


@click.command("uninstall")
@cluster_options
@click.option(
    "--namespace", default="watchbudget-system", show_default=True, metavar="NS", help="The operator's."
)
@click.option("--all", "everything", is_flag=True, help="The WatchBudgets and their definition, too.")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def command(
    ctx: click.Context, *, target: Target, namespace: str, everything: bool, dry_run: bool, yes: bool
) -> None:
    """Take the operator away, in an order that leaves no pod behind.

    \b
    1. the webhook configurations: no new pod is held
    2. the held pods: their DaemonSets make them anew, ungated and all at once
    3. the operator's objects: what carries app.kubernetes.io/part-of=watchbudget, its Lease and Secret

    WatchBudgets and their definition stay, unless you say --all: a new installation goes on with them.
    So do annotations on DaemonSets, among them a lowered maxUnavailable, whose value before stands in
    watchbudget.io/max-unavailable.

    If something applies the manifests again and again (Argo CD, Flux), take them out there first.

    \b
    watchbudget uninstall --dry-run
    watchbudget uninstall
    """  # noqa: D301 - click's \b keeps the lines apart
    from watchbudget.cli.removal import find, remove  # noqa: PLC0415 - loads the Kubernetes client

    found = run_in(target, lambda cluster: find(cluster, namespace, everything=everything))
    if not found.anything:
        click.echo("Nothing of WatchBudget is installed here.", err=True)
        return
    for line in found.lines():
        click.echo(line)
    if dry_run:
        return
    if not yes and sys.stdin.isatty():
        click.confirm("Delete all of this?", abort=True, err=True)
    with progress() as report:
        problems = run_in(target, lambda cluster: remove(cluster, found, report))
    for problem in problems:
        click.echo(problem, err=True)
    click.echo("It is not complete; run it again." if problems else "WatchBudget is gone.", err=True)
    ctx.exit(EXIT_FAILED if problems else EXIT_CLEAN)
