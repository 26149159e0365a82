"""A change of the ledger as programs read it: commands with ``--json``, and the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuewarden.redact import redact

if TYPE_CHECKING:
    from queuewarden.model import Change


def document(change: Change) -> dict[str, Any]:
    """For programs."""
    finding = change.finding
    shown: dict[str, Any] = redact({"before": finding.before, "after": finding.after})
    return {
        "id": change.id,
        "at": change.at.isoformat(),
        "environment": finding.environment,
        "queue": finding.queue,
        "check": finding.check,
        "rule": finding.code,
        "event": change.event,
        "reason": change.reason,
        "table": ".".join(change.relation),
        "key": list(finding.key),
        "actor": change.actor,
        "epoch": change.epoch,
        "sweep": change.sweep,
        "undoes": change.undoes,
        "undone_by": change.undone_by,
        **shown,
    }
