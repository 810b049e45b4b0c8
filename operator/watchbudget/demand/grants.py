"""Who may list and watch what: the grants of a DaemonSet's service account, and how they are known.

What a grant is worth is not decided here: permission is not behaviour.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from watchbudget.demand.authorizer import subject_keys
from watchbudget.demand.identity import accounts_by_key, identity_of
from watchbudget.demand.model import Grant
from watchbudget.demand.paths import WATCHING, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from watchbudget.api.resources import GroupResource
    from watchbudget.demand.authorizer import Authorizer
    from watchbudget.inventory.fleet import AccessReviews, DaemonSet, Fleet, ServiceAccount

__all__ = [
    "REVIEW_PATH",
    "accounts_by_key",
    "effective_verbs",
    "grants_of",
    "identity_of",
    "may_list",
    "may_watch",
    "rbac_known",
]

REVIEW_PATH: tuple[str, ...] = ("SubjectAccessReview",)
"""The path of a grant that only the server knows of, such as one of a webhook authorizer."""

_SCOPES = ("cluster", "namespaces", "named")


def grants_of(
    daemon_set: DaemonSet, fleet: Fleet, authorizer: Authorizer, resources: Iterable[GroupResource]
) -> tuple[Grant, ...]:
    """Return every path by which the DaemonSet's service account may list or watch the resources.

    One grant per path, scope and verbs; RoleBindings of one name that grant the same in several
    namespaces are one grant with those namespaces. A RoleBinding grants nothing on a
    cluster-scoped resource. Of a role that grants a verb for all objects and for some by name,
    only the former is shown.

    Where the server itself was asked (`fleet.access`), its word wins for the cluster scope, verb by
    verb: a grant found here but denied there has `confirmed=False` and is not effective; one allowed
    there without a path here gets `REVIEW_PATH`. What was not asked keeps `confirmed=None`, and RBAC
    answers for it.

    Args:
        daemon_set: Whose service account.
        fleet: The fleet it belongs to, for the server's answers.
        authorizer: `Authorizer.of(fleet)`, built once for all DaemonSets.
        resources: The watched resources.
    """
    keys = subject_keys(daemon_set.namespace, daemon_set.service_account)
    account = daemon_set.namespace, daemon_set.service_account
    found: list[Grant] = []
    for resource in dict.fromkeys(resources):
        by_path = merged(grant for key in keys for grant in authorizer.grants_to(key, resource))
        found += _reviewed(by_path, resource, account, fleet.access)
    return tuple(
        sorted(
            found,
            key=lambda grant: (
                grant.resource,
                _SCOPES.index(grant.scope),
                grant.path,
                grant.verbs,
                grant.names,
            ),
        )
    )


def effective_verbs(grants: Iterable[Grant], resource: GroupResource) -> frozenset[str]:
    """Return which of list and watch the grants allow for all objects of the resource, cluster-wide.

    Grants in namespaces or by name do not count, nor do those that the server denied.
    """
    return frozenset(
        verb
        for grant in grants
        if grant.resource == resource and grant.scope == "cluster" and grant.confirmed is not False
        for verb in grant.verbs
    )


def may_watch(grants: Iterable[Grant], resource: GroupResource) -> bool:
    """Whether the account may keep a full copy of the resource up to date: watch is allowed.

    List need not be. A watch without a resource version, or from `0`, begins with an event for
    every object there is, and one with `sendInitialEvents` replaces the list altogether
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch).
    """
    return "watch" in effective_verbs(grants, resource)


def may_list(grants: Iterable[Grant], resource: GroupResource) -> bool:
    """Whether the account may fetch the whole resource at once: list is allowed.

    With list and without watch an agent can only poll: it costs the API server a list each time, and
    holds a copy no longer than it cares to.
    """
    return "list" in effective_verbs(grants, resource)


def rbac_known(
    daemon_set: DaemonSet,
    fleet: Fleet,
    authorizer: Authorizer,
    accounts: Mapping[tuple[str, str], ServiceAccount],
) -> bool:
    """Whether the input says what the DaemonSet's service account may do, so that no grant means none.

    True for a live cluster, and for manifests that contain the account or a binding naming it: who
    ships the account ships its roles. The account `default` exists in every namespace whether or not a
    file contains it, so its absence does not show that files are missing; it is still only known
    if a file contains or binds it, because agents of the time before RBAC (kube2iam's chart without
    `rbac.create`) run as `default` and are granted what they need elsewhere, or fail.

    Args:
        daemon_set: Whose service account.
        fleet: The fleet it belongs to.
        authorizer: `Authorizer.of(fleet)`.
        accounts: `accounts_by_key(fleet)`.
    """
    key = daemon_set.namespace, daemon_set.service_account
    by_name, *_ = subject_keys(*key)
    return fleet.complete_rbac or key in accounts or bool(authorizer.bound_to(by_name))


def _reviewed(
    grants: tuple[Grant, ...], resource: GroupResource, account: tuple[str, str], access: AccessReviews
) -> Iterator[Grant]:
    """Yield the grants with what the server said of the cluster scope, and what only the server knows."""
    if access.state not in ("asked", "partial"):
        yield from grants
        return
    answers = {verb: access.allowed.get((*account, resource, verb)) for verb in WATCHING}
    unexplained = [verb for verb in WATCHING if answers[verb]]
    for grant in grants:
        if grant.scope != "cluster":
            yield grant
            continue
        by_answer: dict[bool | None, list[str]] = defaultdict(list)
        for verb in grant.verbs:
            by_answer[answers[verb]].append(verb)
            if verb in unexplained:
                unexplained.remove(verb)
        for confirmed, verbs in by_answer.items():
            yield replace(grant, verbs=tuple(verbs), confirmed=confirmed)
    if unexplained:
        yield Grant(resource, tuple(unexplained), "cluster", REVIEW_PATH, confirmed=True)
