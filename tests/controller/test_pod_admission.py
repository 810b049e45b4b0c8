"""Pods of governed, watching DaemonSets are held; all others start as if nobody had been asked."""

from __future__ import annotations

import copy
import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import aiohttp
import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller_reviews import body, serving, trusting
from fake_apiserver import async_test
from policy_samples import CALIBRATION, NOTHING_KNOWN, TODAY, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.controller import pod_admission
from watchbudget.controller.admission import Snapshot
from watchbudget.controller.pod_admission import hold
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse, parse
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.judge import Judge

UNTOUCHED = AdmissionResponse(allowed=True)
PACED = budget(rollout={})
CRITICAL_TOO = budget(rollout={"gateCritical": True})
CALICO = "quay.io/calico/node:v3.30.0"  # of which the catalogue is certain
SEEN = declared()
GATE = {"name": "watchbudget.io/start"}


def snapshot_of(*budgets: WatchBudget, known: bool = False) -> Snapshot:
    catalogue = load_catalogue() if known else NOTHING_KNOWN
    bench = Judge(fleet(), budgets or (PACED,), today=TODAY, catalogue=catalogue, calibration=CALIBRATION)
    return Snapshot(bench, bench.ledgers([]))


def pod(node: str = "n1", *, image: str = "example.org/agent:2.1.0", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A pod as it reaches a webhook; `spec` and `metadata` are merged, `...` removes a field."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    token = f"kube-api-access-{node}"
    metadata = {
        "generateName": "agent-",
        "namespace": "logging",
        "labels": {"app": "agent", "controller-revision-hash": "7d", "pod-template-generation": "1"},
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "u", "controller": True}
        ],
    }
    spec = {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        "containers": [
            {
                "name": "agent",
                "image": image,
                "volumeMounts": [
                    {"name": token, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
                ],
            }
        ],
        "serviceAccountName": "agent",
        "volumes": [{"name": token, "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
    }
    raw = {"metadata": metadata | changes.get("metadata", {}), "spec": spec | changes.get("spec", {})}
    return {key: {k: v for k, v in part.items() if v is not ...} for key, part in raw.items()}


def asked(raw: dict[str, Any], **fields: object) -> AdmissionRequest:
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    return parse(body(**{"kind": kind, "name": "", "object": raw} | fields))


def held(
    raw: dict[str, Any],
    snapshot: Snapshot | None = None,
    *,
    item: DaemonSet | None = SEEN,
    leader: bool = True,
    **fields: object,
) -> AdmissionResponse:
    return hold(asked(raw, **fields), snapshot or snapshot_of(), lambda key: item, lambda: leader)


def patched(raw: dict[str, Any], answer: AdmissionResponse) -> dict[str, Any]:
    result: dict[str, Any] = jsonpatch.apply_patch(raw, json.loads(json.dumps(answer.patch)))
    return result


def test_a_pod_gets_gate_and_label_and_nothing_else():
    answer = held(pod())
    assert (answer.allowed, answer.warnings, answer.message) == (True, (), "")
    labels = pod()["metadata"]["labels"] | {"watchbudget.io/start": "held"}
    assert patched(pod(), answer) == pod(metadata={"labels": labels}, spec={"schedulingGates": [GATE]})


@pytest.mark.parametrize("labels", [None, ..., {}, {"watchbudget.io/start": "permitted"}, {"a/b": "c"}])
@pytest.mark.parametrize("gates", [None, ..., [], [{"name": "other"}], [GATE], [{"name": "other"}, GATE]])
def test_whatever_gates_and_labels_there_are_ours_is_there_once(labels: Any, gates: Any):  # noqa: ANN401
    raw = pod(metadata={"labels": labels}, spec={"schedulingGates": gates})
    result = patched(raw, held(raw))
    others = [gate for gate in raw["spec"].get("schedulingGates") or [] if gate != GATE]
    found = result["spec"]["schedulingGates"]
    assert (found.count(GATE), [gate for gate in found if gate != GATE]) == (1, others)
    before = raw["metadata"].get("labels") or {}
    assert result["metadata"]["labels"] == before | {"watchbudget.io/start": "held"}
    assert held(result) == UNTOUCHED  # asked again, there is nothing to add


def test_a_dry_run_is_answered_the_same():
    assert held(pod(), dryRun=True) == held(pod())


def owned(**changes: object) -> dict[str, Any]:
    return pod()["metadata"]["ownerReferences"][0] | changes


@pytest.mark.parametrize(
    "raw",
    [
        pod(metadata={"ownerReferences": ...}),
        pod(metadata={"ownerReferences": []}),
        pod(metadata={"ownerReferences": [owned(kind="ReplicaSet")]}),
        pod(metadata={"ownerReferences": [owned(apiVersion="apps.kruise.io/v1alpha1")]}),
        pod(metadata={"ownerReferences": [owned(controller=False)]}),
        pod(metadata={"ownerReferences": [owned(controller=None)]}),
        pod(metadata={"ownerReferences": [owned(name="")]}),
        pod(metadata={"ownerReferences": [owned(kind="Node", apiVersion="v1"), owned()]}),
        pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}),
        pod(spec={"nodeName": "n1"}),
        pod(spec={"affinity": ...}),
    ],
    ids=lambda raw: "",
)
def test_what_is_no_new_pod_of_a_daemonset_is_not_touched(raw: dict[str, Any]):
    assert held(raw) == UNTOUCHED


@pytest.mark.parametrize(
    "fields",
    [
        {"operation": "UPDATE", "oldObject": pod()},
        {"operation": "DELETE", "oldObject": pod(), "object": None},
        {"subResource": "binding"},
        {"kind": {"group": "", "version": "v1", "kind": "PodTemplate"}},
        {"kind": {"group": "metrics.k8s.io", "version": "v1", "kind": "Pod"}},
    ],
)
def test_nothing_else_that_happens_is_touched(fields: dict[str, Any]):
    assert held(pod(), **fields) == UNTOUCHED


@pytest.mark.parametrize(
    "other",
    [
        budget(),
        budget(rollout={"gate": False}),
        budget(rollout={}, daemonSetSelector={"matchLabels": {"a": "b"}}),
        budget(rollout={}, resources=[{"group": "", "resource": "nodes"}]),
    ],
)
def test_where_no_budget_gates_it_starts_at_once(other: WatchBudget):
    assert held(pod(), snapshot_of(other)) == UNTOUCHED


def test_without_a_leader_or_before_anything_was_read_nothing_is_held():
    assert held(pod(), leader=False) == UNTOUCHED
    assert hold(asked(pod()), None, lambda key: declared(), lambda: True) == UNTOUCHED


@pytest.mark.parametrize(
    "spec", [{"priorityClassName": "system-node-critical", "priority": 2000001000}, {"priority": 2000001000}]
)
def test_network_plugins_start_at_once_unless_a_budget_says_otherwise(spec: dict[str, Any]):
    assert held(pod(spec=spec)) == UNTOUCHED
    assert held(pod(spec=spec), snapshot_of(PACED, CRITICAL_TOO)).patch


def test_the_newest_state_of_the_daemonset_decides():
    keys = []

    def known(key: tuple[str, str]) -> DaemonSet:
        keys.append(key)
        return declared() if len(keys) != 2 else declared(watches="{}")

    snapshot = snapshot_of()
    answers = [hold(asked(pod()), snapshot, known, lambda: True) for _ in range(3)]
    assert [bool(answer.patch) for answer in answers] == [True, False, True]
    assert keys == [("logging", "agent")] * 3


def test_the_servers_word_on_the_namespace_counts():
    paced = budget(rollout={}, namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "logging"}})
    image = CALICO
    snapshot = snapshot_of(paced, known=True)
    assert held(pod(image=image), snapshot, item=None).patch
    assert held(pod(image=image), snapshot, item=None, namespace="elsewhere") == UNTOUCHED


