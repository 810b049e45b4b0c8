"""Whose lists the API server answers a few at a time: what the FlowSchema of the agents says.

A gate paces what is born. A container that is restarted in place, and every client when an API server
restarts, lists again and passes no gate; and of pods that are released together all list together. So the API
server itself is told to answer their lists a few at a time, the others waiting in a queue: a FlowSchema
sends them to a priority level of their own (manifests/base/flow-control.yaml). It holds without us as well.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from watchbudget.api.budget import WatchBudget
from watchbudget.api.resources import GroupResource
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.starts import is_held
from watchbudget.rollout.gate import gate_of
from watchbudget.rollout.model import Key

__all__ = ["MOST_ACCOUNTS", "Queue", "queue_of", "rules_of"]

MOST_ACCOUNTS = 200
"""Service accounts in one FlowSchema: each request of the cluster is matched against all of them."""


class Queue(Struct, frozen=True):
    """Whose lists wait in the queue, and lists of what.

    Attributes:
        accounts: namespace and name of service accounts, in order; none: nobody's lists do.
        resources: in order.
        daemon_sets: those whose lists it takes.
    """

    accounts: tuple[tuple[str, str], ...] = ()
    resources: tuple[GroupResource, ...] = ()
    daemon_sets: frozenset[Key] = frozenset()


def queue_of(appraisals: Iterable[Appraisal], budgets: Sequence[WatchBudget]) -> Queue:
    """The queue of a judgement: what a budget holds at its gate, it has listing in the queue as well.

    Only who speaks by its service account can be told from others. A network plugin that may start at any
    time (`system-node-critical`, no `gateCritical`) lists at any time too.

    Args:
        appraisals: of all DaemonSets.
        budgets: all of them, in the order of the appraisals.
    """
    queueing = {
        budget.name: budget.spec
        for budget in budgets
        if budget.spec.rollout and budget.spec.rollout.queue_lists
    }
    accounts: dict[tuple[str, str], list[Key]] = {}
    resources: set[GroupResource] = set()
    for appraisal in appraisals if queueing else ():
        item = appraisal.daemon_set
        if appraisal.identity != "serviceAccount":
            continue
        holding = [
            queueing[hold.budget] for hold in gate_of(appraisal, budgets).holds if hold.budget in queueing
        ]
        holding = [spec for spec in holding if is_held(spec.rollout, item)]
        if holding:
            accounts.setdefault((item.namespace, item.service_account), []).append(item.key)
            resources.update(*(spec.watched() for spec in holding))
    first = sorted(accounts)[:MOST_ACCOUNTS]
    return Queue(
        accounts=tuple(first),
        resources=tuple(sorted(resources)) if first else (),
        daemon_sets=frozenset(key for account in first for key in accounts[account]),
    )


def rules_of(queue: Queue) -> list[Mapping[str, Any]]:
    """`spec.rules` of the FlowSchema; none where nobody waits: then it matches no request.

    Watches too: since client-go 0.35 a list is a watch that sends what is there first. Any other watch takes
    a seat for a moment only. `clusterScope` is what lets a list of all namespaces match (`matchesAResource`
    in k8s.io/apiserver/pkg/util/flowcontrol/rule.go).
    """
    if not queue.accounts:
        return []
    groups: dict[str, list[str]] = {}
    for resource in queue.resources:
        groups.setdefault(resource.group, []).append(resource.resource)
    return [
        {
            "subjects": [
                {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}
                for namespace, name in queue.accounts
            ],
            "resourceRules": [
                {
                    "apiGroups": [group],
                    "resources": resources,
                    "verbs": ["list", "watch"],
                    "clusterScope": True,
                    "namespaces": ["*"],
                }
                for group, resources in groups.items()
            ],
        }
    ]
