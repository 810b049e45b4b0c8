"""Parsing of configuration text from ConfigMaps: YAML, TOML and JSON, with limits, into plain values.

Why not `yaml.safe_load`: the text belongs to somebody else and may be hostile, and its types
do not matter here. YAML is read with every scalar as text (no timestamps or sexagesimal
numbers to trip over), after a pass over its events that bounds nesting and expansion.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache

import yaml

__all__ = ["MAX_BYTES", "UnreadableError", "parse", "plain", "walk"]

MAX_BYTES = 1 << 20
"""A ConfigMap holds at most 1 MiB (https://kubernetes.io/docs/concepts/configuration/configmap/)."""

_MAX_DEPTH = 50
_MAX_NODES = 200_000
_Base = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class UnreadableError(ValueError):
    """The text is not what its name or content says, or it is larger or deeper than we read."""


@lru_cache(maxsize=256)
def parse(name: str, text: str) -> object:
    """Parse one document by the ending of its name, or by trying JSON, TOML and YAML in that order.

    Returns:
        Mappings, lists and scalars. Callers must not change them: the result is cached.

    Raises:
        UnreadableError: malformed, over 1 MiB, nested deeper than 50, or expanding to more
            than 200,000 nodes.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise UnreadableError("larger than 1 MiB")
    ending = name.rpartition(".")[2].lower()
    match ending:
        case "toml":
            return _toml(text)
        case "json":
            return _json(text)
        case "yaml" | "yml":
            return _yaml(text)
    for attempt in (_json, _toml):
        try:
            return attempt(text)
        except UnreadableError:
            continue
    return _yaml(text)


def _json(text: str) -> object:
    try:
        return _bounded(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON: {_first_line(error)}") from error


def _toml(text: str) -> object:
    try:
        return _bounded(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not TOML: {_first_line(error)}") from error


def _yaml(text: str) -> object:
    try:
        depth = 0
        for nodes, event in enumerate(yaml.parse(text, Loader=_Base)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH or nodes > _MAX_NODES:
                raise UnreadableError(f"nested deeper than {_MAX_DEPTH}, or more than {_MAX_NODES} nodes")
        return _bounded(next(iter(yaml.load_all(text, Loader=_Base)), None))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"not YAML: {_first_line(error)}") from error


def _bounded(value: object) -> object:
    """The value, once its expansion is known to be small: aliases share nodes, a walk does not."""
    for count, _ in enumerate(walk(value)):
        if count > _MAX_NODES:
            raise UnreadableError(f"expands to more than {_MAX_NODES} nodes")
    return value


def walk(value: object, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Every (key, value) pair of nested mappings, and the items of lists with the key "".

    Raises:
        UnreadableError: nested deeper than 50, as a structure that contains itself is.
    """
    if depth > _MAX_DEPTH:
        raise UnreadableError(f"nested deeper than {_MAX_DEPTH}, or a structure that contains itself")
    if isinstance(value, Mapping):
        pairs = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, list):
        pairs = [("", child) for child in value]
    else:
        return
    for key, child in pairs:
        yield key, child
        yield from walk(child, depth + 1)


def plain(value: object) -> str:
    """A scalar as configuration files of every format would write it: `true`, not `True`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