def test_a_daemonset_nobody_has_seen_is_read_from_its_pod():
    watching, other = CALICO, "example.org/nothing:1"
    by_label = budget(rollout={}, daemonSetSelector={"matchLabels": {"app": "agent"}})
    for of in (PACED, by_label):
        assert held(pod(image=watching), snapshot_of(of, known=True), item=None).patch
    assert held(pod(image=other), snapshot_of(known=True), item=None) == UNTOUCHED
    elsewhere = budget(rollout={}, daemonSetSelector={"matchLabels": {"app": "x"}})
    assert held(pod(image=watching), snapshot_of(elsewhere, known=True), item=None) == UNTOUCHED


class Counting:
    """A judge that counts how often it prices a DaemonSet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot) -> None:
        self.count = 0
        appraise: Callable[[DaemonSet], Appraisal] = snapshot.bench.appraise

        def counting(item: DaemonSet) -> Appraisal:
            self.count += 1
            return appraise(item)

        monkeypatch.setattr(snapshot.bench, "appraise", counting)


@pytest.mark.parametrize("item", [declared(), None])
def test_in_a_storm_a_daemonset_is_priced_once(monkeypatch: pytest.MonkeyPatch, item: DaemonSet | None):
    snapshot = snapshot_of(known=True)
    judge = Counting(monkeypatch, snapshot)
    for number in range(300):
        raw = pod(f"n{number}", image=CALICO)
        assert held(raw, snapshot, item=copy.copy(item)).patch
    assert judge.count == 1


def test_what_is_remembered_is_of_one_snapshot_and_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pod_admission, "MOST_REMEMBERED", 2)
    snapshot = snapshot_of()
    judge = Counting(monkeypatch, snapshot)
    for name in ("a", "b", "c", "c", "b", "a"):
        raw = pod(metadata={"ownerReferences": [owned(name=name)]})
        assert held(raw, snapshot, item=declared(name)).patch
    assert judge.count == 4  # "a" had to go for "c"
    assert held(pod(), snapshot_of(budget())) == UNTOUCHED
    assert held(pod(), snapshot).patch


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
PATHS: list[tuple[str | int, ...]] = [
    ("metadata",),
    ("spec",),
    *(("metadata", field) for field in ("labels", "annotations", "ownerReferences", "namespace", "name")),
    *(("metadata", "ownerReferences", 0, field) for field in ("name", "kind", "apiVersion", "controller")),
    *(
        ("spec", field)
        for field in (
            "affinity",
            "containers",
            "initContainers",
            "nodeName",
            "nodeSelector",
            "priority",
            "priorityClassName",
            "resources",
            "schedulingGates",
            "serviceAccountName",
            "volumes",
        )
    ),
    *(("spec", "containers", 0, field) for field in ("name", "image", "args", "env", "volumeMounts")),
]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS), JUNK, max_size=4), st.sampled_from([declared(), None]))
def test_no_junk_in_any_field_raises_or_is_refused(junk: dict[Any, Any], item: DaemonSet | None):
    raw = pod(image=CALICO)
    for path, value in junk.items():
        holder: Any = raw
        try:
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    answer = held(raw, SNAPSHOT, item=item)
    assert (answer.allowed, answer.warnings) == (True, ())
    if answer.patch:
        result = patched(raw, answer)
        assert result["metadata"]["labels"]["watchbudget.io/start"] == "held"
        assert result["spec"]["schedulingGates"].count(GATE) == 1


SNAPSHOT = snapshot_of(known=True)


def test_a_huge_pod_is_not_read_for_the_sake_of_an_unknown_daemonset(monkeypatch: pytest.MonkeyPatch):
    snapshot = snapshot_of(known=True)
    judge = Counting(monkeypatch, snapshot)
    many = [{"name": f"c{n}", "image": CALICO, "env": [{"name": "A"}] * 9} for n in range(3000)]
    for huge in (many, [{"name": "a", "image": CALICO, "env": [{"name": "A"}] * 100_000}]):
        raw = pod(spec={"containers": huge})
        assert held(raw, snapshot, item=None) == UNTOUCHED
        assert judge.count == 0
        assert held(raw, SNAPSHOT).patch  # where the DaemonSet is known, its pod's size is no matter
    few = pod(spec={"containers": many[:100]})
    assert held(few, snapshot, item=None).patch


@async_test
async def test_over_the_wire():
    snapshot = snapshot_of()
    handlers = {"/mutate-pods": lambda request: hold(request, snapshot, lambda _: declared(), lambda: True)}
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    async with serving(handlers) as (_, url, _, bundle):
        connector = aiohttp.TCPConnector(ssl=trusting(bundle))
        data = body(kind=kind, name="", object=pod())
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(f"{url}/mutate-pods", data=data) as reply,
        ):
            response = (await reply.json())["response"]
    result = jsonpatch.apply_patch(pod(), json.loads(b64decode(response["patch"])))
    assert (response["allowed"], "warnings" in response) == (True, False)
    assert result["spec"]["schedulingGates"] == [GATE]
