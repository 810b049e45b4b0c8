"""Writes what the components read at their start: keys, certificates, kubeconfigs, configuration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from watchbudget.localcluster.certs import Authority, write_signing_key
from watchbudget.localcluster.kubeconfig import write_kubeconfig
from watchbudget.localcluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watchbudget.localcluster.components import Layout

__all__ = ["BOOTSTRAP", "AuditLevel", "provision"]

AuditLevel = Literal["Metadata", "Request", "RequestResponse"]

_DATA = Path(__file__).parent / "data"

BOOTSTRAP = _DATA / "bootstrap.yaml"
"""RBAC for the identities below, to be created once the API server runs."""

IDENTITIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("watchbudget-admin", ("watchbudget:cluster-admins",)),
    "bootstrap": ("watchbudget-bootstrap", ("system:masters",)),
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    # The group of real kubelets, so that priority and fairness treats its writes as theirs.
    "kwok": ("kwok-controller", ("system:nodes",)),
}
"""User name and groups of each client certificate."""


def provision(layout: Layout, audit_level: AuditLevel) -> None:
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
