"""``watchbudget localcluster``: a real control plane on this machine, by name."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import click

from watchbudget.localcluster.errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchbudget.localcluster.cluster import LocalCluster
    from watchbudget.localcluster.instances import Instance
    from watchbudget.localcluster.progress import Progress

__all__ = ["localcluster"]

# The modules behind the commands are imported inside them: `watchbudget --help` must not need `cryptography`.


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """Show the errors we raise on purpose as text, not as a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed through as they are
        try:
            command(*args, **kwargs)
        except LocalClusterError as error:
            notes = getattr(error, "__notes__", [])
            raise click.ClickException("\n".join([str(error), *notes])) from error
        except ModuleNotFoundError as error:
            if error.name != "cryptography":
                raise
            message = "This needs the package's extra: pip install 'watchbudget[localcluster]'"
            raise click.ClickException(message) from error

    return run


_name_option = click.option(
    "--name",
    default="default",
    show_default=True,
    metavar="NAME",
    help="Which local cluster; there may be several.",
)


@click.group(name="localcluster")
def localcluster() -> None:
    """Run a real Kubernetes control plane on this machine.

    API server, etcd, controller manager and scheduler are the real ones, as plain processes that listen on
    127.0.0.1 only; the nodes are played by KWOK. No container runtime and no root are needed. The first start
    builds the binaries from published Go modules, which takes some minutes; later ones take seconds.

    \b
    Examples:
      watchbudget localcluster up --nodes 100 --namespaces 5000
      export KUBECONFIG=$(watchbudget localcluster kubeconfig)
      kubectl get nodes
      watchbudget localcluster down
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped


@localcluster.command()
@_name_option
@click.option(
    "--nodes", default=3, show_default=True, type=click.IntRange(0, 5000), help="KWOK nodes to add."
)
@click.option(
    "--namespaces", default=0, show_default=True, type=click.IntRange(0, 99_999), help="Namespaces to seed."
)
@click.option(
    "--network-policies",
    default=0,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Network policies to seed in each of these namespaces.",
)
@click.option(
    "--detach/--foreground", default=True, show_default=True, help="Return once it runs, or run until Ctrl-C."
)
@_told
def up(*, name: str, nodes: int, namespaces: int, network_policies: int, detach: bool) -> None:
    """Start a local cluster and print the path of its kubeconfig.

    \b
    Examples:
      watchbudget localcluster up
      watchbudget localcluster up --name big --nodes 500 --namespaces 10000 --network-policies 1
      watchbudget localcluster up --foreground
    """  # noqa: D301
    from watchbudget.localcluster import LocalCluster  # noqa: PLC0415
    from watchbudget.localcluster.instances import directory, instance_lock  # noqa: PLC0415
    from watchbudget.localcluster.progress import stderr_progress  # noqa: PLC0415

    place = directory(name)
    signal.signal(signal.SIGTERM, _interrupted)
    with contextlib.ExitStack() as stack:
        with stderr_progress() as progress, instance_lock(name, progress):
            _clear(name)
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            cluster = stack.enter_context(LocalCluster(state_dir=place, progress=progress))
            _fill(cluster, progress, nodes=nodes, namespaces=namespaces, network_policies=network_policies)
            _record(cluster, foreground=not detach)
        click.echo(cluster.kubeconfig)
        if detach:
            cluster.detach()
            stack.pop_all()
        else:
            _stay(cluster)


@localcluster.command()
@_name_option
@_told
def down(*, name: str) -> None:
    """End a local cluster and remove everything it wrote.

    Ends exactly the processes that `up` started. Those that are gone already are fine, and so is a cluster
    that is.
    """
    from watchbudget.localcluster.instances import Instance, instance_lock, names  # noqa: PLC0415

    with instance_lock(name, lambda text: click.echo(text, err=True)):
        if name not in names():
            _clear(name)
            click.echo(f"There is no local cluster {name!r}.", err=True)
            return
        Instance(name).end()
        click.echo(f"Local cluster {name!r} is gone.", err=True)


@localcluster.command()
@_name_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@_told
def status(*, name: str, output: str) -> None:
    """Show whether a local cluster runs, and what its processes take.

    The exit code is 0 if all of it runs, 1 otherwise.
    """
    from watchbudget.localcluster.instances import Instance  # noqa: PLC0415

    instance = Instance(name)
    report = _status(instance)
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"{name}: {report['state']}\nURL: {report['url']}\nkubeconfig: {report['kubeconfig']}")
        click.echo(f"logs: {report['logs']}")
        for component, found in report["components"].items():
            memory = f"{found['residentBytes'] / 2**20:7.0f} MiB" if found["running"] else "not running"
            click.echo(f"  {component:<24}  pid {found['pid']:>7}  {memory}")
    if report["state"] != "running":
        sys.exit(1)


@localcluster.command()
@_name_option
@click.option("--raw", is_flag=True, help="Print the content instead of the path.")
@_told
def kubeconfig(*, name: str, raw: bool) -> None:
    """Print the path of a local cluster's kubeconfig.

    \b
    Examples:
      export KUBECONFIG=$(watchbudget localcluster kubeconfig)
      watchbudget localcluster kubeconfig --raw > kubeconfig.yaml
    """  # noqa: D301
    from watchbudget.localcluster.instances import Instance  # noqa: PLC0415

    path = Instance(name).kubeconfig
    click.echo(path.read_text() if raw else path, nl=not raw)


def _interrupted(_number: int, _frame: object) -> NoReturn:
    """Leave by the same way as on Ctrl-C, so that everything is cleaned up."""
    raise SystemExit(128 + signal.SIGTERM)


def _clear(name: str) -> None:
    """Make way for a new instance; what is dead goes, what lives stays.

    Raises:
        LocalClusterError: A cluster of that name runs.
    """
    from watchbudget.localcluster.instances import Instance, directory, names  # noqa: PLC0415

    if name in names():
        instance = Instance(name)
        if any(instance.alive().values()):
            hint = f"watchbudget localcluster down --name {name}"
            raise LocalClusterError(f"Local cluster {name!r} runs already; end it with: {hint}")
        instance.end()
    shutil.rmtree(directory(name), ignore_errors=True)


def _fill(
    cluster: LocalCluster, progress: Progress, *, nodes: int, namespaces: int, network_policies: int
) -> None:
    if nodes:
        progress(f"Adding {nodes} nodes")
        cluster.add_nodes(nodes)
    if namespaces:
        cluster.seed(
            namespaces=namespaces,
            network_policies_per_namespace=network_policies,
            progress=lambda done, total: progress(f"Seeding: {done} of {total} objects"),
        )


def _record(cluster: LocalCluster, *, foreground: bool) -> None:
    from watchbudget.localcluster.instances import RECORD, Record  # noqa: PLC0415
    from watchbudget.localcluster.process import ProcessId  # noqa: PLC0415

    layout = cluster.layout
    owner = ProcessId.of(os.getpid()) if foreground else None
    Record(layout.ports, dict(layout.binaries), cluster.processes, owner).write(layout.state / RECORD)


def _stay(cluster: LocalCluster) -> None:
    """Return on Ctrl-C; fail when a component ends by itself."""
    click.echo("Running; Ctrl-C ends it.", err=True)
    started = cluster.processes
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(0.5)
            for name, process in started.items():
                if not process.alive():
                    raise LocalClusterError(f"{name} has ended; so does the rest")


def _status(instance: Instance) -> dict[str, Any]:
    from watchbudget.localcluster.process import resident_bytes  # noqa: PLC0415

    alive = instance.alive()
    components: dict[str, dict[str, Any]] = {}
    for name, process in instance.record.processes.items():
        memory = 0
        if alive[name]:
            with contextlib.suppress(ProcessLookupError):
                memory = resident_bytes(process.pid)
        components[name] = {"pid": process.pid, "running": alive[name], "residentBytes": memory}
    return {
        "name": instance.name,
        "state": "running" if all(alive.values()) else "degraded" if any(alive.values()) else "stopped",
        "url": instance.url,
        "kubeconfig": str(instance.kubeconfig),
        "logs": str(instance.state_dir / "logs"),
        "components": components,
    }


command = localcluster
"""What the main command mounts: every module of a command calls it so."""
