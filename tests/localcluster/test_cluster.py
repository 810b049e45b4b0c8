"""What the control plane promises, asked of the real thing."""

import base64
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from audit import audited
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.binaries import KUBERNETES_VERSION
from watchbudget.localcluster.certs import Authority
from watchbudget.localcluster.client import ApiClient
from watchbudget.localcluster.components import NAMES
from watchbudget.localcluster.errors import ApiError, CommandError
from watchbudget.localcluster.ports import free_ports

FLOW_CONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"

DAEMONSET = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: {name}, namespace: default}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{{annotations}}}
    spec:
      containers: [{{name: agent, image: registry.example.com/agent:1}}]
"""


T = TypeVar("T")


def until(check: Callable[[], T], seconds: float = 20) -> T:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
    return found


def pods(cluster: LocalCluster, app: str) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}"
    items: list[dict[str, Any]] = cluster.request("GET", path).json()["items"]
    return items


def container_ready(pod: dict[str, Any]) -> bool:
    return bool(pod["status"]["containerStatuses"][0]["ready"])


def test_server_and_kubectl_tell_their_version(cluster: LocalCluster):
    told = json.loads(cluster.kubectl("version", "-o", "json").stdout)
    for side in ("serverVersion", "clientVersion"):
        assert told[side]["gitVersion"] == KUBERNETES_VERSION
        assert told[side]["gitTreeState"] == "clean"
        assert told[side]["minor"] == "36"
    assert cluster.version == KUBERNETES_VERSION


def test_another_authority_is_refused(cluster: LocalCluster, tmp_path: Path):
    other = Authority.create(tmp_path / "other.crt", "watchbudget-localcluster")
    with pytest.raises(ssl.SSLCertVerificationError):
        ApiClient(cluster.url, other.certificate_file).request("GET", "/version")
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    wrong = base64.b64encode(other.certificate_file.read_bytes()).decode()
    config["clusters"][0]["cluster"]["certificate-authority-data"] = wrong
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    with pytest.raises(CommandError, match="certificate signed by unknown authority"):
        cluster.kubectl(f"--kubeconfig={tmp_path / 'kubeconfig'}", "get", "nodes")


def test_no_kubeconfig_skips_verification(cluster: LocalCluster):
    for path in cluster.state_dir.glob("*.kubeconfig"):
        entry = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]
        assert set(entry) == {"server", "certificate-authority-data"}, path


def test_a_service_account_is_who_its_token_says_and_may_nothing_yet(cluster: LocalCluster):
    cluster.kubectl("create", "serviceaccount", "token-test")
    client = cluster.client(cluster.token("default", "token-test"))
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user = client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review).json()
    info = user["status"]["userInfo"]
    assert info["username"] == "system:serviceaccount:default:token-test"
    assert "system:serviceaccounts:default" in info["groups"]
    with pytest.raises(ApiError) as caught:
        client.request("GET", "/api/v1/namespaces")
    assert caught.value.status == 403
    kubeconfig = cluster.kubeconfig_for("default", "token-test")
    told = cluster.kubectl(f"--kubeconfig={kubeconfig}", "auth", "whoami", "-o", "json").stdout
    assert json.loads(told)["status"]["userInfo"]["username"] == info["username"]
    client.close()


def test_a_forged_token_is_refused(cluster: LocalCluster):
    token = cluster.token("default", "default")
    client = cluster.client(token[:-8] + "AAAAAAAA")
    with pytest.raises(ApiError) as caught:
        client.request("GET", "/api")
    assert caught.value.status == 401
    client.close()


def test_pods_need_an_account_that_exists(cluster: LocalCluster):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "without-account"},
        "spec": {"serviceAccountName": "absent", "containers": [{"name": "a", "image": "a"}]},
    }
    with pytest.raises(ApiError, match="serviceaccount"):
        cluster.request("POST", "/api/v1/namespaces/default/pods", pod)


def test_fairness_applies_to_the_administrator(cluster: LocalCluster):
    answer = cluster.request("GET", "/api/v1/namespaces?limit=1")
    flow = answer.headers["X-Kubernetes-Pf-Flowschema-Uid"]
    schemas = cluster.request("GET", f"{FLOW_CONTROL}/flowschemas").json()["items"]
    by_uid = {schema["metadata"]["uid"]: schema for schema in schemas}
    assert by_uid[flow]["spec"]["priorityLevelConfiguration"]["name"] != "exempt"
    level = answer.headers["X-Kubernetes-Pf-Prioritylevel-Uid"]
    levels = cluster.request("GET", f"{FLOW_CONTROL}/prioritylevelconfigurations").json()
    types = {each["metadata"]["uid"]: each["spec"]["type"] for each in levels["items"]}
    assert types[level] == "Limited"


def test_the_audit_log_tells_who_asked_for_what(cluster: LocalCluster):
    mark = "/api/v1/namespaces?labelSelector=audit-test%3Dyes"
    cluster.request("GET", mark)
    events = list(audited(cluster, containing=mark))
    assert [(event["verb"], event["user"]["username"], event["level"]) for event in events] == [
        ("list", "watchbudget-admin", "Metadata")
    ]
    assert all(event["requestURI"] == mark for event in events)


def test_daemonset_pods_run_on_the_nodes_and_end_with_it(cluster: LocalCluster):
    cluster.apply(DAEMONSET.format(name="agent", annotations=""))
    cluster.kubectl("rollout", "status", "daemonset/agent", "--timeout=30s")
    found = pods(cluster, "agent")
    nodes = [node["metadata"] for node in cluster.request("GET", "/api/v1/nodes").json()["items"]]
    assert {pod["spec"]["nodeName"] for pod in found} == {node["name"] for node in nodes}
    assert len({node["labels"]["topology.kubernetes.io/zone"] for node in nodes}) == 3
    assert all(pod["status"]["containerStatuses"][0]["ready"] for pod in found)
    cluster.kubectl("delete", "daemonset/agent")
    until(lambda: not pods(cluster, "agent"))


def test_a_pod_is_ready_after_the_delay_in_its_annotation(cluster: LocalCluster):
    cluster.apply(DAEMONSET.format(name="slow", annotations='pod-ready.stage.kwok.x-k8s.io/delay: "2s"'))
    until(lambda: any(pod["spec"].get("nodeName") for pod in pods(cluster, "slow")))
    assert {pod["status"]["phase"] for pod in pods(cluster, "slow")} == {"Pending"}
    cluster.kubectl("rollout", "status", "daemonset/slow", "--timeout=30s")
    cluster.kubectl("delete", "daemonset/slow")


def test_an_agent_played_from_outside_is_ready_when_its_player_says_so(cluster: LocalCluster):
    cluster.apply(DAEMONSET.format(name="played", annotations="localcluster.watchbudget.io/agent: external"))
    try:
        nodes = len(cluster.request("GET", "/api/v1/nodes").json()["items"])
        until(lambda: [each["status"]["phase"] for each in pods(cluster, "played")] == ["Running"] * nodes)
        found = pods(cluster, "played")
        started = found[0]["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        assert not any(map(container_ready, found))
        for pod in found:
            cluster.request(
                "PATCH",
                f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}",
                {"metadata": {"annotations": {"localcluster.watchbudget.io/synced": "true"}}},
                headers={"Content-Type": "application/merge-patch+json"},
            )
        until(lambda: all(map(container_ready, pods(cluster, "played"))))
        cluster.kubectl("rollout", "status", "daemonset/played", "--timeout=30s")
        container = pods(cluster, "played")[0]["status"]["containerStatuses"][0]
        assert container["state"]["running"]["startedAt"] == started
    finally:
        cluster.kubectl("delete", "daemonset/played")


def test_a_crashing_agent_never_gets_ready(cluster: LocalCluster):
    cluster.apply(DAEMONSET.format(name="crash", annotations='localcluster.watchbudget.io/crash: "true"'))
    found = until(lambda: [pod for pod in pods(cluster, "crash") if pod["status"]["phase"] == "Running"])
    state = found[0]["status"]["containerStatuses"][0]
    assert (state["ready"], state["state"]["waiting"]["reason"]) == (False, "CrashLoopBackOff")
    cluster.kubectl("delete", "daemonset/crash")


def test_aggregated_roles_are_filled(cluster: LocalCluster):
    cluster.apply("""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: aggregation-test}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {aggregation-test: "yes"}}]}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: aggregation-test-part, labels: {aggregation-test: "yes"}}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [list, watch]}]
