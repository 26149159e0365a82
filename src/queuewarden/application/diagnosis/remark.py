"""A remark: one thing that a diagnosis looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "info", "advice", "wrong"]


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was looked at.

    Attributes:
        topic: connection, rights, clock, mapping, preset, ledger, indexes, health, brakes, workers,
            jobs or anomalies.
        level: ``advice`` makes things better, ``wrong`` keeps the guard from its work.
        remedy: what to do about it, line by line; statements stand alone on theirs.
        facts: the same for programs.
    """

    topic: str
    level: Level
    text: str
    queue: str | None = None
    remedy: tuple[str, ...] = ()
    facts: tuple[tuple[str, Any], ...] = ()
