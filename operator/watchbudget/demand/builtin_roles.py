"""Roles and bindings that every cluster has, though no manifest defines them.

The API server creates them when it starts and puts back what is taken from them (unless an
annotation forbids it): https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

from watchbudget.inventory.rbac import Binding, LabelSelector, PolicyRule, Role, Subject

__all__ = ["BUILTIN_BINDINGS", "builtin_roles"]

BUILTIN_BINDINGS: tuple[Binding, ...] = (
    Binding(
        None,
        "system:basic-user",
        "ClusterRole",
        "system:basic-user",
        (Subject("Group", "system:authenticated"),),
    ),
    Binding(
        None,
        "system:kube-dns",
        "ClusterRole",
        "system:kube-dns",
        (Subject("ServiceAccount", "kube-dns", "kube-system"),),
    ),
)
"""The bootstrap bindings that can reach a pod's service account and grant a resource.

Of those to groups, `system:authenticated` may only create reviews of its own rights; the rest
(discovery, public-info-viewer, service-account-issuer-discovery) grant URLs, no resources. The bindings
of kube-controller-manager's own service accounts are left out: no pod runs as those.
Source: `ClusterRoleBindings` in bootstrappolicy/policy.go, v1.36.3.
"""


@cache
def builtin_roles() -> tuple[Role, ...]:
    """Return the roles of the API server's bootstrap policy; which version, builtin_roles.yaml says."""
    text = resources.files(__package__).joinpath("builtin_roles.yaml").read_text(encoding="utf-8")
    return tuple(_role(entry) for entry in yaml.safe_load(text))


def _role(entry: dict[str, Any]) -> Role:
    aggregates = entry.get("aggregates")
    return Role(
        namespace=entry.get("namespace"),
        name=entry["name"],
        rules=tuple(
            PolicyRule(
                verbs=tuple(rule["verbs"]),
                api_groups=tuple(rule["groups"]),
                resources=tuple(rule["resources"]),
                resource_names=tuple(rule.get("names", ())),
            )
            for rule in entry.get("rules", ())
        ),
        labels={"kubernetes.io/bootstrapping": "rbac-defaults", **entry.get("labels", {})},
        aggregation=(LabelSelector(match_labels=tuple(aggregates.items())),) if aggregates else None,
    )
