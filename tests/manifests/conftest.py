"""A control plane with the installation in it, for everything here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests.installation import MANIFESTS, loopback_cluster, wait_until_in_force
from watchbudget.localcluster import LocalCluster


@pytest.fixture(scope="session")
def kubectl(control_plane: None) -> Path:
    from watchbudget.localcluster.binaries import ensure_binaries  # noqa: PLC0415 - may build
    from watchbudget.localcluster.progress import silent  # noqa: PLC0415

    return ensure_binaries(silent)["kubectl"]


@pytest.fixture(scope="package")
def installed(control_plane: None) -> Iterator[LocalCluster]:
    """Three nodes, and what `kubectl apply -k manifests/` puts there. Nothing answers its webhooks."""
    with loopback_cluster() as cluster:
        cluster.add_nodes(3)
        cluster.kubectl("apply", "-k", str(MANIFESTS))
        wait_until_in_force(cluster)
        yield cluster
