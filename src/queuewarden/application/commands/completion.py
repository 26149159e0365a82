"""``queuewarden completion``: the script by which a shell completes our commands."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_HOW = """Print the script that completes commands, options and names.

bash: eval "$(queuewarden completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; fish: queuewarden
completion fish > ~/.config/fish/completions/queuewarden.fish. Without a shell, that of SHELL.
"""


@click.command(help=_HOW)
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the completion script."""
    chosen = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(chosen) if chosen in _SHELLS else None
    if found is None:
        raise click.UsageError(f"which shell? Write one of {', '.join(_SHELLS)}")
    root = context.find_root()
    click.echo(found(root.command, {}, "queuewarden", "_QUEUEWARDEN_COMPLETE").source())
