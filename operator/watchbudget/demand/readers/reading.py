"""What a reader of agent configuration gives: the components it found, and what it could not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from watchbudget.demand.configuration import Configuration, Text
from watchbudget.demand.documents import UnreadableError, parse, plain

__all__ = ["Component", "Reader", "Reading", "documents", "flat", "options_of", "reading"]

_STRUCTURED = (".yaml", ".yml", ".toml", ".json")


class Component(Struct, frozen=True):
    """One configured part of an agent, such as a source. An option that cannot be read is None."""

    kind: str
    name: str
    options: Mapping[str, str | None]


class Reading(Struct, frozen=True):
    """The components found; `found` says that some of the agent's configuration was read at all.

    `hidden` names what may hold more of it and could not be read.
    """

    components: tuple[Component, ...] = ()
    found: bool = False
    hidden: tuple[str, ...] = ()


Reader = Callable[[Configuration], Reading]


def documents(configuration: Configuration, failures: dict[Text, str]) -> Iterator[tuple[Text, object]]:
    """Every text that parses as YAML, TOML or JSON; the others go to `failures` with the reason."""
    for text in configuration.texts:
        try:
            yield text, parse(text.key, text.text)
        except UnreadableError as error:
            failures[text] = str(error)


def reading(
    configuration: Configuration,
    components: list[Component],
    recognised: list[Text],
    failures: Mapping[Text, str],
) -> Reading:
    """Put a reading together, and decide which gaps matter.

    A Secret beside a configuration that was read is most often a certificate. It matters if
    nothing was read, or if it is mounted at the very path the configuration is.
    """
    broken = {text: f"{text.title}: {why}" for text, why in failures.items()}
    if not recognised:
        return Reading(tuple(components), found=False, hidden=(*configuration.hidden, *broken.values()))
    hidden = [why for text, why in broken.items() if text.key.lower().endswith(_STRUCTURED)]
    if {text.directory for text in recognised} & configuration.hidden_directories:
        hidden += configuration.hidden
    return Reading(tuple(components), found=True, hidden=tuple(hidden))


def flat(value: object, prefix: str = "", depth: int = 0) -> dict[str, object]:
    """Scalars of nested mappings under dotted names, so that `a: {b: c}` and `a.b: c` read alike."""
    found: dict[str, object] = {}
    if not isinstance(value, Mapping) or depth > 20:
        return found
    for key, child in value.items():
        name = f"{prefix}{key}"
        if isinstance(child, Mapping):
            found |= flat(child, f"{name}.", depth + 1)
        elif not isinstance(child, list):
            found[name] = child
    return found


def options_of(value: object, configuration: Configuration) -> dict[str, str | None]:
    """The flat options of a component, with references to the environment replaced.

    YAML merge keys (`<<: *defaults`) give what the mapping itself does not.
    """
    own = flat(value)
    merged = {key.removeprefix("<<."): child for key, child in own.items() if key.startswith("<<.")}
    settings = {key: configuration.resolve(plain(child), key) for key, child in (merged | own).items()}
    return {key: setting.value for key, setting in settings.items()}
