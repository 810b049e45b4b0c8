"""What a WatchBudget asks for. Field docstrings become the text of `kubectl explain`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from watchbudget.api.exemption import Exemption
from watchbudget.api.fields import (
    ApiModel,
    Quantity,
    Text,
    cel,
    is_quantity,
    quantity_of,
    unique,
    validated,
)
from watchbudget.api.quantity import MAX_BYTES
from watchbudget.api.resources import DEFAULT_WATCHED, GroupResource
from watchbudget.api.rollout import Rollout
from watchbudget.api.rules import RULE_NAMES, RuleName
from watchbudget.api.selector import LabelSelector

__all__ = [
    "Enforcement",
    "Limits",
    "RuleAction",
    "RuleSetting",
    "WatchBudgetSpec",
    "WatchedResource",
]

Action = Literal["Audit", "Annotate", "Warn", "Deny"]
RuleAction = Literal["Off", "Audit", "Annotate", "Warn", "Deny"]
EvidenceWord = Literal["granted", "catalogue", "declared", "observed"]


class WatchedResource(ApiModel):
    """A kind of object whose watching is priced."""

    group: Annotated[
        str,
        Text(
            # A dot, or one of Kubernetes' own few without: so that `v1` and `core` are not taken for groups.
            r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+)?"
            "|apps|autoscaling|batch|extensions|policy",
            "is not an API group: without version, such as networking.k8s.io, and '' for the core group",
            253,
        ),
    ]
    """API group without version, such as networking.k8s.io; the empty string for the core group. It must be
    given, because names like networkpolicies exist in several groups."""
    resource: Annotated[
        str,
        Text(
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            "is not a resource: its plural in lower case, such as namespaces; neither '*' nor a subresource",
            63,
        ),
    ]
    """Plural name in lower case, such as namespaces."""


_ORDER = (
    ("cachePerPod", "cachePerNode", "a pod's cache is part of its node's"),
    ("cachePerPod", "cacheTotal", "a pod's cache is part of the total"),
    ("cachePerNode", "cacheTotal", "a node's caches are part of the total"),
)


class Limits(ApiModel):
    """How much cache is allowed. Each limit is optional; an absent one limits nothing."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            *(
                cel(
                    f"!has(self.{part}) || !has(self.{whole})"
                    # what is no quantity has its own message
                    f" || !{is_quantity(f'self.{part}')} || !{is_quantity(f'self.{whole}')}"
                    f" || {quantity_of(f'self.{part}')}.compareTo({quantity_of(f'self.{whole}')}) <= 0",
                    f"{part} must not exceed {whole}: {why}",
                    field=part,
                )
                for part, whole, why in _ORDER
            )
        )
    )

    cache_per_pod: Quantity | None = None
    """Memory that the caches of one pod may take, such as 64Mi."""
    cache_per_node: Quantity | None = None
    """Memory that the caches of all governed DaemonSets together may take on a node, such as
    256Mi. The worst node counts."""
    cache_total: Quantity | None = None
    """Memory that the caches of all governed DaemonSets together may take on all nodes, such as
    1Ti."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        size = {
            "cachePerPod": self.cache_per_pod,
            "cachePerNode": self.cache_per_node,
            "cacheTotal": self.cache_total,
        }
        wrong = [
            f"{part} must not exceed {whole}: {why}"
            for part, whole, why in _ORDER
            if (size[part] or 0) > (size[whole] or MAX_BYTES)
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class RuleSetting(ApiModel):
    """Another action for one rule."""

    name: RuleName
    """The rule; `watchbudget rules` explains each."""
    action: RuleAction
    """What happens when this rule finds something. "Off" turns it off; write it in quotes, because YAML takes
    a bare Off for false."""


class Enforcement(ApiModel):
    """What happens to a DaemonSet that a rule finds fault with.

    The schema fills in only what `kubectl get` shows as a column, so that what is stored says what holds.
    All else that is left out stays out, because defaults rewrite what people applied.
    """

    action: Annotated[Action, Field(json_schema_extra={"default": "Audit"})] = "Audit"
    """What happens when a rule finds something: Audit reports it in this object's status, Annotate also
    writes the verdict on the DaemonSet, Warn also warns whoever applies it, Deny also refuses it."""
    minimum_evidence: Annotated[EvidenceWord, Field(json_schema_extra={"default": "catalogue"})] = "catalogue"
    """What counts as watching, weakest to strongest: granted (permission alone), catalogue (a known agent and
    its configuration), declared (its owner's annotation), observed (the API server's audit log)."""
    trust_declarations: bool = False
    """Whether an owner's annotation watchbudget.io/watches may weaken what the catalogue says. Default:
    false."""
    deny_in_kube_system: bool = False
    """Whether Deny also refuses DaemonSets in kube-system, where the network the cluster runs on may live;
    otherwise it warns there. Default: false."""
    rules: Annotated[
        tuple[RuleSetting, ...],
        Field(
            max_length=len(RULE_NAMES),
            strict=False,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        AfterValidator(partial(unique, by=("name",))),
    ] = ()
    """Rules that deserve another action than the one above."""


class WatchBudgetSpec(ApiModel):
    """The budget. An empty one prices all watches of namespaces and network policies, and only reports."""

    daemon_set_selector: LabelSelector = LabelSelector()
    """Labels of the DaemonSets that are governed; empty governs all."""
    namespace_selector: LabelSelector = LabelSelector()
    """Labels of the namespaces whose DaemonSets are governed; empty governs all."""
    resources: Annotated[
        tuple[WatchedResource, ...],
        Field(
            min_length=1,
            max_length=16,
            strict=False,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["group", "resource"],
            },
        ),
        AfterValidator(partial(unique, by=("group", "resource"))),
    ] = tuple(WatchedResource(group=each.group, resource=each.resource) for each in DEFAULT_WATCHED)
    """What is priced when it is watched. Default: namespaces and networkpolicies.networking.k8s.io."""
    limits: Limits = Limits()
    """How much cache is allowed; without limits, none is too much."""
    enforcement: Annotated[Enforcement, Field(json_schema_extra={"default": {}})] = Enforcement()
    """What happens to a DaemonSet that a rule finds fault with. By default it is only reported."""
    rollout: Rollout | None = None
    """How fast pods of governed DaemonSets may start. Without it nothing is held, capped or paced, whatever
    the action."""
    exemptions: Annotated[
        tuple[Exemption, ...],
        Field(max_length=256, strict=False, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = ()
    """DaemonSets whose findings are accepted. They are shown, and count for nothing."""

    def watched(self) -> tuple[GroupResource, ...]:
        """The resources that are priced, in the order given."""
        return tuple(GroupResource(each.group, each.resource) for each in self.resources)
