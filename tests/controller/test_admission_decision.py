"""What the webhooks answer: on values, and over the wire."""

from __future__ import annotations

import copy
import json
import sys
from base64 import b64decode
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import jsonpatch
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller_reviews import body, serving, trusting
from fake_apiserver import async_test
from policy_samples import CALIBRATION, CENSUS, NOTHING_KNOWN, TODAY, budget, declared, fleet
from watchbudget import cli
from watchbudget.api.budget import WatchBudget
from watchbudget.controller.admission import (
    MOST_DENIALS,
    MOST_WARNINGS,
    NOT_READY,
    Snapshot,
    mutate,
    validate,
)
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse, parse
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.inventory import manifests
from watchbudget.inventory.fleet import DaemonSet, Fleet
from watchbudget.policy.judge import Judge, judge
from watchbudget.policy.model import Action

DEMO = Path(cli.__file__).parent / "demo_agents.yaml"
STRICT = budget("strict", limits={"cachePerPod": "16Mi"})
UNTOUCHED = AdmissionResponse(allowed=True)


def snapshot_of(of: Fleet, *budgets: WatchBudget, known: bool = False) -> Snapshot:
    bench = Judge(
        of,
        budgets,
        today=TODAY,
        catalogue=load_catalogue() if known else NOTHING_KNOWN,
        calibration=CALIBRATION,
    )
    return Snapshot(bench, bench.ledgers(map(bench.appraise, of.daemon_sets)))


def asked(**fields: object) -> AdmissionRequest:
    """The request as it comes from the wire."""
    return parse(body(**fields))


def agent(limit: str | None = None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of an object
    """A DaemonSet that watches all namespaces by its owner's word."""
    container: dict[str, Any] = {"name": "agent", "image": "example.org/agent:2.1.0"}
    if limit:
        container["resources"] = {"limits": {"memory": limit}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": "agent",
            "namespace": "logging",
            "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'},
        },
        "spec": {"template": {"spec": {"containers": [container]}}},
    } | changes


def created(raw: object, *budgets: WatchBudget, **fields: object) -> AdmissionResponse:
    return validate(asked(object=raw, **fields), snapshot_of(fleet(), *(budgets or (STRICT,))))


def updated(old: object, new: object, *budgets: WatchBudget, others: tuple[DaemonSet, ...] = ()):
    review = asked(operation="UPDATE", object=new, oldObject=old)
    return validate(review, snapshot_of(fleet(*others), *(budgets or (STRICT,))))


def on_nodes(raw: dict[str, Any], count: int) -> dict[str, Any]:
    return raw | {"status": {"observedGeneration": 1, "desiredNumberScheduled": count}}


def placed(raw: dict[str, Any], **pod: object) -> dict[str, Any]:
    raw = copy.deepcopy(raw)
    raw["spec"]["template"]["spec"].update(pod)
    return raw


def test_a_denial_says_what_by_whom_how_much_how_to_fix_it_and_how_to_be_exempted():
    answer = created(agent())
    assert (answer.allowed, answer.code) == (False, 403)
    lines = answer.message.split("\n")
    assert lines[0] == "DaemonSet logging/agent is not accepted as it is."
    how_much = "caches take 39 MiB per pod, up to 79 MiB; the budget allows 16 MiB."
    limit = lines.index(f"- WatchBudget strict, over-pod-limit: {how_much}")
    assert lines[limit + 1].startswith("  Fix: Watch only the namespaces it needs")
    assert "ask the owner of WatchBudget strict" in lines[-1]
    entry = yaml.safe_load(lines[-1].partition(": ")[2])
    assert entry["rules"] == ["unselective-watch", "memory-limit-missing", "over-pod-limit"]
    assert created(agent(), budget("strict", limits={"cachePerPod": "16Mi"}, exemptions=[entry])).allowed


def test_a_denial_explains_a_few_and_counts_the_rest():
    message = created(agent(), *(budget(f"b{number}") for number in range(40))).message
    assert message.count("- WatchBudget") == MOST_DENIALS
    assert f"- and {80 - MOST_DENIALS} more." in message
    assert len(message) < 8192


