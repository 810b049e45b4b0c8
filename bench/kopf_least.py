"""A stock kopf operator that does the least a webhook can: the baseline of bench/admission.py.

Run by it as `kopf run`, in a process of its own; port and certificate come by the environment.
"""

from __future__ import annotations

import os
from typing import Any

import kopf

SAID = [f"kopf says line {number}: {'as long as one of ours, ' * 10}" for number in range(3)]
"""As much as `watchbudget run` says of the same DaemonSet."""


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401 - kopf's many arguments
    """Kopf's own server with its own settings, but for the address."""
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1",
        host="127.0.0.1",
        port=int(os.environ["KOPF_PORT"]),
        certfile=os.environ["KOPF_CERTIFICATE"],
        pkeyfile=os.environ["KOPF_KEY"],
    )


@kopf.on.validate("apps", "v1", "daemonsets", id="least")
async def least(
    annotations: kopf.Annotations,
    namespace: str,
    warnings: list[str],
    **_: Any,  # noqa: ANN401
) -> None:
    """Allow; say so only where the benchmark asks whether it is asked at all, or what saying costs."""
    if namespace == "bench-kopf-warns":
        warnings += SAID
    if "bench.watchbudget.io/prove" in annotations:
        warnings.append("seen by kopf")


@kopf.on.mutate("apps", "v1", "daemonsets", id="annotate")
async def annotate(patch: kopf.Patch, **_: Any) -> None:  # noqa: ANN401
    """Put as many annotations on it as we do."""
    for number in range(4):
        patch.metadata.annotations[f"bench.watchbudget.io/{number}"] = "some"
