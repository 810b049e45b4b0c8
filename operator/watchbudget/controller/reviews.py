"""What the API server's own authorizers say of service accounts, kept and asked again.

A SubjectAccessReview wins over the roles we read, so an answer from before a role came would hide what it
grants. Each answer is therefore kept with what the roles said at that time, and dropped as soon as they
say something else; roles answer until the server has been asked again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from watchbudget.api.resources import GroupResource
from watchbudget.demand.authorizer import Authorizer, groups_of, username_of
from watchbudget.inventory.access import VERBS, Question, ask
from watchbudget.inventory.errors import Forbidden
from watchbudget.inventory.fleet import AccessReviews, Problem
from watchbudget.inventory.pool import for_each
from watchbudget.inventory.rbac import Rbac

if TYPE_CHECKING:
    from watchbudget.inventory.transport import Api

__all__ = ["Reviews"]

AT_ONCE = 64
"""Questions in one go, so that a judgement never waits long for them."""

log = logging.getLogger(__name__)


class Reviews:
    """The answers. `sift` and `ask` are called in turn, never at once.

    Attributes:
        missing: questions that the last `sift` found without a usable answer.
    """

    def __init__(self, *, lasts: float = 1800.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet.

        Args:
            lasts: seconds after which a question is asked again: other authorizers change unseen.
            clock: seconds that only ever grow.
        """
        self.missing: list[Question] = []
        self._lasts = lasts
        self._clock = clock
        self._answers: dict[Question, tuple[bool, bool, float]] = {}  # allowed, what roles said, when
        self._said: dict[Question, bool] = {}
        self._rbac: Rbac | None = None
        self._basis: tuple[object, ...] = ()
        self._forbidden_until = float("-inf")

    def sift(
        self,
        rbac: Rbac,
        accounts: Collection[tuple[str, str]],
        resources: Collection[GroupResource],
        *,
        complete: bool,
    ) -> AccessReviews:
        """The answers that still hold.

        Args:
            rbac: all roles and bindings known.
            accounts: namespace and name of the service accounts of today's DaemonSets.
            resources: what they may list or watch.
            complete: whether `rbac` is all that the cluster has.
        """
        basis = (frozenset(accounts), tuple(resources), complete)
        if rbac is not self._rbac or basis != self._basis:
            self._said = _said(Authorizer(rbac, builtins=not complete), accounts, resources)
            self._answers = {
                question: answer
                for question, answer in self._answers.items()
                if self._said.get(question) is answer[1]
            }
            self._rbac, self._basis = rbac, basis
        oldest = self._clock() - self._lasts
        if self._clock() < self._forbidden_until:
            self.missing = []
            return AccessReviews("forbidden")
        self.missing = [
            question
            for question in self._said
            if question not in self._answers or self._answers[question][2] < oldest
        ]
        allowed = {question: answer[0] for question, answer in self._answers.items()}
        return AccessReviews("partial" if self.missing else "asked", allowed)

    async def ask(self, api: Api) -> bool:
        """Ask some of what is missing; whether a judgement may now come out differently.

        Raises:
            ClusterError: the server went away.
        """
        changed = False
        problems: list[Problem] = []

        async def put(question: Question) -> None:
            nonlocal changed
            allowed, said = await ask(api, question, problems), self._said[question]
            known = self._answers.get(question)
            # What merely confirms the roles changes no judgement.
            changed |= allowed is not (known[0] if known else said)
            self._answers[question] = allowed, said, self._clock()

        batch, self.missing = self.missing[:AT_ONCE], self.missing[AT_ONCE:]
        try:
            await for_each(batch, put)
        except Forbidden as error:
            log.warning("Roles and bindings alone tell what service accounts may do: %s", error)
            self._forbidden_until = self._clock() + self._lasts
            self.missing = []
        for text in sorted({str(problem) for problem in problems}):
            log.warning("%s", text)
        return changed


def _said(
    authorizer: Authorizer, accounts: Collection[tuple[str, str]], resources: Collection[GroupResource]
) -> dict[Question, bool]:
    return {
        (namespace, name, resource, verb): authorizer.allows(
            username_of(namespace, name), groups_of(namespace), verb, resource.group, resource.resource
        )
        for namespace, name in accounts
        for resource in resources
        for verb in VERBS
    }
