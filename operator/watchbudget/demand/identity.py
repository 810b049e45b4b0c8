"""As whom the pods of a DaemonSet speak to the API server.

Not every agent uses its service account; where it does not, the account's grants say little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watchbudget.demand.model import Identity
    from watchbudget.inventory.fleet import Container, DaemonSet, Fleet, ServiceAccount

__all__ = ["accounts_by_key", "identity_of"]

_FLAG = re.compile(
    r"(?<![\w-])--?kube-?config(?:-(?:file|path))?(?:=|\s+(?!-))(?P<path>\S+)",
    re.IGNORECASE,
)
"""`--kubeconfig=FILE` and its spellings as a flag of its own: not the end of `--generate-kubeconfig`."""


def accounts_by_key(fleet: Fleet) -> dict[tuple[str, str], ServiceAccount]:
    """Return the fleet's service accounts by namespace and name."""
    return {(account.namespace, account.name): account for account in fleet.service_accounts}


def identity_of(daemon_set: DaemonSet, accounts: Mapping[tuple[str, str], ServiceAccount]) -> Identity:
    """Say which credentials the pods use: their service account's, a kubeconfig's, or none.

    - `kubeconfig`: a long-running container is told to read one, by flag or by `KUBECONFIG`. A kubeconfig
      that is only mounted does not count: kube-router's common manifest mounts one it never reads. Even
      then the file may name the service account's own token (kubeadm's kube-proxy ConfigMap does), so
      this means "the account's grants may not be what counts", no more.
    - `none`: no token is mounted, neither by default nor by a projected volume. The pod's word about
      automounting goes before the account's
      (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#opt-out-of-api-credential-automounting).
    - `serviceAccount`: everything else.
    """
    if any(
        _reads_kubeconfig(container, daemon_set)
        for container in daemon_set.containers
        if container.long_running
    ):
        return "kubeconfig"
    account = accounts.get((daemon_set.namespace, daemon_set.service_account))
    automount = daemon_set.automount
    if automount is None and account is not None:
        automount = account.automount
    if automount is False and not any(volume.service_account_token for volume in daemon_set.volumes):
        return "none"
    return "serviceAccount"


def _reads_kubeconfig(container: Container, daemon_set: DaemonSet) -> bool:
    paths = [match["path"] for match in _FLAG.finditer(" ".join((*container.command, *container.args)))]
    # A value taken from elsewhere is not known, but somebody put it there.
    paths += [
        env.value or "" if env.value_from is None else env.value_from
        for env in container.env
        if env.name == "KUBECONFIG"
    ]
    cleaned = (path.strip("\"';") for path in paths)
    return any(path and not _written_by_the_pod(path, container, daemon_set) for path in cleaned)


def _written_by_the_pod(path: str, container: Container, daemon_set: DaemonSet) -> bool:
    """Whether the file lies in an emptyDir or the like: a pod makes that from its own token."""
    mounts = [
        (mount, volume)
        for volume, mount in container.mounts
        if path == mount or path.startswith(mount.rstrip("/") + "/")
    ]
    if not mounts:
        return False
    _, name = max(mounts, key=lambda found: len(found[0]))
    volume = next((volume for volume in daemon_set.volumes if volume.name == name), None)
    return volume is not None and not (volume.host_path or volume.config_maps or volume.secrets)
