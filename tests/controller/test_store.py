"""What the store holds after events and lists, in whatever order they come."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from watchbudget.api.budget import BudgetError
from watchbudget.controller.store import Key, Kind, Store, Stored

Raw = dict[str, Any]


def raw_of(kind: Kind, name: str, version: int = 1, **fields: object) -> Raw:
    """An object as a list or a watch brings it; the version is told by its labels too."""
    namespace = {"namespace": "ns"} if kind is Kind.DAEMON_SET else {}
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "generation": version,
            "labels": {"at": str(version)},
            **namespace,
        },
        **_rest(kind),
        **fields,
    }


def _rest(kind: Kind) -> Raw:
    if kind is Kind.CLUSTER_ROLE_BINDING:
        return {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}}
    if kind is Kind.DAEMON_SET:
        pod = {"containers": [{"name": "c", "image": "i"}]}
        return {"spec": {"selector": {}, "template": {"spec": pod}}}
    return {"spec": {}} if kind is Kind.BUDGET else {"rules": []}


class Counted:
    """A store with a clock by hand, and how often it said that something changed."""

    def __init__(self) -> None:
        self.time, self.changes = 0.0, 0
        self.store = Store(self._changed, clock=lambda: self.time)

    def _changed(self) -> None:
        self.changes += 1

    def holds(self, kind: Kind = Kind.CLUSTER_ROLE) -> dict[str, str]:
        """Versions by name."""
        found = self.store._objects[kind].items()
        return {name: stored.meta.resource_version for (_, name), stored in found}

    def listed(self, kind: Kind, *raws: Raw) -> list[tuple[Key, Stored]]:
        items = [self.store.item(kind, raw) for raw in raws]
        return [item for item in items if item is not None]


ROLE = Kind.CLUSTER_ROLE


def test_every_kind_is_told_listed_and_deleted():
    rig = Counted()
    for kind in Kind:
        rig.store.tell(kind, raw_of(kind, "a"))
        rig.store.replace(kind, rig.listed(kind, raw_of(kind, "a"), raw_of(kind, "b", 2)), 5.0, "9")
    view = rig.store.view()
    assert list(view.daemon_sets) == [("ns", "a"), ("ns", "b")]
    assert [role.name for role in view.rbac.roles] == ["a", "b"]
    assert [binding.name for binding in view.rbac.bindings] == ["a", "b"]
    assert [budget.name for budget in view.budgets] == ["a", "b"]
    for kind in Kind:
        rig.store.tell(kind, raw_of(kind, "a", 10), deleted=True)
        rig.store.replace(kind, [], 6.0, "11")
    view = rig.store.view()
    assert (view.daemon_sets, view.rbac.roles, view.rbac.bindings, view.budgets) == ({}, (), (), ())


def test_what_an_old_event_says_is_no_news():
    rig = Counted()
    rig.store.tell(ROLE, raw_of(ROLE, "a", 7))
    rig.store.tell(ROLE, raw_of(ROLE, "a", 5))
    rig.store.tell(ROLE, raw_of(ROLE, "a", 6), deleted=True)  # of the object before this one
    assert rig.holds() == {"a": "7"}
    rig.store.tell(ROLE, raw_of(ROLE, "a", 8), deleted=True)
    rig.store.tell(ROLE, raw_of(ROLE, "a", 7))
    assert rig.holds() == {}
    assert rig.changes == 2


def test_a_list_that_began_before_an_event_does_not_undo_it():
    rig = Counted()
    rig.store.tell(ROLE, raw_of(ROLE, "kept", 1))
    rig.store.tell(ROLE, raw_of(ROLE, "old", 2))
    rig.time = 1.0
    found = rig.listed(ROLE, raw_of(ROLE, "kept", 1), raw_of(ROLE, "old", 2), raw_of(ROLE, "deleted", 3))
    rig.time = 2.0
    rig.store.tell(ROLE, raw_of(ROLE, "made", 12))
    rig.store.tell(ROLE, raw_of(ROLE, "old", 11))
    rig.store.tell(ROLE, raw_of(ROLE, "deleted", 13), deleted=True)
    rig.store.replace(ROLE, found, 1.0, "10")
    assert rig.holds() == {"kept": "1", "old": "11", "made": "12"}


def test_an_event_that_was_late_gives_way_to_the_list():
    """It came while the list was read and is older than it: a watch that lags behind."""
    rig = Counted()
    rig.time = 2.0
    rig.store.tell(ROLE, raw_of(ROLE, "changed", 3))
    rig.store.tell(ROLE, raw_of(ROLE, "vanished", 4))
    rig.store.tell(ROLE, raw_of(ROLE, "made-again", 5), deleted=True)
    rig.store.replace(
        ROLE, rig.listed(ROLE, raw_of(ROLE, "changed", 8), raw_of(ROLE, "made-again", 9)), 1.0, "10"
    )
    assert rig.holds() == {"changed": "8", "made-again": "9"}
    rig.store.tell(ROLE, raw_of(ROLE, "vanished", 4))  # once more, by a watch that began before
    assert "vanished" not in rig.holds()


def test_a_store_that_went_back_in_time_is_followed():
    """etcd was restored from a backup: versions are lower than those that we know."""
    rig = Counted()
    rig.store.tell(ROLE, raw_of(ROLE, "a", 1000))
    rig.store.tell(ROLE, raw_of(ROLE, "b", 1001))
    rig.store.tell(ROLE, raw_of(ROLE, "c", 1002), deleted=True)
    rig.time = 1.0
    rig.store.replace(ROLE, rig.listed(ROLE, raw_of(ROLE, "a", 500), raw_of(ROLE, "c", 400)), 1.0, "600")
    assert rig.holds() == {"a": "500", "c": "400"}
    rig.store.tell(ROLE, raw_of(ROLE, "a", 601))
    assert rig.holds()["a"] == "601"


@pytest.mark.parametrize("version", ["", "x", "٣"])
def test_versions_that_are_no_numbers_are_told_apart_by_time_alone(version: str):
    rig = Counted()
    raw = raw_of(ROLE, "a")
    raw["metadata"]["resourceVersion"] = version
    rig.store.tell(ROLE, raw_of(ROLE, "a", 3))
    rig.store.tell(ROLE, raw)
    assert rig.holds() == {"a": version}
    rig.time = 1.0
    rig.store.replace(ROLE, [], 1.0, version)
    assert rig.holds() == {}


class Interleaved(RuleBasedStateMachine):
    """A server with a history, a watch that lags behind it and may break, and lists that take time."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Counted()
        self.version = 0
        self.truth: dict[str, int] = {}
        self.queue: list[tuple[Raw, bool]] = []  # what the watch will still tell
        self.pending: tuple[float, str, list[Raw]] | None = None  # a list under way
        self.highest: dict[str, int] = {}
        self.lost: set[str] = set()  # of which the watch missed something

    names = st.sampled_from("abc")

    @rule(name=names)
    def write(self, name: str) -> None:
        self.version += 1
        self.truth[name] = self.version
        self.queue.append((raw_of(ROLE, name, self.version), False))

    @rule(name=names)
    def delete(self, name: str) -> None:
        if self.truth.pop(name, None):
            self.version += 1
            self.queue.append((raw_of(ROLE, name, self.version), True))

    @precondition(lambda self: self.queue)
    @rule()
    def tell(self) -> None:
        raw, deleted = self.queue.pop(0)
        self.rig.store.tell(ROLE, raw, deleted=deleted)

    @precondition(lambda self: self.queue)
    @rule()
    def miss(self) -> None:
        """The watch broke, and began anew by a list that tells of what is there, not of what is not."""
        self.lost |= {raw["metadata"]["name"] for raw, _ in self.queue}
        self.queue = [(raw_of(ROLE, name, at), False) for name, at in self.truth.items()]

    @precondition(lambda self: self.pending is None)
    @rule()
    def begin_list(self) -> None:
        raws = [raw_of(ROLE, name, at) for name, at in self.truth.items()]
        self.pending = (self.rig.time, str(self.version), raws)

    @precondition(lambda self: self.pending is not None)
    @rule()
    def end_list(self) -> None:
        assert self.pending is not None
        began, version, raws = self.pending
        self.rig.store.replace(ROLE, self.rig.listed(ROLE, *raws), began, version)
        self.pending = None

    @invariant()
    def time_passes_and_nothing_newer_is_overwritten(self) -> None:
        self.rig.time += 1.0
        for name, version in self.rig.holds().items():
            assert int(version) >= self.highest.get(name, 0)
            self.highest[name] = int(version)

    def teardown(self) -> None:
        """Whatever happened: once the watch has caught up and a list was read, it is all there."""
        if self.pending is not None:
            self.end_list()
        self.rig.time += 1.0
        while self.queue:
            self.tell()
        missed = {name for name in self.rig.holds() if name not in self.truth}
        assert missed <= self.lost  # only what the watch never told of
        self.begin_list()
        self.end_list()
        assert self.rig.holds() == {name: str(at) for name, at in self.truth.items()}