def test_warnings_are_one_line_with_budget_rule_number_and_remedy():
    warn = budget("mild", limits={"cachePerPod": "16Mi"}, enforcement={"action": "Warn"})
    answer = created(agent(), warn)
    assert answer.allowed
    assert len(answer.warnings) == 3
    (line,) = [each for each in answer.warnings if "over-pod-limit" in each]
    assert line.startswith(
        "WatchBudget mild, over-pod-limit: caches take 39 MiB per pod, up to 79 MiB; the budget allows "
        "16 MiB. Watch only the namespaces it needs, by a selector"
    )
    assert all(len(each) <= 256 and "\n" not in each for each in answer.warnings)


@pytest.mark.parametrize(
    ("declaration", "why"),
    [
        ("{", "not JSON"),
        ('{"pods": "none"}', "is not a watched resource"),
        ('{"namespaces": "some of\\nthem"}', 'is not "none", "all" or a label selector'),
    ],
)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_a_declaration_that_cannot_be_read_is_warned_about(declaration: str, why: str, operation: str):
    raw = agent()
    raw["metadata"]["annotations"] = {"watchbudget.io/watches": declaration}
    answer = created(raw) if operation == "CREATE" else updated(raw, raw)
    (line,) = answer.warnings
    assert answer.allowed
    assert line.startswith("WatchBudget: metadata.annotations[watchbudget.io/watches] ")
    assert why in line
    assert line.endswith("the declaration is not used")
    assert "\n" not in line


def test_many_warnings_are_counted():
    mild = [budget(f"b{number}", enforcement={"action": "Warn"}) for number in range(40)]
    answer = created(agent(), *mild)
    assert len(answer.warnings) == MOST_WARNINGS + 1
    assert answer.warnings[-1] == f"WatchBudget: and {80 - MOST_WARNINGS} more"
    assert sum(map(len, answer.warnings)) <= 4096


@pytest.mark.parametrize("action", ["Warn", "Deny"])
def test_what_is_exempted_is_not_spoken_of(action: str):
    entry = {"namespace": "logging", "name": "agent", "rules": ["memory-limit-missing"], "reason": "known"}
    answer = created(agent(), budget(enforcement={"action": action}, exemptions=[entry]))
    said = "\n".join((answer.message, *answer.warnings))
    assert "unselective-watch" in said
    assert "memory-limit-missing" not in said


def test_a_denial_comes_with_what_only_warns():
    mixed = budget(
        enforcement={"action": "Deny", "rules": [{"name": "memory-limit-missing", "action": "Warn"}]}
    )
    answer = created(agent(), mixed)
    assert not answer.allowed
    assert "memory-limit-missing" not in answer.message
    assert [line for line in answer.warnings if "memory-limit-missing" in line] == list(answer.warnings)


@pytest.mark.parametrize("action", ["Audit", "Annotate"])
def test_the_lower_steps_of_the_ladder_are_silent(action: str):
    assert created(agent(), budget(enforcement={"action": action})) == UNTOUCHED


def test_kube_system_is_denied_only_with_leave():
    raw = agent() | {"metadata": agent()["metadata"] | {"namespace": "kube-system"}}
    assert created(raw, budget(), namespace="kube-system").warnings
    assert created(raw, budget(), namespace="kube-system").allowed
    leave = budget(enforcement={"action": "Deny", "denyInKubeSystem": True})
    assert not created(raw, leave, namespace="kube-system").allowed


def test_an_agent_already_in_violation_can_be_patched():
    old, new = agent(), placed(agent(), priorityClassName="system-node-critical")
    answer = updated(old, new)
    assert answer.allowed
    assert len(answer.warnings) == 3


def test_an_update_is_denied_for_what_it_makes_worse():
    answer = updated(agent("1Gi"), agent())
    assert not answer.allowed
    assert "memory-limit-missing" in answer.message
    assert "over-pod-limit" not in answer.message
    assert any("over-pod-limit" in line for line in answer.warnings)


TOTAL = budget(
    limits={"cacheTotal": "1Gi"},
    enforcement={"action": "Warn", "rules": [{"name": "over-total-limit", "action": "Deny"}]},
)  # 39 MiB x 100 nodes is above it


