"""The client libraries, and how a client of each is built and started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watchbudget.localcluster.cachedir import cache_root
from watchbudget.localcluster.toolchain import find_go, go_environment

__all__ = ["LIBRARIES", "Library", "environment"]

CLIENTS = Path(__file__).parent / "clients"


@dataclass(frozen=True)
class Library:
    """One client library.

    Attributes:
        row: Id of its row in `cost/calibration.yaml`.
        needs: The program that builds it, if it is not one that the project installs.
        build: Returns the beginning of its command line; builds in the directory it is given.
        environment: Variables it runs with.
    """

    row: str
    build: Callable[[Path], list[str]]
    needs: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> str | None:
        """What is not installed here and must be, or None."""
        return self.needs if self.needs and shutil.which(self.needs) is None else None


def _go(version: str) -> Callable[[Path], list[str]]:
    def build(scratch: Path) -> list[str]:
        _sources("go", version, "main.go", scratch)
        argv = [str(find_go()), "build", "-mod=readonly", "-buildvcs=false", "-o", "client", "."]
        subprocess.run(argv, cwd=scratch, env=go_environment(), check=True)
        return [str(scratch / "client")]

    return build


def _rust(version: str) -> Callable[[Path], list[str]]:
    def build(scratch: Path) -> list[str]:
        _sources("rust", version, "main.rs", scratch)
        target = cache_root() / "calibration" / version  # kept: a build takes minutes
        argv = ["cargo", "build", "--release", "--locked", f"--target-dir={target}"]
        subprocess.run(argv, cwd=scratch, check=True)
        return [str(target / "release" / "client")]

    return build


def _java(scratch: Path) -> list[str]:
    shutil.copytree(CLIENTS / "java", scratch, dirs_exist_ok=True)
    subprocess.run(["mvn", "--quiet", "--batch-mode", "package"], cwd=scratch, check=True)
    return [
        "java",
        "-cp",
        f"{scratch / 'target' / 'classes'}:{scratch / 'target' / 'dependency'}/*",
        "Client",
    ]


def _python(_scratch: Path) -> list[str]:
    return [sys.executable, str(CLIENTS / "informer.py")]


def _sources(language: str, version: str, program: str, scratch: Path) -> None:
    shutil.copytree(CLIENTS / language / version, scratch, dirs_exist_ok=True)
    shutil.copy(CLIENTS / language / program, scratch)


_PLAIN = {"KUBE_FEATURE_WatchListClient": "false"}
"""client-go's own switch (features/envvar.go): plain lists, as before version 0.35."""

LIBRARIES = (
    Library("client-go-0.36-streaming", _go("v0.36")),
    Library("client-go-0.36-list", _go("v0.36"), environment=_PLAIN),
    Library("client-go-0.28-list", _go("v0.28")),
    Library("kube-rs-5.0", _rust("v5"), needs="cargo"),
    Library("kube-rs-0.88", _rust("v0.88"), needs="cargo"),
    Library("python-37", _python),
    Library("fabric8-7.9", _java, needs="mvn"),
)


def environment(library: Library, kubeconfig: Path) -> dict[str, str]:
    """Return the environment of a client: little of ours, because GOGC or proxies change what is measured."""
    kept = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(kubeconfig.parent)}
    return kept | {"KUBECONFIG": str(kubeconfig)} | dict(library.environment)
