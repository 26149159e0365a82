"""Telling people and programs what came of backups."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.commands.paint import aligned, safe, say
from queuewarden.application.upkeep.backups.files import megabytes
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from queuewarden.adapters.postgres.pgbackrest import Held
    from queuewarden.application.upkeep.backups.backup import Backup
    from queuewarden.application.upkeep.backups.shelf import Stray
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


def tell_json(environments: Mapping[str, Any]) -> None:
    """All of it, for programs."""
    click.echo(json.dumps(redact({"environments": environments}, names=False), indent=2))


def refused(config: EnvironmentConfig, error: Exception) -> None:
    """One line on standard error for an environment where it could not be done."""
    say(f"queuewarden: environment {config.name}: {safe(reason(error), 500)}", err=True)


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
        amount = ""
        if step.amount is not None and step.outcome == "done":
            amount = f", {step.amount} rows" if ran.task == "verify" else f", {megabytes(step.amount)}"
        took = f" in {step.seconds:.1f} s" if step.seconds else ""
        why = f": {safe(step.why, 500)}" if step.why else ""
        say(f"{config.name}: {safe(step.subject)} {step.action}{took}{amount}{why}", colour)


@dataclass(frozen=True, slots=True)
class Listed:
    """The backups of one environment.

    Attributes:
        document: for programs.
        rows: for people, in cells.
        strays: what is none, and why.
    """

    document: dict[str, Any]
    rows: list[tuple[str, ...]]
    strays: tuple[Stray, ...] = ()


def shelved(backups: Sequence[Backup], strays: Sequence[Stray]) -> Listed:
    """Dumps."""
    document = {
        "backups": [_document(one) for one in backups],
        "strays": [{"name": one.name, "why": one.why} for one in strays],
    }
    return Listed(document, [_cells(one) for one in backups], tuple(strays))


def held(backups: Sequence[Held]) -> Listed:
    """What pgbackrest has."""
    document = {"backups": [asdict(one) for one in backups]}
    for one in document["backups"]:
        one |= {name: value.isoformat() for name, value in one.items() if isinstance(value, datetime)}
    rows: list[tuple[str, ...]] = [
        (
            one.label,
            one.kind,
            megabytes(one.size),
            f"{one.seconds:.1f} s",
            "DAMAGED PAGES" if one.error else _proven(one.verified_at),
        )
        for one in backups
    ]
    return Listed(document, rows)


def tell_listed(config: EnvironmentConfig, listed: Listed) -> None:
    """Print it, for people."""
    for line in aligned(listed.rows):
        say(f"{config.name}: {line}")
    for stray in listed.strays:
        say(f"{config.name}: {safe(stray.name)}: left alone: {safe(stray.why, 200)}", "yellow")
    if not listed.rows:
        say(f"{config.name}: no backup")


def _document(one: Backup) -> dict[str, Any]:
    """The manifest, without the rows of each table."""
    values = {name: value for name, value in json.loads(one.manifest.text()).items() if name != "tables"}
    return {"name": one.name, "folder": str(one.folder), "rows": one.manifest.rows, **values}


def _cells(one: Backup) -> tuple[str, ...]:
    manifest = one.manifest
    tried = manifest.verification
    bad = f"NO GOOD: {safe(tried.why, 200)}" if tried is not None and not tried.ok else None
    return (
        one.name,
        megabytes(manifest.size),
        f"{manifest.seconds:.1f} s",
        safe(manifest.database),
        f"{manifest.rows} rows in {len(manifest.tables)} tables",
        bad or _proven(manifest.verified_at),
    )


def _proven(at: datetime | None) -> str:
    return "not proven yet" if at is None else f"proven {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
