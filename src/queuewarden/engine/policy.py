"""How a sweep behaves: as the daemon's, or as a person's who asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from queuewarden.engine.lanes import Lane


@dataclass(frozen=True, slots=True)
class Policy:
    """How a sweep behaves.

    Attributes:
        daemon: mass brakes and pacing bind; else this is a command by hand, which warns and goes on.
        write: whether anything may be repaired.
        grace: whether the grace brake binds.
        only: the checks to run; None for all that are enabled.
        rows: how many findings to list where nothing is written.
        lane: look at the jobs of one lane only.
        intend: list what the rows would become, too.
    """

    daemon: bool = True
    write: bool = True
    grace: bool = True
    only: Collection[str] | None = None
    rows: int = 0
    lane: Lane | None = None
    intend: bool = False
