"""What the watches tell: DaemonSets, cluster-wide roles and bindings, WatchBudgets, as values.

Level-based: it holds the newest state of each object and says that something changed, not what. Watches may
miss things (kopf reports nothing for objects that vanished while it re-listed), so a full list replaces
what is here from time to time. Any thread may ask or tell, in whatever order: what was heard of before a list
began gives way to the list, and what was heard of since then is newer if its version is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from watchbudget.api.budget import API_VERSION, KIND, BudgetError, WatchBudget
from watchbudget.api.status import WatchBudgetStatus, read_status
from watchbudget.controller.annotations import OURS
from watchbudget.controller.status import read_budget
from watchbudget.inventory import parse
from watchbudget.inventory.fleet import CLUSTER, DaemonSet, Problem
from watchbudget.inventory.rbac import Binding, Rbac, Role
from watchbudget.inventory.references import config_map_references

__all__ = ["Key", "Kind", "Meta", "Store", "Stored", "View", "older"]

Key = tuple[str, str]
"""Namespace and name; the namespace is empty for what has none."""


class Kind(Enum):
    """What is watched: API version, kind and plural."""

    BUDGET = (API_VERSION, KIND, "watchbudgets")
    DAEMON_SET = ("apps/v1", "DaemonSet", "daemonsets")
    CLUSTER_ROLE = ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
    CLUSTER_ROLE_BINDING = ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings")

    @property
    def path(self) -> str:
        """Where all objects of the kind are listed."""
        version, _, plural = self.value
        return f"/apis/{version}/{plural}"


class Meta(Struct, frozen=True):
    """What writers need to know of an object."""

    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deleting: bool = False


class Stored(Struct, frozen=True):
    """One object: what could be made of it, and what could not.

    Attributes:
        value: a DaemonSet, Role, Binding or WatchBudget; None where the object cannot be used at all.
        meta: of the object.
        config_maps: of a DaemonSet: ConfigMaps it reads, and whether all its references are optional.
        problems: what is wrong with it; of a budget, why it is not accepted.
        status: of a budget that is not accepted: what was reported of it.
        seen: seconds of the store's clock.
    """

    value: DaemonSet | Role | Binding | WatchBudget | None
    meta: Meta
    config_maps: Mapping[str, bool] = field(default_factory=dict)
    problems: tuple[Problem | BudgetError, ...] = ()
    seen: float = 0.0
    status: WatchBudgetStatus | None = None

    def says_the_same(self, other: Stored) -> bool:
        """Whether a judgement could not tell them apart; status and annotations of ours are its outcome."""
        return self._told() == other._told()

    def _told(self) -> tuple[object, ...]:
        value = self.value
        if isinstance(value, WatchBudget):
            value = value.model_copy(update={"status": None})
        elif isinstance(value, DaemonSet):
            others = {name: text for name, text in value.annotations.items() if name not in OURS}
            value = replace(value, annotations=others)
        errors = tuple(map(str, self.problems))
        return value, self.config_maps, self.meta.uid, self.meta.generation, self.meta.deleting, errors


class _Gone(Struct, frozen=True):
    """When we heard that an object is gone, and the version at which it was: events before that are old."""

    seen: float
    version: str


class View(Struct, frozen=True):
    """Everything at one moment, in the order of keys. Never changed.

    Attributes:
        rbac: the same object for as long as no role and no binding changed.
        refused: budgets that cannot be used, by name, and why.
        refused_status: what was reported of those, where anything was.
    """

    daemon_sets: Mapping[Key, Stored]
    rbac: Rbac
    budgets: tuple[WatchBudget, ...]
    refused: Mapping[str, BudgetError]
    budget_meta: Mapping[str, Meta]
    refused_status: Mapping[str, WatchBudgetStatus] = field(default_factory=dict)


class Store:
    """The newest state of every object that is watched."""

    def __init__(self, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty.

        Args:
            changed: called after a change that a judgement could tell, from whatever thread told it.
            clock: seconds that only ever grow.
        """
        self._changed = changed
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[Kind, dict[Key, Stored]] = {kind: {} for kind in Kind}
        self._gone: dict[Kind, dict[Key, _Gone]] = {kind: {} for kind in Kind}
        self._rbac: Rbac | None = None

    def tell(self, kind: Kind, raw: Mapping[str, Any], *, deleted: bool = False) -> None:
        """Take one event of a watch. Objects without a usable name are no news: there can be none."""
        key = _key(raw)
        if key is None:
            return
        stored = _read(kind, raw, self._clock()) if not deleted else None
        version = _meta(raw).resource_version
        with self._lock:
            if older(version, self._version(kind, key)):
                return
            changed = self._put(kind, key, stored, version)
        if changed:
            self._changed()

    def replace(
        self, kind: Kind, listed: Iterable[tuple[Key, Stored]], began: float, version: str = ""
    ) -> None:
        """Take a full list: what it does not name is gone, unless it was made since the list began.

        Args:
            kind: of all objects listed.
            listed: keys and objects, as `item` makes them.
            began: when the list began, by the store's clock.
            version: of the list; empty if unknown.
        """
        found = dict(listed)
        with self._lock:
            known, gone = self._objects[kind], self._gone[kind]
            changed = False
            for key, old in [(key, old) for key, old in known.items() if key not in found]:
                if old.seen < began or older(old.meta.resource_version, version):
                    changed |= self._put(kind, key, None, version)
            for key, stored in found.items():
                heard = known[key].seen if key in known else gone[key].seen if key in gone else began - 1
                if heard < began or older(self._version(kind, key), stored.meta.resource_version):
                    changed |= self._put(kind, key, stored, stored.meta.resource_version)
            self._gone[kind] = {key: each for key, each in gone.items() if each.seen >= began}
        if changed:
            self._changed()

    def item(self, kind: Kind, raw: Mapping[str, Any]) -> tuple[Key, Stored] | None:
        """One object of a list, which the API server sends without its kind; None if it has no name."""
        key = _key(raw)
        return None if key is None else (key, _read(kind, raw, self._clock()))

    def stored(self, key: Key) -> Stored | None:
        """The newest DaemonSet of that name, judged or not."""
        return self._objects[Kind.DAEMON_SET].get(key)

    def rbac_is(self, rbac: Rbac) -> bool:
        """Whether these still are all cluster-wide roles and bindings."""
        return self._rbac is rbac

    def now(self) -> float:
        """Seconds of the store's clock."""
        return self._clock()

    def view(self) -> View:
        """Everything as it is now."""
        with self._lock:
            if self._rbac is None:
                self._rbac = Rbac(
                    tuple(_values(self._objects[Kind.CLUSTER_ROLE], Role)),
                    tuple(_values(self._objects[Kind.CLUSTER_ROLE_BINDING], Binding)),
                )
            budgets = sorted(self._objects[Kind.BUDGET].items())
            return View(
                daemon_sets={
                    key: stored
                    for key, stored in sorted(self._objects[Kind.DAEMON_SET].items())
                    if stored.value is not None
                },
                rbac=self._rbac,
                budgets=tuple(_values(dict(budgets), WatchBudget)),
                refused={
                    name: problem
                    for (_, name), stored in budgets
                    for problem in stored.problems
                    if isinstance(problem, BudgetError)
                },
                budget_meta={name: stored.meta for (_, name), stored in budgets},
                refused_status={
                    name: stored.status for (_, name), stored in budgets if stored.status is not None
                },
            )

    def _version(self, kind: Kind, key: Key) -> str:
        """The version that was last heard of, be it of the object or of its end."""
        known, gone = self._objects[kind].get(key), self._gone[kind].get(key)
        return known.meta.resource_version if known is not None else gone.version if gone is not None else ""

    def _put(self, kind: Kind, key: Key, stored: Stored | None, version: str) -> bool:
        """Store or remove one object; whether a judgement could tell."""
        known = self._objects[kind]
        old = known.get(key)
        if stored is None:
            self._gone[kind][key] = _Gone(self._clock(), version)
            known.pop(key, None)
            changed = old is not None
        else:
            self._gone[kind].pop(key, None)
            if old is not None and old.value == stored.value:
                stored = replace(stored, value=old.value)  # what was made of the same object can be kept
            known[key] = stored
            changed = old is None or not old.says_the_same(stored)
        if changed and kind in (Kind.CLUSTER_ROLE, Kind.CLUSTER_ROLE_BINDING):
            self._rbac = None
        return changed


