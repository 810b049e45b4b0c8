"""Admission as people meet it: kubectl, the real API server, and the operator as it is installed."""

from __future__ import annotations

import datetime as dt
import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import in_a_pod
from operator_process import NAMESPACE, OperatorProcess
from replicas import Replica, Reviewer, agent
from watchbudget import cli
from watchbudget.controller import tls
from watchbudget.localcluster import LocalCluster

DEMO = Path(cli.__file__).parent / "demo_agents.yaml"
VECTOR, CALICO = "logging/vector", "kube-system/calico-node"


@pytest.fixture(scope="module")
def cluster_with_operator(control_plane: None) -> Iterator[tuple[LocalCluster, OperatorProcess]]:
    with LocalCluster() as cluster:
        cluster.add_nodes(3)
        cluster.seed(namespaces=200, network_policies_per_namespace=1)
        cluster.wait_until_counted()
        with OperatorProcess(cluster, wrapper=in_a_pod.WRAPPER) as operator:
            yield cluster, operator


@pytest.fixture
def cluster(cluster_with_operator: tuple[LocalCluster, OperatorProcess]) -> Iterator[LocalCluster]:
    """The cluster without budgets and without the demo's agents."""
    cluster, operator = cluster_with_operator
    yield cluster
    cluster.kubectl("delete", "wb", "--all")
    cluster.kubectl("delete", "ds", "-A", "--all", "--wait=true")
    cluster.kubectl("delete", "-f", str(DEMO), "--ignore-not-found", "--wait=true")
    eventually(lambda: "watchbudget_daemonsets{" not in operator.probe("/metrics")[1])


def eventually(holds: Callable[[], Any], seconds: float = 20) -> Any:  # noqa: ANN401 - whatever it gives
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, f"after {seconds} s still {value!r}"
        time.sleep(0.1)
    return value


def put_budget(cluster: LocalCluster, name: str, **spec: object) -> None:
    """Apply a budget and wait until it judges: until its status is that of this generation."""
    body = {
        "apiVersion": "watchbudget.io/v1alpha1",
        "kind": "WatchBudget",
        "metadata": {"name": name},
        "spec": spec,
    }
    cluster.apply(json.dumps(body))
    eventually(lambda: judged(cluster, name))


def judged(cluster: LocalCluster, name: str) -> bool:
    budget = get(cluster, "wb", name)
    return budget.get("status", {}).get("observedGeneration") == budget["metadata"]["generation"]


