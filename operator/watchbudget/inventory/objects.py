"""Objects of manifests, sorted into what a Fleet is made of.

Kinds that the audit does not need are counted and otherwise left alone. An object that is there
twice counts as it was read last, as `kubectl apply` of the same files would leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from watchbudget.inventory import parse
from watchbudget.inventory.fields import Fields, Report
from watchbudget.inventory.fleet import DaemonSet, Fleet, Problem, Source
from watchbudget.inventory.found import describe
from watchbudget.inventory.rbac import Rbac

__all__ = ["Objects", "is_object"]

_RBAC = "rbac.authorization.k8s.io"
_MOST_NESTED_LISTS = 5

_Raw = Mapping[str, Any]
_V = TypeVar("_V")


def is_object(value: object) -> bool:
    """Whether it means to be a Kubernetes object, and not other YAML such as a values file."""
    return isinstance(value, dict) and sum(key in value for key in ("apiVersion", "kind", "metadata")) > 1


class Objects:
    """Takes raw objects one by one and gives the Fleet they make."""

    def __init__(self, default_namespace: str, problems: list[Problem]) -> None:
        self.count = 0
        """Objects seen, of whatever kind."""
        self._problems = problems
        self._daemon_sets = _Store(
            partial(parse.daemon_set, namespace=default_namespace), lambda value: value.title
        )
        self._roles = _Store(
            partial(parse.role, namespace=default_namespace),
            lambda value: _title(value.title, value.namespace),
        )
        self._bindings = _Store(
            partial(parse.binding, namespace=default_namespace),
            lambda value: _title(value.title, value.namespace),
        )
        self._accounts = _Store(
            partial(parse.service_account, namespace=default_namespace),
            lambda value: f"ServiceAccount {value.namespace}/{value.name}",
        )
        self._config_maps = _Store(
            partial(parse.config_map, namespace=default_namespace),
            lambda value: f"ConfigMap {value.namespace}/{value.name}",
        )
        self._limit_ranges = _Store(
            partial(parse.limit_range, namespace=default_namespace),
            lambda value: f"LimitRange {value.namespace}/{value.name}",
        )
        self._namespaces = _Store(parse.namespace_labels, lambda value: f"Namespace {value[0]}")
        self._users = _Store(
            partial(parse.workload_account, namespace=default_namespace),
            lambda value: value[1].replace(" ", f" {value[0][0]}/", 1),
        )
        self._budgets = _Store(_as_it_is, _title_of_budget)
        self._stores: dict[tuple[str, str], _Store[Any]] = {
            ("apps", "DaemonSet"): self._daemon_sets,
            ("extensions", "DaemonSet"): self._daemon_sets,
            (_RBAC, "ClusterRole"): self._roles,
            (_RBAC, "Role"): self._roles,
            (_RBAC, "ClusterRoleBinding"): self._bindings,
            (_RBAC, "RoleBinding"): self._bindings,
            ("", "ServiceAccount"): self._accounts,
            ("", "ConfigMap"): self._config_maps,
            ("", "LimitRange"): self._limit_ranges,
            ("", "Namespace"): self._namespaces,
            ("watchbudget.io", "WatchBudget"): self._budgets,
            **{
                (group, kind): self._users
                for group in ("apps", "extensions", "batch", "")
                for kind in parse.WORKLOAD_KINDS
            },
        }

    def add(self, raw: _Raw, source: Source, lists: int = 0) -> None:
        """Take an object, or a list of them as `kubectl get -o yaml` prints it (`lists` deep in others)."""
        fields = Fields(raw, Report(source, self._problems, "object"))
        kind = fields.required_text("kind")
        version = fields.required_text("apiVersion")
        if kind is not None and kind.endswith("List") and "items" in raw:
            self._add_items(raw, kind, source, lists)
            return
        self.count += 1
        group = self._likely_group(kind) if version is None else version.rpartition("/")[0]
        store = self._stores.get((group, kind or ""))
        if store is not None:
            store.add(raw, source, self._problems)
        elif kind == "DaemonSet":
            message = f"is of {group or 'the core group'}: only the DaemonSets of apps are judged"
            self._problems.append(Problem(source, message, kind, "apiVersion", "warning"))

    def _likely_group(self, kind: str | None) -> str:
        """The group of an object that forgot its apiVersion."""
        return next((group for group, known in self._stores if known == kind), "")

    def _add_items(self, raw: _Raw, kind: str, source: Source, lists: int) -> None:
        items = raw["items"] or []
        if not isinstance(items, list):
            self._problems.append(Problem(source, f"expected a list, found {describe(items)}", kind, "items"))
            return
        if lists == _MOST_NESTED_LISTS:
            self._problems.append(Problem(source, f"lists inside {lists} lists are not read", kind, "items"))
            return
        # The items of a RoleList are Roles and need not say so; those of a List must.
        item_kind = kind.removesuffix("List")
        implied = {"apiVersion": raw.get("apiVersion"), "kind": item_kind} if item_kind else {}
        for index, item in enumerate(items):
            before = len(self._problems)
            if isinstance(item, dict):
                self.add(implied | item, source, lists + 1)
            else:
                self._problems.append(Problem(source, f"expected a mapping, found {describe(item)}", kind))
            for position, problem in enumerate(self._problems[before:], before):
                field = f"items[{index}].{problem.field}" if problem.field else f"items[{index}]"
                self._problems[position] = replace(problem, field=field)

    def fleet(self) -> Fleet:
        """What was taken so far, with nodes and census yet unknown."""
        shared: dict[tuple[str, str], tuple[str, ...]] = {}
        for account, workload in self._users.values():
            shared[account] = (*shared.get(account, ()), workload)
        return Fleet(
            daemon_sets=self._daemon_sets.values(),
            rbac=Rbac(self._roles.values(), self._bindings.values()),
            service_accounts=self._accounts.values(),
            config_maps=self._config_maps.values(),
            limit_ranges=self._limit_ranges.values(),
            namespace_labels=dict(self._namespaces.values()),
            shared_accounts=shared,
            problems=tuple(self._problems),
            budget_documents=self._budgets.with_sources(),
        )


class _Store(Generic[_V]):
    """The objects of one kind, by title, which is unique: kind, namespace and name."""

    def __init__(
        self, parser: Callable[[_Raw, Source, list[Problem]], _V | None], title: Callable[[_V], str]
    ) -> None:
        self._parse = parser
        self._title = title
        self._found: dict[str, tuple[Source, _V]] = {}

    def add(self, raw: _Raw, source: Source, problems: list[Problem]) -> None:
        value = self._parse(raw, source, problems)
        if value is None:
            return
        title = self._title(value)
        known = self._found.get(title)
        if known is not None and _differ(known[1], value):
            message = f"is also in {known[0]}, and differs: this one counts, being read last"
            problems.append(Problem(source, message, title, severity="warning"))
        self._found[title] = source, value

    def values(self) -> tuple[_V, ...]:
        return tuple(value for _, value in self._found.values())

    def with_sources(self) -> tuple[tuple[Source, _V], ...]:
        return tuple(self._found.values())


def _as_it_is(raw: _Raw, *_: object) -> _Raw:
    """WatchBudgets are validated where they are used, by the model that the CRD is made from."""
    return raw


def _title_of_budget(raw: _Raw) -> str:
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    # One without a proper name is an error of its own, and must not take another one's place.
    return f"WatchBudget {name}" if isinstance(name, str) else f"WatchBudget #{id(raw)}"


def _title(title: str, namespace: str | None) -> str:
    """`Role/x` as `Role namespace/x`, the way problems name objects."""
    kind, _, name = title.partition("/")
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _differ(one: object, other: object) -> bool:
    if isinstance(one, DaemonSet) and isinstance(other, DaemonSet):
        one = replace(one, source=other.source)
    return one != other
