"""What the bench creates in its cluster."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["BYSTANDERS", "NAMESPACE", "SETUP", "daemon_set"]

NAMESPACE = "storm-agents"
BYSTANDERS = "storm-bystanders"

SETUP = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {BYSTANDERS}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: agent-a, namespace: {NAMESPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: agent-b, namespace: {NAMESPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: bystander, namespace: {BYSTANDERS}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: same-level, namespace: {BYSTANDERS}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: other-level, namespace: {BYSTANDERS}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: bystander, namespace: {BYSTANDERS}}}
rules: [{{apiGroups: [""], resources: [configmaps], verbs: [get, patch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: bystander, namespace: {BYSTANDERS}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: bystander}}
subjects: [{{kind: ServiceAccount, name: bystander, namespace: {BYSTANDERS}}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: storm-agent}}
rules:
- {{apiGroups: [""], resources: [namespaces], verbs: [list, watch]}}
- {{apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: storm-agent}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: storm-agent}}
subjects:
- {{kind: ServiceAccount, name: agent-a, namespace: {NAMESPACE}}}
- {{kind: ServiceAccount, name: agent-b, namespace: {NAMESPACE}}}
"""


def daemon_set(
    name: str,
    max_unavailable: str,
    resources: tuple[str, ...] = (),
    start: tuple[float, float] = (0.0, 0.0),
    *,
    node: str | None = None,
) -> str:
    """Return a DaemonSet's manifest.

    Args:
        name: Of the DaemonSet and of its service account.
        max_unavailable: As its owner writes it.
        resources: What its agents list, for its declaration.
        start: Seconds from a pod's binding until its container runs.
        node: Only this one, and Ready without an agent; None: all nodes, Ready when the fleet says so.
    """
    declared = {
        {"networkpolicies": "networkpolicies.networking.k8s.io"}.get(each, each): "all" for each in resources
    }
    played = {
        "localcluster.watchbudget.io/agent": "external",
        "agent-running.stage.kwok.x-k8s.io/delay": f"{start[0]}s",
        "agent-running.stage.kwok.x-k8s.io/jitter-delay": f"{start[1]}s",
    }
    wide: str | int = int(max_unavailable) if max_unavailable.isdigit() else max_unavailable
    pod: dict[str, Any] = {
        "serviceAccountName": name,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "agent", "image": "registry.example.com/agent:1"}],
    }
    if node:
        pod["nodeSelector"] = {"kubernetes.io/hostname": node}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "annotations": {"watchbudget.io/watches": json.dumps(declared)},
            },
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": wide}},
                "template": {
                    "metadata": {"labels": {"app": name}, "annotations": {} if node else played},
                    "spec": pod,
                },
            },
        }
    )
