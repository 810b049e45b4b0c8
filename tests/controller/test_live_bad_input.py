"""Bad input for the running operator: a clear answer each, no 500, no allow for what is denied."""

from __future__ import annotations

import base64
import copy
import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller_reviews import body
from replicas import SECRET_PATH, Replica, agent, eventually, put_budget
from watchbudget.localcluster import LocalCluster

MIB = 2**20
DENY = {"action": "Deny"}
DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"
BUDGETS = "/apis/watchbudget.io/v1alpha1/watchbudgets"
PATHS = ("/mutate-daemonsets", "/validate-daemonsets", "/mutate-pods", "/validate-clusterrolebindings")

Raw = dict[str, Any]


class Asking:
    """Sends AdmissionReviews to a replica, over one connection that is opened again where it was closed."""

    def __init__(self, replica: Replica) -> None:
        secret = replica.cluster.request("GET", SECRET_PATH).json()
        authority = base64.b64decode(secret["data"]["ca.crt"]).decode()
        trust = ssl.create_default_context(cadata=authority)
        self._connection = http.client.HTTPSConnection("127.0.0.1", replica.port, context=trust, timeout=60)

    def post(self, path: str, data: bytes) -> tuple[int, Raw]:
        """Status and decoded answer."""
        self._connection.request("POST", path, data)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def response(self, path: str, **fields: object) -> Raw:
        """The `response` of a review that can be read."""
        status, answer = self.post(path, body(**{"namespace": "default", **fields}))
        assert status == 200, answer
        response: Raw = answer["response"]
        return response


@pytest.fixture(scope="module")
def operator(control_plane: None) -> Iterator[Replica]:
    with LocalCluster() as cluster:
        cluster.add_nodes(3)
        with Replica(cluster) as replica:
            put_budget(cluster, "strict", enforcement=DENY)
            yield replica
            assert replica.metric("watchbudget_admission_errors_total") == 0
            assert "Traceback" not in replica.output()


@pytest.fixture
def cluster(operator: Replica) -> LocalCluster:
    return operator.cluster


@pytest.fixture
def asking(operator: Replica) -> Asking:
    return Asking(operator)


def padded(size: int, raw: Raw) -> Raw:
    """The object as long as that in JSON, by an annotation."""
    raw = copy.deepcopy(raw)
    annotations = raw["metadata"]["annotations"]
    annotations["padding"] = "x" * (size - len(json.dumps(raw)))
    return raw


def test_objects_as_long_as_the_api_server_takes(asking: Asking):
    large = padded(3 * MIB, agent())
    assert asking.response("/validate-daemonsets", object=large)["allowed"] is False
    harmless = copy.deepcopy(large)
    del harmless["metadata"]["annotations"]["watchbudget.io/watches"]
    changed = asking.response("/validate-daemonsets", operation="UPDATE", object=large, oldObject=harmless)
    assert changed["allowed"] is False
    patched = asking.response("/mutate-daemonsets", operation="UPDATE", object=large, oldObject=harmless)
    operations = json.loads(base64.b64decode(patched["patch"]))
    after = jsonpatch.apply_patch(large, operations)["metadata"]["annotations"]
    assert after["watchbudget.io/verdict"] == "deny"


def test_what_is_longer_is_refused(asking: Asking):
    status, answer = asking.post("/validate-daemonsets", body(object=padded(8 * MIB, agent())))
    assert (status, "longer than" in answer["message"]) == (413, True)


def test_objects_as_long_as_etcd_takes_by_way_of_the_api_server(cluster: LocalCluster):
    """Half of them fields that only few have: annotations may have 256 KiB."""
    large = agent("large")
    args = ["--flag=" + "x" * 1000] * 1000
    large["spec"]["template"]["spec"]["containers"][0]["args"] = args
    answer = cluster.request("POST", DAEMON_SETS, large, check=False)
    assert answer.status == 403
    assert "WatchBudget strict, unselective-watch" in answer.json()["message"]


def test_thousands_of_containers(asking: Asking, cluster: LocalCluster):
    many = agent()
    container = many["spec"]["template"]["spec"]["containers"][0]
    many["spec"]["template"]["spec"]["containers"] = [{**container, "name": f"c{n}"} for n in range(5000)]
    denied = asking.response("/validate-daemonsets", object=many)
    assert denied["allowed"] is False
    assert len(denied["status"]["message"]) < 8192
    assert asking.response("/mutate-daemonsets", object=many)["allowed"] is True
    answer = cluster.request("POST", f"{DAEMON_SETS}?dryRun=All", many, check=False)  # it waits for 3 s only
    assert answer.status == 403
    assert "DaemonSet default/agent is not accepted as it is." in answer.json()["message"]


@pytest.mark.parametrize(
    "name",
    [
        "a" * 5000,
        "line\nbreak\r\x1b[31m",
        "\u202eevil",
        "', DROP",
        "ä/../..",
        "{{7*7}}",
        "-" * 64,
        " ",
    ],
)
def test_hostile_names(asking: Asking, operator: Replica, name: str):
    """A name that there cannot be is left to the API server, which refuses it before we are asked."""
    hostile = agent()
    hostile["metadata"]["name"] = name
    hostile["spec"]["template"]["spec"]["containers"][0]["name"] = name
    before = len(operator.output().splitlines())
    assert asking.response("/mutate-daemonsets", object=hostile, name=name)["allowed"]
    answer = asking.response("/validate-daemonsets", object=hostile, name=name)
    said = answer["warnings"] if answer["allowed"] else answer["status"]["message"].split("\n")
    assert said
    assert all(line.isprintable() for line in said)
    assert len("".join(said)) < 8192
    logged = operator.output().splitlines()[before:]
    assert all(line.isprintable() for line in logged)
    stored = operator.cluster.request("POST", DAEMON_SETS, hostile, check=False)
    assert stored.status in {400, 422}


