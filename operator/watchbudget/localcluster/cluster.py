"""A real Kubernetes control plane as plain processes on this machine: no container, no virtual machine, no root."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from watchbudget.localcluster import watchdog
from watchbudget.localcluster.access import ClusterAccess
from watchbudget.localcluster.binaries import ensure_binaries
from watchbudget.localcluster.certs import Authority, write_signing_key
from watchbudget.localcluster.components import CONTROLLERS, NAMES, Layout, Ports, components
from watchbudget.localcluster.errors import ComponentError, LocalClusterError, PortInUseError
from watchbudget.localcluster.kubeconfig import write_kubeconfig
from watchbudget.localcluster.ports import LOOPBACK, free_ports
from watchbudget.localcluster.progress import Progress, silent
from watchbudget.localcluster.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from watchbudget.localcluster.process import ProcessId

__all__ = ["AuditLevel", "LocalCluster"]

AuditLevel = Literal["Metadata", "Request", "RequestResponse"]

IDENTITIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("watchbudget-admin", ("watchbudget:cluster-admins",)),
    "bootstrap": ("watchbudget-bootstrap", ("system:masters",)),
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    # The group of real kubelets, so that priority and fairness treats its writes as theirs.
    "kwok": ("kwok-controller", ("system:nodes",)),
}
"""User name and groups of each client certificate."""

PORT_ATTEMPTS = 3
_DATA = Path(__file__).parent / "data"


class LocalCluster(ClusterAccess):
    """A control plane for as long as a ``with`` block lasts::

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
        detached: bool = False,
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
            extra_flags: Further flags by component, such as ``{"kube-apiserver": ["--max-requests-inflight=50"]}``.
            detached: The processes outlive this one; the caller keeps `processes` and ends them.
            progress: Told what is going on; by default nobody is.
        """
        self._given_state_dir = state_dir
        self._audit_level = audit_level
        self._controllers = controllers
        self._service_accounts = service_accounts
        self._extra_flags = extra_flags or {}
        self._detached = detached
        self._progress = progress or silent()
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
        binaries = ensure_binaries(self._progress)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            try:
                self._start(binaries)
            except PortInUseError:
                self.stop()
                if attempt == PORT_ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
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
        if self._watchdog is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.communicate(watchdog.DONE)
            self._watchdog = None

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
    def _running(self) -> Runner:
        if self._runner is None:
            raise LocalClusterError("The local cluster is not started")
        return self._runner

    def _start(self, binaries: Mapping[str, Path]) -> None:
        if self._given_state_dir is None:
            state = Path(tempfile.mkdtemp(prefix="watchbudget-"))
        else:
            state = self._given_state_dir.absolute()
            state.mkdir(parents=True, exist_ok=True)
        layout = self._layout = Layout(state, binaries, Ports(*free_ports(5)))
        if not self._detached:
            self._watchdog = _start_watchdog(state, remove=self._given_state_dir is None)
        _write_files(layout, self._audit_level)
        table = components(
            layout,
            controllers=self._controllers,
            service_accounts=self._service_accounts,
            extra=self._extra_flags,
        )
        runner = self._runner = Runner(layout, table, group=self._watchdog.pid if self._watchdog else None)
        self._progress("Starting etcd and the API server")
        runner.start("etcd")
        runner.start("kube-apiserver")
        bindings = (_DATA / "bootstrap.yaml").read_text()
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


def _write_files(layout: Layout, audit_level: AuditLevel) -> None:
    """Write keys, certificates, kubeconfigs and configuration."""
    pki = layout.pki
    ca = Authority.create(pki / "ca.crt", "watchbudget-localcluster")
    etcd = Authority.create(pki / "etcd-ca.crt", "watchbudget-localcluster-etcd")
    service = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    ca.issue(
        pki / "apiserver", "kube-apiserver", names=["localhost", *service], addresses=[LOOPBACK, "10.96.0.1"]
    )
    ca.issue(pki / "serving", "localhost", names=["localhost"], addresses=[LOOPBACK])
    etcd.issue(pki / "etcd", "etcd", names=["localhost"], addresses=[LOOPBACK])
    etcd.issue(pki / "etcd-client", "kube-apiserver")
    write_signing_key(pki / "sa.key", pki / "sa.pub")
    for name, (user, groups) in IDENTITIES.items():
        pair = ca.issue(pki / name, user, groups=groups)
        write_kubeconfig(
            layout.kubeconfig(name), url=layout.url, ca_file=ca.certificate_file, pair=pair, user=user
        )
    shutil.copyfile(_DATA / "stages.yaml", layout.state / "stages.yaml")
    (layout.state / "audit-policy.yaml").write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n"
        f"rules: [{{level: {audit_level}}}]\n"
    )
