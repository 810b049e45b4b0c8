"""The annotations that a judged DaemonSet carries: what they say, and the patch that puts them there.

They tell of the object, never of a change of it, so that the webhook and whoever judges the stored
object later write the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from watchbudget.api.budget import GROUP
from watchbudget.api.quantity import format_quantity
from watchbudget.policy.model import Action, Judgement

__all__ = [
    "CACHE_PER_POD",
    "FINDINGS",
    "LIST_BYTES_PER_START",
    "OURS",
    "VERDICT",
    "annotation_patch",
    "annotations_of",
]

VERDICT = f"{GROUP}/verdict"
FINDINGS = f"{GROUP}/findings"
CACHE_PER_POD = f"{GROUP}/cache-per-pod"
LIST_BYTES_PER_START = f"{GROUP}/list-bytes-per-start"

_PATH = "/metadata/annotations"

OURS = (VERDICT, FINDINGS, CACHE_PER_POD, LIST_BYTES_PER_START)
"""What we write and take away again. Others of our group are the owner's (`watches`, `paused`), and
`max-unavailable` is admission's: it belongs to the number beside it (rollout/cap.py)."""


def annotations_of(judgement: Judgement) -> dict[str, str]:
    """What the DaemonSet's annotations shall be; nothing takes away what we wrote before.

    Annotate is a step that a finding reaches, by its budget's action and its rule's. So an object is
    annotated as long as it has an unexempted finding at Annotate or above: exactly while its budget
    is not `Compliant` because of it. Audit leaves objects alone, and so does a clean bill.

    Figures are rounded to two digits, or a busy cluster would rewrite them all day. Where nothing is
    certain (a budget lets RBAC alone count) they are what the DaemonSet may come to.
    """
    # Rules are a closed list of short names, each named once: no DaemonSet can make this long.
    rules = {
        finding.rule
        for finding in judgement.findings
        if finding.exempted is None and finding.action >= Action.ANNOTATE
    }
    if not rules:
        return {}
    bill = judgement.bill
    cache = bill.cache_per_pod or bill.cache_per_pod_up_to
    listed = bill.list_bytes_per_start or bill.list_bytes_per_start_up_to
    return {
        VERDICT: str(judgement.verdict),
        FINDINGS: ",".join(sorted(rules)),
        CACHE_PER_POD: format_quantity(cache),
        LIST_BYTES_PER_START: format_quantity(listed),
    }


def annotation_patch(
    raw: Mapping[str, Any], wanted: Mapping[str, str], names: Iterable[str] = OURS
) -> tuple[Mapping[str, Any], ...]:
    """The JSON patch (RFC 6902) after which our annotations are those wanted and all others as before.

    Args:
        raw: the object.
        wanted: the annotations of `names` that it shall have.
        names: those that are ours to write and to take away.

    Returns:
        The operations; none where nothing is to change, or where metadata or annotations are no
        mappings, which the API server refuses by itself.
    """
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        return ()
    present = metadata.get("annotations")
    if present is None:
        # Null counts as absent: `add` makes the mapping in both cases, `replace` would need it to be there.
        return ({"op": "add", "path": _PATH, "value": dict(wanted)},) if wanted else ()
    if not isinstance(present, dict):
        return ()
    return tuple(_operations(present, wanted, names))


def _operations(
    present: Mapping[str, Any], wanted: Mapping[str, str], names: Iterable[str]
) -> Iterator[Mapping[str, Any]]:
    """No library compares the two: a general comparison takes as long as a third of a judgement."""
    for name in names:
        path = f"{_PATH}/{name.replace('~', '~0').replace('/', '~1')}"  # RFC 6901
        if name not in wanted:
            if name in present:
                yield {"op": "remove", "path": path}
        elif present.get(name) != wanted[name]:
            yield {"op": "add", "path": path, "value": wanted[name]}  # replaces what is there
