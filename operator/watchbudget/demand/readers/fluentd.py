"""Fluentd: `<filter>` directives and their parameters, in its own format.

Format: https://docs.fluentd.org/configuration/config-file. Embedded Ruby is read in one form
only, the one images use for their switches: `"#{ENV['NAME'] || 'default'}"`.
"""

from __future__ import annotations

import re

from watchbudget.demand.configuration import Configuration, Text
from watchbudget.demand.readers.reading import Component, Reading, reading

__all__ = ["read_fluentd"]

_MAX_LINES = 50_000
_DIRECTIVE = re.compile(r"<(source|match|filter|label|system|worker)\b", re.ASCII)
_ENV = re.compile(
    r"""^["']?#\{ENV\[['"](?P<name>\w+)['"]\](?:\s*\|\|\s*['"]?(?P<default>[^'"}\s]*)['"]?)?\s*\}["']?$"""
)


def read_fluentd(configuration: Configuration) -> Reading:
    """Every filter, with its `@type` as the kind and its own parameters, not those of sections in it."""
    components: list[Component] = []
    recognised: list[Text] = []
    for text in configuration.texts:
        lines = [line.strip() for line in text.text.splitlines()[:_MAX_LINES]]
        if not any(_DIRECTIVE.match(line) or line.startswith("@include") for line in lines):
            continue
        recognised.append(text)
        components += _filters(lines, configuration)
    return reading(configuration, components, recognised, {})


def _filters(lines: list[str], configuration: Configuration) -> list[Component]:
    found: list[Component] = []
    options: dict[str, str | None] | None = None
    title, nested = "", 0
    for line in lines:
        if line.startswith("<filter"):
            options, title, nested = {}, line.strip("<>"), 0
        elif line.startswith("</filter") and options is not None:
            found.append(Component(options.get("@type") or options.get("type") or "unknown", title, options))
            options = None
        elif line.startswith("</"):
            nested -= nested > 0
        elif line.startswith("<"):
            nested += 1
        elif options is not None and not nested and line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            options[name] = _value(value.strip(), configuration)
    return found


def _value(value: str, configuration: Configuration) -> str | None:
    found = _ENV.match(value)
    if found is None:
        return None if "#{" in value else value.strip("\"'")
    setting = configuration.variable(found["name"])
    if setting.hidden:
        return None
    return setting.value if setting.value is not None else found["default"] or ""
