"""Who is asked in bench/admission.py, and how each is set up in one cluster beside the others."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fleets import daemon_sets, rbac
from watchbudget import cli
from watchbudget.controller import tls
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.ports import free_ports

__all__ = [
    "BUDGET",
    "POLICY",
    "PROVE",
    "SAYS",
    "VARIANTS",
    "WARNED",
    "candidate",
    "fleet",
    "only_in",
    "path_of",
    "stock_kopf",
]

VARIANTS = {
    "nobody": "nobody is asked",
    "policy": "ValidatingAdmissionPolicy, two authorizer checks, warns",
    "kopf": "stock kopf, validating, does nothing",
    "kopf-warns": "stock kopf, validating, warns without judging",
    "watchbudget": "WatchBudget, judges and warns",
    "clean": "WatchBudget, judges and has nothing to say",
    "kopf-both": "stock kopf, mutating and validating, annotates",
    "capped": "WatchBudget, both webhooks: caps, annotates and warns",
}
"""Each in a namespace of its own, with the same DaemonSet; but in `clean` no role is bound to its account,
and in `capped` it has maxUnavailable 100% and a budget that stages its starts. Each of ours has one of kopf's
to be held against, so that both processes are asked equally often: what was asked just now is quicker."""

WARNED = frozenset({"policy", "kopf-warns", "watchbudget", "capped"})

SAYS = {
    "nobody": "",
    "policy": "may list and watch",
    "kopf": "seen by kopf",
    "kopf-warns": "seen by kopf",
    "watchbudget": "WatchBudget bench",
    "clean": "the declaration is not used",
    "kopf-both": "seen by kopf",
    "capped": "maxUnavailable lowered",
}
"""What must be among the warnings when it is asked whether it is asked."""

PROVE = {"bench.watchbudget.io/prove": "yes", "watchbudget.io/watches": "{"}
"""Annotations by which a DaemonSet asks that."""

AGENTS = Path(cli.__file__).parent / "demo_agents.yaml"
BUDGET = """\
apiVersion: watchbudget.io/v1alpha1
kind: WatchBudget
metadata: {name: bench}
spec:
  limits: {cachePerPod: 64Mi, cachePerNode: 1Gi, cacheTotal: 1Ti}
  enforcement: {action: Warn}
---
apiVersion: watchbudget.io/v1alpha1
kind: WatchBudget
metadata: {name: staged}
spec:
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bench-capped}}
  enforcement: {action: Warn}
  rollout: {}
"""
CLIENT = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: client, namespace: bench-nobody}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bench-client}
rules: [{apiGroups: [apps], resources: [daemonsets], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench-client}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bench-client}
subjects: [{kind: ServiceAccount, name: client, namespace: bench-nobody}]
"""
CHECK = "authorizer.serviceAccount(object.metadata.namespace, {account}).group('').resource('namespaces')"
POLICY = f"""\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: bench}}
spec:
  failurePolicy: Ignore
  matchConstraints:
    resourceRules:
      - {{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [daemonsets]}}
  variables:
    - name: account
      expression: object.spec.template.spec.?serviceAccountName.orValue('default')
  validations:
    - expression: >-
        !({CHECK.format(account="variables.account")}.check('list').allowed() &&
        {CHECK.format(account="variables.account")}.check('watch').allowed())
      message: it may list and watch all namespaces
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: bench}}
spec:
  policyName: bench
  validationActions: [Warn]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: bench-policy}}}}}}
"""


def namespace_of(variant: str) -> str:
    return f"bench-{variant}"


def fleet(size: int) -> str:
    """The client, other people's DaemonSets, and the agent's surroundings in each of the namespaces."""
    parts = [CLIENT, *daemon_sets(size), *rbac(size, 2 * size)]
    parts += [f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: team-{n}}}\n" for n in range(50)]
    for variant in VARIANTS:
        parts.append(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace_of(variant)}}}\n")
        parts += [yaml.safe_dump(each) for each in agent(variant)]
    parts += [yaml.safe_dump(each) for each in agent("watchbudget", "vector")]
    first = sorted(parts, key=lambda text: "kind: Namespace" not in text)
    return "---\n".join(first)


