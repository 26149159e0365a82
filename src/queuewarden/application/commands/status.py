"""``queuewarden status``: what the running daemon last knew; works with every database down."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from queuewarden.adapters import status_file
from queuewarden.application.commands.choice import json_option
from queuewarden.application.commands.options import config_option
from queuewarden.application.commands.paint import aligned, safe, say
from queuewarden.application.status import brief, longest_interval
from queuewarden.errors import ConfigurationError, QueuewardenError
from queuewarden.redact import redact
from queuewarden.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERVALS = 3
"""So many intervals without a word, and the file is stale."""

_USUAL = timedelta(seconds=30)

_ENDED = {b"Z", b"X"}

_STATES = {"up": "green", "down": "red"}
_COLUMNS = (
    ("waiting_jobs", "waiting"),
    ("running_jobs", "running"),
    ("failed_jobs", "failed"),
    ("active_workers", "workers"),
)


@click.command()
@config_option
@json_option
@click.pass_context
def status(context: click.Context, config_file: Path | None, *, as_json: bool) -> None:
    """Print what the running daemon last knew, from its status file.

    Exit code 0: every environment is up; 1: one is down or not known yet, the daemon is gone, its file is
    older than three intervals, or there is none.
    """
    path, interval = _configured(config_file)
    if path is None:
        say("queuewarden: the status file is turned off: QUEUEWARDEN_STATUS_FILE is empty", err=True)
        context.exit(1)
    try:
        document = status_file.read(path)
        age = datetime.now(UTC) - datetime.fromisoformat(document["written_at"])
        # The daemon's own word, where it gives it: its configuration may be hidden from who asks.
        interval = timedelta(seconds=document.get("interval_seconds", interval.total_seconds()))
        document |= {
            "age_seconds": round(age.total_seconds(), 1),
            "alive": _runs(int(document["pid"])),
            "stale": age > interval * _INTERVALS,
        }
        lines = list(_lines(document, age))
        states = {one["state"] for one in document["environments"].values()}
    except QueuewardenError as error:
        say(f"queuewarden: {error}", err=True)
        context.exit(1)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        say(f"queuewarden: {path}: this is not a status file of queuewarden", err=True)
        context.exit(1)
    if as_json:
        click.echo(json.dumps(redact(document, names=False), indent=2))
    else:
        for line, colour in lines:
            say(line, colour)
    context.exit(0 if states == {"up"} and document["alive"] and not document["stale"] else 1)


def _configured(config_file: Path | None) -> tuple[Path | None, timedelta]:
    """Where the file is, and the longest interval; faults of the configuration are none of ours."""
    try:
        known = load.load(os.environ, config_file)
    except ConfigurationError:
        return status_file.latest(os.environ), _USUAL
    return known.status_file or status_file.latest(os.environ), longest_interval(known)


def _runs(pid: int) -> bool:
    """Whether a process of that number runs: one that has ended, unnoticed by its parent, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:  # hidden from us, or gone just now
        return True
    return state not in _ENDED


def _lines(document: dict[str, Any], age: timedelta) -> Iterator[tuple[str, str | None]]:
    """All that is said, with its colours."""
    pid, environments = safe(document["pid"]), document["environments"]
    written = f"written {brief(age)} ago"
    if not document["alive"]:
        yield f"the daemon (process {pid}) is gone; {written}", "red"
    elif document["stale"]:
        yield f"the daemon (process {pid}) has been silent for too long; {written}", "red"
    else:
        yield f"queuewarden {safe(document.get('version', ''))}, process {pid}; {written}", "green"
    rows = [("environment", "state", "since", *(title for _, title in _COLUMNS), "last change")]
    rows += [_row(name, one) for name, one in environments.items()]
    head, *lines = aligned(rows)
    yield head, None
    for line, one in zip(lines, environments.values(), strict=True):
        yield line, _STATES.get(one["state"], "yellow")
    for name, one in environments.items():
        for line in _details(safe(name), one):
            yield line, "yellow"


def _row(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    change = one.get("last_change")
    last = f"{safe(change['what'])}, {_ago(change['at'])} ago" if change else ""
    if one.get("reason"):
        last = safe(one["reason"], 100)
    counts = (safe(one.get(key, "?")) for key, _ in _COLUMNS)
    return safe(name), safe(one["state"]), f"{_ago(one.get('since'))}", *counts, last


def _details(name: str, one: dict[str, Any]) -> Iterator[str]:
    lease = one.get("lease")
    if lease and not lease.get("ours"):
        yield f"{name}: only observed: {safe(lease.get('holder') or 'nobody')} has the lease"
    for queue, known in one.get("queues", {}).items():
        if known.get("observed_only"):
            yield f"{name}/{queue}: only observed: {safe(known['observed_only'], 300)}"
    for brake in one.get("brakes", ()):
        yield f"{_place(name, brake)}: brake {safe(brake['kind'])}: {safe(brake['why'], 200)}"
    for anomaly in one.get("anomalies", ()):
        subject = f" {safe(anomaly['subject'])}" if anomaly.get("subject") else ""
        kind, hint = safe(anomaly["kind"]), safe(anomaly["hint"], 300)
        yield f"{_place(name, anomaly)}: anomaly {kind}{subject}: {hint}"


def _place(name: str, one: dict[str, Any]) -> str:
    return f"{name}/{one['queue']}" if one.get("queue") else name


def _ago(moment: str | None) -> str:
    return brief(datetime.now(UTC) - datetime.fromisoformat(moment)) if moment else "?"