""")
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/aggregation-test"
    rules = until(lambda: cluster.request("GET", path).json().get("rules"))
    assert rules == [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}]


def test_seeded_objects_are_counted_and_weighed_by_the_metrics(cluster: LocalCluster):
    asked = {"namespaces": 150, "network_policies_per_namespace": 1, "bytes_per_network_policy": 1234}
    steps: list[tuple[int, int]] = []
    result = cluster.seed(**asked, progress=lambda done, total: steps.append((done, total)))
    assert (result.created, result.existing) == (300, 0)
    assert steps[-1] == (300, 300)
    assert cluster.seed(**asked).existing == 300
    cluster.wait_until_counted()
    assert cluster.object_count("networkpolicies", "networking.k8s.io") == 150
    there = len(cluster.kubectl("get", "namespaces", "-o", "name").stdout.splitlines())
    assert cluster.object_count("namespaces") == there >= 150
    name = 'apiserver_resource_size_estimate_bytes{group="networking.k8s.io",resource="networkpolicies"} '
    sizes = [line for line in cluster.metrics().splitlines() if line.startswith(name)]
    assert float(sizes[0].removeprefix(name)) == pytest.approx(150 * 1234, rel=0.001)


def test_every_listener_is_on_loopback(cluster: LocalCluster):
    inodes = {
        link.readlink().name.removeprefix("socket:[").removesuffix("]")
        for name in NAMES
        for link in Path(f"/proc/{cluster.pid(name)}/fd").iterdir()
    }
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            is_listener = fields[3] == "0A" if table.startswith("tcp") else fields[2].endswith(":0000")
            if is_listener and fields[9] in inodes:
                listening.append((table, fields[1].split(":")[0]))
    assert len(listening) == 5  # etcd twice, API server, controller manager, scheduler
    assert set(listening) == {("tcp", "0100007F")}


def test_components_can_be_killed_paused_and_started_again(fresh_cluster: Callable[..., LocalCluster]):
    cluster = fresh_cluster(extra_flags={"kube-apiserver": ["--goaway-chance=0"]})
    cluster.kubectl("create", "namespace", "kept")
    before = cluster.pid("kube-apiserver")
    assert cluster.resident_bytes("kube-apiserver") > 100 << 20
    cluster.stop_component("kube-apiserver")
    with pytest.raises(OSError, match="refused"):
        cluster.request("GET", "/readyz")
    cluster.start_component("kube-apiserver")
    assert cluster.pid("kube-apiserver") != before
    assert cluster.request("GET", "/api/v1/namespaces/kept").status == 200
    cluster.pause("kube-apiserver")
    asked = cluster.kubectl("get", "--raw", "/readyz", "--request-timeout=1s", check=False)
    assert asked.returncode != 0
    cluster.resume("kube-apiserver")
    assert cluster.request("GET", "/readyz").body == b"ok"
    # A paused process must not survive the end either.
    cluster.pause("kwok")
    state, pids = cluster.state_dir, [cluster.pid(name) for name in NAMES]
    cluster.stop()
    assert not state.exists()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    cluster.stop()  # again is harmless


def test_a_taken_port_is_exchanged_for_another(
    fresh_cluster: Callable[..., LocalCluster], monkeypatch: pytest.MonkeyPatch
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offers = [[taken.getsockname()[1], *free_ports(4)], free_ports(5)]
        monkeypatch.setattr("watchbudget.localcluster.cluster.free_ports", lambda _count: offers.pop(0))
        assert fresh_cluster().request("GET", "/readyz").body == b"ok"
    assert offers == []


def test_a_bad_flag_is_shown_and_nothing_stays(fresh_cluster: Callable[..., LocalCluster], tmp_path: Path):
    with pytest.raises(Exception, match="unknown flag: --no-such-flag") as caught:
        fresh_cluster(extra_flags={"kube-scheduler": ["--no-such-flag"]}, state_dir=tmp_path / "state")
    assert str(tmp_path / "state" / "logs" / "kube-scheduler.log") in str(caught.value)
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
