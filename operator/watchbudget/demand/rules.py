"""Whether one RBAC rule allows one request, letter by letter as the API server decides it.

Mirrors `RuleAllows` (k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/rbac.go) and the
matchers it calls (pkg/apis/rbac/v1/evaluation_helpers.go), v1.36.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from watchbudget.inventory.rbac import PolicyRule

__all__ = ["ALL", "Request", "covers_resource", "rule_allows"]

ALL = "*"
"""The wildcard of verbs, API groups and resources; resource names know none."""


class Request(Struct, frozen=True):
    """What is asked of the API server; a list or watch of everything has neither namespace nor name."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


def rule_allows(rule: PolicyRule, request: Request) -> bool:
    """Whether the rule alone allows the request; where the rule holds is its binding's matter."""
    return (
        _has(rule.verbs, request.verb)
        and covers_resource(rule, request.group, request.resource, request.subresource)
        # No names means all names. A named rule never allows a request without a name, unless it
        # lists the empty name, which the API server accepts.
        and (not rule.resource_names or request.name in rule.resource_names)
    )


def covers_resource(rule: PolicyRule, group: str, resource: str, subresource: str = "") -> bool:
    """Whether the rule speaks of this resource: its group and its plural name, or a wildcard for either.

    `pods/*` is no wildcard; `*/scale` is, but only for requests of that subresource.
    """
    if not _has(rule.api_groups, group):
        return False
    combined = f"{resource}/{subresource}" if subresource else resource
    return _has(rule.resources, combined) or (bool(subresource) and f"{ALL}/{subresource}" in rule.resources)


def _has(entries: tuple[str, ...], wanted: str) -> bool:
    return ALL in entries or wanted in entries
