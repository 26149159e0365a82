"""Rows that a check found, as documents: redacted, since labels and facts are anybody's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuewarden.redact import redact

if TYPE_CHECKING:
    from queuewarden.application.watching.trends import Row

_LONGEST = 200
"""Characters of one value."""


def row_document(row: Row) -> dict[str, Any]:
    """For programs; the same one for all who ask."""
    if row.document is None:
        row.document = _made(row)
    return row.document


def _made(row: Row) -> dict[str, Any]:
    facts: dict[str, Any] = redact(dict(row.facts), limit=_LONGEST)
    return {
        "key": redact(list(row.key), limit=_LONGEST),
        "label": redact(row.label, limit=_LONGEST),
        "lane": facts.get("lane"),
        "mended": row.mended,
        "facts": facts,
    }
