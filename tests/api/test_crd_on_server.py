"""The CRD on a real API server: what it accepts, what it refuses and with which words, what kubectl shows."""

import json
import random
import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import pytest
import yaml

from api.budget_samples import FULL_STATUS, INVALID, VALID, Invalid, budget
from watchbudget.api.budget import BudgetError, parse_budget
from watchbudget.api.crd import NAME, crd, crd_yaml
from watchbudget.localcluster import LocalCluster

PATH = "/apis/watchbudget.io/v1alpha1/watchbudgets"
DRY = f"{PATH}?dryRun=All&fieldValidation=Strict"
MERGE = {"Content-Type": "application/merge-patch+json"}
CONDITION = FULL_STATUS["conditions"][0]
COLUMNS = crd()["spec"]["versions"][0]["additionalPrinterColumns"]


@pytest.fixture(scope="module")
def server(cluster: LocalCluster) -> Iterator[LocalCluster]:
    cluster.apply(crd_yaml())
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=30s")
    yield cluster
    cluster.kubectl("delete", "crd", NAME, "--wait", "--timeout=60s")


@pytest.fixture
def full(server: LocalCluster) -> Iterator[LocalCluster]:
    """A budget with everything set, status included."""
    spec = VALID["what the documentation shows"]
    server.kubectl("create", "-f", "-", input=json.dumps(budget(spec, "full")))
    patch = json.dumps({"status": FULL_STATUS})
    server.kubectl("patch", "wb", "full", "--subresource=status", "--type=merge", "-p", patch)
    yield server
    server.kubectl("delete", "wb", "full")


def test_the_server_finds_no_fault_with_the_schema(server: LocalCluster):
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}"
    status = server.request("GET", path).json()["status"]
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("spec", VALID.values(), ids=VALID)
def test_accepts_what_is_valid(server: LocalCluster, spec: object):
    answer = server.request("POST", DRY, budget(spec), check=False)
    assert answer.status == 201, answer.body


@pytest.mark.parametrize("sample", INVALID, ids=lambda sample: sample.name)
def test_refuses_what_is_not_with_a_message_that_helps(server: LocalCluster, sample: Invalid):
    answer = server.request("POST", DRY, budget(sample.spec), check=False)
    assert answer.status in {400, 422}, answer.body
    message = answer.json()["message"]
    assert sample.field in message
    assert sample.server in message
    assert "evaluating rule" not in message, "a CEL rule failed instead of answering"


def test_the_samples_are_many_and_distinct():
    assert len(VALID) >= 5
    assert len({json.dumps(sample.spec) for sample in INVALID}) == len(INVALID) >= 40


_NUMBERS = " 0 1 007 1023 1024 1.5 .5 1. 1023.999 +4096 -4096 --1 1_000 1,5 0x10 NaN"
_LONG_NUMBERS = ("999999999999999999", "1152921504606846976", "1152921504606846977", "9" * 31, "9" * 32)
_UNITS = " Ki Mi Gi Ti Pi Ei k M G T P E m u n K B MB mi MiB i e3 E3 e-3 e+20 e e3Mi e1.5"
_DURATIONS = (
    " 0 0s 5 5m 9s 10s 10000ms 9999ms 99999ms 100000ms 1h 60m 61m 3600s 3601s 1h1ms 59m59s999ms 1h0m0s"
    " 0h0m0s30s 1s1s1s1s10s 1.5m 30S 1d -30s +30s 30us 30µs 30ns 1m30 m 99999h 00030s 000030s"
)


def _differences(server: LocalCluster, specs: Iterable[object]) -> list[tuple[str, int]]:
    """The specs on which server and parser disagree, with the server's answer."""
    found = []
    for spec in specs:
        answer = server.request("POST", DRY, budget(spec), check=False)
        try:
            parse_budget(budget(spec))
        except BudgetError:
            expected = {400, 422}
        else:
            expected = {201}
        if answer.status not in expected:
            found.append((json.dumps(spec), answer.status))
    return found


def test_server_and_parser_agree_on_every_quantity(server: LocalCluster):
    numbers = (*_NUMBERS.split(" "), *_LONG_NUMBERS)
    units = (*_UNITS.split(" "), " Mi", "Mi ", "Mi\n")
    texts = map("".join, product(numbers, units))
    assert not _differences(server, ({"limits": {"cachePerPod": text}} for text in texts))


def test_server_and_parser_agree_on_every_duration(server: LocalCluster):
    texts = (*_DURATIONS.split(" "), "5 m", "1m 30s", "5m\n")
    assert not _differences(server, ({"rollout": {"maxHold": text}} for text in texts))


