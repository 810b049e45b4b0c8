"""Elastic Beats: processors, autodiscover providers and modules that talk to the API server.

Reference: https://www.elastic.co/guide/en/beats/filebeat/current/add-kubernetes-metadata.html and
https://www.elastic.co/guide/en/beats/metricbeat/current/metricbeat-module-kubernetes.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watchbudget.demand.configuration import Configuration, Text
from watchbudget.demand.documents import walk
from watchbudget.demand.readers.reading import Component, Reading, documents, options_of, reading

__all__ = ["read_beats"]

_PREFIXES = (
    "filebeat",
    "metricbeat",
    "auditbeat",
    "heartbeat",
    "packetbeat",
    "output",
    "processors",
    "setup",
)


def read_beats(configuration: Configuration) -> Reading:
    """Components of kind `kubernetes`: what starts watchers of its own.

    One per `add_kubernetes_metadata` processor, per kubernetes autodiscover provider and per
    metricset of the kubernetes module (option `metricset`); `starts` says which it is.
    """
    components: list[Component] = []
    recognised: list[Text] = []
    failures: dict[Text, str] = {}
    for text, document in documents(configuration, failures):
        modules = isinstance(document, list) and any(
            isinstance(m, Mapping) and "module" in m for m in document
        )
        main = isinstance(document, Mapping) and any(str(key).startswith(_PREFIXES) for key in document)
        if not modules and not main:
            continue
        recognised.append(text)
        components += _components(document, configuration)
    return reading(configuration, components, recognised, failures)


def _components(document: object, configuration: Configuration) -> Iterator[Component]:
    for key, value in walk(document):
        if key == "add_kubernetes_metadata":
            options = options_of(value, configuration)
            yield Component("kubernetes", key, options | {"starts": "processor"})
        elif key.endswith(("autodiscover", "autodiscover.providers")):
            yield from _providers(value, configuration)
        elif isinstance(value, Mapping) and value.get("module") == "kubernetes":
            options = options_of(value, configuration)
            names = value.get("metricsets")
            for name in names if isinstance(names, list) else [""]:
                yield Component(
                    "kubernetes",
                    f"metricset {name or 'of the default set'}",
                    options | {"starts": "metricset", "metricset": str(name)},
                )


def _providers(value: object, configuration: Configuration) -> Iterator[Component]:
    providers = value.get("providers") if isinstance(value, Mapping) else value
    for provider in providers if isinstance(providers, list) else ():
        if isinstance(provider, Mapping) and provider.get("type") == "kubernetes":
            options = options_of(provider, configuration)
            yield Component("kubernetes", "autodiscover provider", options | {"starts": "autodiscover"})
