"""The authority that vouches for the API server is rotated, as kubelet tells a pod of it: by its ca.crt."""

from __future__ import annotations

import sys
from pathlib import Path

from operator_process import NAMESPACE, OperatorProcess
from replicas import eventually
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.certs import Authority
from watchbudget.localcluster.client import ApiClient

IN_A_POD = (sys.executable, str(Path(__file__).parents[1] / "in_a_pod.py"))
BUDGETS = "/apis/watchbudget.io/v1alpha1/watchbudgets"


def serve_by_another(cluster: LocalCluster) -> Authority:
    """From the API server's next start on it shows a certificate of another authority."""
    pki = cluster.layout.pki
    other = Authority.create(pki / "other-ca.crt", "another")
    other.issue(pki / "apiserver", "kube-apiserver", names=["localhost"], addresses=["127.0.0.1"])
    with (pki / "ca.crt").open("ab") as known:  # clients are vouched for by the old one still
        known.write(other.certificate_file.read_bytes())
    return other


def test_the_authority_is_rotated_and_nobody_is_cut_off(control_plane: None) -> None:
    with LocalCluster() as cluster, OperatorProcess(cluster, wrapper=IN_A_POD) as operator:
        eventually(lambda: operator.metric("watchbudget_leading"))
        other = serve_by_another(cluster)
        pod = cluster.state_dir / f"{NAMESPACE}.watchbudget.ca"
        pod.write_bytes(pod.read_bytes() + other.certificate_file.read_bytes())
        eventually(lambda: "The API server's authority has changed" in operator.output())

        cluster.stop_component("kube-apiserver")
        cluster.start_component("kube-apiserver")
        client = ApiClient(cluster.url, other.certificate_file, pair=cluster.layout.pair("admin"))
        budget = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget", "metadata": {"name": "new"}}
        client.request("POST", BUDGETS, budget | {"spec": {}})
        # Watches hear of it, the leader leads, and writes.
        eventually(lambda: client.request("GET", f"{BUDGETS}/new").json().get("status"))
        client.close()
