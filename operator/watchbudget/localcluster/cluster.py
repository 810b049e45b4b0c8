"""A real Kubernetes control plane as plain processes: no container, no virtual machine, no root."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from watchbudget.localcluster import watchdog
from watchbudget.localcluster.access import ClusterAccess
from watchbudget.localcluster.binaries import ensure_binaries
from watchbudget.localcluster.components import CONTROLLERS, NAMES, Layout, Ports, components
from watchbudget.localcluster.errors import ComponentError, LocalClusterError, PortInUseError
from watchbudget.localcluster.ports import free_ports
from watchbudget.localcluster.progress import silent
from watchbudget.localcluster.provision import BOOTSTRAP, AuditLevel, provision
from watchbudget.localcluster.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from watchbudget.localcluster.process import ProcessId
    from watchbudget.localcluster.progress import Progress

__all__ = ["LocalCluster"]

PORT_ATTEMPTS = 3


class LocalCluster(ClusterAccess):
    """A control plane for as long as a ``with`` block lasts.

    Example::

        with LocalCluster() as cluster:
            cluster.add_nodes(100)
            cluster.apply(manifest)
            cluster.kubectl("rollout", "status", "daemonset/agent")

    API server, etcd, controller manager and scheduler are the real ones; nodes are KWOK's. Everything listens
    on 127.0.0.1 only. However the block is left, and even if this process is killed, the processes are ended
    and the temporary directory is removed.
    """

    def __init__(
        self,
        *,
        state_dir: Path | None = None,
        audit_level: AuditLevel = "Metadata",
        controllers: Sequence[str] = CONTROLLERS,
        service_accounts: bool = True,
        extra_flags: Mapping[str, Sequence[str]] | None = None,
        environment: Mapping[str, Mapping[str, str]] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Decide; `start` does it.

        Args:
            state_dir: Where to keep certificates, data and logs: an empty or absent directory, left in place
                at the end. By default a temporary one.
            audit_level: How much the audit log tells of each request.
            controllers: What the controller manager runs; see `CONTROLLERS`.
            service_accounts: Turn off where very many namespaces are seeded and quiet matters: the
                controller makes an account in each of them, 20 a second. Without it pods need no account.
            extra_flags: Further flags by component: ``{"kube-apiserver": ["--max-requests-inflight=50"]}``.
            environment: Variables by component: ``{"kube-apiserver": {"GOMAXPROCS": "8"}}``; ours reach none.
            progress: Told what is going on; by default nobody is.
        """
        self._given_state_dir = state_dir
        self._audit_level = audit_level
        self._controllers = controllers
        self._service_accounts = service_accounts
        self._extra_flags = extra_flags or {}
        self._environment = environment or {}
        self._progress = progress or silent
        self._runner: Runner | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Find or build the binaries, start everything, and return when a pod could be created.

        Raises:
            BuildError: The binaries cannot be had.
            ComponentError: A component did not start; nothing is left behind.
        """
        if self._runner is not None:
            raise LocalClusterError("The local cluster is started already")
        given = self._given_state_dir
        if given is not None and given.exists() and any(given.iterdir()):
            raise LocalClusterError(f"{given} is not empty")
        binaries = ensure_binaries(self._progress)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            try:
                self._start(binaries)
            except PortInUseError:
                self.stop()
                if attempt == PORT_ATTEMPTS:
                    raise
            except BaseException as error:
                self.stop()
                if given is None:
                    error.add_note("Its logs are removed; LocalCluster(state_dir=...) keeps them.")
                raise
            else:
                return

    def stop(self) -> None:
        """End the processes and remove the temporary directory; harmless if it is done already."""
        self.close()
        self.__dict__.pop("version", None)
        if self._runner is not None:
            self._runner.kill_all()
            self._runner = None
        if self._layout is not None and self._given_state_dir is None:
            shutil.rmtree(self._layout.state, ignore_errors=True)
        self._layout = None
        self._dismiss_watchdog()

    def detach(self) -> dict[str, ProcessId]:
        """Let the processes outlive this one; from now on whoever has the returned identities must end them.

        Raises:
            LocalClusterError: It would leave a temporary directory behind.
        """
        if self._given_state_dir is None:
            raise LocalClusterError("Only a cluster with a state_dir of the caller's can be detached")
        processes = self._running.identities()
        self._dismiss_watchdog()
        self.close()
        self._runner = self._layout = None
        return processes

    def stop_component(self, name: str) -> None:
        """Kill a component as kill -9 does, and wait for its end."""
        self._running.kill(name)

    def start_component(self, name: str) -> None:
        """Start a component that was stopped, on the same port and data, and wait until it is healthy."""
        self._running.start(name)

    def pause(self, name: str) -> None:
        """Stop a component in its tracks (SIGSTOP): it keeps its connections and answers nothing."""
        self._running.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused component go on."""
        self._running.signal(name, signal.SIGCONT)

    def resident_bytes(self, name: str) -> int:
        """Return a component's resident set size in bytes."""
        return self._running.resident_bytes(name)

    def pid(self, name: str) -> int:
        """Return a component's process id."""
        return self._running.pid(name)

    @property
    def processes(self) -> dict[str, ProcessId]:
        """The running components' processes."""
        return self._running.identities()

    @property
    def process_group(self) -> int | None:
        """What a companion of the cluster is to be started in, so that it ends with us, killed or not.

        None for a cluster that is not started, or was detached.
        """
        return self._watchdog.pid if self._watchdog is not None else None

    @property
    def _running(self) -> Runner:
        if self._runner is None:
            raise LocalClusterError("The local cluster is not started")
        return self._runner

    def _dismiss_watchdog(self) -> None:
        if self._watchdog is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.communicate(watchdog.DONE)
            self._watchdog = None

    def _start(self, binaries: Mapping[str, Path]) -> None:
        ports = Ports(*free_ports(5))
        if self._given_state_dir is None:
            state = Path(tempfile.mkdtemp(prefix="watchbudget-"))
        else:
            state = self._given_state_dir.absolute()
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(state / "etcd", ignore_errors=True)  # of an attempt before, on other ports
        layout = self._layout = Layout(state, binaries, ports)
        self._watchdog = _start_watchdog(state, remove=self._given_state_dir is None)
        provision(layout, self._audit_level)
        table = components(
            layout,
            controllers=self._controllers,
            service_accounts=self._service_accounts,
            extra=self._extra_flags,
            environment=self._environment,
        )
        runner = self._runner = Runner(layout, table, group=self._watchdog.pid)
        self._progress("Starting etcd and the API server")
        runner.start("etcd")
        runner.start("kube-apiserver")
        bindings = BOOTSTRAP.read_text()
        self.kubectl(f"--kubeconfig={layout.kubeconfig('bootstrap')}", "create", "-f", "-", input=bindings)
        self._progress("Starting controller manager, scheduler and KWOK")
        runner.start(*NAMES[2:])
        if self._service_accounts and "serviceaccount-controller" in self._controllers:
            self._wait_for_default_account()

    def _wait_for_default_account(self) -> None:
        """Wait for the account without which the first pod would be refused."""
        deadline = time.monotonic() + 30
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        while self.request("GET", path, check=False).status != 200:
            if time.monotonic() > deadline:
                raise ComponentError("kube-controller-manager made no default service account within 30 s")
            time.sleep(0.05)


def _start_watchdog(state: Path, *, remove: bool) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", watchdog.__file__, *([str(state)] if remove else [])]
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
    )
