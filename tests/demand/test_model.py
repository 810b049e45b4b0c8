"""A demand for another reason is the same demand."""

from __future__ import annotations

from msgspec.structs import fields, replace

from watchbudget.api.resources import NAMESPACES
from watchbudget.demand.model import AgentMatch, Demand, Evidence, Narrowing, Watches


def test_a_demand_for_another_reason_differs_in_nothing_else():
    demand = Demand(
        resource=NAMESPACES,
        watches=Watches.DEPENDS,
        evidence=Evidence.DECLARED,
        reason="one",
        watchers_per_pod=2,
        selector="a=b",
        stack="kube-rs",
        stack_assumed="why",
        agent=AgentMatch("vector", "Vector", "agent", "1.2.3"),
        narrowing=Narrowing("off", "1.0"),
        sources=("a", "b"),
    )
    defaults = {field.name: field.default for field in fields(Demand)}
    assert all(getattr(demand, name) != default for name, default in defaults.items())
    assert demand.because("another") == replace(demand, reason="another")
