"""SignalFx smart agent: the monitors of agent.yaml (https://github.com/signalfx/signalfx-agent/blob/main/docs/config-schema.md)."""

from __future__ import annotations

from collections.abc import Mapping

from watchbudget.demand.configuration import Configuration, Text
from watchbudget.demand.readers.reading import Component, Reading, documents, options_of, reading

__all__ = ["read_signalfx"]


def read_signalfx(configuration: Configuration) -> Reading:
    """Every monitor, with its type as the kind."""
    components: list[Component] = []
    recognised: list[Text] = []
    failures: dict[Text, str] = {}
    for text, document in documents(configuration, failures):
        monitors = document.get("monitors") if isinstance(document, Mapping) else None
        if not isinstance(monitors, list):
            continue
        recognised.append(text)
        for monitor in monitors:
            if isinstance(monitor, Mapping):
                options = options_of(monitor, configuration)
                kind = options.get("type") or "unknown"
                components.append(Component(kind, f"monitor {kind}", options))
    return reading(configuration, components, recognised, failures)