def test_a_new_ones_status_is_not_believed():
    assert not created(on_nodes(agent(), 0), TOTAL).allowed
    assert not created(on_nodes(agent(), 1), TOTAL).allowed


def test_an_update_counts_the_nodes_of_the_stored_object():
    assert updated(on_nodes(agent(), 3), on_nodes(agent("1Gi"), 100), TOTAL).allowed
    answer = updated(on_nodes(agent(), 3), placed(agent(), nodeSelector={"a": "b"}), TOTAL)
    assert answer.allowed
    assert not any("over-total-limit" in line for line in answer.warnings)


REQUIRED = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"nodeSelector": {"a": "b"}}, {}),
        ({"nodeSelector": {"a": "b"}}, {"nodeSelector": {"a": "c"}}),
        ({"affinity": {"nodeAffinity": REQUIRED}}, {}),
        ({}, {"tolerations": [{"operator": "Exists"}]}),
        ({"tolerations": [{"key": f"k{n}"} for n in range(200)]}, {"tolerations": [{"operator": "Exists"}]}),
    ],
)
def test_an_update_that_reaches_more_nodes_is_priced_for_all_of_them(
    before: dict[str, object], after: dict[str, object]
):
    old = on_nodes(placed(agent(), **before), 0)
    assert not updated(old, placed(agent(), **after), TOTAL).allowed
    assert updated(old, placed(agent("1Gi"), **before), TOTAL).allowed


@pytest.mark.parametrize("field", ["nodeSelector", "tolerations"])
def test_placement_that_cannot_be_read_proves_no_count(field: str):
    old = on_nodes(placed(agent(), **{field: 5}), 0)
    assert not updated(old, placed(agent(), **{field: 5}), TOTAL).allowed


def test_others_growth_is_not_held_against_an_update():
    others = (declared("other"), declared("third"))
    full = budget(limits={"cacheTotal": "1Mi", "cachePerNode": "1Mi"})
    assert updated(on_nodes(agent("1Gi"), 100), agent("1Gi"), full, others=others).allowed
    assert not created(agent("1Gi"), full).allowed


@pytest.mark.parametrize(
    "fields",
    [
        {"operation": "DELETE", "object": None, "oldObject": agent()},
        {"operation": "CONNECT"},
        {"subResource": "status", "operation": "UPDATE", "oldObject": agent("1Gi")},
        {"kind": {"group": "", "version": "v1", "kind": "Pod"}},
        {
            "operation": "UPDATE",
            "oldObject": agent(
                "1Gi", metadata={"name": "agent", "deletionTimestamp": "2026-11-24T00:00:00Z"}
            ),
        },
    ],
)
@pytest.mark.parametrize("snapshot", [snapshot_of(fleet(), STRICT), None])
def test_deletion_and_what_is_no_daemon_set_is_never_touched(
    fields: dict[str, Any], snapshot: Snapshot | None
):
    review = asked(**{"object": agent()} | fields)
    assert validate(review, snapshot) == UNTOUCHED
    assert mutate(review, snapshot) == UNTOUCHED


def test_nothing_is_judged_before_the_cluster_has_been_read():
    review = asked(object=agent())
    assert validate(review, None) == AdmissionResponse(allowed=True, warnings=(NOT_READY,))
    assert mutate(review, None) == UNTOUCHED


def test_mutating_annotates_in_silence_also_in_a_dry_run():
    for dry_run in (False, True):
        answer = mutate(asked(object=agent(), dryRun=dry_run), snapshot_of(fleet(), STRICT))
        assert answer.allowed
        assert not answer.warnings
        result = jsonpatch.apply_patch(agent(), answer.patch)
        assert result["metadata"]["annotations"]["watchbudget.io/verdict"] == "deny"
        assert result["metadata"]["annotations"]["watchbudget.io/watches"] == '{"namespaces": "all"}'
        # The second webhook, and a reinvocation of the first, see what the first one made.
        assert mutate(asked(object=result), snapshot_of(fleet(), STRICT)).patch == ()


def test_an_update_is_annotated_as_the_stored_object_will_be_judged():
    review = asked(operation="UPDATE", object=agent(), oldObject=agent())
    snapshot = snapshot_of(fleet(), STRICT)
    assert mutate(review, snapshot) == mutate(asked(object=agent()), snapshot)


