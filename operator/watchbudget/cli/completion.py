"""`watchbudget completion SHELL`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  watchbudget completion bash > ~/.local/share/bash-completion/completions/watchbudget
    zsh:   watchbudget completion zsh > "${fpath[1]}/_watchbudget"
    fish:  watchbudget completion fish > ~/.config/fish/completions/watchbudget.fish
    """  # noqa: D301 - click's \b keeps the lines apart
    from watchbudget.cli.main import cli  # noqa: PLC0415 - main imports this module by name

    completer = get_completion_class(shell)
    assert completer is not None  # noqa: S101 - the choices above are click's own
    click.echo(completer(cli, {}, "watchbudget", "_WATCHBUDGET_COMPLETE").source())
