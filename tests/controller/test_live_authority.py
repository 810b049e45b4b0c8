"""The authority that vouches for the API server is rotated, as kubelet tells a pod of it: by its ca.crt."""

from __future__ import annotations

import in_a_pod
from operator_process import NAMESPACE, OperatorProcess
from replicas import eventually
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.certs import Authority

BUDGETS = "/apis/watchbudget.io/v1alpha1/watchbudgets"


def test_the_authority_is_rotated_and_nobody_is_cut_off(control_plane: None) -> None:
    with LocalCluster() as cluster, OperatorProcess(cluster, wrapper=in_a_pod.WRAPPER) as operator:
        eventually(lambda: operator.metric("watchbudget_leading"))
        pki = cluster.layout.pki
        other = Authority.create(pki / "other-ca.crt", "another")
        pod = cluster.state_dir / f"{NAMESPACE}.watchbudget.ca"
        for known in (pod, pki / "ca.crt"):  # both are trusted for a while, as kubelet and kubeadm have it
            known.write_bytes(known.read_bytes() + other.certificate_file.read_bytes())
        eventually(lambda: "The API server's authority has changed" in operator.output())

        cluster.stop_component("kube-apiserver")
        other.issue(pki / "apiserver", "kube-apiserver", names=["localhost"], addresses=["127.0.0.1"])
        cluster.start_component("kube-apiserver")
        del cluster.admin  # it trusts what ca.crt was; the next one trusts what it is now
        budget = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget", "metadata": {"name": "new"}}
        cluster.request("POST", BUDGETS, budget | {"spec": {}})
        # Watches hear of it, the leader leads, and writes.
        eventually(lambda: cluster.request("GET", f"{BUDGETS}/new").json().get("status"))
