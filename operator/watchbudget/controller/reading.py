"""Everything else a judgement needs, read when it is missing and again when it is old.

The watches bring DaemonSets, cluster-wide roles and budgets; what is around them is asked by namespace and
name, as the audit asks it, so that the number of requests follows the DaemonSets. What cannot be read
again stays as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from watchbudget.api.resources import DEFAULT_WATCHED, GroupResource
from watchbudget.controller.store import Key, Kind, Store, Stored, View
from watchbudget.inventory.census import Metrics, read_census, read_metrics
from watchbudget.inventory.cluster import NODES, server_version
from watchbudget.inventory.errors import ClusterError, NotFound
from watchbudget.inventory.fleet import (
    Census,
    ConfigMap,
    DaemonSet,
    Fleet,
    Problem,
    ResourceCensus,
    ServiceAccount,
)
from watchbudget.inventory.gaps import Gaps
from watchbudget.inventory.rbac import Rbac
from watchbudget.inventory.surroundings import (
    Surroundings,
    merged,
    read_accounts,
    read_config_maps,
    read_namespaces,
)

if TYPE_CHECKING:
    from watchbudget.inventory.transport import Api

__all__ = ["Around", "Reader", "Thing", "relist"]

log = logging.getLogger(__name__)


RETRY = 30.0
"""Seconds until what could not be read is asked for again, where that may help."""

MOST_EXPECTED = 500
"""DaemonSets announced and not yet seen; the oldest are forgotten first."""

EXPECTED_SECONDS = 600.0
"""How long the surroundings of a DaemonSet that was only announced are kept: it may have been refused, and
come again corrected."""


Thing = tuple[Literal["namespace", "account", "config"], Key]
"""Something that is read by name."""


class Around(Struct, frozen=True):
    """What a judgement of one DaemonSet rests on beside itself, by namespace and name."""

    namespace: str
    account: Key
    config_maps: Mapping[Key, bool]  # and whether they may be absent

    def things(self) -> tuple[Thing, ...]:
        """What has to be read, as `Reader.known` holds it."""
        namespace: Thing = ("namespace", ("", self.namespace))
        return namespace, ("account", self.account), *(("config", key) for key in self.config_maps)


class _Aged(Struct):
    """Values by key, and when each was read; None for what does not exist."""

    values: dict[Any, Any] = field(default_factory=dict)
    read: dict[Any, float] = field(default_factory=dict)
    changes: int = 0

    def wanting(self, wanted: Iterable[Any], oldest: float) -> list[Any]:
        """Keys that are missing or were read before `oldest`."""
        return [key for key in wanted if self.read.get(key, float("-inf")) < oldest]

    def put(self, key: Any, value: Any, now: float) -> None:  # noqa: ANN401 - any pair
        if key not in self.values or self.values[key] != value:
            self.values[key] = value
            self.changes += 1
        self.read[key] = now

    def keep(self, wanted: Iterable[Any], oldest: float) -> None:
        """Forget all others that were read before `oldest`: a DaemonSet may be deleted and come again."""
        alive = set(wanted)
        for key in [key for key, read in self.read.items() if read < oldest and key not in alive]:
            self.values.pop(key, None)
            del self.read[key]
            self.changes += 1


async def relist(api: Api, store: Store, kinds: Iterable[Kind] = Kind) -> bool:
    """Read everything that is watched in full, page by page, and put it in place of what is known.

    Args:
        api: to read from.
        store: to put it into.
        kinds: of all that is watched.

    Returns:
        Whether all of the types are defined. Where WatchBudget is not, nothing is governed.

    Raises:
        ClusterError: one of the lists cannot be read; those before it were taken.
    """
    defined = True
    for kind in kinds:
        began = store.now()
        found: list[tuple[Key, Stored]] = []
        version = ""
        try:
            version = await api.collect(
                kind.path,
                lambda raw, kind=kind: store.item(kind, raw),  # type: ignore[misc]
                found,
            )
        except NotFound:
            if kind is not Kind.BUDGET:
                raise
            defined, found = False, []
        store.replace(kind, found, began, version)
    return defined


class Reader:
    """Knows what is around the DaemonSets. Used from one event loop.

    Attributes:
        census: the newest one, empty before the first.
        census_age: seconds since it was read; None before the first.
        nodes: how many there are.
    """

    def __init__(self, *, refresh: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet.

        Args:
            refresh: seconds after which what was read is read again.
            clock: seconds that only ever grow.
        """
        self.census = Census()
        self.nodes = 0
        self._refresh = refresh
        self._clock = clock
        self._census_read: float | None = None
        self._counted: frozenset[GroupResource] = frozenset()
        self._around, self._accounts, self._config_maps = _Aged(), _Aged(), _Aged()
        self._told: set[str] = set()
        self._expected: dict[Key, tuple[Around, float]] = {}
        self._base: Fleet | None = None
        self._rbac: Rbac | None = None
        self._basis: tuple[int, ...] = ()

    @property
    def census_age(self) -> float | None:
        """Seconds since the census was read; None before the first."""
        return None if self._census_read is None else self._clock() - self._census_read

    async def read_census(self, api: Api, view: View) -> None:
        """Count what budgets price, and the nodes: by the server's metrics alone, so that nothing is listed.

        Raises:
            ClusterError: the server cannot be asked, or has not counted yet; what was counted before stays.
        """
        resources = _watched(view)
        problems: list[Problem] = []
        version = await server_version(api, problems)
        metrics: Metrics = await read_metrics(api, (*resources, NODES))
        nodes = metrics.of(NODES).objects
        if nodes is None:
            raise ClusterError(
                f"{api.server} does not tell in its metrics how many nodes there are: it has just started, "
                "or `get /metrics` is not allowed"
            )
        entries = await read_census(api, resources, metrics, problems, pages=False)
        self._counted = frozenset(resources)
        self.nodes = nodes
        found: dict[GroupResource, ResourceCensus] = {
            entry.resource: entry for entry in self.census.resources
        }
        found |= {entry.resource: entry for entry in entries}
        census = Census(tuple(found[each] for each in resources if each in found), version)
        if _tells_apart(self.census, census):
            self.census = census
        fresh = {entry.resource for entry in entries}
        if all(entry.resource in fresh for entry in census.resources):
            self._census_read = self._clock()
        self._tell(problems)

    def lacks_census(self, view: View) -> bool:
        """Whether a budget prices something that was never asked for."""
        return not self._counted.issuperset(_watched(view))

    async def complete(self, api: Api, view: View) -> None:
        """Read what is missing or old around the DaemonSets of the view. Gaps are logged, once each."""
        gaps = Gaps()
        now = self._clock()
        oldest = now - self._refresh
        self._expected = {
            key: each
            for key, each in self._expected.items()
            if each[1] > now and not _covered(each[0], view.daemon_sets.get(key))
        }
        expected = [around for around, _ in self._expected.values()]
        items = [stored.value for stored in view.daemon_sets.values() if isinstance(stored.value, DaemonSet)]
        namespaces = dict.fromkeys(item.namespace for item in items)
        accounts = dict.fromkeys((item.namespace, item.service_account) for item in items)
        references = _references(view.daemon_sets)
        for around in expected:
            namespaces.setdefault(around.namespace)
            accounts.setdefault(around.account)
            for key, optional in around.config_maps.items():
                references.setdefault(key, optional)
        for aged, wanted in (
            (self._around, namespaces),
            (self._accounts, accounts),
            (self._config_maps, references),
        ):
            aged.keep(wanted, oldest)
        if missing := self._around.wanting(namespaces, oldest):
            for name, part in (await read_namespaces(api, missing, gaps, _silent)).items():
                self._keep_part(name, part)
        if missing := self._accounts.wanting(accounts, oldest):
            before = copy(gaps)
            found = {
                (each.namespace, each.name): each for each in await read_accounts(api, missing, gaps, _silent)
            }
            self._put(self._accounts, missing, found, gaps, before)
        if missing := self._config_maps.wanting(references, oldest):
            before = copy(gaps)
            named = {key: references[key] for key in missing}
            maps = {
                (each.namespace, each.name): each
                for each in await read_config_maps(api, named, gaps, _silent)
            }
            self._put(self._config_maps, missing, maps, gaps, before)
        self._tell(gaps.told())

    def expect(self, key: Key, around: Around) -> None:
        """Read at the next opportunity what a DaemonSet rests on that is about to be created or changed.

        What was absent before is read again, and so are its ConfigMaps: they are often changed together.
        """
        while len(self._expected) >= MOST_EXPECTED:
            del self._expected[next(iter(self._expected))]
        self._expected[key] = around, self._clock() + EXPECTED_SECONDS
        for aged, keys in (
            (self._around, (around.namespace,)),
            (self._accounts, (around.account,)),
            (self._config_maps, around.config_maps),
        ):
            for each in keys:
                if aged is self._config_maps or aged.values.get(each) is None:
                    aged.read[each] = float("-inf")

    def expected(self) -> frozenset[Key]:
        """DaemonSets that were announced by `expect`."""
        return frozenset(self._expected)

    def known(self) -> Mapping[Thing, float]:
        """What has been read and exists, and when it was read."""
        found: dict[Thing, float] = {
            ("namespace", ("", name)): self._around.read[name]
            for name, part in self._around.values.items()
            if part.labels
        }
        for key, value in self._accounts.values.items():
            if value is not None:
                found["account", key] = self._accounts.read[key]
        for key, value in self._config_maps.values.items():
            if value is not None:
                found["config", key] = self._config_maps.read[key]
        return found

    def fleet(self, view: View) -> Fleet:
        """The snapshot that is judged; no request is sent.

        Parts that did not change are the same objects as before, so that what rests on them can be kept.
        The answers of access reviews are not in it.
        """
        basis = (self._around.changes, self._accounts.changes, self._config_maps.changes)
        if self._base is None or self._rbac is not view.rbac or self._basis != basis:
            self._rbac, self._basis = view.rbac, basis
            self._base = self._surroundings(view.rbac)
        return replace(
            self._base,
            daemon_sets=tuple(
                stored.value for stored in view.daemon_sets.values() if isinstance(stored.value, DaemonSet)
            ),
            census=self.census,
            nodes=self.nodes,
        )

    def _surroundings(self, rbac: Rbac) -> Fleet:
        around = merged(self._around.values[name] for name in sorted(self._around.values))
        service_accounts: tuple[ServiceAccount, ...] = tuple(filter(None, self._accounts.values.values()))
        config_maps: tuple[ConfigMap, ...] = tuple(filter(None, self._config_maps.values.values()))
        return Fleet(
            daemon_sets=(),
            rbac=Rbac((*rbac.roles, *around.roles), (*rbac.bindings, *around.bindings)),
            service_accounts=service_accounts,
            config_maps=config_maps,
            limit_ranges=tuple(around.limit_ranges),
            namespace_labels=around.labels,
            shared_accounts=around.shared_accounts,
            nodes_source="cluster",
            complete_rbac=around.complete,
        )

    def _keep_part(self, name: str, part: Surroundings) -> None:
        """Take what was read of a namespace, and of what could not be read what is known already."""
        known = self._around.values.get(name)
        if known is not None:
            part.fall_back(known)
        self._around.put(name, part, self._read_at(soon=part.passing))

    def _put(self, aged: _Aged, asked: list[Any], found: Mapping[Any, Any], gaps: Gaps, before: Gaps) -> None:
        """Take what was found; what was not is absent only if all could be read."""
        whole, soon = gaps.count == before.count, gaps.passing > before.passing
        for key in asked:
            if key in found or whole:
                aged.put(key, found.get(key), self._clock())
            else:
                aged.put(key, aged.values.get(key), self._read_at(soon=soon))

    def _read_at(self, *, soon: bool) -> float:
        """When something counts as read that could not be, so that it is tried again at the right time."""
        return self._clock() - (max(0.0, self._refresh - RETRY) if soon else 0.0)

    def _tell(self, problems: Iterable[Problem]) -> None:
        """Log each problem when it appears, not every time it is met."""
        texts = {str(problem) for problem in problems}
        for text in sorted(texts - self._told):
            log.warning("%s", text)
        self._told = (self._told & texts) | texts if len(self._told) < 10_000 else texts


