"""Why a cluster could not be read: one small hierarchy, with messages for the person who has to act.

Every message names the server and the context, and says what to do. Nothing here loads the
Kubernetes client, so that a command can catch these without paying for it.
"""

# ruff: noqa: N818 - named as HTTP and kubectl name them: Forbidden, NotFound
from __future__ import annotations

__all__ = [
    "BadKubeconfig",
    "ClusterError",
    "CredentialPluginFailed",
    "Expired",
    "Forbidden",
    "NotFound",
    "ServerError",
    "ServerGone",
    "Unauthorized",
    "UnexpectedAnswer",
    "UnknownContext",
    "Unreachable",
    "UntrustedCertificate",
]


class ClusterError(Exception):
    """The cluster, or a part of it, could not be read. The text is complete: show it as it is."""


class BadKubeconfig(ClusterError):
    """The kubeconfig cannot be found, read or used."""


class UnknownContext(BadKubeconfig):
    """The context asked for is not in the kubeconfig, or none was chosen."""


class CredentialPluginFailed(BadKubeconfig):
    """The program that the kubeconfig names for getting credentials is missing or failed."""


class Unreachable(ClusterError):
    """No answer to the first request: wrong address, network, or no server running."""


class UntrustedCertificate(Unreachable):
    """Someone answered, with a certificate that the kubeconfig's authority does not vouch for."""


class ServerGone(ClusterError):
    """The server answered before and does so no more, after all retries. Later requests fail at once."""


class ServerError(ClusterError):
    """The server kept answering 429 or 5xx to one request, after all retries."""


class Unauthorized(ClusterError):
    """401: the credentials are expired, revoked or of another cluster."""


class Forbidden(ClusterError):
    """403: the credentials are good, the permission is missing.

    Attributes:
        permission: what is missing, as `list daemonsets.apps`.
    """

    def __init__(self, message: str, permission: str) -> None:
        super().__init__(message)
        self.permission = permission


class NotFound(ClusterError):
    """404: no such object, or a resource that this server does not serve."""


class Expired(ClusterError):
    """410: the snapshot that a paged list was reading has been compacted away.

    Attributes:
        continue_token: a token to go on with from the present state, where the server gave one
            (etcd3 store, `handleCompactedErrorForPaging` in k8s.io/apiserver/pkg/storage/etcd3/errors.go).
    """

    def __init__(self, message: str, continue_token: str | None) -> None:
        super().__init__(message)
        self.continue_token = continue_token


class UnexpectedAnswer(ClusterError):
    """The answer is not one that a Kubernetes API server gives."""
