"""Both clocks of a sampler, moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

from queuewarden.application.upkeep import sampling
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.model import ServerState

if TYPE_CHECKING:
    import pytest

NOON = 20_000 * 86_400 + 12 * 3600
FIVE = 300


class Clock:
    """Both clocks, moved by hand; five minutes are written as soon as they are over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = float(NOON)
        clocks = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now - NOON)
        monkeypatch.setattr(sampling, "time", clocks)
        monkeypatch.setattr(sampling, "SETTLE", 0.0)

    def report(self, *queues: QueueReport, ahead: float = 0) -> SweepReport:
        """A sweep at this moment, on a server whose clock is so far ahead."""
        moment = datetime.fromtimestamp(self.now + ahead, UTC)
        server = ServerState(moment, moment, standby=False, timeline=None, system=None)
        return SweepReport("prod", "s", server, queues, (), (), 0.5, 3, 0.25)