def _covered(around: Around, stored: Stored | None) -> bool:
    """Whether the DaemonSet that was announced is there, so that its surroundings are read because of it."""
    return (
        stored is not None
        and isinstance(stored.value, DaemonSet)
        and stored.value.service_account == around.account[1]
        and {name for _, name in around.config_maps} <= stored.config_maps.keys()
    )


def _watched(view: View) -> tuple[GroupResource, ...]:
    """What budgets price, and what is priced where none says otherwise."""
    resources = dict.fromkeys(DEFAULT_WATCHED)
    for budget in view.budgets:
        resources.update(dict.fromkeys(budget.spec.watched()))
    return tuple(resources)


def _tells_apart(old: Census, new: Census) -> bool:
    """Whether the counts moved by more than one in two hundred.

    Figures are shown with two digits, and a census that is never twice the same would have the whole
    fleet judged anew every minute.
    """
    before = {entry.resource: entry for entry in old.resources}
    if old.server_version != new.server_version or set(before) != {entry.resource for entry in new.resources}:
        return True
    return any(
        abs(getattr(entry, figure) - getattr(before[entry.resource], figure)) * 200
        > getattr(before[entry.resource], figure)
        or (entry.source, entry.served) != (before[entry.resource].source, before[entry.resource].served)
        for entry in new.resources
        for figure in ("objects", "stored_bytes")
    )


def _references(daemon_sets: Mapping[Key, Stored]) -> dict[Key, bool]:
    """ConfigMaps by namespace and name, and whether all who read them can do without."""
    found: dict[Key, bool] = {}
    for (namespace, _), stored in daemon_sets.items():
        for name, optional in stored.config_maps.items():
            found[namespace, name] = found.get((namespace, name), True) and optional
    return found


def _silent(_done: int, _total: int) -> None:
    """Progress of interest to nobody."""
