"""The control plane's binaries: found, or built from published Go modules.

Nobody publishes them where a package manager finds them, but everything they are made of is a Go module.
One go.mod (in ``gomod/``) holds Kubernetes, etcd and KWOK at versions that work together; its go.sum makes
the build verify every byte it fetches.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from watchbudget.localcluster.cachedir import cache_root, exclusive_lock
from watchbudget.localcluster.errors import BuildError
from watchbudget.localcluster.toolchain import find_go, go_environment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from watchbudget.localcluster.progress import Progress

__all__ = ["KUBERNETES_VERSION", "PACKAGES", "cache_directory", "ensure_binaries"]

KUBERNETES_VERSION = "v1.36.3"

PACKAGES = {
    "etcd": "./etcd",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
}

BUILD_BYTES = 6 << 30
"""Free space a cold build needs: Go's caches 3.9 GiB, binaries 0.4, temporary files; measured, rounded up."""

_GOMOD = Path(__file__).parent / "gomod"


def _version_flags() -> str:
    """Return linker flags that tell the binaries their version, as Kubernetes' own release build does.

    The commit stays empty ("unknown"): the module proxy does not tell it. The date is that of the module.
    """
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-07-22T18:07:38Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


BUILD_FLAGS = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", f"-s -w {_version_flags()}")


def cache_directory() -> Path:
    """Return where our builds are kept: one directory for each set of module versions, flags and platform."""
    digest = hashlib.sha256()
    for path in sorted(_GOMOD.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(_GOMOD).as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(repr((BUILD_FLAGS, platform.system(), platform.machine())).encode())
    return cache_root() / "bin" / f"{KUBERNETES_VERSION}-{digest.hexdigest()[:12]}"


def ensure_binaries(progress: Progress) -> dict[str, Path]:
    """Return the path of every binary, building what is missing.

    The order is ``$KUBEBUILDER_ASSETS`` (whatever of ours is in there; usually etcd, kube-apiserver and
    kubectl), then the cache, then a build into the cache. A cold build takes minutes; a second process
    that wants the same waits for the first.

    Raises:
        BuildError: No Go toolchain, no room on the disk, or the build failed; the text says which.
    """
    found = _present(Path(os.environ["KUBEBUILDER_ASSETS"])) if os.environ.get("KUBEBUILDER_ASSETS") else {}
    cache = cache_directory()
    found = _present(cache) | found
    if missing := PACKAGES.keys() - found.keys():
        lock = cache.with_name(f"{cache.name}.lock")  # with_suffix would cut the version
        with exclusive_lock(
            lock, lambda: progress(f"Another process builds the control plane; waiting for {lock}")
        ):
            missing -= _present(cache).keys()
            if missing:
                build(cache, missing, progress)
        found = _present(cache) | found
    return {name: found[name] for name in PACKAGES}


def build(destination: Path, names: Collection[str], progress: Progress) -> None:
    """Build the binaries ``names`` and put each into ``destination`` only once it is complete.

    Raises:
        BuildError: See `ensure_binaries`.
    """
    go = find_go()
    parent = destination.parent
    parent.mkdir(parents=True, exist_ok=True)
    _check_space(parent)
    for stale in parent.glob(f".build-{destination.name}-*"):
        shutil.rmtree(
            stale, ignore_errors=True
        )  # of a builder that was killed; we hold the lock, so none is alive
    # Beside the destination, because a rename must not cross file systems.
    with tempfile.TemporaryDirectory(prefix=f".build-{destination.name}-", dir=parent) as scratch:
        source, output = Path(scratch, "gomod"), Path(scratch, "bin")
        shutil.copytree(_GOMOD, source)
        output.mkdir()
        packages = [PACKAGES[name] for name in sorted(names)]
        argv = [str(go), "build", "-v", *BUILD_FLAGS, "-o", f"{output}{os.sep}", *packages]
        _run(argv, source, go_environment(), f"Building {', '.join(sorted(names))}", progress)
        destination.mkdir(exist_ok=True)
        for name in names:
            _publish(output / name, destination / name)


def _run(argv: list[str], cwd: Path, env: Mapping[str, str], what: str, progress: Progress) -> None:
    """Run ``go build -v``, which names on standard error every package it fetches or compiles."""
    started, compiled = time.monotonic(), 0
    tail: collections.deque[str] = collections.deque(maxlen=30)
    # A process group of its own: ended with the compilers and linkers it has started, and with nothing else.
    process = subprocess.Popen(
        argv, cwd=cwd, env=dict(env), process_group=0, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None  # noqa: S101 - for the type checker: we asked for a pipe
        progress(f"{what} (once; minutes where nothing is cached)")
        for line in process.stderr:
            tail.append(line)
            compiled += not line.startswith("go: ")
            elapsed = time.monotonic() - started
            progress(f"{what}: {compiled} packages compiled, {elapsed:.0f} s; now {line.strip()}")
        if process.wait() != 0:
            raise BuildError(f"{what} failed; the last lines of go build:\n{''.join(tail)}")
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _present(directory: Path) -> dict[str, Path]:
    paths = {name: directory / name for name in PACKAGES}
    return {name: path for name, path in paths.items() if os.access(path, os.X_OK) and path.is_file()}


def _publish(built: Path, target: Path) -> None:
    """Move a binary so that its name never stands for half a file, even after a power cut."""
    with built.open("rb") as handle:
        os.fsync(handle.fileno())
    built.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check_space(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < BUILD_BYTES:
        raise BuildError(
            f"A build of the control plane needs {BUILD_BYTES >> 30} GiB; {directory} has {free >> 30} free. "
            "Set WATCHBUDGET_CACHE (binaries) and GOCACHE, GOMODCACHE (Go's own) to a larger disk."
        )
