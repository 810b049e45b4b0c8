"""Which DaemonSets a budget governs."""

from __future__ import annotations

from collections.abc import Mapping

from watchbudget.api.budget import WatchBudget
from watchbudget.inventory.fleet import DaemonSet

__all__ = ["NAME_LABEL", "governs", "rests_on_unknown_labels"]

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server puts on every namespace:
https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name"""

NamespaceLabels = Mapping[str, Mapping[str, str]]


def governs(budget: WatchBudget, daemon_set: DaemonSet, namespace_labels: NamespaceLabels) -> bool:
    """Whether the budget's selectors match the DaemonSet's labels and those of its namespace.

    Of a namespace whose labels are not known (manifests seldom hold namespaces) only the name counts.
    """
    if not budget.spec.daemon_set_selector.matches(daemon_set.labels):
        return False
    selector = budget.spec.namespace_selector
    return selector.empty or selector.matches(
        {**namespace_labels.get(daemon_set.namespace, {}), NAME_LABEL: daemon_set.namespace}
    )


def rests_on_unknown_labels(
    budget: WatchBudget, daemon_set: DaemonSet, namespace_labels: NamespaceLabels
) -> bool:
    """Whether `governs` had to answer without labels that it asks for."""
    selector = budget.spec.namespace_selector
    keys = {*selector.match_labels, *(requirement.key for requirement in selector.match_expressions)}
    return daemon_set.namespace not in namespace_labels and bool(keys - {NAME_LABEL})
