"""Telling people and programs what came of backups."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC
from typing import TYPE_CHECKING, Any

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.commands.paint import safe, say
from queuewarden.application.upkeep.backups.taking import megabytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuewarden.application.upkeep.backups.backup import Backup
    from queuewarden.application.upkeep.running import Ran
    from queuewarden.engine.upkeep.task import Progress
    from queuewarden.settings.configuration import EnvironmentConfig


@contextmanager
def progress(config: EnvironmentConfig) -> Iterator[Callable[[Progress], None]]:
    """How far it has come, in one line of a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(config.name) as status:

        def tell(progress: Progress) -> None:
            part = f" {progress.done} of {progress.total}" if progress.total else ""
            size = f" {megabytes(progress.done)}" if progress.done and not progress.total else ""
            told = f"{config.name}: {progress.phase} {safe(progress.subject)}{part}{size}"
            status.update(Text(told))

        yield tell


def refused(config: EnvironmentConfig, error: Exception) -> None:
    """One line on standard error for an environment where it could not be done."""
    say(f"queuewarden: environment {config.name}: {safe(why(error), 500)}", err=True)


def why(error: Exception) -> str:
    """Why it could not be done."""
    return reason(error) if isinstance(error, psycopg.Error) else str(error)


def code(ran: Ran) -> int:
    """The exit code of what was done; a task that did not come to do anything could not be tried."""
    if ran.result == "failed":
        return 1 if ran.did else os.EX_UNAVAILABLE
    busy = ran.result == "skipped" or any(step.outcome == "skipped" for step in ran.did)
    return os.EX_TEMPFAIL if busy else 0


def as_document(ran: Ran) -> dict[str, Any]:
    """A run, for programs."""
    return {
        "result": ran.result,
        "summary": ran.summary,
        "seconds": round(ran.seconds, 3),
        "did": [asdict(step) for step in ran.did],
    }


def tell(config: EnvironmentConfig, ran: Ran) -> None:
    """A run, for people."""
    if not ran.did:
        say(f"queuewarden: environment {config.name}: {safe(ran.summary, 500)}", err=True)
    for step in ran.did:
        colour = {"done": "green", "failed": "red"}.get(step.outcome, "yellow")
        words = {"done": step.action, "failed": f"not {step.action}", "skipped": f"not {step.action}"}
        amount = ""
        if step.amount is not None and step.outcome == "done":
            amount = f", {step.amount} rows" if ran.task == "verify" else f", {megabytes(step.amount)}"
        took = f" in {step.seconds:.1f} s" if step.seconds else ""
        why = f": {safe(step.why, 500)}" if step.why else ""
        say(f"{config.name}: {safe(step.subject)} {words[step.outcome]}{took}{amount}{why}", colour)


def document(one: Backup) -> dict[str, Any]:
    """The manifest, without the rows of each table."""
    values = {name: value for name, value in json.loads(one.manifest.text()).items() if name != "tables"}
    return {"name": one.name, "folder": str(one.folder), "rows": one.manifest.rows, **values}


def cells(one: Backup) -> tuple[str, ...]:
    """A line about a backup."""
    manifest = one.manifest
    if manifest.verified_at:
        state = f"proven {manifest.verified_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    elif manifest.verification is not None:
        state = f"NO GOOD: {safe(manifest.verification.why, 200)}"
    else:
        state = "not proven yet"
    return (
        one.name,
        megabytes(manifest.size),
        f"{manifest.seconds:.1f} s",
        safe(manifest.database),
        f"{manifest.rows} rows in {len(manifest.tables)} tables",
        state,
    )
