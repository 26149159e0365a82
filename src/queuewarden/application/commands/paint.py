"""Printing for people: colours only on a terminal, nothing that could harm it, a bar where one waits."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from queuewarden.redact import redact, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_WIDEST = 60


def say(text: str = "", colour: str | None = None, *, bold: bool = False, err: bool = False) -> None:
    """One line, or several; click takes the colours away where nobody would see them.

    What a caller forgot to make `safe` is made visible here: a name in the catalog may hold anything, too.
    """
    plain = False if os.environ.get("NO_COLOR") else None
    shown = "\n".join(map(visible, text.split("\n")))
    click.echo(click.style(shown, fg=colour, bold=bold) if colour or bold else shown, err=err, color=plain)


def safe(value: Any, limit: int = _WIDEST) -> str:
    """A value of a database as one short piece of text that no terminal obeys."""
    text = str(redact(value, limit=limit * 4)).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def aligned(rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Rows as lines, their cells in columns."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        indent + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


@contextmanager
def waiting(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error where that is a terminal; the function given counts one step."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)

        def step(_: str) -> None:
            progress.advance(task)

        yield step
