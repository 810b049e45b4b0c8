"""The operator beside a local cluster, as it runs in production but for the container.

`watchbudget run` as a process of its own, with its own ServiceAccount's token, exactly the RBAC of the
manifests, and the webhooks of the development overlay. For the demo, tests and benchmarks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

import watchbudget
from watchbudget.localcluster.errors import LocalClusterError
from watchbudget.localcluster.ports import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from watchbudget.localcluster.cluster import LocalCluster

__all__ = ["NAMESPACE", "USER", "OperatorProcess", "install", "manifests"]

NAMESPACE = "watchbudget-system"
USER = f"system:serviceaccount:{NAMESPACE}:watchbudget"

READY_SECONDS = 60.0
"""A slow machine's start takes ten."""

_ADDRESS = f"{LOOPBACK}:9443"


def manifests(cluster: LocalCluster, port: int) -> str:
    """The development overlay, its webhooks at this port."""
    built = cluster.kubectl("kustomize", str(_folder() / "overlays" / "development")).stdout
    if _ADDRESS not in built:
        raise LocalClusterError(f"The development overlay has no webhook at {_ADDRESS}")
    return built.replace(_ADDRESS, f"{LOOPBACK}:{port}")


def install(cluster: LocalCluster, port: int) -> None:
    """Apply the manifests as an administrator would, and wait until the type is served."""
    cluster.kubectl("apply", "--server-side", "-f", "-", input=manifests(cluster, port))
    cluster.kubectl("wait", "--for=condition=Established", "crd/watchbudgets.watchbudget.io", "--timeout=30s")


class OperatorProcess:
    """One replica. Use it as a context manager; it ends with SIGTERM, or SIGKILL where that does not help.

    Attributes:
        port: of admission.
        log: path of what it wrote to standard error.
        process: the running process; None before `start`.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        *options: str,
        port: int | None = None,
        installed: bool = False,
        name: str = "one",
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Decide.

        Args:
            cluster: where to run it against.
            *options: further ones of `watchbudget run`.
            port: of admission; by default a free one.
            installed: the manifests are applied already.
            name: of the replica.
            env: further environment variables.
            wrapper: a command that runs the rest of its arguments, such as one that changes the clock.
        """
        self.cluster = cluster
        own, self._probe_port = free_ports(2)
        self.port = port or own
        self._installed = installed
        self._options = options
        self._name = name
        self._env = env or {}
        self._wrapper = wrapper
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="watchbudget-operator-")
        self.log = Path(self._folder.name) / f"{name}.log"

    def __enter__(self) -> Self:
        try:
            if not self._installed:
                install(self.cluster, self.port)
            self.start()
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start the process; it is ready a little later."""
        argv = [*self._wrapper, sys.executable, "-m", "watchbudget", "run"]
        argv += [f"--kubeconfig={self.make_kubeconfig()}", f"--listen={LOOPBACK}", f"--serve-as={LOOPBACK}"]
        argv += [f"--port={self.port}", f"--probe-port={self._probe_port}", f"--identity={self._name}"]
        argv += ["--drain=0s", *self._options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
                process_group=self.cluster.process_group,
            )

    def make_kubeconfig(self) -> Path:
        """A kubeconfig with a token that is new; for others to override."""
        return self.cluster.kubeconfig_for(NAMESPACE, "watchbudget")

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it would be sent admission requests.

        Raises:
            LocalClusterError: it ended, or is not ready in time; with what it logged.
        """
        deadline = time.monotonic() + seconds
        while (answer := self.probe("/readyz"))[0] != 200:
            if self._running.poll() is not None:
                raise LocalClusterError(f"The operator ended:\n{self.output()}")
            if time.monotonic() > deadline:
                raise LocalClusterError(
                    f"The operator is {answer[1]} after {seconds:.0f} s:\n{self.output()}"
                )
            time.sleep(0.05)

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of a path of the plain listener; 0 where nothing listens."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._probe_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples; 0 where there is none."""
        lines = self.probe("/metrics")[1].splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(name) and line[len(name)] in " {" and not line.startswith("#")
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._running.send_signal(number)

    def stop(self, seconds: float = 15) -> int | None:
        """End it and return its exit code; None if it was not running."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._running.kill()
        self._running.wait()

    def output(self) -> str:
        """What it logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def resident_bytes(self, field: str = "VmRSS") -> int:
        """Resident memory now, or its highest (`VmHWM`)."""
        for line in Path(f"/proc/{self._running.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise LocalClusterError(f"The system does not tell {field}")

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise LocalClusterError("The operator is not started")
        return self.process


def _folder() -> Path:
    """The manifests: of the checkout, or those that the package carries along."""
    package = Path(watchbudget.__file__).parent
    for folder in (package.parents[1] / "manifests", package / "install" / "manifests"):
        if (folder / "kustomization.yaml").is_file():
            return folder
    raise LocalClusterError("This installation of watchbudget has no manifests; run it from a checkout")
