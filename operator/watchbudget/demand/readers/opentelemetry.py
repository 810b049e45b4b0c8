"""The OpenTelemetry collector: components that a pipeline or the service really uses.

A component that is configured but in no pipeline is never started
(https://opentelemetry.io/docs/collector/configuration/#service).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watchbudget.demand.configuration import Configuration, Text
from watchbudget.demand.readers.reading import Component, Reading, documents, options_of, reading

__all__ = ["read_opentelemetry"]


def read_opentelemetry(configuration: Configuration) -> Reading:
    """Receivers and processors in pipelines, and extensions; the kind of `k8s_cluster/x` is `k8s_cluster`.

    Derived options: `namespace_metadata` of k8sattributes (some rule of `extract` says
    `from: namespace`) and `cluster_uid` of it; `watches_namespaces` and
    `watches_networkpolicies` of k8sobjects; `limited_to_namespaces` of any.
    """
    components: list[Component] = []
    recognised: list[Text] = []
    failures: dict[Text, str] = {}
    for text, document in documents(configuration, failures):
        service = document.get("service") if isinstance(document, Mapping) else None
        if not isinstance(document, Mapping) or not isinstance(service, Mapping):
            continue
        recognised.append(text)
        for section, name in _used(service):
            section_body = document.get(section)
            body = section_body.get(name) if isinstance(section_body, Mapping) else None
            options = options_of(body, configuration) | _derived(body)
            components.append(Component(name.partition("/")[0], name, options))
    return reading(configuration, components, recognised, failures)


def _used(service: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    pipelines = service.get("pipelines")
    for pipeline in pipelines.values() if isinstance(pipelines, Mapping) else ():
        for section in ("receivers", "processors"):
            for name in _names(pipeline.get(section) if isinstance(pipeline, Mapping) else None):
                found[section, name] = None
    for name in _names(service.get("extensions")):
        found["extensions", name] = None
    yield from found


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _derived(body: object) -> dict[str, str | None]:
    if not isinstance(body, Mapping):
        return {}
    extract = body.get("extract")
    rules = [
        rule
        for kind in ("labels", "annotations")
        for rule in _list(extract.get(kind) if isinstance(extract, Mapping) else None)
    ]
    metadata = _list(extract.get("metadata") if isinstance(extract, Mapping) else None)
    watched = [
        str(entry.get("name"))
        for entry in _list(body.get("objects"))
        if isinstance(entry, Mapping) and entry.get("mode") == "watch"
    ]
    from_namespace = any(isinstance(rule, Mapping) and rule.get("from") == "namespace" for rule in rules)
    return {
        "namespace_metadata": "true" if from_namespace else "false",
        "cluster_uid": "true" if "k8s.cluster.uid" in metadata else "false",
        "watches_namespaces": "true" if "namespaces" in watched else "false",
        "watches_networkpolicies": "true" if "networkpolicies" in watched else "false",
        "limited_to_namespaces": "true" if body.get("namespaces") or body.get("namespace") else "false",
    }


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
