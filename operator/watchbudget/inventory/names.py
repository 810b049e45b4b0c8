"""Which names an object can have. What is none is not asked for: it may be the path of something else."""

from __future__ import annotations

import re

__all__ = ["possible"]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST = 253


def possible(name: str) -> bool:
    """Whether a namespace, service account or ConfigMap can be called so: a DNS subdomain (RFC 1123).

    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names

    An empty name or `..` would change the path of a request. The API server does not hold references from
    pods to ConfigMaps to this (`validateConfigMapVolumeSource` in
    kubernetes/pkg/apis/core/validation/validation.go).
    """
    return len(name) <= _LONGEST and _NAME.fullmatch(name) is not None
