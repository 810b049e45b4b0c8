"""The owner's own word: annotation `watchbudget.io/watches` on the DaemonSet.

A declaration that cannot be understood counts for nothing and is reported: half an
understanding of somebody's promise is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from watchbudget.api.resources import GroupResource
from watchbudget.inventory.fleet import DaemonSet, Problem

__all__ = ["ANNOTATION", "Declaration", "declarations_of"]

ANNOTATION = "watchbudget.io/watches"

_MAX_CHARACTERS = 4096
"""A declaration has one short line per resource. Annotations may hold 256 KiB; a longer one is a mistake."""

_KEY = r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_SET = rf"\s+(?:in|notin)\s*\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\)"
_REQUIREMENT = rf"(?:!\s*{_KEY}|{_KEY}(?:{_SET}|\s*(?:==?|!=)\s*{_VALUE})?)"
# The grammar of labels.Parse (k8s.io/apimachinery pkg/labels/selector.go), without `gt` and `lt`.
_SELECTOR = re.compile(rf"\s*{_REQUIREMENT}(?:\s*,\s*{_REQUIREMENT})*\s*")


class Declaration(Struct, frozen=True):
    """What the owner says of one resource; `selector` only with `some`."""

    watches: Literal["none", "all", "some"]
    selector: str | None = None


def declarations_of(
    daemon_set: DaemonSet, resources: Sequence[GroupResource]
) -> tuple[Mapping[GroupResource, Declaration], tuple[Problem, ...]]:
    """Read the annotation.

    Args:
        daemon_set: whose annotation.
        resources: what is priced; a declaration of anything else is reported, most often
            it lacks its API group.

    Returns:
        The declarations that can be used, and a warning for each that cannot.
    """
    text = daemon_set.annotations.get(ANNOTATION)
    if text is None:
        return {}, ()
    if len(text) > _MAX_CHARACTERS:
        return {}, (_problem(daemon_set, f"{len(text)} characters, more than {_MAX_CHARACTERS}"),)
    try:
        value = json.loads(text, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        return {}, (_problem(daemon_set, f"not JSON: {error}"),)
    if not isinstance(value, dict):
        return {}, (_problem(daemon_set, 'must be a JSON object such as {"namespaces": "none"}'),)
    found: dict[GroupResource, Declaration] = {}
    problems: list[Problem] = []
    for key, said in value.items():
        try:
            resource = GroupResource.parse(key)
            if resource not in resources:
                known = ", ".join(map(str, resources))
                raise ValueError(f"{key!r} is not a watched resource; those are {known}")  # noqa: TRY301
            found[resource] = _declaration(key, said)
        except ValueError as error:
            problems.append(_problem(daemon_set, str(error)))
    return found, tuple(problems)


def _declaration(key: str, said: object) -> Declaration:
    if said == "none":
        return Declaration("none")
    if said == "all":
        return Declaration("all")
    if isinstance(said, str) and _SELECTOR.fullmatch(said):
        return Declaration("some", said.strip())
    raise ValueError(f'{key}: {json.dumps(said)[:80]} is not "none", "all" or a label selector')


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is given twice")
    return value


def _problem(daemon_set: DaemonSet, message: str) -> Problem:
    return Problem(
        source=daemon_set.source,
        message=f"{message}; the declaration is not used",
        object=daemon_set.title,
        field=f"metadata.annotations[{ANNOTATION}]",
        severity="warning",
    )
