"""Vector: sources of YAML, TOML or JSON configuration.

Layout: https://vector.dev/docs/reference/configuration/ (one file or several, in a ConfigMap
named by `--config`, `--config-dir` or VECTOR_CONFIG; every mounted key is looked at).
"""

from __future__ import annotations

from collections.abc import Mapping

from watchbudget.demand.configuration import Configuration, Text
from watchbudget.demand.readers.reading import Component, Reading, documents, options_of, reading

__all__ = ["read_vector"]

_SECTIONS = frozenset({"sources", "transforms", "sinks", "enrichment_tables", "data_dir"})


def read_vector(configuration: Configuration) -> Reading:
    """Every source, with its type as the kind and its options as written."""
    components: list[Component] = []
    recognised: list[Text] = []
    failures: dict[Text, str] = {}
    for text, document in documents(configuration, failures):
        if not isinstance(document, Mapping) or not _SECTIONS & set(document):
            continue
        recognised.append(text)
        sources = document.get("sources")
        for name, source in sources.items() if isinstance(sources, Mapping) else ():
            if isinstance(source, Mapping):
                options = options_of(source, configuration)
                components.append(Component(options.get("type") or "unknown", str(name), options))
    return reading(configuration, components, recognised, failures)