def agent(variant: str, name: str = "calico-node") -> list[dict[str, Any]]:
    """An agent of the demo with its account and role.

    Calico comes without Typha and so without a ConfigMap: what is said because of one is looked at again
    before it is said, which takes a tenth of a second and is measured apart.
    """
    found = []
    for raw in yaml.safe_load_all(AGENTS.read_text()):
        if raw["metadata"]["name"] != name or (variant == "clean" and raw["kind"] == "ClusterRoleBinding"):
            continue
        if raw["kind"].startswith("ClusterRole"):
            raw["metadata"]["name"] = f"{name}-{variant}"
        else:
            raw["metadata"]["namespace"] = namespace_of(variant)
        for subject in raw.get("subjects", ()):
            subject["namespace"] = namespace_of(variant)
        if "roleRef" in raw:
            raw["roleRef"]["name"] = f"{name}-{variant}"
        if raw["kind"] == "DaemonSet":
            (container,) = raw["spec"]["template"]["spec"]["containers"]
            container["env"] = [each for each in container.get("env", ()) if "valueFrom" not in each]
            if variant == "capped":
                raw["spec"]["updateStrategy"] = {"rollingUpdate": {"maxUnavailable": "100%"}}
        found.append(raw)
    return found


def candidate(
    variant: str, annotations: Mapping[str, str] | None = None, name: str = "calico-node"
) -> Callable[[], bytes]:
    """Makes the DaemonSet that is created, under another name each time: judged anew, not remembered."""
    (raw,) = [each for each in agent(variant, name) if each["kind"] == "DaemonSet"]
    raw["metadata"] |= {"name": "candidate-NUMBER", "annotations": dict(annotations or {})}
    before, after = json.dumps(raw).encode().split(b"NUMBER")
    numbers = itertools.count(100_000)
    return lambda: b"%b%d%b" % (before, next(numbers), after)


def path_of(variant: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace_of(variant)}/daemonsets?dryRun=All"


def only_in(cluster: LocalCluster, kind: str, variants: Sequence[str]) -> None:
    """Let our webhooks for DaemonSets be asked about some of the namespaces only."""
    names = [namespace_of(variant) for variant in variants]
    where = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}
    patch = [{"op": "add", "path": "/webhooks/0/namespaceSelector/matchExpressions/-", "value": where}]
    cluster.kubectl("patch", kind, "watchbudget", "--type=json", "--patch", json.dumps(patch))


@contextlib.contextmanager
def stock_kopf(cluster: LocalCluster, *, quiet: bool) -> Iterator[None]:
    """Kopf's own operator process, and a webhook configuration that sends it what it should be asked.

    It logs what it logs by default, to a file, as ours does; kopf's default is a line for each handler that
    succeeded and one for each request. With `quiet` it logs neither, though it never does so by itself.
    """
    (port,) = free_ports(1)
    bundle = tls.create(("127.0.0.1",), dt.datetime.now(dt.UTC).replace(microsecond=0))
    with tempfile.TemporaryDirectory(prefix="watchbudget-kopf-") as folder:
        certificate, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
        certificate.write_bytes(bundle.certificate)
        key.write_bytes(bundle.key)
        env = os.environ | {
            "KUBECONFIG": str(cluster.kubeconfig),
            "KOPF_PORT": str(port),
            "KOPF_CERTIFICATE": str(certificate),
            "KOPF_KEY": str(key),
        }
        argv = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone"]
        if quiet:
            argv.append("--quiet")
        # In the cluster's process group, like ours: the kernel may share the processor by sessions.
        with (Path(folder) / "kopf.log").open("wb") as log:
            child = subprocess.Popen(
                [*argv, str(Path(__file__).with_name("kopf_least.py"))],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=cluster.process_group,
            )
        try:
            cluster.apply(json.dumps(kopf_webhook("Validating", "least", port, bundle.ca_certificates)))
            cluster.apply(json.dumps(kopf_webhook("Mutating", "annotate", port, bundle.ca_certificates)))
            yield
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def kopf_webhook(kind: str, handler: str, port: int, ca: bytes) -> dict[str, Any]:
    """A webhook configuration for one of kopf's handlers."""
    asked = ["kopf", "kopf-warns", "kopf-both"] if kind == "Validating" else ["kopf-both"]
    where = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [*map(namespace_of, asked)]}
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["daemonsets"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": "bench-kopf"},
        "webhooks": [
            {
                "name": f"{handler}.bench.watchbudget.io",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/{handler}",
                    "caBundle": base64.b64encode(ca).decode(),
                },
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore",
                "timeoutSeconds": 3,
                "namespaceSelector": {"matchExpressions": [where]},
                "rules": [{**rule, "operations": ["CREATE", "UPDATE"]}],
            }
        ],
    }
