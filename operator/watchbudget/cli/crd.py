"""`watchbudget crd`."""

from __future__ import annotations

import click

from watchbudget.api.crd import crd_yaml

__all__ = ["command"]


@click.command("crd")
def command() -> None:
    """Print the WatchBudget CustomResourceDefinition.

    \b
    watchbudget crd | kubectl apply -f -
    """  # noqa: D301 - click's \b keeps the lines apart
    click.echo(crd_yaml(), nl=False)
