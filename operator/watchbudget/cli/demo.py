"""`watchbudget demo`: the main job, on a real control plane, in under a minute."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import click
from rich.console import Console
from rich.rule import Rule

from watchbudget.cli import demo_operator
from watchbudget.cli.console import FailedError, err, out, progress
from watchbudget.cli.demo_picture import as_svg
from watchbudget.cli.query import Query, run
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.components import UNPACED
from watchbudget.localcluster.errors import LocalClusterError
from watchbudget.localcluster.progress import stderr_progress
from watchbudget.report.explain import explain
from watchbudget.report.html import render_html
from watchbudget.report.table import render_problems, render_table

__all__ = ["command"]


@click.command("demo")
@click.option("--nodes", type=click.IntRange(1, 2000), default=100, show_default=True, help="KWOK nodes.")
@click.option(
    "--namespaces", type=click.IntRange(1, 50_000), default=5000, show_default=True, help="Tenants."
)
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the HTML report there, too."
)
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture at the end there, too."
)
def command(*, nodes: int, namespaces: int, html: Path | None, svg: Path | None) -> None:
    """See it work: a real control plane, three agents, an audit, a budget, and a rollout with it and without.

    Starts etcd, kube-apiserver, controller-manager, scheduler and KWOK on free loopback ports
    (building them the first time: some minutes), makes nodes, tenants and three agents
    modelled on real ones, audits them, and explains the worst. Then the operator runs beside it: a
    budget warns, denies and admits, and one agent is rolled out twice, staged and ungated. Leaves
    nothing behind.
    """
    console = out()
    try:
        with ExitStack() as stack:
            with stderr_progress() as steps:
                cluster = stack.enter_context(LocalCluster(extra_flags=UNPACED, progress=steps))
            _fill(cluster, nodes, namespaces, console)
            _audit(cluster, console, html)
            ungated, staged = demo_operator.show(cluster, console, _step)
    except LocalClusterError as error:
        raise FailedError(str(error)) from error
    if svg:
        svg.write_text(as_svg(ungated, staged), encoding="utf-8")
        err().print(f"Picture written to {svg}", markup=False)
    _next_step(console)


def _fill(cluster: LocalCluster, nodes: int, namespaces: int, console: Console) -> None:
    _step(
        console,
        f"A real control plane, Kubernetes {cluster.version}, with {nodes} nodes and {namespaces:,} tenants",
    )
    with stderr_progress() as steps:
        steps("Creating nodes and tenants")
        cluster.add_nodes(nodes)
        cluster.seed(namespaces=namespaces, network_policies_per_namespace=1)
    console.print("Each tenant is a namespace with one network policy.")
    _step(console, "kubectl apply: three agents modelled on real ones")
    manifest = files("watchbudget.cli").joinpath("demo_agents.yaml").read_text(encoding="utf-8")
    applied = cluster.apply(manifest).stdout.splitlines()
    console.print("\n".join(line for line in applied if "daemonset" in line), markup=False)
    with stderr_progress() as steps:
        steps("Waiting for their pods, and for the API server to count")
        for name, namespace in (
            ("vector", "logging"),
            ("calico-node", "kube-system"),
            ("node-exporter", "monitoring"),
        ):
            cluster.kubectl("rollout", "status", f"daemonset/{name}", "-n", namespace, "--timeout=60s")
        cluster.wait_until_counted()


def _audit(cluster: LocalCluster, console: Console, html: Path | None) -> None:
    _step(console, "watchbudget audit")
    query = Query(kubeconfig=cluster.kubeconfig)
    with progress() as report:
        audit, judged = run(query, report)
    render_problems(audit, err())
    render_table(audit, console)
    worst = audit.judgements[0]
    _step(console, f"watchbudget explain ds/{worst.daemon_set.name} -n {worst.daemon_set.namespace}")
    console.print(explain(worst, audit))
    if html:
        html.write_text(render_html(audit, judged), encoding="utf-8")
        err().print(f"Report written to {html}", markup=False)


def _next_step(console: Console) -> None:
    _step(console, "Next")
    console.print(
        "The control plane is gone again. Now your own cluster:\n"
        "read-only, and with nothing installed in it.\n\n"
        "  watchbudget audit                          what your agents cost today\n"
        "  watchbudget what-if                        at 2, 5, 10 times the objects\n"
        "  watchbudget audit -o html > report.html    with charts",
        markup=False,
    )


def _step(console: Console, title: str) -> None:
    console.print()
    console.print(Rule(title, align="left", style="bold"))