def test_claims_of_ours_are_taken_away_from_whoever_is_not_annotated():
    raw = agent()
    raw["metadata"]["annotations"]["watchbudget.io/verdict"] = "allow"
    answer = mutate(asked(object=raw), snapshot_of(fleet(), budget(enforcement={"action": "Audit"})))
    assert answer.patch == ({"op": "remove", "path": "/metadata/annotations/watchbudget.io~1verdict"},)


def test_a_name_yet_to_be_made_up_does_not_evade_the_rules():
    raw = agent(metadata=agent()["metadata"] | {"name": None, "generateName": "agent-"})
    assert not created(raw, name="").allowed
    assert mutate(asked(object=raw, name=""), snapshot_of(fleet(), STRICT)).patch


def test_the_servers_word_on_the_namespace_counts():
    raw = agent(metadata=agent()["metadata"] | {"namespace": "kube-system"})
    assert not created(raw).allowed


@pytest.mark.parametrize("name", ["a/b", "a\nb", "x" * 254, "", "\u202egnp", ["a"], None])
def test_hostile_names_get_a_clear_answer(name: object):
    answer = created(agent(metadata={"name": name}), name="")
    assert answer.allowed
    assert answer.warnings[0].startswith("WatchBudget: not judged, metadata.name ")


def test_what_is_malformed_is_named_and_the_rest_judged():
    answer = created(placed(agent(), automountServiceAccountToken="yes"))
    assert not answer.allowed
    assert any("spec.template.spec.automountServiceAccountToken" in line for line in answer.warnings)


