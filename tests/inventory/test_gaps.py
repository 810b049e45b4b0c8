"""Gaps: what could not be read is told, each once."""

from __future__ import annotations

import pytest

from watchbudget.inventory.errors import Forbidden, NotFound, ServerGone, Unauthorized
from watchbudget.inventory.fleet import CLUSTER, Problem
from watchbudget.inventory.gaps import Gaps


def test_a_missing_permission_is_a_warning_told_once_with_its_effect():
    gaps = Gaps()
    for namespace in "abc":
        with gaps.around("roles are unknown"):
            raise Forbidden(f"may not list roles in {namespace}", "list roles")
    with gaps.around("roles are unknown"):
        raise Forbidden("may not list bindings", "list rolebindings")
    assert gaps.told() == (
        Problem(CLUSTER, "roles are unknown: may not list roles in a (and 2 more times)", severity="warning"),
        Problem(CLUSTER, "roles are unknown: may not list bindings", severity="warning"),
    )
    assert gaps.count == 4


def test_a_missing_permission_may_be_an_error():
    gaps = Gaps()
    with gaps.around("nothing is known", forbidden="error"):
        raise Forbidden("no", "list x")
    assert [problem.severity for problem in gaps.told()] == ["error"]


@pytest.mark.parametrize("kind", [ServerGone, Unauthorized])
def test_what_ends_everything_is_told_once(kind: type[Exception]):
    gaps = Gaps()
    for effect in ("roles are unknown", "labels are unknown"):
        with gaps.around(effect):
            raise kind("it is over")
    assert gaps.told() == (Problem(CLUSTER, "it is over"),)
    assert gaps.count == 2


def test_other_failures_are_errors_with_their_effect():
    gaps = Gaps()
    with gaps.around("labels are unknown"):
        raise NotFound("no such thing")
    assert gaps.told() == (Problem(CLUSTER, "labels are unknown: no such thing"),)


def test_a_bug_is_not_taken_for_a_gap():
    with pytest.raises(KeyError), Gaps().around("x"):
        raise KeyError("ours")
