"""The base as it is, and a process where its Service leads: certificate, rights and answer fit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests.installation import JSON_PATCH, NAME, NAMESPACE, daemon_set
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.ports import free_ports

SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/{NAME}"
DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"
WATCHER = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: watcher, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: watcher}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: watcher}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: watcher}
subjects: [{kind: ServiceAccount, name: watcher, namespace: default}]
---
apiVersion: watchbudget.io/v1alpha1
kind: WatchBudget
metadata: {name: service}
spec: {enforcement: {action: Deny, minimumEvidence: granted}}
"""


def lead_to(cluster: LocalCluster, port: int) -> None:
    """Have the API server call the Service at this port."""
    for resource in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        path = f"/apis/admissionregistration.k8s.io/v1/{resource}/{NAME}"
        at = "/webhooks/{}/clientConfig/service/port"
        patch = [{"op": "add", "path": at.format(index), "value": port} for index in (0, 1)]
        cluster.request("PATCH", path, patch, headers=JSON_PATCH)


@pytest.fixture
def served(installed: LocalCluster, tmp_path: Path) -> Iterator[LocalCluster]:
    """A replica listens at the Service's own address, which is a loopback one here.

    On another port than 443, which only root may take.
    """
    port, probe_port = free_ports(2)
    address = installed.request("GET", SERVICE).json()["spec"]["clusterIP"]
    added = [{"op": "add", "path": "/spec/ports/-", "value": {"name": "free", "port": port}}]
    installed.request("PATCH", SERVICE, added, headers=JSON_PATCH)
    lead_to(installed, port)
    command = [sys.executable, "-m", "watchbudget", "run", f"--listen={address}", f"--port={port}"]
    command += [f"--kubeconfig={installed.kubeconfig_for(NAMESPACE, NAME)}", f"--probe-port={probe_port}"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--drain=0s"], stdout=out, stderr=out, env=dict(os.environ))
    try:
        installed.apply(WATCHER)
        yield installed
    finally:
        process.terminate()
        try:
            ended = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        installed.kubectl("delete", "-f", "-", input=WATCHER)
        lead_to(installed, 443)
        installed.request("PATCH", SERVICE, [{"op": "remove", "path": "/spec/ports/2"}], headers=JSON_PATCH)
        assert ended == 0, log.read_text()


def test_a_daemon_set_is_refused_through_the_service(served: LocalCluster):
    item = daemon_set("watcher", serviceAccountName="watcher")
    deadline = time.monotonic() + 60
    while True:  # until the process has read the cluster, and the API server its CA
        answer = served.request("POST", f"{DAEMON_SETS}?dryRun=All", item, check=False)
        if answer.status != 201:
            break
        assert time.monotonic() < deadline, "nobody was asked"
        time.sleep(0.2)
    assert answer.status == 403
    message = answer.json()["message"]
    assert message.startswith('admission webhook "judge.daemonsets.watchbudget.io" denied the request')
    assert "WatchBudget service, unselective-watch" in message
