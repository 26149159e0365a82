"""What the daemon remembers of one queue between sweeps. Bounded; lost at a restart, and harmless so."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from queuewarden.engine.lanes import Lane
    from queuewarden.model import Key, Table

MOST = 20_000
"""Rows remembered of each kind: about 10 MB at worst."""

DAY = timedelta(days=1)
"""The rescue budget counts resets of the last day."""


@dataclass(slots=True)
class Reset:
    """A job that we put back to waiting: when, and whose it was."""

    times: list[datetime]
    worker: str | None
    started: str | None


@dataclass(slots=True)
class LaneWrites:
    """How often in a row a lane of the same members had to be renumbered."""

    digest: str
    times: int


@dataclass(slots=True)
class Memory:
    """What is remembered of one queue.

    Attributes:
        aside: rows whose write violated something: key to xmin, by table.
        seen: rows that wait for a rule's patience to end: by rule code and key, xmin and when first seen.
        resets: jobs that were put back to waiting.
        lanes: lanes that were renumbered.
        alone: when a lane too long for a sweep was last done.
        shunned: lanes left alone until their members change: digest, and why (``fight`` or a SQLSTATE).
        skips: in how many sweeps running a row was found and could not be locked.
        estimated: rows with a time that we made up: they never feed anomalies.
        clean: modification counters of the table when a check last found nothing, by check.
        costly: when a check that takes long may run next, by check, in seconds of the daemon's clock.
    """

    aside: dict[Table, OrderedDict[Key, str]] = field(
        default_factory=lambda: {"jobs": OrderedDict(), "workers": OrderedDict()}
    )
    seen: OrderedDict[tuple[str, Key], tuple[str, datetime]] = field(default_factory=OrderedDict)
    resets: OrderedDict[Key, Reset] = field(default_factory=OrderedDict)
    lanes: OrderedDict[tuple[str, Lane], LaneWrites] = field(default_factory=OrderedDict)
    alone: dict[Lane, datetime] = field(default_factory=dict)
    shunned: dict[tuple[str, Lane], tuple[str, str]] = field(default_factory=dict)
    skips: dict[tuple[Table, Key], int] = field(default_factory=dict)
    estimated: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    clean: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    costly: dict[str, float] = field(default_factory=dict)

    def worn(self, budget: int, now: datetime) -> frozenset[Key]:
        """Jobs whose rescue budget is spent."""
        for key, reset in list(self.resets.items()):
            reset.times[:] = [time for time in reset.times if now - time < DAY]
            if not reset.times:
                del self.resets[key]
        return frozenset(key for key, reset in self.resets.items() if len(reset.times) >= budget)

    def note_resets(self, rows: Iterable[tuple[Key, str | None, str | None]], now: datetime) -> None:
        """Remember jobs that were put back: key, former worker, former start."""
        for key, worker, started in rows:
            reset = self.resets.pop(key, None) or Reset([], worker, started)
            reset.times.append(now)
            reset.worker, reset.started = worker, started
            self.resets[key] = reset
        _trim(self.resets)

    def resets_within(self, span: timedelta, now: datetime) -> int:
        """How many resets there were in the last while."""
        return sum(now - time < span for reset in self.resets.values() for time in reset.times)

    def set_aside(self, table: Table, key: Key, version: str) -> None:
        """Leave a row alone until it changes."""
        self.aside[table][key] = version
        _trim(self.aside[table])

    def ripe(self, code: str, rows: Mapping[Key, str], patience: timedelta, now: datetime) -> dict[Key, str]:
        """Of rows as seen now, those seen unchanged for long enough; forgets rows no longer seen."""
        for known in [known for known in self.seen if known[0] == code and known[1] not in rows]:
            del self.seen[known]
        ripe: dict[Key, str] = {}
        for key, version in rows.items():
            old, since = self.seen.get((code, key), (version, now))
            if old != version:
                since = now
            self.seen[code, key] = (version, since)
            if now - since >= patience:
                ripe[key] = version
        _trim(self.seen)
        return ripe

    def note_lane(self, code: str, lane: Lane, digest: str) -> int:
        """Remember that a lane is up for writing; how many sweeps running its members were the same."""
        known = self.lanes.pop((code, lane), None)
        times = known.times + 1 if known is not None and known.digest == digest else 1
        self.lanes[code, lane] = LaneWrites(digest, times)
        _trim(self.lanes)
        return times

    def shun(self, code: str, lane: Lane, why: str) -> None:
        """Leave a lane alone until its members change."""
        self.shunned[code, lane] = (self.lanes[code, lane].digest, why)

    def keep_lanes(self, code: str, faulty: Collection[Lane]) -> None:
        """Forget lanes that are in order again."""
        for entries in (self.lanes, self.shunned):
            for known in [known for known in entries if known[0] == code and known[1] not in faulty]:
                del entries[known]

    def note_estimated(self, keys: Iterable[Key]) -> None:
        """Remember rows with a time that we made up."""
        self.estimated.update((key, None) for key in keys)
        _trim(self.estimated)

    def note_skips(self, table: Table, skipped: Iterable[Key], looked_at: Iterable[Key]) -> None:
        """Count rows that were found and not mended; start anew for those that were."""
        left = set(skipped)
        for key in looked_at:
            if key in left:
                self.skips[table, key] = self.skips.get((table, key), 0) + 1
            else:
                self.skips.pop((table, key), None)


def _trim(entries: OrderedDict[object, object] | OrderedDict) -> None:  # type: ignore[type-arg]
    while len(entries) > MOST:
        entries.popitem(last=False)
