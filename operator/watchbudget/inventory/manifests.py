"""The Fleet of manifests: files, folders and standard input, with no cluster at hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from watchbudget.inventory.files import STDIN_NAME, Files
from watchbudget.inventory.fleet import Fleet, Problem, Source
from watchbudget.inventory.objects import Objects, is_object
from watchbudget.inventory.yaml_documents import read_documents

__all__ = ["load"]

Progress = Callable[[str, int, int | None], None]

_STAGE = "Reading manifests"
_PROGRESS_EVERY = 500  # documents
_MOST_NAMED = 10
"""Files or documents that one message lists."""


def load(
    paths: Sequence[str | Path],
    *,
    stdin: BinaryIO | None = None,
    default_namespace: str = "default",
    progress: Progress | None = None,
) -> Fleet:
    """Read the Fleet that these manifests describe.

    Whatever cannot be read is a problem of the Fleet, and the rest is there. Nodes and census are
    not set, and `complete_rbac` is False: files need not hold every role.

    Args:
        paths: files, folders (their *.yaml, *.yml and *.json, recursively) and `-` for standard input.
        stdin: what `-` reads; None for the process's own.
        default_namespace: of objects that name none, as kubectl would apply them.
        progress: called now and then with the stage, the number of documents and None.
    """
    problems: list[Problem] = []
    loader = _Loader(Objects(default_namespace, problems), problems, progress or _silent)
    files = Files(problems)
    for argument in dict.fromkeys(map(str, paths)):
        loader.read(argument, files, stdin or sys.stdin.buffer)
    return loader.objects.fleet()


class _Loader:
    """Brings every document of every file to the objects, and tells what is none."""

    def __init__(self, objects: Objects, problems: list[Problem], progress: Progress) -> None:
        self.objects = objects
        self._problems = problems
        self._progress = progress
        self._documents = 0

    def read(self, argument: str, files: Files, stdin: BinaryIO) -> None:
        """Read one argument of the command line; it must lead to an object, or the audit is of nothing."""
        objects, problems = self.objects.count, len(self._problems)
        found = 0
        foreign: list[str] = []
        for name, data in files.read(argument, stdin):
            found += 1
            if not self._read_text(name, data):
                foreign.append(name)
        if len(foreign) > 1 or (foreign and self.objects.count > objects):
            message = f"no Kubernetes objects (no apiVersion and kind) in {_enumerated(foreign)}"
            self._problems.append(Problem(Source(argument), message, severity="warning"))
        told = any(problem.severity == "error" for problem in self._problems[problems:])
        if self.objects.count == objects and not told:
            source = Source(STDIN_NAME if argument == "-" else argument)
            self._problems.append(Problem(source, _why_nothing(argument, found)))

    def _read_text(self, name: str, data: bytes) -> bool:
        """Read one file; False if it holds documents, and none of them is an object."""
        foreign: list[int] = []
        objects = 0
        for source, value in read_documents(data, name, self._problems):
            self._documents += 1
            if self._documents % _PROGRESS_EVERY == 0:
                self._progress(_STAGE, self._documents, None)
            if _is_kustomization(name, value):
                objects += 1
                self._problems.append(
                    Problem(source, _KUSTOMIZE.format(_folder_of(name)), severity="warning")
                )
            elif isinstance(value, dict) and is_object(value):
                objects += 1
                self.objects.add(value, source)
            else:
                foreign.append(source.document or 0)
        if foreign and objects:
            message = f"no Kubernetes object (no apiVersion and kind) in document {_enumerated(foreign)}"
            self._problems.append(Problem(Source(name), message, severity="warning"))
        return objects > 0 or not foreign


_KUSTOMIZE = (
    "is a kustomization, whose patches and generators are not applied here: "
    "kubectl kustomize {} | watchbudget audit -f -"
)


def _is_kustomization(name: str, value: object) -> bool:
    if not isinstance(value, dict):
        return False
    version = value.get("apiVersion")
    if isinstance(version, str):
        return version.startswith("kustomize.config.k8s.io/")
    return Path(name).stem == "kustomization" and "metadata" not in value


def _folder_of(name: str) -> str:
    return "." if name == STDIN_NAME else str(Path(name).parent)


def _why_nothing(argument: str, found: int) -> str:
    if argument == "-":
        return "holds no Kubernetes object; did the command before it fail?"
    if found:
        return "holds no Kubernetes object (with apiVersion and kind)"
    return "there is no *.yaml, *.yml or *.json in this folder"


def _enumerated(items: Sequence[object]) -> str:
    text = ", ".join(map(str, items[:_MOST_NAMED]))
    return f"{text} and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else text


def _silent(stage: str, done: int, total: int | None) -> None:
    """Progress of interest to nobody."""
