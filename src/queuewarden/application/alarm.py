"""The alarm: decides which alerts fire, tells people, and keeps what they answered."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.engine.alerting.notices import Alert, Suppression


class Alarm:
    """The alerts of one daemon.

    Times in alerts and suppressions are monotonic seconds; `wall` makes them a person's.
    """

    def alerts(self) -> list[Alert]:
        """Those that fire, the loudest first, muted ones included."""
        raise NotImplementedError

    def history(self) -> list[Alert]:
        """Those that ended, the latest first; the last 500."""
        raise NotImplementedError

    def suppressions(self) -> list[Suppression]:
        """Those that hold."""
        raise NotImplementedError

    async def acknowledge(self, id: str, by: str) -> Alert:  # noqa: A002 -- as everybody calls it
        """Take note of an alert that fires: it is neither reminded nor escalated any more.

        Raises:
            LookupError: no alert of this id fires.
        """
        raise NotImplementedError

    async def suppress(
        self,
        *,
        rule: str | None,
        environment: str | None,
        queue: str | None,
        lasts: timedelta,
        reason: str,
        by: str,
    ) -> Suppression:
        """Keep alerts from being announced for a while; see `Suppression` for the patterns."""
        raise NotImplementedError

    async def lift(self, id: str, by: str) -> Suppression:  # noqa: A002 -- as above
        """End a suppression.

        Raises:
            LookupError: none of this id holds.
        """
        raise NotImplementedError

    @staticmethod
    def wall(moment: float) -> datetime:
        """A monotonic moment as a person's time."""
        return datetime.now(UTC) + timedelta(seconds=moment - time.monotonic())
