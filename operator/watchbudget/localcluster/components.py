"""What each component is started with, and why.

Everything here is a pure function of a `Layout`: paths and ports in, argument lists out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from watchbudget.localcluster.certs import KeyPair
from watchbudget.localcluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CONTROLLERS", "NAMES", "UNPACED", "UNPACED_QPS", "Component", "Layout", "Ports", "components"]

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
"""The components, in the order in which they are started."""

CONTROLLERS = (
    "clusterrole-aggregation-controller",  # fills aggregated roles, which a grant's path may go through
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",  # pods of deleted nodes
    "replicaset-controller",
    "serviceaccount-controller",  # the account "default", without which no pod is admitted
    "validatingadmissionpolicy-status-controller",
)
"""Controllers that run by default. Not among them, on purpose:

- node-lifecycle-controller: at its 20 requests a second it needs half a minute to untaint 500 new nodes. The
  admission plugin that taints them (TaintNodesByCondition) is off instead, and KWOK renews no leases.
- root-ca-certificate-publisher: one ConfigMap for each namespace, of no use without containers.
- node-ipam, volume, certificate and endpoint controllers: nothing here has networks or disks.
"""

UNPACED_QPS = 500

_QPS = (f"--kube-api-qps={UNPACED_QPS}", f"--kube-api-burst={UNPACED_QPS * 2}")

UNPACED: Mapping[str, Sequence[str]] = {
    "kube-controller-manager": _QPS,
    "kube-scheduler": _QPS,
    "kwok": (f"--config={Path(__file__).parent / 'data' / 'kwok-unpaced.yaml'}",),
}
"""Extra flags for storms: otherwise the components' own limits (20 and 50 requests a second) pace them. Large
clusters raise these."""


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one cluster. KWOK has none: it listens nowhere."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True)
class Layout:
    """Where everything of one cluster is."""

    state: Path
    binaries: Mapping[str, Path]
    ports: Ports

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{LOOPBACK}:{self.ports.apiserver}"

    @property
    def pki(self) -> Path:
        """Directory of keys and certificates."""
        return self.state / "pki"

    def pair(self, name: str) -> KeyPair:
        """Return the certificate and key called ``name``."""
        return KeyPair(self.pki / f"{name}.crt", self.pki / f"{name}.key")

    def kubeconfig(self, name: str) -> Path:
        """Return the kubeconfig file of the identity ``name``."""
        return self.state / f"{name}.kubeconfig"

    def log(self, component: str) -> Path:
        """Return the log file of a component."""
        return self.state / "logs" / f"{component}.log"


@dataclass(frozen=True)
class Component:
    """How to start one process.

    Attributes:
        name: One of `NAMES`.
        argv: Its command line.
        health: Address that answers 200 once it works; None if it has none.
        ca: The authority that the health address's certificate comes from.
        pair: Client certificate for the health address, if it asks for one.
        environment: Variables it is given, beside HOME and PATH.
    """

    name: str
    argv: tuple[str, ...]
    health: str | None
    ca: Path
    pair: KeyPair | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def components(
    layout: Layout,
    *,
    controllers: Sequence[str],
    service_accounts: bool,
    extra: Mapping[str, Sequence[str]],
    environment: Mapping[str, Mapping[str, str]],
) -> dict[str, Component]:
    """Return every component by name, in starting order.

    Args:
        layout: Paths and ports.
        controllers: Names for the controller manager; the full ones, short ones are refused by it.
        service_accounts: False turns the admission plugin and the controller of that name off.
        extra: Further flags by component; a later flag wins over an earlier one.
        environment: Variables by component.
    """
    local = f"https://{LOOPBACK}"
    kept = [name for name in controllers if service_accounts or name != "serviceaccount-controller"]
    flags = {
        "etcd": _etcd(layout),
        "kube-apiserver": _apiserver(layout, service_accounts=service_accounts),
        "kube-controller-manager": _controller_manager(layout, kept),
        "kube-scheduler": _scheduler(layout),
        "kwok": _kwok(layout),
    }
    ports = layout.ports
    health = {
        "etcd": f"{local}:{ports.etcd}/health",
        "kube-apiserver": f"{local}:{ports.apiserver}/readyz",
        "kube-controller-manager": f"{local}:{ports.controller_manager}/healthz",
        "kube-scheduler": f"{local}:{ports.scheduler}/healthz",
    }
    return {
        name: Component(
            name,
            (str(layout.binaries[name]), *flags[name], *extra.get(name, ())),
            health.get(name),
            layout.pki / ("etcd-ca.crt" if name == "etcd" else "ca.crt"),
            layout.pair("etcd-client") if name == "etcd" else None,
            environment.get(name, {}),
        )
        for name in NAMES
    }


def _etcd(layout: Layout) -> list[str]:
    own, trusted = layout.pair("etcd"), layout.pki / "etcd-ca.crt"
    client, peer = (f"https://{LOOPBACK}:{port}" for port in (layout.ports.etcd, layout.ports.etcd_peer))
    return [
        f"--data-dir={layout.state / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # An authority of etcd's own: otherwise every client of the API server could go behind its back.
        "--client-cert-auth",
        f"--trusted-ca-file={trusted}",
        f"--cert-file={own.certificate}",
        f"--key-file={own.key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={trusted}",
        f"--peer-cert-file={own.certificate}",
        f"--peer-key-file={own.key}",
        "--unsafe-no-fsync",  # nothing here outlives the process
        "--quota-backend-bytes=8589934592",  # the default of 2 GiB is soon full of revisions under load
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=5m",
        "--log-level=warn",
    ]


def _apiserver(layout: Layout, *, service_accounts: bool) -> list[str]:
    pki, serving, etcd = layout.pki, layout.pair("apiserver"), layout.pair("etcd-client")
    disabled = ["TaintNodesByCondition"] + ([] if service_accounts else ["ServiceAccount"])
    return [
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={layout.ports.apiserver}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--etcd-servers=https://{LOOPBACK}:{layout.ports.etcd}",
        f"--etcd-cafile={pki / 'etcd-ca.crt'}",
        f"--etcd-certfile={etcd.certificate}",
        f"--etcd-keyfile={etcd.key}",
        # Feeds the census metrics and the list-cost estimate; the default of one minute makes tests wait.
        "--etcd-count-metric-poll-period=5s",
        "--authorization-mode=Node,RBAC",
        f"--disable-admission-plugins={','.join(disabled)}",
        "--endpoint-reconciler-type=none",  # no Service routes to it
        "--allow-privileged=true",  # node agents are
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--audit-policy-file={layout.state / 'audit-policy.yaml'}",
        f"--audit-log-path={layout.state / 'audit.log'}",
        "--audit-log-maxsize=1024",  # MiB; then it is rotated, and one old file kept
        "--audit-log-maxbackup=1",
    ]


def _delegating(layout: Layout, name: str, port: int) -> list[str]:
    """Return the flags shared by the two components that serve /healthz and ask the API server who calls."""
    kubeconfig, serving = layout.kubeconfig(name), layout.pair("serving")
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        "--leader-elect=false",
    ]


def _controller_manager(layout: Layout, controllers: Sequence[str]) -> list[str]:
    return [
        *_delegating(layout, "kube-controller-manager", layout.ports.controller_manager),
        f"--controllers={','.join(controllers)}",
        # As kubeadm does: each controller under its own account, with the role Kubernetes ships for it.
        "--use-service-account-credentials=true",
    ]


def _scheduler(layout: Layout) -> list[str]:
    return _delegating(layout, "kube-scheduler", layout.ports.scheduler)


def _kwok(layout: Layout) -> list[str]:
    return [
        f"--kubeconfig={layout.kubeconfig('kwok')}",
        f"--config={layout.state / 'stages.yaml'}",
        "--manage-all-nodes=true",
        # Nobody watches the leases (no node-lifecycle-controller), and 500 nodes would renew 50 a second.
        "--node-lease-duration-seconds=0",
    ]