def test_text_that_no_api_server_sends(asking: Asking, cluster: LocalCluster):
    """Half a character. The API server puts a sign in its place, and what is stored is judged."""
    half = agent("half")
    half["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "\ud83d"}]
    for path in PATHS:
        status, answer = asking.post(path, body(object=half))
        assert (status, "the body is no JSON" in answer["message"]) == (400, True)
    refused = cluster.request("POST", DAEMON_SETS, half, check=False)
    assert refused.status == 403
    assert "WatchBudget strict, unselective-watch" in refused.json()["message"]


finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("uid", "kind", "operation", "namespace", "name", "object", "oldObject", "userInfo", "dryRun")
reviews = st.dictionaries(st.sampled_from(FIELDS), anything, min_size=1, max_size=3)
bodies = st.one_of(
    st.binary(max_size=100),
    anything.map(lambda value: json.dumps(value).encode()),
    reviews.map(lambda fields: body(**fields)),
)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_review_is_refused_and_what_is_one_is_answered(asking: Asking, path: str):
    @settings(max_examples=80)
    @given(bodies)
    def send(data: bytes) -> None:
        status, answer = asking.post(path, data)
        assert status in {200, 400}, answer
        if status == 400:
            assert answer["message"].startswith("watchbudget: ")
            assert "response" not in answer
        elif not answer["response"]["allowed"]:
            assert path == "/validate-daemonsets"
            assert answer["response"]["status"]["message"]

    send()


JUNK_AT = ("labels", "ownerReferences", "managedFields", "finalizers")
JUNK_IN = (
    "volumes",
    "tolerations",
    "nodeSelector",
    "affinity",
    "initContainers",
    "securityContext",
    "unheard",
)


@settings(max_examples=80)
@given(
    st.dictionaries(st.sampled_from(JUNK_AT), anything, max_size=2),
    st.dictionaries(st.sampled_from(JUNK_IN), anything, max_size=3),
)
def _denied_whatever_is_beside(asking: Asking, metadata: Raw, pod: Raw) -> None:
    raw = agent()
    raw["metadata"] |= metadata
    raw["spec"]["template"]["spec"] |= pod
    assert asking.response("/validate-daemonsets", object=raw)["allowed"] is False
    assert asking.response("/mutate-daemonsets", object=raw)["allowed"] is True


def test_what_is_denied_is_denied_whatever_is_beside_it(asking: Asking):
    _denied_whatever_is_beside(asking)  # type: ignore[call-arg]  # hypothesis gives the rest


@pytest.mark.parametrize(
    "path", ["/", "/validate", "/validate-daemonsets/", "/metrics", "/%00", "//mutate-pods"]
)
def test_paths_that_there_are_not(asking: Asking, path: str):
    status, answer = asking.post(path, body(object=agent()))
    assert status == 404
    assert "response" not in answer


@pytest.mark.parametrize(
    ("selector", "governed"),
    [
        ({}, True),
        ({"matchLabels": {"app": "no-such"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": o} for o in ("Exists", "DoesNotExist")]}, False),
    ],
    ids=["everything", "no such label", "nobody has it", "all others", "contradiction"],
)
def test_selectors_that_match_everything_or_nothing(cluster: LocalCluster, selector: Raw, governed: bool):
    cluster.kubectl("delete", "wb", "strict")
    try:
        put_budget(cluster, "selects", daemonSetSelector=selector, enforcement=DENY)
        answer = cluster.request("POST", f"{DAEMON_SETS}?dryRun=All", agent(), check=False)
        assert answer.status == (403 if governed else 201)
        status = cluster.request("GET", f"{BUDGETS}/selects").json()["status"]
        conditions = {each["type"]: each for each in status["conditions"]}
        assert conditions["Accepted"]["status"] == "True"
        if not governed:
            assert "selectors match no DaemonSet" in conditions["Compliant"]["message"]
    finally:
        cluster.kubectl("delete", "wb", "selects")
        put_budget(cluster, "strict", enforcement=DENY)


def exemptions(count: int) -> list[Raw]:
    return [
        {"namespace": "default", "name": f"agent-{number}", "rules": ["*"], "reason": "known"}
        for number in range(count)
    ]


def test_256_exemptions_are_followed_and_more_are_refused_with_the_reason(cluster: LocalCluster):
    put_budget(cluster, "strict", enforcement=DENY, exemptions=exemptions(256))
    path = f"{DAEMON_SETS}?dryRun=All"
    for number, status in ((0, 201), (255, 201), (256, 403)):
        assert cluster.request("POST", path, agent(f"agent-{number}"), check=False).status == status
    budget = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget", "metadata": {"name": "strict"}}
    for count in (257, 1000):
        text = json.dumps(budget | {"spec": {"enforcement": DENY, "exemptions": exemptions(count)}})
        done = cluster.kubectl("apply", "-f", "-", input=text, check=False)
        assert done.returncode == 1
        assert f"spec.exemptions: Too many: {count}: must have at most 256 items" in done.stderr
    put_budget(cluster, "strict", enforcement=DENY)
    eventually(lambda: cluster.request("POST", path, agent("agent-0"), check=False).status == 403)
