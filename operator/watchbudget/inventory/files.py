"""The files behind `-f`: which ones there are, and their bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct, field

from watchbudget.inventory.fleet import Problem, Source
from watchbudget.inventory.yaml_documents import RENDER_FIRST

__all__ = ["MAX_BYTES", "STDIN_NAME", "Files"]

MAX_BYTES = 64 * 2**20
"""Of one file or of standard input. All DaemonSets, roles and bindings of a cluster with 5,000
namespaces, as `kubectl get -o yaml` prints them, are about half of it."""

STDIN_NAME = "standard input"

_SUFFIXES = (".yaml", ".yml", ".json")
_CHART = "Chart.yaml"
_OF_A_CHART = ("templates", "charts")


class Files(Struct):
    """Reads each file once, however often the arguments lead to it."""

    problems: list[Problem]
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def read(self, argument: str, stdin: BinaryIO) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every file behind an argument: a file, a folder, or `-` for standard input.

        A folder gives its *.yaml, *.yml and *.json, sorted, without hidden ones, and of those only regular
        files. A file that is named is read whatever it is, so that `<(helm template ...)` works.
        """
        if argument == "-":
            piped = stdin.read(MAX_BYTES + 1)
            if self._fits(piped, STDIN_NAME):
                yield STDIN_NAME, piped
            return
        path = Path(argument)
        folder = self._is_folder(path)
        for file in self._walk(path) if folder else (path,):
            data = self._read_file(file, only_regular=folder)
            if data is not None:
                yield printable(file), data

    def _read_file(self, path: Path, *, only_regular: bool) -> bytes | None:
        name = printable(path)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                if only_regular:
                    self._report(name, "is no regular file, and is left out", warning=True)
                    return None
            elif not self._is_new(status):
                return None
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            self._report(name, _reason(path, error))
            return None
        return data if self._fits(data, name) else None

    def _fits(self, data: bytes, name: str) -> bool:
        if len(data) <= MAX_BYTES:
            return True
        message = (
            f"is larger than {MAX_BYTES >> 20} MiB, and is left out: split it, or leave other kinds out of it"
        )
        self._report(name, message)
        return False

    def _walk(self, folder: Path) -> Iterator[Path]:
        """The manifests below a folder; links to folders are followed, each folder is entered once."""
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            try:
                if not self._is_new(current.stat()):
                    continue
                entries = sorted(current.iterdir())
            except OSError as error:
                self._report(printable(current), _reason(current, error))
                continue
            entries = [entry for entry in entries if not entry.name.startswith(".")]
            if any(entry.name == _CHART for entry in entries):
                self._report(
                    printable(current), f"is a Helm chart, whose templates are no manifests: {RENDER_FIRST}"
                )
                entries = [entry for entry in entries if not _belongs_to_chart(entry)]
            folders = [entry for entry in entries if self._is_folder(entry)]
            waiting += reversed(folders)
            files = set(entries).difference(folders)
            yield from sorted(entry for entry in files if entry.suffix.lower() in _SUFFIXES)

    def _is_folder(self, path: Path) -> bool:
        try:
            return path.is_dir()
        except OSError as error:
            if path.suffix.lower() not in _SUFFIXES:  # else reading it will tell
                self._report(printable(path), _reason(path, error))
            return False

    def _is_new(self, status: os.stat_result) -> bool:
        key = status.st_dev, status.st_ino
        new = key not in self._seen
        self._seen.add(key)
        return new

    def _report(self, name: str, message: str, *, warning: bool = False) -> None:
        self.problems.append(Problem(Source(name), message, severity="warning" if warning else "error"))


def printable(path: Path) -> str:
    """A file's name as text that any terminal and any encoding can take."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "�" for char in text)


def _belongs_to_chart(entry: Path) -> bool:
    return entry.name in (*_OF_A_CHART, _CHART) or entry.match("values*.yaml")


def _reason(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        if str(path).startswith(("http:/", "https:/")):
            return "addresses are not fetched: curl -fsSL ADDRESS | watchbudget audit -f -"
        return "is a link to nothing" if path.is_symlink() else "there is no such file or folder"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot be read: {reason or error}"
