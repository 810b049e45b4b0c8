"""What a judgement needs to know of the DaemonSets' own namespaces: roles, accounts, configuration.

Everything here is asked by namespace and name, so that the number of requests follows the
DaemonSets and not the namespaces of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from watchbudget.inventory import parse
from watchbudget.inventory.errors import ClusterError
from watchbudget.inventory.fleet import CLUSTER, ConfigMap, LimitRange, Problem, ServiceAccount
from watchbudget.inventory.gaps import Gaps
from watchbudget.inventory.names import possible
from watchbudget.inventory.pool import for_each
from watchbudget.inventory.rbac import Binding, Role

if TYPE_CHECKING:
    from watchbudget.inventory.transport import Api

__all__ = ["Surroundings", "merged", "read_accounts", "read_config_maps", "read_namespaces", "typed"]

Done = Callable[[int, int], None]

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_T = TypeVar("_T")


@dataclass(slots=True)
class Surroundings:
    """What was read of one namespace, or of several.

    Attributes:
        complete: whether all roles and bindings could be read.
        failed: names of the attributes that could not be read.
        passing: whether they may be read when tried again: not for a missing permission.
    """

    roles: list[Role] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    limit_ranges: list[LimitRange] = field(default_factory=list)
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    shared_accounts: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    complete: bool = True
    failed: set[str] = field(default_factory=set, compare=False)
    passing: bool = field(default=False, compare=False)

    def fall_back(self, before: Surroundings) -> None:
        """Take what could not be read from an earlier reading of the same namespace."""
        for name in self.failed:
            setattr(self, name, getattr(before, name))

    @contextmanager
    def reading(self, gaps: Gaps, effect: str, *names: str) -> Iterator[None]:
        """As `Gaps.around`, and note which attributes are missing if it fails."""
        failures = gaps.passing
        with gaps.around(effect):
            try:
                yield
            except ClusterError:
                self.failed.update(names)
                raise
        self.passing |= gaps.passing > failures


def typed(
    api_version: str,
    kind: str,
    parser: Callable[[Mapping[str, Any], Any, list[Problem]], _T | None],
    problems: list[Problem],
) -> Callable[[Mapping[str, Any]], _T | None]:
    """A parser for the items of a list, which the API server sends without their kind."""

    def parse_item(raw: Mapping[str, Any]) -> _T | None:
        return parser({"apiVersion": api_version, "kind": kind, **raw}, CLUSTER, problems)

    return parse_item


async def read_namespaces(api: Api, names: Iterable[str], gaps: Gaps, done: Done) -> dict[str, Surroundings]:
    """Read the labels, roles, bindings, limit ranges and Deployments of these namespaces, by name."""
    parts = {name: Surroundings() for name in sorted(set(names))}
    finished = 0

    async def read(name: str) -> None:
        nonlocal finished
        await _read_namespace(api, name, parts[name], gaps)
        finished += 1
        done(finished, len(parts))

    await for_each(parts, read)
    return parts


def merged(parts: Iterable[Surroundings]) -> Surroundings:
    """What was read of several namespaces as one, in the order given."""
    whole = Surroundings()
    for part in parts:
        whole.roles += part.roles
        whole.bindings += part.bindings
        whole.limit_ranges += part.limit_ranges
        whole.labels |= part.labels
        whole.shared_accounts |= part.shared_accounts
        whole.complete &= part.complete
    return whole


async def _read_namespace(api: Api, name: str, part: Surroundings, gaps: Gaps) -> None:
    if not possible(name):
        gaps.problems.append(_no_namespace(api, name))
        return
    encoded = quote(name, safe="")
    with part.reading(
        gaps,
        "the labels of namespaces are unknown, so a budget's namespaceSelector cannot match them",
        "labels",
    ):
        raw = await api.find(f"/api/v1/namespaces/{encoded}")
        if raw is None:
            gaps.problems.append(_no_namespace(api, name))
            return
        found = parse.namespace_labels(
            {"apiVersion": "v1", "kind": "Namespace", **raw}, CLUSTER, gaps.problems
        )
        if found is not None:
            part.labels[name] = found[1]
    part.complete = False
    effect = "grants by RoleBindings of the DaemonSets' namespaces are unknown"
    with part.reading(gaps, effect, "roles", "bindings", "complete"):
        rbac = f"{_RBAC}/namespaces/{encoded}"
        version = "rbac.authorization.k8s.io/v1"
        await api.collect(f"{rbac}/roles", typed(version, "Role", parse.role, gaps.problems), part.roles)
        await api.collect(
            f"{rbac}/rolebindings",
            typed(version, "RoleBinding", parse.binding, gaps.problems),
            part.bindings,
        )
        part.complete = True
    with part.reading(gaps, "default memory limits (LimitRanges) are unknown", "limit_ranges"):
        await api.collect(
            f"/api/v1/namespaces/{encoded}/limitranges",
            typed("v1", "LimitRange", parse.limit_range, gaps.problems),
            part.limit_ranges,
        )
    effect = "which Deployments share a DaemonSet's service account is unknown"
    with part.reading(gaps, effect, "shared_accounts"):
        users: list[tuple[tuple[str, str], str]] = []
        await api.collect(
            f"/apis/apps/v1/namespaces/{encoded}/deployments",
            typed("apps/v1", "Deployment", parse.workload_account, gaps.problems),
            users,
        )
        for account, title in users:
            part.shared_accounts[account] = (*part.shared_accounts.get(account, ()), title)


def _no_namespace(api: Api, name: str) -> Problem:
    return Problem(CLUSTER, f"{api.server}: there is no namespace {name[:253]!r}")


async def read_accounts(
    api: Api, accounts: Iterable[tuple[str, str]], gaps: Gaps, done: Done
) -> tuple[ServiceAccount, ...]:
    """GET these service accounts, given as (namespace, name); an absent one is left out."""
    names = sorted(key for key in set(accounts) if all(map(possible, key)))
    found: dict[tuple[str, str], ServiceAccount] = {}

    async def read(key: tuple[str, str]) -> None:
        namespace, name = (quote(part, safe="") for part in key)
        with gaps.around("whether service accounts mount their token by default is unknown; taken as yes"):
            raw = await api.find(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
            account = parse.service_account(raw, CLUSTER, gaps.problems) if raw else None
            if account is not None:
                found[key] = account
        done(len(found), len(names))

    await for_each(names, read)
    return tuple(found[key] for key in names if key in found)


async def read_config_maps(
    api: Api, references: Mapping[tuple[str, str], bool], gaps: Gaps, done: Done
) -> tuple[ConfigMap, ...]:
    """GET the ConfigMaps that DaemonSets refer to.

    Args:
        api: the server.
        references: (namespace, name), and whether they may be absent (`optional`).
        gaps: gets a warning for each that is absent and may not be.
        done: called with the number read and to be read.
    """
    names = sorted(references)
    found: dict[tuple[str, str], ConfigMap] = {}
    finished = 0

    async def read(key: tuple[str, str]) -> None:
        nonlocal finished
        namespace, name = (quote(part, safe="") for part in key)
        with gaps.around("agents that are configured by a ConfigMap are judged without their configuration"):
            asked = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
            raw = await api.find(asked) if all(map(possible, key)) else None
            if raw is None and not references[key]:
                message = "a DaemonSet refers to it, and it does not exist"
                gaps.problems.append(
                    Problem(CLUSTER, message, f"ConfigMap {'/'.join(key)}", severity="warning")
                )
            value = parse.config_map(raw, CLUSTER, gaps.problems) if raw else None
            if value is not None:
                found[key] = value
        finished += 1
        done(finished, len(names))

    await for_each(names, read)
    return tuple(found[key] for key in names if key in found)
