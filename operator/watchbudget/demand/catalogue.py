"""The catalogue of known agents: loaded from data, asked which agent a container is.

Built-in entries are YAML files in `agents/`, one per family. Own entries have the same
format and win over them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from fnmatch import translate
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

import yaml
from msgspec import Struct
from pydantic import ValidationError

from watchbudget.demand.catalogue_conditions import Sign
from watchbudget.demand.catalogue_model import Entry
from watchbudget.demand.images import Image
from watchbudget.inventory.fleet import Container, DaemonSet

__all__ = ["Catalogue", "CatalogueError", "Recognised", "load_catalogue"]

_WILDCARD = re.compile(r"[*?\[]")  # of fnmatch
_MOST_NAMES = 1024
"""Names of images whose signs are remembered; a name longer than `_LONGEST_NAME` never is."""
_LONGEST_NAME = 128

_MAX_BYTES = 4 << 20  # a catalogue is written by hand; more is a mistake


class CatalogueError(ValueError):
    """Catalogue files that cannot be used. A line per fault: file, entry, field, what is wrong."""


class Recognised(Struct, frozen=True):
    """An entry, the container that it recognised, and its release (None where the tag names none)."""

    entry: Entry
    container: Container
    version: str | None
    by: str


class Catalogue(Struct, frozen=True, dict=True):
    """Entries, own ones before built-in ones."""

    own: tuple[Entry, ...]
    built_in: tuple[Entry, ...]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries that count: a built-in one whose id an own one has does not."""
        replaced = {entry.agent for entry in self.own}
        return (*self.own, *(entry for entry in self.built_in if entry.agent not in replaced))

    @cached_property
    def _signs(self) -> tuple[_Signs, _Signs]:
        return _Signs(self.own), _Signs(self.entries[len(self.own) :])

    def recognise(self, container: Container) -> Recognised | None:
        """Which agent a container is; own entries first, then the most specific sign. Never raises."""
        image = Image.parse(container.image)
        for signs in self._signs:
            matches = [known for known in signs.near(image) if _shows(known.sign, container, image)]
            if matches:
                best = max(matches, key=lambda known: known.rank)
                version = image.version if best.sign.image else None
                return Recognised(best.entry, container, version, best.said)
        return None

    def config_maps_of(self, daemon_set: DaemonSet) -> frozenset[str]:
        """ConfigMaps in the DaemonSet's namespace that its agents read without mounting them."""
        recognised = (self.recognise(container) for container in daemon_set.containers)
        return frozenset(name for found in recognised if found for name in found.entry.config_maps)


class _Known(Struct, frozen=True):
    """One sign of an entry, and how it ranks: by its weight, then what comes first."""

    rank: tuple[tuple[int, int], int, int]
    entry: Entry
    sign: Sign
    said: str


class _Signs:
    """The signs of some entries, filed by the last part of the image they ask for.

    The webhook asks for every container that is created, and most signs are about other images.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_name: dict[str, list[_Known]] = {}
        self._by_pattern: list[tuple[re.Pattern[str], _Known]] = []
        self._near: dict[str, tuple[_Known, ...]] = {}  # by the name asked about: releases share one
        for position, entry in enumerate(entries):
            for number, sign in enumerate(entry.match):
                known = _Known((_weight(sign), -position, -number), entry, sign, _describe(sign))
                name = (sign.image or "*").lower().rpartition("/")[2]
                if _WILDCARD.search(name):
                    self._by_pattern.append((re.compile(translate(name)), known))
                else:
                    self._by_name.setdefault(name, []).append(known)

    def near(self, image: Image) -> Sequence[_Known]:
        """Those whose image, if they ask for one, may be this one."""
        name = image.path[-1]
        found = self._near.get(name)
        if found is None:
            by_pattern = [known for pattern, known in self._by_pattern if pattern.match(name)]
            found = (*self._by_name.get(name, ()), *by_pattern)
            if len(self._near) >= _MOST_NAMES:
                self._near.clear()
            if len(name) <= _LONGEST_NAME:
                self._near[name] = found
        return found


def load_catalogue(extra_paths: Sequence[Path] = ()) -> Catalogue:
    """Load the built-in catalogue and own entries.

    Args:
        extra_paths: YAML files, or folders of them.

    Raises:
        CatalogueError: a file cannot be read, is no catalogue, or has an entry that is not valid.
    """
    faults: list[str] = []
    own: list[Entry] = []
    for path in extra_paths:
        for file in _files(path, faults):
            try:
                with file.open("rb") as stream:
                    data = stream.read(_MAX_BYTES + 1)
            except OSError as error:
                faults.append(f"{file}: {error.strerror or error}")
                continue
            own += _entries(str(file), data, faults)
    _refuse_twins(own, faults)
    if faults:
        raise CatalogueError("\n".join(faults))
    return Catalogue(tuple(own), _built_in())


@cache
def _built_in() -> tuple[Entry, ...]:
    faults: list[str] = []
    entries: list[Entry] = []
    folder = resources.files("watchbudget.demand").joinpath("agents")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            entries += _entries(file.name, file.read_bytes(), faults)
    _refuse_twins(entries, faults)
    if faults:
        raise CatalogueError("\n".join(faults))
    return tuple(entries)


def _files(path: Path, faults: list[str]) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
    if not found:
        faults.append(f"{path}: a folder without .yaml files")
    return found


def _entries(name: str, data: bytes, faults: list[str]) -> Iterator[Entry]:
    if len(data) > _MAX_BYTES:
        faults.append(f"{name}: larger than 4 MiB")
        return
    try:
        document = yaml.load(data, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        faults.append(f"{name}: not YAML: {' '.join(str(error).split())}")
        return
    if (
        not isinstance(document, dict)
        or set(document) != {"agents"}
        or not isinstance(document["agents"], list)
    ):
        faults.append(f"{name}: must have one key, `agents`, with a list of entries")
        return
    for position, raw in enumerate(document["agents"], start=1):
        title = (
            f"entry {raw['agent']!r}" if isinstance(raw, dict) and raw.get("agent") else f"entry {position}"
        )
        try:
            yield Entry.model_validate(raw)
        except ValidationError as error:
            faults += [f"{name}: {title}: {_field(fault['loc'])}: {fault['msg']}" for fault in error.errors()]


def _field(location: Iterable[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the entry"


def _refuse_twins(entries: Iterable[Entry], faults: list[str]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.agent in seen:
            faults.append(f"entry {entry.agent!r} is there twice")
        seen.add(entry.agent)


def _shows(sign: Sign, container: Container, image: Image) -> bool:
    return (
        (sign.image is None or image.matches(sign.image))
        and (sign.container is None or sign.container == container.name)
        and (sign.env is None or any(sign.env == variable.name for variable in container.env))
        and (sign.arg is None or _has_flag(container, sign.arg))
    )


def _has_flag(container: Container, flag: str) -> bool:
    return any(
        word.startswith("-") and word.partition("=")[0].lstrip("-") == flag
        for word in (*container.command, *container.args)
    )


def _weight(sign: Sign) -> tuple[int, int]:
    """How much a sign says: more parts of the image's path first, then the number of other hints."""
    parts = len(sign.image.split("/")) if sign.image else 0
    return parts, sum(hint is not None for hint in (sign.container, sign.env, sign.arg))


def _describe(sign: Sign) -> str:
    hints = {"image": sign.image, "container": sign.container, "variable": sign.env, "flag": sign.arg}
    return ", ".join(f"{kind} {value}" for kind, value in hints.items() if value)


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {min(twice)!r} given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
