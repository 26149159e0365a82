"""The ledger as `history` and `undo` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.application.commands.paint import safe
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from queuewarden.application.by_hand import Place
    from queuewarden.model import Change

MOST_DIFFERENCES = 4


async def require_ledger(place: Place) -> None:
    """Return where the ledger can be read.

    Raises:
        UnavailableError: it cannot, or the server is a standby.
    """
    await place.server()
    if place.schema.faults:
        raise UnavailableError(place.schema.faults[0])
    if place.schema.version is None:
        raise UnavailableError(f"no ledger there: run `queuewarden install --env {place.config.name}`")


def cells(change: Change) -> tuple[str, ...]:
    """One line of a table."""
    finding = change.finding
    undone = f"undone by {change.undone_by}" if change.undone_by else ""
    return (
        str(change.id),
        f"{change.at:%Y-%m-%d %H:%M:%S}",
        f"{finding.environment}/{finding.queue}",
        change.event,
        ",".join(safe(part) for part in finding.key),
        differences(change),
        f"({safe(change.reason)})",
        safe(change.actor),
        change.sweep,
        undone,
    )


def differences(change: Change) -> str:
    """What a change made of a row, in words."""
    before, after = change.finding.before, change.finding.after or {}
    parts = [
        f"{name} {_value(before[name])}→{_value(after.get(name))}"
        for name in before
        if before[name] != after.get(name)
    ]
    more = f" and {len(parts) - MOST_DIFFERENCES} more" if len(parts) > MOST_DIFFERENCES else ""
    return ", ".join(parts[:MOST_DIFFERENCES]) + more


def _value(text: str | None) -> str:
    return "NULL" if text is None else safe(text, 30)