TestInterleaved = Interleaved.TestCase


def test_only_what_a_judgement_could_tell_is_a_change():
    rig = Counted()
    raw = raw_of(Kind.DAEMON_SET, "a")
    rig.store.tell(Kind.DAEMON_SET, raw)
    for change in (
        {"annotations": {"watchbudget.io/verdict": "warn"}},  # our own
        {"managedFields": [{"manager": "x"}]},
        {"resourceVersion": "5"},
    ):
        again = copy.deepcopy(raw)
        again["metadata"] |= {"resourceVersion": "4"} | change
        rig.store.tell(Kind.DAEMON_SET, again)
    assert rig.changes == 1
    assert rig.holds(Kind.DAEMON_SET) == {"a": "5"}
    raw["metadata"] |= {"annotations": {"watchbudget.io/watches": "{}"}, "resourceVersion": "6"}
    rig.store.tell(Kind.DAEMON_SET, raw)
    assert rig.changes == 2


def test_the_status_that_we_write_is_no_news():
    rig = Counted()
    raw = raw_of(Kind.BUDGET, "a")
    rig.store.tell(Kind.BUDGET, raw)
    condition = {
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    raw = raw | {"status": {"observedGeneration": 1, "conditions": [condition]}}
    raw["metadata"] = raw["metadata"] | {"resourceVersion": "2"}
    rig.store.tell(Kind.BUDGET, raw)
    assert rig.changes == 1
    assert rig.store.view().budgets[0].status is not None


def test_roles_are_the_same_object_until_one_changes():
    rig = Counted()
    rig.store.tell(ROLE, raw_of(ROLE, "a"))
    rbac = rig.store.view().rbac
    rig.store.tell(Kind.DAEMON_SET, raw_of(Kind.DAEMON_SET, "d"))
    rig.store.tell(ROLE, raw_of(ROLE, "a"))
    assert rig.store.view().rbac is rbac
    assert rig.store.rbac_is(rbac)
    rig.store.tell(ROLE, raw_of(ROLE, "a", 2))
    assert not rig.store.rbac_is(rbac)
    assert rig.store.view().rbac is not rbac


def test_an_object_listed_again_unchanged_is_the_same_value():
    rig = Counted()
    kind = Kind.DAEMON_SET
    rig.store.tell(kind, raw_of(kind, "d"))
    before = rig.store.view().daemon_sets["ns", "d"].value
    rig.store.replace(kind, rig.listed(kind, raw_of(kind, "d")), 1.0, "3")
    assert rig.store.view().daemon_sets["ns", "d"].value is before
    assert rig.changes == 1


def test_a_view_does_not_change_afterwards():
    rig = Counted()
    rig.store.tell(Kind.DAEMON_SET, raw_of(Kind.DAEMON_SET, "d"))
    view = rig.store.view()
    rig.store.tell(Kind.DAEMON_SET, raw_of(Kind.DAEMON_SET, "d", 2), deleted=True)
    assert list(view.daemon_sets) == [("ns", "d")]


def test_a_budget_that_cannot_be_used_is_kept_apart_with_its_reason_and_its_status():
    rig = Counted()
    raw = raw_of(
        Kind.BUDGET, "bad", spec={"limits": {"cachePerPod": "much"}}, status={"observedGeneration": 3}
    )
    rig.store.tell(Kind.BUDGET, raw)
    view = rig.store.view()
    assert view.budgets == ()
    assert isinstance(view.refused["bad"], BudgetError)
    assert view.refused_status["bad"].observed_generation == 3
    assert view.budget_meta["bad"].uid == "uid-bad"
    rig.store.tell(Kind.BUDGET, raw_of(Kind.BUDGET, "bad", 2))
    assert [budget.name for budget in rig.store.view().budgets] == ["bad"]
    assert rig.store.view().refused == {}


@pytest.mark.parametrize(
    "metadata", [None, 7, [], {}, {"name": ""}, {"name": 7}, {"name": "a", "namespace": 7}]
)
@pytest.mark.parametrize("kind", Kind)
def test_objects_without_a_name_are_no_news(kind: Kind, metadata: object):
    rig = Counted()
    rig.store.tell(kind, {"metadata": metadata})
    rig.store.tell(kind, {"metadata": metadata}, deleted=True)
    assert rig.store.item(kind, {"metadata": metadata}) is None
    assert rig.changes == 0


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["spec", "rules", "roleRef", "subjects", "status", "aggregationRule", "apiVersion", "kind"]
)
metadata_fields = st.sampled_from(
    ["uid", "resourceVersion", "generation", "deletionTimestamp", "labels", "annotations"]
)


@given(
    kind=st.sampled_from(Kind),
    rest=st.dictionaries(fields, anything),
    metadata=st.dictionaries(metadata_fields, anything),
)
def test_whatever_an_object_holds_it_is_taken_or_left_out_and_the_others_stay(
    kind: Kind, rest: Mapping[str, object], metadata: Mapping[str, object]
):
    rig = Counted()
    rig.store.tell(kind, raw_of(kind, "good"))
    odd = {**raw_of(kind, "odd"), **rest}
    odd["metadata"] = odd["metadata"] | metadata | {"name": "odd"}
    rig.store.tell(kind, odd)
    rig.store.tell(kind, odd)
    view = rig.store.view()
    assert rig.changes in (1, 2)
    assert "good" in rig.holds(kind)
    assert all(stored.value is not None for stored in view.daemon_sets.values())
    rig.time = 1.0
    rig.store.replace(kind, rig.listed(kind, odd, raw_of(kind, "good")), 1.0, "3")
    rig.store.tell(kind, odd, deleted=True)
    assert "good" in rig.holds(kind)
