"""Manifests of made-up fleets, of any size."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["daemon_sets", "rbac"]


def daemon_sets(count: int) -> Iterator[str]:
    """Manifests of `count` DaemonSets: every fourth a Vector, every fourth an unknown agent with a grant."""
    for index in range(count):
        kind = index % 4
        image = "timberio/vector:0.50.0" if kind == 0 else f"example.com/agent-{kind}:1.{index}"
        yield f"""\
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent-{index}, namespace: team-{index % 50}, labels: {{app: agent-{index}, kind: k{kind}}}}}
spec:
  selector: {{matchLabels: {{app: agent-{index}}}}}
  template:
    metadata: {{labels: {{app: agent-{index}}}}}
    spec:
      serviceAccountName: agent-{index}
      containers:
        - name: agent
          image: {image}
          args: [--verbose]
          env: [{{name: NODE_NAME, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]
          resources: {{requests: {{memory: 64Mi}}, limits: {{memory: {64 + index % 64}Mi}}}}
"""


def rbac(daemon_set_count: int, objects: int) -> Iterator[str]:
    """`objects` RBAC objects: a role and a binding per DaemonSet, the rest of other people's."""
    pairs = objects // 2
    for index in range(pairs):
        ours = index < daemon_set_count
        resources = "namespaces, pods" if ours and index % 4 in (0, 1) else "configmaps, secrets"
        account = f"agent-{index}" if ours else f"other-{index}"
        yield f"""\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: role-{index}}}
rules:
  - {{apiGroups: [""], resources: [{resources}], verbs: [get, list, watch]}}
  - {{apiGroups: [apps], resources: [deployments, "*/scale"], verbs: ["*"]}}
"""
        yield f"""\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: binding-{index}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: role-{index}}}
subjects: [{{kind: ServiceAccount, name: {account}, namespace: team-{index % 50}}}]
"""
