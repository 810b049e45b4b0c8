"""The `watchbudget` command and its place as a kubectl plugin.

Commands are imported when they are called: completion and `--help` must not wait for a
Kubernetes client to load.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path

import click

from watchbudget import __version__

__all__ = ["cli", "main"]

_FAULT = 2
"""As a failed audit: console.EXIT_FAILED, not imported so that completion stays quick."""

_INTERRUPTED = 130
_PIPE_CLOSED = 141
"""128 + SIGINT and 128 + SIGPIPE, as shells report them."""

_OF_EXTRAS = frozenset({"aiohttp", "cryptography", "httptools", "jsonpatch", "kopf", "pythonjsonlogger"})
"""Packages that the audit does without; the operator needs them all."""

_WITH_A_CLUSTER = frozenset({"demo", "localcluster"})
"""Commands that build and run one."""

_COMMANDS = {
    "audit": "Price every DaemonSet of a cluster or of manifests, and judge it.",
    "explain": "Show the whole chain from one DaemonSet to its price.",
    "what-if": "Price the fleet at other node and object counts.",
    "rules": "List the rules, or explain one.",
    "crd": "Print the WatchBudget CustomResourceDefinition.",
    "completion": "Print the shell completion for bash, zsh or fish.",
    "run": "Run the operator: judge at admission, report, stage starts.",
    "rollout": "See how starts stand; pause, resume, free what is held.",
    "uninstall": "Take the operator away, in an order that strands no pod.",
    "localcluster": "Run a real Kubernetes control plane on this machine.",
    "demo": "See it work: a real control plane, an audit, the operator, a staged rollout.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules of this package, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order a newcomer meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import `watchbudget.cli.NAME` and take its `command`."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"watchbudget.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list from the table above, so that `--help` imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: watchbudget audit   (the cluster of the current context, read-only)",
)
@click.version_option(__version__, "--version", prog_name="watchbudget")
def cli() -> None:
    """What node agents' watches cost a Kubernetes cluster.

    An agent that watches something the cluster has very many of keeps a full copy on every
    node: objects x bytes x nodes. WatchBudget finds these agents, says how sure it is,
    prices them, and says what to change. It never lists what it warns about.
    """


def main() -> None:
    """Run the command line; as a kubectl plugin under the name `kubectl watchbudget`.

    click's own ending is not used: it exits with 1 where a command was interrupted or failed by an
    error of ours, and 1 says "findings" to whoever runs an audit in CI.
    """
    called_as = Path(sys.argv[0]).name
    name = "kubectl watchbudget" if called_as.startswith("kubectl-") else "watchbudget"
    try:
        sys.exit(cli.main(prog_name=name, standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # the reader has seen enough: `watchbudget audit | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_PIPE_CLOSED)
    except Exception as error:  # noqa: BLE001 - the last resort: an exit code that is not that of findings
        missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if missing in _OF_EXTRAS:
            command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
            extra = "localcluster" if command in _WITH_A_CLUSTER else "operator"
            click.echo(f"Error: this needs {missing}: pip install 'watchbudget[{extra}]'", err=True)
        else:
            traceback.print_exc()
            click.echo("This is a fault of watchbudget: please report it with the lines above.", err=True)
        sys.exit(_FAULT)
