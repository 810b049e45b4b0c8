"""`watchbudget what-if`."""

from __future__ import annotations

import json

import click

from watchbudget.cli.console import err, out, progress
from watchbudget.cli.query import Query, fleet_options, run
from watchbudget.report.table import render_problems
from watchbudget.report.what_if import grow, render_growth

__all__ = ["command"]


class _Factors(click.ParamType[tuple[float, ...]]):
    name = "1,2,5,10"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            factors = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 1,2,5,10", param, ctx)
        if not factors or not all(0 < factor <= 10_000 for factor in factors):
            self.fail("every factor must be above 0 and at most 10,000", param, ctx)
        return factors


@click.command("what-if")
@fleet_options
@click.option(
    "--grow", "factors", type=_Factors(), default=(1.0, 2.0, 5.0, 10.0), help="Times today's objects."
)
@click.option("--grow-nodes", "node_factors", type=_Factors(), default=(1.0,), help="Times today's nodes.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print it."
)
def command(
    *, query: Query, factors: tuple[float, ...], node_factors: tuple[float, ...], output: str
) -> None:
    """Price the fleet at other node and object counts.

    Shows where a memory limit stops being enough. The chart is in `audit -o html`.

    \b
    watchbudget what-if                                       today, 2x, 5x, 10x the objects
    watchbudget what-if --grow 1,3 --grow-nodes 1,2           and twice the nodes
    watchbudget what-if -f manifests/ --objects namespaces=50000 --nodes 2000
    """  # noqa: D301 - click's \b keeps the lines apart
    with progress() as report:
        audit, judged = run(query, report)
        points = grow(audit, judged, factors, node_factors)
    render_problems(audit, err())
    if output == "json":
        click.echo(json.dumps([point.to_dict() for point in points], indent=2))
    else:
        render_growth(points, out())