def get(cluster: LocalCluster, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
    value: dict[str, Any] = json.loads(
        cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout
    )
    return value


def annotations(cluster: LocalCluster, daemon_set: str) -> dict[str, str]:
    namespace, name = daemon_set.split("/")
    found = get(cluster, "ds", name, namespace)["metadata"].get("annotations", {})
    return {key: value for key, value in found.items() if key.startswith("watchbudget.io/")}


def demo(*names: str) -> list[dict[str, Any]]:
    """The demo's objects, in order, with only those DaemonSets."""
    documents = yaml.safe_load_all(DEMO.read_text())
    return [each for each in documents if each["kind"] != "DaemonSet" or each["metadata"]["name"] in names]


def vector() -> dict[str, Any]:
    return next(each for each in demo("vector") if each["kind"] == "DaemonSet")


def apply(cluster: LocalCluster, *objects: dict[str, Any], check: bool = True) -> Any:  # noqa: ANN401
    text = "---\n".join(yaml.safe_dump(each) for each in objects)
    return cluster.kubectl("apply", "-f", "-", input=text, check=check)


def warnings(done: Any) -> list[str]:  # noqa: ANN401
    return [line for line in done.stderr.splitlines() if line.startswith("Warning: WatchBudget")]


def test_audit_only_reports(cluster: LocalCluster):
    put_budget(cluster, "timid")
    assert warnings(apply(cluster, *demo("vector"))) == []
    eventually(lambda: get(cluster, "wb", "timid")["status"]["counts"].get("watching") == 1)
    assert annotations(cluster, VECTOR) == {}


def test_annotate_writes_the_price_at_creation_and_nothing_is_said(cluster: LocalCluster):
    put_budget(cluster, "notes", enforcement={"action": "Annotate"})
    assert warnings(apply(cluster, *demo("vector"))) == []
    found = annotations(cluster, VECTOR)
    assert found["watchbudget.io/verdict"] == "allow"
    assert "unselective-watch" in found["watchbudget.io/findings"].split(",")
    assert found["watchbudget.io/cache-per-pod"].endswith("Mi")
    assert get(cluster, "ds", "vector", "logging")["metadata"]["generation"] == 1


def test_where_nothing_can_be_capped_the_leader_annotates_a_moment_later(cluster: LocalCluster):
    put_budget(cluster, "notes", enforcement={"action": "Annotate"})
    parts = [each for each in demo("vector") if each["kind"] != "DaemonSet"]
    narrow = vector()
    narrow["spec"]["updateStrategy"] = {"rollingUpdate": {"maxUnavailable": 1}}
    assert warnings(apply(cluster, *parts, narrow)) == []
    found = eventually(lambda: annotations(cluster, VECTOR), 10)
    assert found["watchbudget.io/verdict"] == "allow"
    assert "rollout-too-wide" not in found["watchbudget.io/findings"].split(",")
    assert get(cluster, "ds", "vector", "logging")["metadata"]["generation"] == 1


def test_warnings_come_out_of_kubectl_as_one_readable_line_each(cluster: LocalCluster):
    put_budget(cluster, "mild", enforcement={"action": "Warn"}, limits={"cachePerPod": "1Mi"})
    lines = warnings(apply(cluster, *demo("vector")))
    rules = {line.split(",")[1].split(":")[0].strip() for line in lines}
    assert {"unselective-watch", "over-pod-limit"} <= rules
    assert all(len(line.removeprefix("Warning: ")) <= 256 for line in lines)
    over = next(line for line in lines if "over-pod-limit" in line)
    assert "mild" in over
    assert "the budget allows 1 MiB" in over
    assert "Vector: set insert_namespace_fields: false" in over


def test_a_whole_agent_in_one_file_is_denied_at_its_first_creation(cluster: LocalCluster):
    put_budget(cluster, "strict", enforcement={"action": "Deny"}, limits={"cachePerPod": "1Ki"})
    done = apply(cluster, *demo("vector"), check=False)
    assert done.returncode == 1
    assert "DaemonSet logging/vector is not accepted as it is." in done.stderr
    assert re.search(r"caches take [\d.]+ MiB per pod.*; the budget allows 1 KiB", done.stderr)
    assert "Fix: Vector: set insert_namespace_fields: false" in done.stderr
    assert "ask the owner of WatchBudget strict" in done.stderr
    assert "exemptions" in done.stderr
    assert cluster.kubectl("get", "ds", "vector", "-n", "logging", check=False).returncode == 1


def test_the_exemption_that_a_denial_asks_for_lets_it_in(cluster: LocalCluster):
    put_budget(cluster, "strict", enforcement={"action": "Deny"})
    said = apply(cluster, *demo("vector"), check=False).stderr
    entry = yaml.safe_load(said.split("spec.exemptions: ")[1].splitlines()[0])
    put_budget(cluster, "strict", enforcement={"action": "Deny"}, exemptions=[entry | {"reason": "known"}])
    assert apply(cluster, *demo("vector")).returncode == 0


def test_kube_system_is_judged_and_denied_only_by_leave(cluster: LocalCluster):
    put_budget(cluster, "strict", enforcement={"action": "Deny"})
    assert any(
        "calico-node" in line or "Calico" in line for line in warnings(apply(cluster, *demo("calico-node")))
    )
    cluster.kubectl("delete", "ds", "calico-node", "-n", "kube-system")
    put_budget(cluster, "strict", enforcement={"action": "Deny", "denyInKubeSystem": True})
    done = apply(cluster, *demo("calico-node"), check=False)
    assert done.returncode == 1
    assert "DaemonSet kube-system/calico-node is not accepted as it is." in done.stderr


def test_each_rule_of_each_budget_goes_as_far_as_it_is_told(cluster: LocalCluster):
    by_rule = [{"name": "unselective-watch", "action": "Warn"}]
    strict = {"action": "Deny", "rules": by_rule}
    put_budget(cluster, "strict", enforcement=strict, limits={"cachePerPod": "1Ki"})
    put_budget(cluster, "mild", enforcement={"action": "Warn"})
    done = apply(cluster, *demo("vector"), check=False)
    assert done.returncode == 1
    denied = {line.split(":")[0] for line in done.stderr.splitlines() if line.startswith("- WatchBudget")}
    assert "- WatchBudget strict, over-pod-limit" in denied
    assert not [line for line in denied if "mild" in line or "unselective-watch" in line]
    told = {line.removeprefix("Warning: WatchBudget ").split(":")[0] for line in warnings(done)}
    assert {"strict, unselective-watch", "mild, unselective-watch"} <= told


def test_permission_alone_counts_only_where_a_budget_says_so(cluster: LocalCluster):
    unknown = vector()
    (container,) = unknown["spec"]["template"]["spec"]["containers"]
    container |= {"name": "unknown", "image": "registry.example/unknown:1"}
    apply(cluster, *demo())
    put_budget(cluster, "strict", enforcement={"action": "Deny"})
    assert warnings(apply(cluster, unknown)) == []
    cluster.kubectl("delete", "ds", "vector", "-n", "logging")
    put_budget(cluster, "strict", enforcement={"action": "Deny", "minimumEvidence": "granted"})
    done = apply(cluster, unknown, check=False)
    assert done.returncode == 1
    assert "WatchBudget strict, unselective-watch: every pod may keep a copy of all namespaces" in done.stderr


def test_sums_deny_no_change_that_adds_nothing_to_them(cluster: LocalCluster):
    apply(cluster, agent())
    limits = {"cachePerNode": "1Ki", "cacheTotal": "1Ki"}
    put_budget(cluster, "sums", enforcement={"action": "Deny"}, limits=limits)
    done = apply(cluster, agent(image="example.org/agent:3"), check=False)
    assert done.returncode == 0, done.stderr
    told = {line.split(",")[1].split(":")[0].strip() for line in warnings(done)}
    assert {"over-node-limit", "over-total-limit"} <= told
    wider = agent(image="example.org/agent:3")
    both = {"namespaces": "all", "networkpolicies.networking.k8s.io": "all"}
    wider["metadata"]["annotations"]["watchbudget.io/watches"] = json.dumps(both)
    for item, rules_broken in (
        (wider, ("over-total-limit", "unselective-watch")),
        (agent("new"), ("over-total-limit",)),
    ):
        done = apply(cluster, item, check=False)
        assert done.returncode == 1
        for rule in rules_broken:
            assert f"- WatchBudget sums, {rule}: " in done.stderr


def test_an_agent_in_violation_may_be_changed_but_not_made_worse(cluster: LocalCluster):
    apply(cluster, *demo("vector"))
    put_budget(cluster, "strict", enforcement={"action": "Deny"}, limits={"cachePerPod": "1Ki"})
    fixed = vector()
    fixed["spec"]["template"]["spec"]["containers"][0]["image"] = (
        "docker.io/timberio/vector:0.50.1-distroless-libc"
    )
    assert warnings(apply(cluster, fixed))  # it is told, and let through
    worse = vector()
    worse["spec"]["template"]["spec"]["containers"][0]["resources"] = {}
    done = apply(cluster, worse, check=False)
    assert done.returncode == 1
    assert "memory-limit-missing" in done.stderr
    cluster.kubectl("label", "ds", "vector", "-n", "logging", "team=a")
    cluster.kubectl("delete", "ds", "vector", "-n", "logging")


def test_an_agent_that_runs_already_is_a_finding_in_status_and_gets_annotated(cluster: LocalCluster):
    apply(cluster, *demo("vector"))
    put_budget(cluster, "late", enforcement={"action": "Warn"})
    found = eventually(lambda: annotations(cluster, VECTOR))
    assert found["watchbudget.io/verdict"] == "warn"
    status = eventually(lambda: counts(cluster, "late", violating=1))
    assert [each["name"] for each in status["worst"]] == ["vector"]
    conditions = {each["type"]: each for each in status["conditions"]}
    assert conditions["Compliant"]["status"] == "False"
    daemon_set = get(cluster, "ds", "vector", "logging")
    assert daemon_set["metadata"]["generation"] == 1  # annotations are no new version of it
    cluster.kubectl("delete", "wb", "late")
    eventually(lambda: annotations(cluster, VECTOR) == {})


def counts(cluster: LocalCluster, name: str, **wanted: int) -> dict[str, Any] | None:
    status: dict[str, Any] = get(cluster, "wb", name).get("status", {})
    found = status.get("counts", {})
    return status if all(found.get(key) == value for key, value in wanted.items()) else None


def test_rbac_that_comes_after_the_daemon_set_is_found_within_seconds(cluster: LocalCluster):
    put_budget(cluster, "strict", enforcement={"action": "Warn"})
    parts = demo("vector")
    rbac = [each for each in parts if each["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    assert warnings(apply(cluster, *(each for each in parts if each not in rbac))) == []
    assert annotations(cluster, VECTOR) == {}
    told = cluster.apply("---\n".join(map(yaml.safe_dump, rbac)))
    eventually(lambda: annotations(cluster, VECTOR).get("watchbudget.io/verdict") == "warn", 10)
    eventually(lambda: counts(cluster, "strict", violating=1), 10)
    described = eventually(
        lambda: "WatchBudget" in cluster.kubectl("describe", "ds", "vector", "-n", "logging").stdout
    )
    assert described
    assert any("vector" in line for line in warnings(told)), told.stderr
    nothing = [{"op": "replace", "path": "/rules", "value": []}]
    cluster.kubectl("patch", "clusterrole", "vector", "--type=json", f"--patch={json.dumps(nothing)}")
    eventually(lambda: counts(cluster, "strict", violating=0), 10)
    cluster.apply("---\n".join(map(yaml.safe_dump, rbac)))
    eventually(lambda: counts(cluster, "strict", violating=1), 10)


def test_a_dry_run_is_answered_and_leaves_nothing(cluster: LocalCluster):
    put_budget(cluster, "strict", enforcement={"action": "Deny"})
    apply(cluster, *(each for each in demo("vector") if each["kind"] != "DaemonSet"))
    before = get(cluster, "wb", "strict")["status"]["counts"]
    text = yaml.safe_dump(vector())
    done = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=text, check=False)
    assert done.returncode == 1
    assert "not accepted" in done.stderr
    assert cluster.kubectl("get", "ds", "-n", "logging", "-o", "name").stdout == ""
    time.sleep(1)
    assert get(cluster, "wb", "strict")["status"]["counts"] == before


def test_a_dry_run_that_is_let_in_leaves_nothing_either(cluster: LocalCluster):
    put_budget(cluster, "mild", enforcement={"action": "Warn"})
    apply(cluster, *demo("vector"))
    cluster.kubectl("rollout", "status", "ds/vector", "-n", "logging", "--timeout=60s")
    eventually(lambda: counts(cluster, "mild", violating=1) and events(cluster, "vector"))
    eventually(lambda: annotations(cluster, VECTOR))
    before = traces(cluster)
    another, worse = vector(), vector()
    another["metadata"]["name"] = "another"
    worse["spec"]["template"]["spec"]["containers"][0]["resources"] = {}
    for item, says in ((another, "unselective-watch"), (worse, "memory-limit-missing")):
        text = yaml.safe_dump(item)
        done = cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=text)
        assert any(says in line for line in warnings(done)), done.stderr
        assert "(server dry run)" in done.stdout
    time.sleep(3)  # a DaemonSet that is stored is told of within one
    assert traces(cluster) == before


def events(cluster: LocalCluster, *names: str) -> set[tuple[str, str, str, int]]:
    """Our Events about objects of these names, or about all: object, reason, note and how often."""
    items = cluster.request("GET", "/apis/events.k8s.io/v1/events").json()["items"]
    return {
        (
            each["regarding"]["name"],
            each["reason"],
            each["note"],
            (each.get("series") or {}).get("count", 1),
        )
        for each in items
        if each.get("reportingController", "").startswith("watchbudget.io/")
        and (not names or each["regarding"]["name"] in names)
    }


def traces(cluster: LocalCluster) -> dict[str, Any]:
    """All that the operator could have written of vector and of the budget."""
    daemon_set = get(cluster, "ds", "vector", "logging")
    return {
        "stored": cluster.kubectl("get", "ds", "-A", "-o", "name").stdout,
        "daemonset": (daemon_set["metadata"]["annotations"], daemon_set["metadata"]["generation"]),
        "status": get(cluster, "wb", "mild")["status"],
        "events": events(cluster),
    }


def test_our_own_namespace_is_left_alone(cluster: LocalCluster):
    put_budget(cluster, "strict", enforcement={"action": "Deny", "minimumEvidence": "granted"})
    own = vector()
    own["metadata"]["namespace"] = NAMESPACE
    apply(cluster, *demo())
    assert apply(cluster, own, check=False).returncode == 0
    cluster.kubectl("delete", "ds", "vector", "-n", NAMESPACE)


def test_admission_status_and_audit_find_the_same(cluster: LocalCluster):
    """The same functions decide: what `watchbudget audit` says of the objects is what was said of them."""
    put_budget(cluster, "mild", enforcement={"action": "Warn"}, limits={"cachePerPod": "1Mi"})
    lines = warnings(apply(cluster, *demo("vector", "calico-node", "node-exporter")))
    cluster.kubectl("rollout", "status", "ds/vector", "-n", "logging", "--timeout=60s")
    cluster.kubectl("rollout", "status", "ds/calico-node", "-n", "kube-system", "--timeout=60s")
    report = audit(cluster)
    said = {each["namespace"] + "/" + each["name"]: rules(each) for each in report["daemonSets"]}
    assert said[VECTOR]
    assert said[CALICO]
    eventually(lambda: {name: noted(cluster, name) for name in said} == said)
    spoken = {line.split(",")[1].split(":")[0].strip() for line in lines}
    assert spoken == said[VECTOR] | said[CALICO]
    status = eventually(lambda: counts(cluster, "mild", violating=2, governed=3))
    assert {each["name"]: set(each["findings"]) for each in status["worst"]} == {
        "vector": said[VECTOR],
        "calico-node": said[CALICO],
    }


def audit(cluster: LocalCluster) -> dict[str, Any]:
    import subprocess  # noqa: PLC0415

    argv = [
        sys.executable,
        "-m",
        "watchbudget",
        "audit",
        "--kubeconfig",
        str(cluster.kubeconfig),
        "-o",
        "json",
    ]
    done = subprocess.run([*argv, "--all"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def rules(daemon_set: dict[str, Any]) -> set[str]:
    return {each["rule"] for each in daemon_set["findings"] if each["action"] in ("Annotate", "Warn", "Deny")}


def noted(cluster: LocalCluster, daemon_set: str) -> set[str]:
    return set(filter(None, annotations(cluster, daemon_set).get("watchbudget.io/findings", "").split(",")))


def test_a_process_shows_how_it_is(cluster_with_operator: tuple[LocalCluster, OperatorProcess]):
    _, operator = cluster_with_operator
    eventually(lambda: operator.metric("watchbudget_leading") == 1)
    eventually(lambda: operator.metric("watchbudget_cluster_starts_limit") >= 1)
    eventually(lambda: operator.metric("watchbudget_api_probe_seconds_count") > 0)
    now = time.time()
    assert now - 120 < operator.metric("watchbudget_last_judgement_timestamp_seconds") <= now
    assert now - 120 < operator.metric("watchbudget_last_census_timestamp_seconds") <= now
    days = (operator.metric("watchbudget_certificate_expiry_timestamp_seconds") - now) / 86400
    assert 89 < days <= 90
    assert operator.metric("watchbudget_admission_errors_total") == 0


def test_certificates_of_someone_else_are_served_and_followed(cluster: LocalCluster, tmp_path: Path):
    first, second = (tls.create(("127.0.0.1",), dt.datetime.now(dt.UTC)) for _ in range(2))

    def put(bundle: tls.Bundle) -> None:
        (tmp_path / "tls.crt").write_bytes(bundle.certificate)
        (tmp_path / "tls.key").write_bytes(bundle.key)

    put(first)
    with Replica(cluster, f"--certificates={tmp_path}", installed=True, name="certificates") as replica:
        served = lambda: ssl.get_server_certificate(("127.0.0.1", replica.port)).strip().encode()  # noqa: E731
        assert served() == first.certificate.strip()
        put(second)
        eventually(lambda: served() == second.certificate.strip(), 40)


def test_its_log_is_plain_by_default_and_json_on_demand(
    cluster: LocalCluster, cluster_with_operator: tuple[LocalCluster, OperatorProcess]
):
    """A line each, whatever happens; a denial of many lines and the end included."""
    put_budget(cluster, "strict", enforcement={"action": "Deny"})
    with Replica(cluster, "--log-format=json", installed=True, name="json") as replica:
        with Reviewer(replica) as reviewer:
            reviewer.wait_for(1)
        assert replica.stop() == 0
        lines = [json.loads(line) for line in replica.output().splitlines()]
    for line in lines:
        assert line["severity"] in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
        assert line["logger"].startswith("watchbudget.")
        assert line["time"].endswith("Z")
        assert abs(dt.datetime.fromisoformat(line["time"]).timestamp() - time.time()) < 600
        assert "\n" not in line["message"]
    messages = [line["message"] for line in lines]
    for said in ("judged by 1 budget", "Answering on port", "is not accepted as it is", "Ending: answering"):
        assert any(said in message for message in messages), said
    _, plain = cluster_with_operator
    written = plain.output().splitlines()
    assert len(written) > 5
    for text in written:
        assert re.match(
            r"[-0-9]{10}T[:0-9]{8}\.[0-9]{3}Z (DEBUG|INFO|WARNING|ERROR) +watchbudget[.a-z_]+: .", text
        ), text


def test_it_looks_up_no_names(cluster: LocalCluster, tmp_path: Path):
    """The NetworkPolicy of the manifests lets no question to a name server out."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ipaddress, os, socket\n"
        "right = socket.getaddrinfo\n"
        "def numeric(host, *args, **rest):\n"
        "    try:\n"
        "        host is None or ipaddress.ip_address(host)\n"
        "    except ValueError:\n"
        "        print('looked up:', host, flush=True)\n"
        "        os._exit(9)\n"
        "    return right(host, *args, **rest)\n"
        "socket.getaddrinfo = numeric\n"
        "print('no names', flush=True)\n"
    )
    with OperatorProcess(
        cluster, installed=True, name="nameless", env={"PYTHONPATH": str(tmp_path)}
    ) as replica:
        put_budget(cluster, "strict", enforcement={"action": "Deny"})
        eventually(lambda: 'budget="strict"' in replica.probe("/metrics")[1])
        assert replica.stop() == 0, replica.output()
        assert replica.output().startswith("no names\n")
