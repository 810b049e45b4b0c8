"""A plain kopf operator that knows the labels of every namespace: the baseline of bench/scale_operator.py.

Run by it as `kopf run`, in a process of its own. By events, as kopf's own `@kopf.index` gets slower with the
square of the objects: it has not got through 20,000 of them within two minutes.
"""

from __future__ import annotations

from typing import Any

import kopf

LABELS: dict[str, dict[str, str]] = {}


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401 - kopf's many arguments
    """In pages, which spares it memory, and without looking for custom resources."""
    settings.watching.chunk_size = 500
    settings.scanning.disabled = True
    settings.posting.enabled = False


@kopf.on.event("", "v1", "namespaces")
async def remember(name: str, labels: kopf.Labels, **_: Any) -> None:  # noqa: ANN401
    """Keep what a namespaceSelector needs, and tell how many there are."""
    LABELS[name] = dict(labels)
    if len(LABELS) % 100 == 0:
        print(f"known {len(LABELS)}", flush=True)