def test_server_and_parser_agree_on_mixtures(server: LocalCluster):
    """Fields of all samples, valid or not, put together anew, with junk in between."""
    pool: dict[str, list[Any]] = {}
    for spec in (*[*VALID.values()] * 8, *(sample.spec for sample in INVALID)):
        for part, value in (spec if isinstance(spec, dict) else {}).items():
            pool.setdefault(part, []).append(value)
    chance = random.Random(20261124)  # noqa: S311 - the same mixtures every time

    def mixed(values: list[Any]) -> object:
        if chance.random() < 0.03:
            return chance.choice([None, True, 0, "", [], {}, [None], [0], "x"])
        known: dict[str, list[Any]] = {}
        for value in values:
            for key, inner in (value if isinstance(value, dict) else {}).items():
                known.setdefault(key, []).append(inner)
        if not known:
            return chance.choice(values)
        return {
            key: mixed(known[key])
            for key in chance.sample(sorted(known), chance.randint(0, min(2, len(known))))
        }

    specs = [{part: mixed(pool[part]) for part in chance.sample(sorted(pool), 2)} for _ in range(1000)]
    assert not _differences(server, specs)


def test_the_server_stores_what_was_written_and_the_shown_defaults_only(server: LocalCluster):
    stored = server.request("POST", DRY, budget({"rollout": {}})).json()["spec"]
    assert stored == {"rollout": {}, "enforcement": {"action": "Audit", "minimumEvidence": "catalogue"}}


def test_a_bare_off_reaches_the_server_as_false(server: LocalCluster):
    """Why the description says to quote it: kubectl reads YAML 1.1 as we do."""
    text = yaml.safe_dump(budget({"enforcement": {"rules": ["RULE"]}}))
    text = text.replace("RULE", "{name: duplicate-watch, action: Off}")
    done = server.kubectl("apply", "--dry-run=server", "-f", "-", input=text, check=False)
    assert done.returncode != 0
    assert "must be of type string" in done.stderr
    assert 'supported values: "Off"' in done.stderr


def table(text: str) -> dict[str, str]:
    """The one row of kubectl's table, by column; kubectl pads columns with three spaces."""
    header, row = text.rstrip("\n").split("\n")
    starts = [match.start() for match in re.finditer(r"(?<!\S)\S+", header)]
    ends = [*starts[1:], None]
    return {header[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}


def test_kubectl_get_tells_the_story_on_one_line(full: LocalCluster):
    row = table(full.kubectl("get", "wb", "full").stdout)
    assert re.fullmatch(r"\d+s", row.pop("AGE"))
    assert row == {
        "NAME": "full",
        "ACTION": "Warn",
        "GOVERNED": "23",
        "VIOLATING": "4",
        "PER-NODE": "310Mi",
        "TOTAL": "1.5Ti",
        "IN-FLIGHT": "17",
        "COMPLIANT": "False",
    }


def test_kubectl_get_wide_fills_every_column(full: LocalCluster):
    row = table(full.kubectl("get", "wb", "full", "-o", "wide").stdout)
    assert list(row) == ["NAME", *(column["name"].upper() for column in COLUMNS)]
    assert {name: row[name] for name in list(row)[9:]} == {
        "WITHIN-BUDGET": "False",
        "LIMIT-POD": "64Mi",
        "LIMIT-NODE": "256Mi",
        "LIMIT-TOTAL": "1Ti",
        "UP-TO": "1.7Ti",
        "WORST": "vector",
        "EVIDENCE": "catalogue",
        "DENIED": "1",
        "PERMITS": "20",
        "HELD": "83",
        "PAUSED": "TooManyFailures",
        "CENSUS-FRESH": "True",
        "REASON": "Findings",
    }


def test_the_full_status_survives(full: LocalCluster):
    """Nothing of it is pruned, so every field of it is in the schema; and we read back what we wrote."""
    stored = full.request("GET", f"{PATH}/full").json()
    assert stored["status"] == FULL_STATUS
    status = parse_budget(stored, strict=False).status
    assert status is not None
    assert json.loads(status.model_dump_json(exclude_none=True)) == FULL_STATUS


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("wb.spec.limits.cachePerPod", "Memory that the caches of one pod may take, such as 64Mi."),
        ("watchbudgets.spec.rollout.settle", "Default: 5s."),
        ("watchbudget.spec.exemptions.until", "The last day on which it holds (UTC), such as 2027-01-31"),
        ("wb.spec.enforcement.action", "Deny also refuses it"),
        ("wb.status.conditions", "no finding at Annotate or above that is not exempted"),
    ],
)
def test_kubectl_explain_shows_our_text(server: LocalCluster, field: str, says: str):
    text = server.kubectl("explain", field).stdout
    assert says in " ".join(text.split())


