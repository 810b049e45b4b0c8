"""Group and resource, the pair by which everything here names what is watched.

Why a type for it: `networkpolicies` exists in four API groups of common clusters, and a
rule that forgets the group is wrong in both directions.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFAULT_WATCHED", "NAMESPACES", "NETWORK_POLICIES", "GroupResource"]


class GroupResource(NamedTuple):
    """A kind of object as the API server's paths and RBAC name it (plural, lower case)."""

    group: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> GroupResource:
        """Read `resource` or `resource.group`, as `kubectl get` takes it.

        Raises:
            ValueError: the text is empty or has an empty part.
        """
        resource, dot, group = text.partition(".")
        if not resource or (dot and not group):
            raise ValueError(
                f"{text!r} is not RESOURCE or RESOURCE.GROUP, such as networkpolicies.networking.k8s.io"
            )
        return cls(group, resource)

    def __str__(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


NAMESPACES = GroupResource("", "namespaces")
NETWORK_POLICIES = GroupResource("networking.k8s.io", "networkpolicies")

DEFAULT_WATCHED: tuple[GroupResource, ...] = (NAMESPACES, NETWORK_POLICIES)
"""What a budget prices unless it names something else: what grows with tenants."""