def crowded(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An object with so many containers and tolerations, and one that tolerates as many other things."""
    containers = [{"name": f"c{n}" + "x" * 200, "image": "example.org/a:1"} for n in range(count)]
    old = placed(agent(), tolerations=[{"key": f"k{n}"} for n in range(count)], containers=containers)
    return old, placed(old, tolerations=[{"key": f"n{n}"} for n in range(count)])


def test_thousands_of_containers_are_answered_briefly():
    old, new = crowded(5000)
    answer = created(new)
    assert not answer.allowed
    assert len(answer.message) < 8192
    assert updated(old, new).warnings


def test_twice_the_containers_are_twice_the_work():
    def work(count: int) -> int:
        calls = 0

        def counts(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += 1

        old, new = crowded(count)
        sys.setprofile(counts)
        try:
            updated(old, new)
        finally:
            sys.setprofile(None)
        return calls

    work(1)  # what is done once
    assert work(1000) < 2.5 * work(500)


def test_admission_and_audit_find_the_same():
    loaded = replace(manifests.load([DEMO]), nodes=100, census=CENSUS)
    judges = (STRICT, budget("mild", enforcement={"action": "Warn"}))
    audit = judge(loaded, judges, today=TODAY, catalogue=load_catalogue(), calibration=CALIBRATION)
    snapshot = snapshot_of(loaded, *judges, known=True)
    raws = {
        raw["metadata"]["name"]: raw
        for raw in yaml.safe_load_all(DEMO.read_text())
        if raw["kind"] == "DaemonSet"
    }
    assert {item.daemon_set.name for item in audit.judgements} == set(raws)
    assert {item.verdict for item in audit.judgements} == {"deny", "warn", "allow"}
    for judgement in audit.judgements:
        namespace, name = judgement.daemon_set.key
        answer = validate(asked(object=raws[name], namespace=namespace, name=name), snapshot)
        assert answer.allowed == (judgement.verdict != "deny")
        for finding in judgement.findings:
            said = f"WatchBudget {finding.budget}, {finding.rule}: {finding.message}"
            where = [answer.message] if finding.action is Action.DENY else answer.warnings
            assert any(said in text for text in where), said
        warned = [each for each in judgement.findings if each.action is Action.WARN]
        assert len(answer.warnings) == len(warned)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
POD_FIELDS = [
    "volumes",
    "tolerations",
    "nodeSelector",
    "affinity",
    "hostNetwork",
    "initContainers",
    "resources",
    "serviceAccountName",
    "priorityClassName",
    "automountServiceAccountToken",
]
PATHS: list[tuple[str | int, ...]] = [
    ("status",),
    ("metadata",),
    ("spec",),
    ("metadata", "labels"),
    ("metadata", "annotations"),
    ("metadata", "namespace"),
    ("metadata", "name"),
    ("metadata", "generateName"),
    ("spec", "updateStrategy"),
    ("spec", "template"),
    ("spec", "template", "metadata"),
    ("spec", "template", "spec"),
    *(("spec", "template", "spec", field) for field in [*POD_FIELDS, "containers"]),
    *(
        ("spec", "template", "spec", "containers", 0, field)
        for field in ["name", "image", "args", "command", "env", "envFrom", "resources", "volumeMounts"]
    ),
]
CATALOGUED = placed(agent(), containers=[{"name": "agent", "image": "docker.io/timberio/vector:0.50.0"}])


def spoilt(raw: dict[str, Any], junk: dict[tuple[str | int, ...], Any]) -> dict[str, Any]:
    """The object with junk put in; a path that an earlier one has made impossible is left."""
    raw = copy.deepcopy(raw)
    for path, value in junk.items():
        holder: Any = raw
        try:
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    return raw


SPOILT = st.dictionaries(st.sampled_from(PATHS), JUNK, max_size=4)


@settings(max_examples=150, deadline=None)
@given(SPOILT, SPOILT, st.sampled_from(["CREATE", "UPDATE"]), st.sampled_from(["agent", ""]))
def test_no_junk_in_any_field_raises(new: dict[Any, Any], old: dict[Any, Any], operation: str, name: str):
    review = asked(
        operation=operation, name=name, object=spoilt(CATALOGUED, new), oldObject=spoilt(agent(), old)
    )
    snapshot = snapshot_of(fleet(), STRICT, TOTAL)
    answer = mutate(review, snapshot)
    assert answer.allowed
    jsonpatch.apply_patch(json.loads(json.dumps(review.object)), answer.patch)
    answer = validate(review, snapshot)
    assert answer.allowed or answer.message
    assert len(answer.message) < 8192
    assert len(answer.warnings) <= MOST_WARNINGS + 1
    assert all(0 < len(line) <= 256 and line.isprintable() for line in answer.warnings)


INTACT = [
    path for path in PATHS if path[0] != "spec" and path not in {("metadata",), ("metadata", "annotations")}
]
BESIDE = [
    *INTACT, ("spec", "updateStrategy"), ("spec", "template", "metadata"),
    *(("spec", "template", "spec", field) for field in POD_FIELDS
      if field not in {"serviceAccountName", "resources"}),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(BESIDE), JUNK, max_size=4))
def test_no_junk_beside_it_gets_a_denied_watch_through(junk: dict[Any, Any]):
    assert not created(spoilt(agent(), junk)).allowed
    # An UPDATE that begins to watch is no better than a CREATE.
    quiet = agent(metadata={"name": "agent", "namespace": "logging"})
    assert not updated(quiet, spoilt(agent(), junk)).allowed


@async_test
async def test_over_the_wire_one_denies_and_the_other_annotates():
    snapshot = snapshot_of(fleet(), STRICT)
    handlers = {
        "/mutate": partial(mutate, snapshot=snapshot),
        "/validate": partial(validate, snapshot=snapshot),
    }
    async with serving(handlers) as (_, url, _, bundle):
        connector = aiohttp.TCPConnector(ssl=trusting(bundle))
        async with aiohttp.ClientSession(connector=connector) as session:
            answers = {}
            for path in handlers:
                async with session.post(url + path, data=body(object=agent())) as reply:
                    assert reply.status == 200
                    answers[path] = (await reply.json())["response"]
    assert answers["/mutate"]["allowed"]
    result = jsonpatch.apply_patch(agent(), json.loads(b64decode(answers["/mutate"]["patch"])))
    assert result["metadata"]["annotations"]["watchbudget.io/findings"] == (
        "memory-limit-missing,over-pod-limit,unselective-watch"
    )
    assert not answers["/validate"]["allowed"]
    assert "patch" not in answers["/validate"]
    status = answers["/validate"]["status"]
    assert (status["code"], status["message"]) == (403, created(agent()).message)
