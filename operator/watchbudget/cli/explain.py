"""`watchbudget explain ds/NAME`."""

from __future__ import annotations

import difflib
import json

import click
from msgspec.structs import replace

from watchbudget.cli.console import FailedError, err, out, progress
from watchbudget.cli.query import Query, fleet_options, run
from watchbudget.policy.model import Audit, Judgement
from watchbudget.report.contract import audit_report
from watchbudget.report.explain import explain
from watchbudget.report.table import render_problems

__all__ = ["command"]


@click.command("explain")
@click.argument("name", metavar="ds/NAME|NAMESPACE/NAME|NAME")
@fleet_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def command(*, name: str, query: Query, output: str) -> None:
    """Show the whole chain from one DaemonSet to its price.

    This DaemonSet, its service account, the binding, the role, what that allows, whether the
    agent does it and how we know, the arithmetic, the findings, and what to change.

    \b
    watchbudget explain ds/vector -n logging
    watchbudget explain logging/vector -f manifests/
    """  # noqa: D301 - click's \b keeps the lines apart
    with progress() as report:
        audit, _ = run(query, report)
    judgement = _find(audit, name)
    render_problems(audit, err())
    if output == "json":
        alone = replace(audit, judgements=(judgement,))
        click.echo(json.dumps(audit_report(alone)["daemonSets"][0], indent=2))
    else:
        out().print(explain(judgement, audit))


def _find(audit: Audit, name: str) -> Judgement:
    wanted = name.removeprefix("ds/").removeprefix("daemonset/").removeprefix("daemonsets/")
    namespace, slash, short = wanted.rpartition("/")
    found = [
        judgement
        for judgement in audit.judgements
        if judgement.daemon_set.name == short and (not slash or judgement.daemon_set.namespace == namespace)
    ]
    if len(found) == 1:
        return found[0]
    titles = sorted("/".join(judgement.daemon_set.key) for judgement in audit.judgements)
    if found:
        several = ", ".join(sorted("/".join(judgement.daemon_set.key) for judgement in found))
        raise FailedError(f"{short} is several DaemonSets: {several}; name one of them as NAMESPACE/NAME")
    near = difflib.get_close_matches(wanted, titles, n=3, cutoff=0.4) or titles[:5]
    known = f"; did you mean {', '.join(near)}?" if near else "; there are none at all"
    raise FailedError(f"no DaemonSet {wanted}{known}")
