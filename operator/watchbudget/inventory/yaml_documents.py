"""The documents of a text: YAML, JSON, or a stream of both, each read on its own.

A line that begins with `---` ends a document whatever stands before it (YAML 1.2, 9.1.2), so the
text is cut there first. A broken document then costs itself and not those behind it, and only
one is held in memory besides the text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from watchbudget.inventory.fleet import Problem, Source
from watchbudget.inventory.found import shown
from watchbudget.inventory.json_values import JsonError, parse_json
from watchbudget.inventory.yaml_builder import RefusedError, YamlDocument
from watchbudget.inventory.yaml_values import describe_error, parse_yaml

__all__ = ["MAX_DOCUMENTS", "RENDER_FIRST", "Document", "read_documents"]

MAX_DOCUMENTS = 250_000
"""Of one text. Enough for every role and binding of a large cluster, few enough for a minute."""

RENDER_FIRST = "render it first: helm template CHART | watchbudget audit -f -"

_MOST_UNREADABLE = 20
"""Broken documents of one text before the rest is left alone: it is no manifest then."""

_SEPARATOR = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_PREAMBLE = re.compile(rb"(?:[ \t]*(?:[#%][^\n]*)?\r?(?:\n|\Z))*\Z")
_WIDE = (  # the longer mark first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TWICE = "line {}: the key {} stands here a second time"
_LAST_COUNTS = ", with another value; the last one counts, as for the API server"


class Document(NamedTuple):
    """One document: where it was read and what it holds."""

    source: Source
    value: object


def read_documents(data: bytes, origin: str, problems: list[Problem]) -> Iterator[Document]:
    """Read a text's documents, counted from 1; empty ones are left out.

    Equal keys in one mapping are a problem of their document (a warning if their values are equal
    too), which is still read with the last value, as the API server does. What cannot be read is a
    problem with its line.

    Args:
        data: the text: UTF-8, or UTF-16 or UTF-32 with byte order mark.
        origin: the file's name, for messages.
        problems: gets what is wrong.
    """
    try:
        text = _as_utf8(data)
    except UnicodeDecodeError as error:
        problems.append(Problem(Source(origin), f"is not text: {error.reason} at byte {error.start}"))
        return
    reader = _Reader(origin, problems)
    for chunk, line in _chunks(text):
        yield from reader.read(chunk, line)
        if reader.hopeless:
            return


def _as_utf8(data: bytes) -> bytes:
    for mark, encoding in _WIDE:
        if data.startswith(mark):
            return data.decode(encoding).encode()
    return data.removeprefix(codecs.BOM_UTF8)


def _chunks(text: bytes) -> Iterator[tuple[bytes, int]]:
    """What stands between separators, each with the separator before it, and its first line."""
    start, line = 0, 1
    for match in _SEPARATOR.finditer(text):
        chunk = text[start : match.start()]
        if start or not _PREAMBLE.match(chunk):  # comments and directives before the first are no document
            yield chunk, line
        start = match.start()
        line += chunk.count(b"\n")
    yield text[start:], line


class _Reader:
    """Reads the chunks of one text, numbering the documents."""

    def __init__(self, origin: str, problems: list[Problem]) -> None:
        self.hopeless = False
        self._origin = origin
        self._problems = problems
        self._number = 0
        self._unreadable = 0
        self._hinted = False

    def read(self, chunk: bytes, line: int) -> Iterator[Document]:
        """The documents of a chunk that begins in this line of the text: one, as a rule."""
        try:
            chunk.decode()
        except UnicodeDecodeError as error:
            line += chunk.count(b"\n", 0, error.start)
            self._give_up(chunk, line, f"is not UTF-8 text (byte 0x{chunk[error.start]:02x})")
            return
        body = chunk.removeprefix(b"---").lstrip()
        if body.startswith(b"{"):
            try:
                yield from self._read_json(body, line + chunk[: len(chunk) - len(body)].count(b"\n"))
            except JsonError:
                pass  # a flow mapping of YAML begins with the same character
            else:
                return
        yield from self._read_yaml(chunk, line)

    def _read_json(self, body: bytes, line: int) -> Iterator[Document]:
        """Raises JsonError if not even the first value is JSON."""
        found = False
        try:
            for value, repeated in parse_json(body.decode()):
                found = True
                source = self._begin()
                for key in repeated:
                    message = f"the key {shown(key)} stands twice in one mapping; the last value counts"
                    self._problems.append(Problem(source, message, _title(value)))
                yield Document(source, value)
        except JsonError as error:
            if not found and not error.refused:
                raise
            self._give_up(body, line + error.line - 1, str(error))

    def _read_yaml(self, chunk: bytes, line: int) -> Iterator[Document]:
        documents = parse_yaml(chunk)
        try:
            while (document := next(documents, None)) is not None:
                source = self._begin()
                self._report_duplicates(document, source, line)
                if document.value is not None:
                    yield Document(source, document.value)
        except yaml.YAMLError as error:
            message, offset = describe_error(error)
            self._give_up(chunk, line + (offset or 1) - 1, message)
        except RefusedError as error:
            self._give_up(chunk, line + error.line - 1, str(error))

    def _begin(self) -> Source:
        self._number += 1
        source = Source(self._origin, self._number)
        if self._number == MAX_DOCUMENTS:
            message = f"more than {MAX_DOCUMENTS:,} documents: the rest is not read"
            self._problems.append(Problem(source, message))
            self.hopeless = True
        return source

    def _report_duplicates(self, document: YamlDocument, source: Source, line: int) -> None:
        for duplicate in document.duplicates:
            message = _TWICE.format(line + duplicate.line - 1, shown(duplicate.key))
            title, path = _title(document.value), duplicate.path or None
            if duplicate.same:
                self._problems.append(Problem(source, message, title, path, "warning"))
            else:
                self._problems.append(Problem(source, message + _LAST_COUNTS, title, path))

    def _give_up(self, chunk: bytes, line: int, message: str) -> None:
        """Report that a document cannot be read."""
        source = self._begin()
        self._unreadable += 1
        if b"{{" in chunk and not self._hinted:
            self._hinted = True
            message = f"{message}. This looks like a template, {RENDER_FIRST}"
        self._problems.append(Problem(source, f"line {line}: {message}"))
        if self._unreadable == _MOST_UNREADABLE:
            message = f"{_MOST_UNREADABLE} documents cannot be read: the rest of this file is left out"
            self._problems.append(Problem(source, message))
            self.hopeless = True


def _title(value: object) -> str | None:
    """The object's kind and name for a message, where it has them."""
    if not isinstance(value, dict):
        return None
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind, *names = (
        _word(part) for part in (value.get("kind"), metadata.get("namespace"), metadata.get("name"))
    )
    return " ".join(filter(None, (kind, "/".join(filter(None, names))))) or None


def _word(part: object) -> str | None:
    if not isinstance(part, str):
        return None
    return part if part.isprintable() else shown(part)
