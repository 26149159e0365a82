"""Looking for tables that a preset knows, where no queue is configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.mapping import Mapping


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found.

    Attributes:
        queues: mappings and the preset's own guard settings.
        hints: what to set where nothing, or only part of something, was recognised.
    """

    queues: tuple[tuple[Mapping, tuple[tuple[str, Any], ...]], ...]
    hints: tuple[str, ...]


async def discover(session: Session) -> Discovery:
    """Recognise presets by their tables."""
    raise NotImplementedError
