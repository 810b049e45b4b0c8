"""`watchbudget rollout`: see how starts stand, pause them, let them go on, and free what is held."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from rich.live import Live

from watchbudget.cli.console import EXIT_CLEAN, EXIT_FAILED, FailedError, err, out, progress
from watchbudget.cli.reach import Cluster, Target, cluster_options, name_options, run_in, the_key
from watchbudget.inventory.errors import ClusterError, NotFound

if TYPE_CHECKING:
    from watchbudget.cli.starts import State
    from watchbudget.rollout.model import Key

__all__ = ["command"]

REFRESH_SECONDS = 1.0


@click.group("rollout")
def command() -> None:
    """See how starts stand; pause them, resume them, free what is held.

    Pods of governed agents start only as fast as the API server can serve their lists. New pods are
    held by a scheduling gate until the operator gives them a permit. These commands act with your own
    credentials; all but `release` leave the work to the operator.

    \b
    watchbudget rollout status --watch
    watchbudget rollout pause ds/vector -n logging --reason "incident 4711"
    watchbudget rollout resume ds/vector -n logging
    watchbudget rollout release --all      # break glass: needs no operator
    """  # noqa: D301 - click's \b keeps the lines apart


@command.command("status")
@name_options
@cluster_options
@click.option("-w", "--watch", is_flag=True, help="Follow it: until Ctrl-C, or until the one named is done.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print it."
)
@click.option(
    "--operator-namespace",
    default="watchbudget-system",
    show_default=True,
    metavar="NS",
    help="Where the operator's Lease is.",
)
def status(
    *,
    daemon_set: str | None,
    namespace: str | None,
    target: Target,
    watch: bool,
    output: str,
    operator_namespace: str,
) -> None:
    """Show which DaemonSets start or wait, and how far they are.

    Counts of held and starting pods are read from the pods themselves; permits, failures and reasons
    are what the operator reports in the WatchBudgets.

    \b
    watchbudget rollout status
    watchbudget rollout status ds/vector -n logging --watch
    """  # noqa: D301
    from watchbudget.cli.starts import read_state  # noqa: PLC0415 - loads the Kubernetes client
    from watchbudget.cli.starts_view import state_json, state_view  # noqa: PLC0415

    key = the_key(daemon_set, namespace)

    async def once(cluster: Cluster) -> State:
        return await read_state(cluster, only=key, namespace=operator_namespace)

    def shown(state: State) -> None:
        if output == "json":
            click.echo(json.dumps(state_json(state), indent=None if watch else 2))
        else:
            out().print(state_view(state))

    async def follow(cluster: Cluster) -> None:
        await _follow(lambda: once(cluster), shown, table=output == "table", key=key)

    if watch:
        with suppress(KeyboardInterrupt):  # how it is ended
            run_in(target, follow)
    else:
        shown(run_in(target, once))


_budget_option = click.option("--budget", metavar="NAME", help="All that this WatchBudget governs.")


async def _follow(
    read: Callable[[], Awaitable[State]], shown: Callable[[State], None], *, table: bool, key: Key | None
) -> None:
    """Show every change until the DaemonSet asked about is done, or gone."""
    from watchbudget.cli.starts_view import state_view  # noqa: PLC0415 - loads the Kubernetes client

    console, before = out(), None
    state = await read()
    with Live(console=console, auto_refresh=False) as screen:
        while True:
            if console.is_terminal and table:
                screen.update(state_view(state), refresh=True)
            elif state != before:
                shown(state)
            if key is not None and state.rows[0].done:
                return
            before = state
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                state = await read()
            except NotFound as error:
                err().print(f"{error}: it was deleted", markup=False)
                return
            except ClusterError as error:  # the API server may be what is slow
                err().print(f"{error}; trying on", markup=False)


@command.command("pause")
@name_options
@click.option("--all", "everything", is_flag=True, help="All WatchBudgets that pace starts.")
@_budget_option
@click.option("--reason", default="true", metavar="TEXT", help="Why; shown in status.")
@cluster_options
def pause(
    *,
    daemon_set: str | None,
    namespace: str | None,
    everything: bool,
    budget: str | None,
    reason: str,
    target: Target,
) -> None:
    """Give no more permits: held pods stay held, started ones run on.

    Sets the annotation watchbudget.io/paused on the DaemonSet or the WatchBudget, so `kubectl annotate`
    does the same, and it outlives the operator. A pause holds on purpose: maxHold does not end it.
    While it lasts, nodes whose pods are held run without the agent.

    \b
    watchbudget rollout pause ds/vector -n logging --reason "incident 4711"
    watchbudget rollout pause --budget staged
    watchbudget rollout pause --all
    """  # noqa: D301
    from watchbudget.cli.pausing import pause_in  # noqa: PLC0415 - loads the Kubernetes client

    key = _one_of(the_key(daemon_set, namespace), budget, everything=everything)
    for line in run_in(target, lambda cluster: pause_in(cluster, key, budget, reason)):
        click.echo(line, err=True)


@command.command("resume")
@name_options
@click.option("--all", "everything", is_flag=True, help="Everything that is paused by annotation.")
@_budget_option
@cluster_options
def resume(
    *, daemon_set: str | None, namespace: str | None, everything: bool, budget: str | None, target: Target
) -> None:
    """Let starts go on.

    Removes the annotation watchbudget.io/paused. Where the operator paused a DaemonSet because its
    starts fail, that is accepted for its newest revision: annotation watchbudget.io/resumed. The next
    revision is looked at anew.

    \b
    watchbudget rollout resume ds/vector -n logging
    watchbudget rollout resume --all
    """  # noqa: D301
    from watchbudget.cli.pausing import resume_in  # noqa: PLC0415 - loads the Kubernetes client

    key = _one_of(the_key(daemon_set, namespace), budget, everything=everything)
    for line in run_in(target, lambda cluster: resume_in(cluster, key, budget)):
        click.echo(line, err=True)


@command.command("release")
@name_options
@click.option("--all", "everything", is_flag=True, help="All held pods of the cluster.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@cluster_options
@click.pass_context
def release(
    ctx: click.Context,
    *,
    daemon_set: str | None,
    namespace: str | None,
    everything: bool,
    yes: bool,
    target: Target,
) -> None:
    """Free held pods at once, unpaced, with your own credentials.

    The way out when the operator cannot be waited for: it is not needed for this. The pods start
    together, which is what they were held to prevent, so free a DaemonSet rather than all.
    Pods born later are held again as long as the webhook and a leader are there; to end that, set
    `gate: false` in the budget or delete the MutatingWebhookConfiguration watchbudget.

    Exit code 0 if all were freed, 2 if some could not be.

    \b
    By hand (they come back, and without the webhook ungated):
      kubectl delete pod -A -l watchbudget.io/start=held

    \b
    watchbudget rollout release ds/vector -n logging
    watchbudget rollout release --all
    """  # noqa: D301
    from watchbudget.cli.releasing import held_pods, release_all  # noqa: PLC0415 - loads the client

    key = _one_of(the_key(daemon_set, namespace), None, everything=everything)
    held = run_in(target, lambda cluster: held_pods(cluster, key))
    if not held:
        click.echo("No pod is held.", err=True)
        return
    nodes = len({pod.start.node for pod in held})
    if not yes and sys.stdin.isatty():
        click.confirm(f"Free {len(held)} held pods on {nodes} nodes, all at once?", abort=True, err=True)
    with progress() as report:
        left = run_in(target, lambda cluster: release_all(cluster, key, report))
    for problem in left:
        click.echo(problem, err=True)
    click.echo(f"{len(held)} pods were held; {len(left) or 'none'} could not be freed.", err=True)
    ctx.exit(EXIT_FAILED if left else EXIT_CLEAN)


def _one_of(key: tuple[str, str] | None, budget: str | None, *, everything: bool) -> tuple[str, str] | None:
    """The DaemonSet, if that is what is meant."""
    if sum((key is not None, budget is not None, everything)) != 1:
        raise FailedError("say what is meant: a DaemonSet, --budget NAME where there is that, or --all")
    return key
