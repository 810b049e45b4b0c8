"""`watchbudget run`."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import sys
import time
from pathlib import Path

import click

from watchbudget.api.duration import parse_duration
from watchbudget.cli.console import FailedError

__all__ = ["command"]

SWITCH_SECONDS = 0.0005
"""How long one thread may keep the interpreter from another: a tenth of Python's default, so that a judgement
of the whole fleet does not delay an answer by milliseconds (bench/admission.py)."""


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{error}; write it like 30s or 5m", param, ctx)


@click.command("run")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The kubeconfig to use.",
)
@click.option("--context", metavar="NAME", help="The context to use.")
@click.option(
    "--namespace",
    envvar="POD_NAMESPACE",
    default="watchbudget-system",
    show_default=True,
    show_envvar=True,
    help="Where its Lease, Secret and Service live.",
)
@click.option(
    "--identity",
    envvar="POD_NAME",
    default=platform.node,
    show_default="the host's name",
    show_envvar=True,
    help="What people call this replica.",
)
@click.option("--listen", metavar="HOST", help="Listen on this address only.  [default: all]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9443,
    show_default=True,
    help="Admission; 0 takes a free one.",
)
@click.option(
    "--probe-port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="/livez, /readyz and /metrics.",
)
@click.option(
    "--serve-as",
    multiple=True,
    metavar="NAME",
    help="A further DNS name or address that our certificate is good for. Repeatable.",
)
@click.option(
    "--certificates",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Serve tls.crt and tls.key of this folder, which someone else renews, such as cert-manager.",
)
@click.option(
    "--max-starts",
    type=click.IntRange(1, 5000),
    default=100,
    show_default=True,
    help="How many pods may start at once in the whole cluster, whatever the budgets allow.",
)
@click.option(
    "--resync",
    type=_Duration(),
    default="5m",
    show_default=True,
    help="Between two full lists of what is watched.",
)
@click.option(
    "--drain",
    type=_Duration(),
    default="5s",
    show_default=True,
    help="How long to go on answering after SIGTERM.",
)
@click.option("--log-format", type=click.Choice(["plain", "json"]), default="plain", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def command(
    *,
    kubeconfig: Path | None,
    context: str | None,
    log_format: str,
    log_level: str,
    **options: object,
) -> None:
    """Run the operator: judge DaemonSets at admission, report in WatchBudgets, stage starts.

    Meant for a Deployment (kubectl apply -k manifests/); any number of replicas may run, all answer
    admission requests and one writes. Outside a cluster it uses the kubeconfig:

    \b
    kubectl apply -k manifests/overlays/development
    watchbudget run --listen 127.0.0.1 --serve-as 127.0.0.1

    It ends with 0 after SIGTERM, and with 2 where it cannot run.
    """  # noqa: D301 - click's \b keeps the lines apart
    # As the first process of a container it would not hear of SIGTERM before it has a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _configure_logging(log_format, log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    from watchbudget.controller import process  # noqa: PLC0415 - loads kopf and the Kubernetes client

    chosen = process.Options(
        kubeconfig=str(kubeconfig) if kubeconfig else None,
        context=context,
        **options,  # type: ignore[arg-type]  # click has checked them
    )
    try:
        asyncio.run(process.run(chosen))
    except (process.CannotRunError, OSError) as error:
        why = f"it cannot listen: {error}" if isinstance(error, OSError) else str(error)
        if log_format == "json":  # whoever collects the log reads no plain line in it
            logging.getLogger(__name__).critical("It cannot run: %s", why)
            sys.exit(FailedError.exit_code)
        raise FailedError(why) from error


def _configure_logging(log_format: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - of the operator's extra

        fields = {"levelname": "severity", "name": "logger", "asctime": "time"}
        formatter: logging.Formatter = JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=fields
        )
    else:
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    # RFC 3339 in UTC, as the API server's own times.
    formatter.converter = time.gmtime
    formatter.default_time_format, formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for noisy in ("kopf", "asyncio", "aiohttp"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
    # What ends the watches is told once, by controller.watching, and not with three stack traces.
    for told in ("_core.reactor.orchestration", "_core.reactor.running", "_cogs.clients.watching"):
        logging.getLogger(f"kopf.{told}").setLevel(logging.CRITICAL)
    if os.environ.get("WATCHBUDGET_DEBUG_WATCHES"):  # every event of every object, line by line
        logging.getLogger("kopf").setLevel(logging.DEBUG)
