"""Image references and the versions in their tags: how an agent is recognised, and which release it is."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache, lru_cache

from msgspec import Struct

__all__ = ["Image", "Version", "parse_version"]

Version = tuple[int, ...]

# A release, with anything after it that images add to their tags ("-debian-1.2", "_fips", "+build").
# One bare number is not a version: `:7` or `:20240131` say too little to compare.
_TAG = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){1,3})(?!\d)")

_LONGEST = 48
"""Characters: the release and what follows it. Tags are remembered, and a hostile one may be long."""


def parse_version(text: str) -> Version | None:
    """The release a tag begins with: (0, 57, 0) of `0.57.0-distroless-libc`; None without one."""
    return _release(text[:_LONGEST])


@lru_cache(maxsize=1024)
def _release(text: str) -> Version | None:
    found = _TAG.match(text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else None


class Image(Struct, frozen=True):
    """An image reference, taken apart as the distribution project's grammar does.

    Grammar: https://pkg.go.dev/github.com/distribution/reference (host, path, tag, digest).
    `path` still holds a registry host as its first part: patterns match from the end, so
    that mirrors and pull-through caches, which prepend parts, are recognised too.
    """

    path: tuple[str, ...]
    tag: str | None

    @classmethod
    def parse(cls, reference: str) -> Image:
        """Take a reference apart. Never raises: nonsense gives a path that matches no pattern."""
        name, _, _digest = reference.strip().partition("@")
        *parents, last = name.split("/")
        last, _, tag = last.partition(":")  # a port can only stand before the last "/"
        return cls(tuple(part.lower() for part in (*parents, last)), tag or None)

    @property
    def version(self) -> str | None:
        """The release the tag names, as text; None for `latest`, a branch or a digest alone."""
        parsed = parse_version(self.tag or "")
        return ".".join(map(str, parsed)) if parsed else None

    def matches(self, pattern: str) -> bool:
        """Whether the path ends in the pattern, part by part; `*` stands for any text within a part."""
        parts = _parts(pattern)
        tail = self.path[-len(parts) :]
        return tail == parts or (len(tail) == len(parts) and all(map(fnmatchcase, tail, parts)))


@cache
def _parts(pattern: str) -> tuple[str, ...]:
    """The pattern taken apart; patterns come from the catalogue, so there are few."""
    return tuple(pattern.lower().split("/"))
