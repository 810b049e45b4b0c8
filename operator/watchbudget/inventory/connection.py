"""Opening an API server by a kubeconfig, as kubectl does it.

Built on `kubernetes.aio` for TLS and credentials. Loading this module loads that client, which takes
half a second: importers that may not need it import it late.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes.aio import client, config

from watchbudget import __version__
from watchbudget.inventory import exec_plugin
from watchbudget.inventory.errors import BadKubeconfig, UnknownContext
from watchbudget.inventory.kubeconfig import Target, choose, default_paths
from watchbudget.inventory.transport import Api

__all__ = ["connect", "open_client"]


@asynccontextmanager
async def connect(kubeconfig: str | None = None, context: str | None = None) -> AsyncIterator[Api]:
    """Open an API server by a kubeconfig file, those of $KUBECONFIG, ~/.kube/config, or from inside a pod.

    No request is sent yet.

    Raises:
        BadKubeconfig: there is none, or it cannot be used; `UnknownContext` and
            `CredentialPluginFailed` are kinds of it.
    """
    async with open_client(kubeconfig, context) as (api_client, server):
        yield Api(api_client, server)


@asynccontextmanager
async def open_client(
    kubeconfig: str | None = None, context: str | None = None
) -> AsyncIterator[tuple[Any, str]]:
    """The same, for who sends requests in another way than `Api` does.

    Yields:
        `kubernetes.aio`'s ApiClient, and the server as messages name it.

    Raises:
        BadKubeconfig: as `connect` does.
    """
    configuration = client.Configuration()
    # Python 3.13 refuses certificate authorities without a key identifier; kubeadm and others make
    # such, and Go accepts them.
    configuration.disable_strict_ssl_verification = True
    server = await _configure(configuration, kubeconfig, context)
    try:
        api_client = client.ApiClient(configuration=configuration)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadKubeconfig(
            f"{server}: the certificates of the kubeconfig cannot be used: {error}"
        ) from error
    api_client.user_agent = f"watchbudget/{__version__}"
    try:
        yield api_client, server
    finally:
        await api_client.close()


async def _configure(configuration: Any, kubeconfig: str | None, context: str | None) -> str:  # noqa: ANN401
    paths = (Path(kubeconfig),) if kubeconfig else default_paths(os.environ)
    if paths:
        target = choose(paths, context)
        server = f"{target.server} (context {target.context})"
        user = await exec_plugin.credentials(target) if target.user.get("exec") else target.user
        try:
            await config.load_kube_config_from_dict(_single(target, user), client_configuration=configuration)
        except (config.ConfigException, ValueError, TypeError, OSError) as error:
            raise BadKubeconfig(f"{server}: the kubeconfig cannot be used: {error}") from error
        return server
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        looked = os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise BadKubeconfig(
            f"there is no kubeconfig: looked at {looked}; name one with --kubeconfig or $KUBECONFIG"
        )
    if context:
        raise UnknownContext(
            f"there is no context {context!r}: there is no kubeconfig, only the pod's own service account"
        )
    try:
        config.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise BadKubeconfig(
            f"inside a pod, but its service account cannot be used: {error}; is automount off?"
        ) from error
    return f"{configuration.host} (in cluster)"


def _single(target: Target, user: Mapping[str, Any]) -> dict[str, Any]:
    """A kubeconfig of one context, for the client library's loader."""
    name = target.context
    return {
        "clusters": [{"name": name, "cluster": dict(target.cluster)}],
        "users": [{"name": name, "user": dict(user)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
