"""Exit codes are a contract: 0 clean, 1 findings, 2 failed; nothing else may look like findings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from watchbudget.localcluster.binaries import ensure_binaries
from watchbudget.localcluster.cluster import LocalCluster

VECTOR = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: vector, namespace: logging}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: vector}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: vector}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: vector}
subjects: [{kind: ServiceAccount, name: vector, namespace: logging}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: vector, namespace: logging}
data: {vector.yaml: "sources: {logs: {type: kubernetes_logs}}"}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: vector, namespace: logging}
spec:
  selector: {matchLabels: {app: vector}}
  template:
    metadata: {labels: {app: vector}}
    spec:
      serviceAccountName: vector
      containers:
        - name: vector
          image: timberio/vector:0.50.0-debian
          args: [--config-dir, /etc/vector]
          volumeMounts: [{name: config, mountPath: /etc/vector}]
      volumes: [{name: config, configMap: {name: vector}}]
"""

DENY = """\
apiVersion: watchbudget.io/v1alpha1
kind: WatchBudget
metadata: {name: strict}
spec: {enforcement: {action: Deny}}
"""


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "watchbudget", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    ("manifests", "options", "code"),
    [
        (VECTOR, [], 0),  # the built-in budget warns, and --fail-on is deny
        (VECTOR, ["--fail-on", "warn"], 1),
        (VECTOR + "---\n" + DENY, [], 1),
        (VECTOR + "---\n" + DENY, ["--fail-on", "never"], 0),
        (VECTOR + "---\nkind: [", ["--fail-on", "never"], 2),
        (VECTOR + "---\nkind: [", ["--fail-on", "warn"], 2),
    ],
)
def test_exit_code(manifests: str, options: list[str], code: int):
    done = run("audit", "-f", "-", *options, stdin=manifests)
    assert done.returncode == code, done.stderr


def test_data_on_stdout_everything_else_on_stderr():
    done = run("audit", "-f", "-", "-o", "json", stdin=VECTOR + "---\nkind: [")
    assert json.loads(done.stdout)["daemonSets"][0]["verdict"] == "warn"
    assert "standard input, document 6" in done.stderr


def test_a_table_has_its_errors_on_stderr_and_says_that_it_is_incomplete():
    done = run("audit", "-f", "-", stdin=VECTOR + "---\nkind: [")
    assert "standard input" not in done.stdout
    assert "incomplete: 1 error on standard error" in done.stdout
    assert "standard input, document 6" in done.stderr


def test_no_escape_sequences_where_there_is_no_terminal():
    done = run("audit", "-f", "-", stdin=VECTOR)
    assert "\x1b" not in done.stdout + done.stderr


def test_a_cluster_that_is_not_there_is_a_failed_audit(tmp_path: Path):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
    )
    done = run("audit", "--kubeconfig", str(kubeconfig))
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_context_is_a_failed_audit_that_lists_the_known(cluster: LocalCluster):
    done = run("audit", "--kubeconfig", str(cluster.kubeconfig), "--context", "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_that_no_server_gave_is_a_failed_audit(cluster: LocalCluster, tmp_path: Path):
    text = cluster.kubectl("config", "view", "--raw", "-o", "json").stdout
    config = json.loads(text)
    config["users"][0]["user"] = {"token": "garbage"}
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    done = run("audit", "--kubeconfig", str(path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "token" in done.stderr or "credential" in done.stderr.lower()


def test_kubectl_finds_the_plugin(cluster: LocalCluster):
    kubectl = ensure_binaries(lambda _: None)["kubectl"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [kubectl, "watchbudget", "audit", "--kubeconfig", str(cluster.kubeconfig), "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": path},
    )
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["kind"] == "AuditReport"


def test_interrupted_is_not_findings(tmp_path: Path):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)  # nothing is written: the audit waits
    process = subprocess.Popen(
        [sys.executable, "-m", "watchbudget", "audit", "-f", str(fifo)], stderr=subprocess.PIPE, text=True
    )
    writer = os.open(fifo, os.O_WRONLY)  # returns once the audit has opened the pipe to read
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    os.close(writer)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m watchbudget audit -f - -o yaml | head -1"
    done = subprocess.run(["sh", "-c", command], input=VECTOR, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
