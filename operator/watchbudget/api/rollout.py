"""How fast pods of governed DaemonSets may start."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from watchbudget.api.duration import format_duration, parse_duration
from watchbudget.api.fields import ApiModel, Percent, Quantity, bounded_duration, cel, shorter, validated

__all__ = ["Rollout"]

_SETTLE, _PERMIT_TIMEOUT = "5s", "2m"
_SETTLES_IN_TIME = "settle must be shorter than permitTimeout, or every start would time out"

# No rule here forbids gateCritical or gateUncertain beside `gate: false`, useless as they are:
# `kubectl patch ... gate: false` lets held pods go at once, and must never be refused.


class Rollout(ApiModel):
    """How pods start. Every field has a default, so that `rollout: {}` turns pacing on."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            cel(
                shorter("settle", _SETTLE, "permitTimeout", _PERMIT_TIMEOUT),
                _SETTLES_IN_TIME,
                field="settle",
            )
        )
    )

    gate: bool = True
    """Hold new pods by a scheduling gate until they get a permit. Setting it to false lets all held pods go.
    Default: true."""
    gate_uncertain: bool = False
    """Also hold pods of DaemonSets of which it is not certain that they watch. Default: false."""
    max_concurrent_starts: Annotated[int, Field(ge=1, le=5000)] = 100  # 5,000 nodes: Kubernetes' own limit
    """How many pods may start at once, at most; fewer do while the API server is slow. Default: 100."""
    max_unavailable: Annotated[int, Field(ge=1, le=5000)] = 20
    """How many nodes may be without their agent at once in a rollout, see capMaxUnavailable. Default: 20."""
    max_list_bytes_in_flight: Quantity = 512 * 2**20
    """How many bytes of lists starting pods may ask of the API server at once. A single larger list runs
    alone. Default: 512Mi."""
    cap_max_unavailable: bool = True
    """Lower a DaemonSet's maxUnavailable when it is created or changed, to the maxUnavailable above, or to
    what permits can follow if that is less. The value before is kept in an annotation. Default: true."""
    queue_lists: bool = True
    """Have the API server answer the lists of governed agents a few at a time; the others wait. Also when
    containers restart, which no gate holds (FlowSchema watchbudget-agents). Default: true."""
    max_hold: Annotated[float, bounded_duration("10s", "1h")] = parse_duration("5m")
    """How long pods stay held while permits are free and none is given out, which means that something is
    broken; then they are let go slowly. Waiting for a turn does not count. A new leader takes up to 20s to
    follow one that was killed, so less than 30s lets pods go then already. Default: 5m."""
    permit_timeout: Annotated[float, bounded_duration("10s", "1h")] = parse_duration(_PERMIT_TIMEOUT)
    """How long a pod may take from its permit to Ready before the permit is taken back. Default: 2m."""
    settle: Annotated[float, bounded_duration("0s", "10m")] = parse_duration(_SETTLE)
    """How long a permit lasts at least after the pod's containers started: many agents are Ready before
    their lists are done. Default: 5s."""
    gate_critical: bool = False
    """Also hold pods of priority class system-node-critical, such as network plugins. The operator must then
    be able to run on a node without them. Default: false."""
    pause_after_failures: Percent = 5
    """Pause when this share of the starts of the last ten minutes failed, and at least 3 did. Default: 5%."""

    @model_validator(mode="after")
    def _settles_in_time(self) -> Self:
        if self.settle >= self.permit_timeout:
            settle, timeout = format_duration(self.settle), format_duration(self.permit_timeout)
            raise ValueError(f"{_SETTLES_IN_TIME} (settle {settle}, permitTimeout {timeout})")
        return self
