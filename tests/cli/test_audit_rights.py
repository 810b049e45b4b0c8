"""What an audit says, and how it ends, where it lacks rights: with the way out that it names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from watchbudget.localcluster.cluster import LocalCluster

ACCOUNT = "audit-rights"

RIGHTS = f"""\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {ACCOUNT}, namespace: default}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {ACCOUNT}}}
rules: [{{apiGroups: [apps], resources: [daemonsets], verbs: [list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {ACCOUNT}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {ACCOUNT}}}
subjects: [{{kind: ServiceAccount, name: {ACCOUNT}, namespace: default}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: {ACCOUNT}, namespace: default}}
spec:
  selector: {{matchLabels: {{app: {ACCOUNT}}}}}
  template:
    metadata: {{labels: {{app: {ACCOUNT}}}}}
    spec: {{containers: [{{name: agent, image: "example.com/agent:1"}}]}}
"""


@pytest.fixture(scope="module")
def poor(cluster: LocalCluster) -> Iterator[Path]:
    """A kubeconfig whose account may list DaemonSets and nothing else."""
    cluster.apply(RIGHTS)
    yield cluster.kubeconfig_for("default", ACCOUNT)
    cluster.kubectl("delete", "-f", "-", input=RIGHTS)


def audit(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "watchbudget", "audit", "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_count_is_a_failed_audit_that_names_the_right_and_the_option(poor: Path):
    done = audit(poor)
    assert done.returncode == 2
    assert "get /metrics" in done.stderr
    assert "--objects namespaces=N:BYTES" in " ".join(done.stderr.split())


def test_the_option_that_it_names_ends_that_error(poor: Path):
    done = audit(
        poor, "--objects", "namespaces=100:1Ki", "--objects", "networkpolicies=100:1Ki", "--nodes", "3"
    )
    assert "could not be counted" not in done.stderr


def test_forbidden_access_reviews_are_told(poor: Path):
    assert "forbids `create subjectaccessreviews" in " ".join(audit(poor).stderr.split())