def older(version: str, than: str) -> bool:
    """Whether a resourceVersion is older than another of the same kind.

    They are numbers that can be compared since Kubernetes 1.35 says so, and were before
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions). What is no number is
    not called older.
    """
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


def _key(raw: Mapping[str, Any]) -> Key | None:
    metadata = raw.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    namespace, name = metadata.get("namespace", ""), metadata.get("name")
    return (namespace, name) if isinstance(namespace, str) and isinstance(name, str) and name else None


def _read(kind: Kind, raw: Mapping[str, Any], seen: float) -> Stored:
    version, name, _ = kind.value
    raw = {"apiVersion": version, "kind": name, **raw}
    meta = _meta(raw)
    if kind is Kind.BUDGET:
        try:
            return Stored(read_budget(raw), meta, seen=seen)
        except BudgetError as error:
            return Stored(None, meta, problems=(error,), seen=seen, status=read_status(raw.get("status")))
    problems: list[Problem] = []
    match kind:
        case Kind.DAEMON_SET:
            daemon_set = parse.daemon_set(raw, CLUSTER, problems)
            references = config_map_references(raw)
            return Stored(daemon_set, meta, references, tuple(problems), seen)
        case Kind.CLUSTER_ROLE:
            return Stored(parse.role(raw, CLUSTER, problems), meta, problems=tuple(problems), seen=seen)
        case _:
            return Stored(parse.binding(raw, CLUSTER, problems), meta, problems=tuple(problems), seen=seen)


def _meta(raw: Mapping[str, Any]) -> Meta:
    metadata = raw["metadata"]
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    generation = metadata.get("generation")
    return Meta(
        uid=uid if isinstance(uid, str) else "",
        resource_version=version if isinstance(version, str) else "",
        generation=generation if isinstance(generation, int) else 0,
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def _values(objects: Mapping[Key, Stored], kind: type[Any]) -> Iterable[Any]:
    return (stored.value for _, stored in sorted(objects.items()) if isinstance(stored.value, kind))
