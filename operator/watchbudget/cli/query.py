"""The options that say which fleet is meant, and the reading of it.

`audit`, `explain` and `what-if` take the same ones, so that a person who has found the right
question can ask the next one by changing one word.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct, field
from msgspec.structs import replace

from watchbudget.api.budget import BudgetError, WatchBudget, parse_budget
from watchbudget.api.quantity import parse_quantity
from watchbudget.api.resources import DEFAULT_WATCHED, NETWORK_POLICIES, GroupResource
from watchbudget.cli.console import FailedError, Progress
from watchbudget.cost.calibration import load_calibration
from watchbudget.demand.catalogue import CatalogueError, load_catalogue
from watchbudget.inventory import manifests
from watchbudget.inventory.assumptions import ASSUMED_NODES, with_figures
from watchbudget.inventory.fleet import Fleet, Problem, Source
from watchbudget.policy.default_budget import default_budget
from watchbudget.policy.judge import judge
from watchbudget.policy.model import Audit

__all__ = ["Query", "fleet_options", "run"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Query(Struct, frozen=True):
    """Which fleet, judged by what."""

    files: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None
    nodes: int | None = None
    objects: Mapping[GroupResource, tuple[int, int | None]] = field(default_factory=dict)
    budgets: tuple[Path, ...] = ()
    catalogue: tuple[Path, ...] = ()


class _Objects(click.ParamType[tuple[GroupResource, int, int | None]]):
    name = "RESOURCE=N[:BYTES]"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[GroupResource, int, int | None]:
        name, _, figures = str(value).partition("=")
        count, colon, size = figures.partition(":")
        how = "write it like namespaces=20000 or namespaces=20000:2Ki"
        if not count.isdecimal():
            self.fail(f"{value!r} names no number of objects; {how}", param, ctx)
        try:
            resource = NETWORK_POLICIES if name == NETWORK_POLICIES.resource else GroupResource.parse(name)
            return resource, int(count), parse_quantity(size) if colon else None
        except ValueError as error:
            self.fail(f"{value!r}: {error}; {how}", param, ctx)


def fleet_options(function: _F) -> _F:
    """Add the options that say which fleet is meant; the command takes them as one `query`."""

    def build(
        *,
        files: tuple[str, ...],
        namespaces: tuple[str, ...],
        kubeconfig: Path | None,
        context: str | None,
        nodes: int | None,
        objects: tuple[tuple[GroupResource, int, int | None], ...],
        budgets: tuple[Path, ...],
        catalogue: tuple[Path, ...],
        **rest: Any,  # noqa: ANN401 - the command's own options pass through
    ) -> Any:  # noqa: ANN401
        query = Query(
            files=files,
            namespaces=namespaces,
            kubeconfig=kubeconfig,
            context=context,
            nodes=nodes,
            objects={resource: (number, size) for resource, number, size in objects},
            budgets=budgets,
            catalogue=catalogue,
        )
        return function(query=query, **rest)

    build.__name__ = function.__name__
    build.__doc__ = function.__doc__
    command: Any = build
    command.__click_params__ = getattr(function, "__click_params__", [])
    existing = click.Path(path_type=Path, exists=True, dir_okay=False)
    for option in reversed(
        (
            click.option(
                "-f",
                "--filename",
                "files",
                multiple=True,
                metavar="FILE|DIR",
                help="Audit manifests instead of a cluster; '-' reads standard input. Repeatable.",
            ),
            click.option(
                "-n",
                "--namespace",
                "namespaces",
                multiple=True,
                metavar="NS",
                help="Only DaemonSets of this namespace. Repeatable.",
            ),
            click.option("--kubeconfig", type=existing, help="The kubeconfig to use."),
            click.option("--context", metavar="NAME", help="The context to use."),
            click.option(
                "--nodes",
                type=click.IntRange(min=0, max=1_000_000),
                metavar="N",
                help=f"Price for this many nodes. Manifests alone: {ASSUMED_NODES}.",
            ),
            click.option(
                "--objects",
                type=_Objects(),
                multiple=True,
                help="Price for N objects, each of BYTES as stored (namespaces=20000:2Ki). Repeatable.",
            ),
            click.option(
                "--budget",
                "budgets",
                type=existing,
                multiple=True,
                help="Judge by the WatchBudgets of this file instead of those found. Repeatable.",
            ),
            click.option(
                "--catalogue",
                type=existing,
                multiple=True,
                help="Own catalogue entries, which win over the built-in ones. Repeatable.",
            ),
        )
    ):
        command = option(command)
    result: _F = command
    return result


def run(query: Query, report: Progress) -> tuple[Audit, Callable[[Fleet], Audit]]:
    """Read the fleet and judge it; the second value judges another fleet by the same budgets.

    Raises:
        FailedError: the fleet, the budgets or the catalogue cannot be read at all.
    """
    given, problems = _budgets_of_files(query.budgets)
    resources = _union(DEFAULT_WATCHED, given)
    fleet = _from_files(query, report) if query.files else _from_cluster(query, resources, report)
    budgets = given
    if not budgets:
        budgets, found = _parse(fleet.budget_documents, strict=bool(query.files))
        problems += found
    budgets = budgets or (default_budget(),)
    fleet = replace(
        with_figures(
            fleet,
            _union(DEFAULT_WATCHED, budgets),
            objects=query.objects,
            nodes=query.nodes,
            assume=bool(query.files),
        ),
        problems=(*fleet.problems, *problems),
    )
    try:
        catalogue = load_catalogue(query.catalogue)
    except CatalogueError as error:
        raise FailedError(str(error)) from error
    calibration = load_calibration()
    today = dt.datetime.now(dt.UTC).date()

    def judged(other: Fleet) -> Audit:
        return judge(other, budgets, today=today, catalogue=catalogue, calibration=calibration)

    report("Judging", 0, None)
    return judged(fleet), judged


def _union(
    resources: tuple[GroupResource, ...], budgets: tuple[WatchBudget, ...]
) -> tuple[GroupResource, ...]:
    wanted = dict.fromkeys(resources)
    for budget in budgets:
        wanted.update(dict.fromkeys(budget.spec.watched()))
    return tuple(wanted)


def _budgets_of_files(paths: tuple[Path, ...]) -> tuple[tuple[WatchBudget, ...], tuple[Problem, ...]]:
    if not paths:
        return (), ()
    fleet = manifests.load([str(path) for path in paths])
    budgets, problems = _parse(fleet.budget_documents, strict=True)
    problems = (*fleet.problems, *problems)
    if not budgets:
        reasons = (
            "\n".join(f"  {problem}" for problem in problems) or "  it holds no object of kind WatchBudget"
        )
        raise FailedError(f"no usable WatchBudget in {', '.join(map(str, paths))}:\n{reasons}")
    return budgets, problems


def _parse(
    documents: tuple[tuple[Source, Mapping[str, object]], ...], *, strict: bool
) -> tuple[tuple[WatchBudget, ...], tuple[Problem, ...]]:
    budgets: list[WatchBudget] = []
    problems: list[Problem] = []
    for source, raw in documents:
        try:
            budgets.append(parse_budget(raw, strict=strict))
        except BudgetError as error:
            problems.append(Problem(source, str(error)))
    return tuple(budgets), tuple(problems)


def _from_files(query: Query, report: Progress) -> Fleet:
    fleet = manifests.load(list(query.files), stdin=sys.stdin.buffer, progress=report)
    if not query.namespaces:
        return fleet
    wanted = tuple(item for item in fleet.daemon_sets if item.namespace in query.namespaces)
    return replace(fleet, daemon_sets=wanted)


def _from_cluster(query: Query, resources: tuple[GroupResource, ...], report: Progress) -> Fleet:
    from watchbudget.inventory import cluster, transport  # noqa: PLC0415 - loads the Kubernetes client

    try:
        return cluster.load(
            kubeconfig=str(query.kubeconfig) if query.kubeconfig else None,
            context=query.context,
            resources=resources,
            known=tuple(resource for resource, (_, size) in query.objects.items() if size),
            namespaces=query.namespaces or None,
            progress=report,
        )
    except transport.ClusterError as error:
        hint = (
            ""
            if query.kubeconfig or query.context
            else "\nTo audit manifests instead: watchbudget audit -f FILE|DIR"
        )
        raise FailedError(f"{error}{hint}") from error
