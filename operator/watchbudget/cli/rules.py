"""`watchbudget rules [RULE]`."""

from __future__ import annotations

import json

import click
from rich.table import Table

from watchbudget.cli.console import out
from watchbudget.policy.rules import RULES

__all__ = ["command"]


@click.command("rules")
@click.argument("rule", required=False, type=click.Choice([rule.id for rule in RULES]))
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print it."
)
def command(*, rule: str | None, output: str) -> None:
    """List the rules, or explain one.

    \b
    watchbudget rules
    watchbudget rules memory-limit-below-peak
    """  # noqa: D301 - click's \b keeps the lines apart
    chosen = [item for item in RULES if rule in (None, item.id)]
    if output == "json":
        click.echo(
            json.dumps(
                [
                    {
                        "rule": item.id,
                        "meaning": item.meaning,
                        "highestDefaultAction": str(item.default_action),
                    }
                    for item in chosen
                ],
                indent=2,
            )
        )
    elif rule:
        click.echo(chosen[0].page())
    else:
        table = Table("RULE", "ACTS UP TO", "MEANING", box=None, pad_edge=False)
        for item in chosen:
            table.add_row(item.id, str(item.default_action), item.meaning)
        out().print(table)
        click.echo(
            "\nA rule acts as its budget says, up to the step shown; a budget can name it to go further."
        )
