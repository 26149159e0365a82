"""Whether somebody has asked not to hear of an alert."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuewarden.engine.alerting.notices import Suppression


def holding(
    suppressions: Iterable[Suppression], rule: str, environment: str, now: float
) -> list[Suppression]:
    """Those that hold for a rule in an environment, whatever the queue."""
    return [
        one
        for one in suppressions
        if now < one.until and fits(one.rule, rule) and fits(one.environment, environment)
    ]


def fits(pattern: str | None, name: str) -> bool:
    """Whether a pattern means a name: no pattern means all, a ``*`` at its end all that begin so."""
    if pattern is None:
        return True
    pattern, name = pattern.casefold(), name.casefold()
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def told(suppression: Suppression) -> str:
    """Why an alert is muted."""
    return f"suppressed: {suppression.reason or f'by {suppression.by}'}"
