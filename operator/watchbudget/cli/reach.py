"""How commands that act on a cluster reach it: options, connection, and errors as commands show them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from watchbudget.cli.console import FailedError
from watchbudget.inventory.errors import ClusterError

if TYPE_CHECKING:
    from watchbudget.controller.client import Client
    from watchbudget.inventory.transport import Api

__all__ = ["Cluster", "Target", "cluster_options", "items_of", "name_options", "run_in", "the_key"]

MERGE_PATCH = "application/merge-patch+json"

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


class Target(Struct, frozen=True):
    """Which cluster."""

    kubeconfig: Path | None = None
    context: str | None = None


class Cluster:
    """An open connection, with the user's own credentials.

    Attributes:
        server: as messages name it.
        client: sends requests once, for writes.
    """

    def __init__(self, api_client: Any, server: str, client: Client) -> None:  # noqa: ANN401 - not typed
        self.server, self.client = server, client
        self._api_client = api_client

    def api(self) -> Api:
        """For reads, which are repeated where that is right; a new one has not seen a failure."""
        from watchbudget.inventory.transport import Api  # noqa: PLC0415 - loads the Kubernetes client

        return Api(self._api_client, self.server)


def cluster_options(function: _F) -> _F:
    """Add --kubeconfig and --context; the command takes them as one `target`."""

    def build(*, kubeconfig: Path | None, context: str | None, **rest: Any) -> Any:  # noqa: ANN401
        return function(target=Target(kubeconfig, context), **rest)

    build.__name__, build.__doc__ = function.__name__, function.__doc__
    command: Any = build
    command.__click_params__ = getattr(function, "__click_params__", [])
    existing = click.Path(path_type=Path, exists=True, dir_okay=False)
    command = click.option("--context", metavar="NAME", help="The context to use.")(command)
    command = click.option("--kubeconfig", type=existing, help="The kubeconfig to use.")(command)
    result: _F = command
    return result


def name_options(function: _F) -> _F:
    """Add the argument that names a DaemonSet, and its namespace."""
    namespace = click.option(
        "-n", "--namespace", metavar="NS", help="Its namespace.  [default: the name's, else default]"
    )
    named: _F = click.argument("daemon_set", metavar="[DAEMONSET]", required=False)(namespace(function))
    return named


def the_key(daemon_set: str | None, namespace: str | None) -> tuple[str, str] | None:
    """Namespace and name of `ds/NAME`, `NAMESPACE/NAME` or `NAME`; None if none is named.

    Raises:
        click.UsageError: two namespaces, or a namespace of nothing.
    """
    if daemon_set is None:
        if namespace is not None:
            raise click.UsageError("-n says where a DaemonSet is: name one, too")
        return None
    name = daemon_set.removeprefix("ds/").removeprefix("daemonset/").removeprefix("daemonsets/")
    own, slash, short = name.rpartition("/")
    if slash and namespace not in (None, own):
        raise click.UsageError(f"{daemon_set} is not in namespace {namespace}")
    if not short or "/" in own:
        raise click.UsageError(f"{daemon_set!r} names no DaemonSet; write it like ds/NAME or NAMESPACE/NAME")
    return own if slash else namespace or "default", short


def run_in(target: Target, work: Callable[[Cluster], Awaitable[_T]]) -> _T:
    """Connect, do the work, disconnect.

    Raises:
        FailedError: the cluster cannot be reached or refuses; the text says what to do.
    """

    async def connected() -> _T:
        async with _connect(target) as cluster:
            return await work(cluster)

    try:
        return asyncio.run(connected())
    except ClusterError as error:
        raise FailedError(str(error)) from error


@asynccontextmanager
async def _connect(target: Target) -> AsyncIterator[Cluster]:
    from watchbudget.controller.client import Client  # noqa: PLC0415 - loads the Kubernetes client
    from watchbudget.inventory.connection import open_client  # noqa: PLC0415

    kubeconfig = str(target.kubeconfig) if target.kubeconfig else None
    async with open_client(kubeconfig, target.context) as (api_client, server):
        yield Cluster(api_client, server, Client(api_client))


async def items_of(
    api: Api, path: str, parameters: Sequence[tuple[str, str]] = ()
) -> AsyncIterator[Mapping[str, Any]]:
    """The objects of a list, page by page.

    Raises:
        ClusterError: it cannot be read.
    """
    token = ""
    while True:
        page = await api.get(path, [*parameters, ("limit", "250"), *([("continue", token)] if token else [])])
        items, metadata = page.get("items"), page.get("metadata")
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                yield item
        following = metadata.get("continue") if isinstance(metadata, dict) else None
        if not following or following == token:
            return
        token = str(following)
