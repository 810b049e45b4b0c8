"""What the API server's own authorizers say: may these service accounts list and watch this?

A SubjectAccessReview knows every authorizer, also webhooks and cloud IAM that no role object shows.
It is asked for the cluster scope only; narrow grants come from the roles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from watchbudget.api.resources import GroupResource
from watchbudget.inventory.errors import ClusterError, Forbidden
from watchbudget.inventory.fleet import CLUSTER, AccessReviews, Problem
from watchbudget.inventory.pool import for_each

if TYPE_CHECKING:
    from watchbudget.inventory.transport import Api

__all__ = ["VERBS", "Question", "account_groups", "ask", "review_access"]

VERBS = ("list", "watch")
_PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

Question = tuple[str, str, GroupResource, str]
"""Namespace and name of a service account, resource, verb."""


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups that the API server gives every service account of a namespace.

    `MakeGroupNames` in k8s.io/apiserver pkg/authentication/serviceaccount/util.go, and
    `system:authenticated`, which the authentication filter adds.
    """
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"


async def review_access(
    api: Api,
    accounts: Iterable[tuple[str, str]],
    resources: Collection[GroupResource],
    problems: list[Problem],
    progress: Callable[[int, int], None],
) -> AccessReviews:
    """Ask for every account, resource and verb.

    Args:
        api: the server.
        accounts: (namespace, name) of service accounts; repeats are asked once.
        resources: what they might list and watch, in all namespaces.
        problems: gets a warning if asking is forbidden, an error if the server went away half-way.
        progress: called with the answers so far and the number of questions.
    """
    questions = [
        (*account, resource, verb)
        for account in dict.fromkeys(accounts)
        for resource in resources
        for verb in VERBS
    ]
    allowed: dict[Question, bool] = {}

    async def put(question: Question) -> None:
        allowed[question] = await ask(api, question, problems)
        progress(len(allowed), len(questions))

    try:
        for question in questions[:1]:  # alone: where it is forbidden, the others need not be sent
            await put(question)
        await for_each(questions[1:], put)
    except Forbidden as error:
        problems.append(
            Problem(
                CLUSTER,
                f"whether service accounts may list and watch is told from roles and bindings alone, which "
                f"do not show what other authorizers (cloud IAM, webhooks) allow: {error}",
                severity="warning",
            )
        )
        return AccessReviews("forbidden", allowed)
    except ClusterError as error:
        problems.append(
            Problem(CLUSTER, f"only {len(allowed)} of {len(questions)} access reviews were answered: {error}")
        )
        return AccessReviews("partial", allowed)
    return AccessReviews("asked", allowed)


async def ask(api: Api, question: Question, problems: list[Problem]) -> bool:
    """One SubjectAccessReview for the cluster scope. Raises ClusterError."""
    namespace, name, resource, verb = question
    user = f"system:serviceaccount:{namespace}:{name}"
    review = await api.create(
        _PATH,
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": list(account_groups(namespace)),
                "resourceAttributes": {"verb": verb, "group": resource.group, "resource": resource.resource},
            },
        },
    )
    status = review.get("status")
    answer: dict[str, Any] = status if isinstance(status, dict) else {}
    error = answer.get("evaluationError")
    # A binding to a missing role is such an error too, and grants nothing: nothing is left to warn of.
    if error and not answer.get("allowed") and "not found" not in str(error):
        problems.append(
            Problem(
                CLUSTER,
                f"may {user} {verb} {resource}? The server could not ask all its authorizers: {error}",
                severity="warning",
            )
        )
    return answer.get("allowed") is True