def test_spec_and_status_are_written_apart(server: LocalCluster):
    both = budget({"limits": {"cachePerPod": "1Mi"}}, "apart") | {"status": {"observedGeneration": 7}}
    created = server.request("POST", PATH, both).json()
    try:
        assert "status" not in created
        assert created["metadata"]["generation"] == 1
        patch = {"spec": {"limits": {"cachePerPod": "2Mi"}}, "status": {"observedGeneration": 8}}
        after = server.request("PATCH", f"{PATH}/apart/status", patch, headers=MERGE).json()
        assert after["status"] == {"observedGeneration": 8}
        assert after["spec"]["limits"] == {"cachePerPod": "1Mi"}
        assert after["metadata"]["generation"] == 1
        after = server.request("PATCH", f"{PATH}/apart", patch | {"status": None}, headers=MERGE).json()
        assert after["status"] == {"observedGeneration": 8}
        assert after["spec"]["limits"] == {"cachePerPod": "2Mi"}
        assert after["metadata"]["generation"] == 2
    finally:
        server.request("DELETE", f"{PATH}/apart")


def _apply_conditions(server: LocalCluster, manager: str, **conditions: str) -> None:
    written = [
        {
            "type": kind,
            "status": status,
            "lastTransitionTime": "2026-11-24T00:00:00Z",
            "reason": "Test",
            "message": manager,
        }
        for kind, status in conditions.items()
    ]
    raw = budget({}, "shared") | {"status": {"conditions": written}}
    del raw["spec"]
    arguments = ("apply", "--server-side", "--subresource=status", f"--field-manager={manager}", "-f", "-")
    server.kubectl(*arguments, "--validate=ignore", input=json.dumps(raw))


def test_conditions_of_two_managers_merge(server: LocalCluster):
    server.request("POST", PATH, budget({}, "shared"))
    try:
        _apply_conditions(server, "judge", Accepted="True", Compliant="False")
        _apply_conditions(server, "pacer", Progressing="True")
        _apply_conditions(server, "judge", Accepted="True", Compliant="True")
        conditions = server.request("GET", f"{PATH}/shared").json()["status"]["conditions"]
        assert {each["type"]: (each["status"], each["message"]) for each in conditions} == {
            "Accepted": ("True", "judge"),
            "Compliant": ("True", "judge"),
            "Progressing": ("True", "pacer"),
        }
        _apply_conditions(server, "judge", Accepted="True")
        conditions = server.request("GET", f"{PATH}/shared").json()["status"]["conditions"]
        assert {each["type"] for each in conditions} == {"Accepted", "Progressing"}
    finally:
        server.request("DELETE", f"{PATH}/shared")


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({"conditions": [CONDITION] * 2}, "status.conditions[1]"),
        ({"conditions": [CONDITION | {"status": "true"}]}, "status.conditions[0].status"),
        (
            {"conditions": [CONDITION | {"reason": "two words"}]},
            "status.conditions[0].reason",
        ),
        ({"counts": {"governed": -1, "violating": 0}}, "status.counts.governed"),
        ({"bill": {"cachePerNode": "6.5 MiB", "cacheTotal": "1Gi"}}, "status.bill.cachePerNode"),
        ({"worst": FULL_STATUS["worst"] * 11}, "status.worst"),
        ({"rollouts": FULL_STATUS["rollouts"] * 2}, "status.rollouts[1]"),
        ({"census": [FULL_STATUS["census"][0] | {"readAt": "today"}]}, "status.census[0].readAt"),
    ],
)
def test_a_nonsensical_status_is_refused(full: LocalCluster, status: dict[str, Any], field: str):
    answer = full.request(
        "PATCH", f"{PATH}/full/status?dryRun=All", {"status": status}, headers=MERGE, check=False
    )
    assert answer.status == 422, answer.body
    assert field in answer.json()["message"]


def test_emergency_changes_are_never_refused(full: LocalCluster):
    """Whatever else the budget says, one patch makes it harmless and lets held pods go."""
    spec = {
        "enforcement": {"action": "Deny", "denyInKubeSystem": True},
        "rollout": {"gate": True, "gateCritical": True, "gateUncertain": True},
    }
    full.request("PATCH", f"{PATH}/full", {"spec": spec}, headers=MERGE)
    for patch in (
        {"enforcement": {"action": "Audit"}},
        {"rollout": {"gate": False}},
        {"rollout": None},
        {"enforcement": None},
        {"limits": None},
    ):
        answer = full.request("PATCH", f"{PATH}/full?dryRun=All", {"spec": patch}, headers=MERGE, check=False)
        assert answer.status == 200, (patch, answer.body)
