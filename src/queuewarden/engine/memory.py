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
    """How often in a row a lane of the same members in the same order was written."""

    digest: str
    times: int


@dataclass(slots=True)
class Memory:
    """What is remembered of one queue.

    Attributes:
        aside: rows whose write violated something: key to xmin, by table.
        aside_since: since when there are such rows.
        seen: rows that wait for a rule's patience to end: by rule code and key, xmin and when first seen.
        resets: jobs that were put back to waiting.
        lanes: lanes that were written and have not been found in order since.
        turns: faulty lanes, those that have waited longest for their turn first, by rule code.
        alone: when a lane too long for a sweep was last done.
        shunned: lanes left alone until they change: a digest of them, and why (``fight`` or a SQLSTATE).
        skips: in how many sweeps running a row was found and could not be locked.
        estimated: rows with a time that we made up: they never feed anomalies.
        last_filled: the last change of the ledger that `estimated` goes by.
        clean: modification counters of the table when a check last found nothing, by check.
        batches: rows that a statement may take, by rule, where those of a usual batch took too long.
        costly: when a check that takes long may run next, by check, in seconds of the daemon's clock.
        look_took: seconds that the last look of such checks took.
    """

    aside: dict[Table, OrderedDict[Key, str]] = field(
        default_factory=lambda: {"jobs": OrderedDict(), "workers": OrderedDict()}
    )
    aside_since: datetime | None = None
    seen: OrderedDict[tuple[str, Key], tuple[str, datetime]] = field(default_factory=OrderedDict)
    resets: OrderedDict[Key, Reset] = field(default_factory=OrderedDict)
    lanes: OrderedDict[tuple[str, Lane], LaneWrites] = field(default_factory=OrderedDict)
    turns: dict[str, dict[Lane, None]] = field(default_factory=dict)
    alone: dict[Lane, datetime] = field(default_factory=dict)
    shunned: dict[tuple[str, Lane], tuple[str, str]] = field(default_factory=dict)
    skips: OrderedDict[tuple[Table, Key], int] = field(default_factory=OrderedDict)
    estimated: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    last_filled: int = 0
    clean: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    costly: dict[str, float] = field(default_factory=dict)
    look_took: float | None = None

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

    def pace(self, code: str, usual: int, *, slow: bool) -> None:
        """Take a tenth as many rows next time where a statement ran into its timeout, else ten times."""
        known = self.batches.pop(code, usual)
        size = max(1, known // 10) if slow else min(usual, known * 10)
        if size < usual:
            self.batches[code] = size

    def set_aside(self, table: Table, key: Key, version: str, now: datetime) -> None:
        """Leave a row alone until it changes, or `try_again` comes."""
        self.aside[table][key] = version
        self.aside_since = self.aside_since or now
        _trim(self.aside[table])

    def try_again(self, now: datetime, after: timedelta) -> None:
        """Now and then, forget what was set aside: what stood in its way may be gone, the row as it was."""
        if self.aside_since is not None and now - self.aside_since >= after:
            for rows in self.aside.values():
                rows.clear()
            self.aside_since = None

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

    def in_turn(self, code: str, found: Iterable[Lane]) -> list[Lane]:
        """Faulty lanes in the order in which they are up: no lane is kept back by those that come later."""
        found = dict.fromkeys(found)
        known = [lane for lane in self.turns.get(code, ()) if lane in found]
        self.turns[code] = dict.fromkeys([*known, *found])
        return list(self.turns[code])

    def lane_done(self, code: str, lane: Lane) -> None:
        """Put a lane that had its turn behind all others, should it be faulty again."""
        self.turns[code].pop(lane, None)

    def may_go_alone(self, lane: Lane, now: datetime, every: timedelta) -> bool:
        """Whether the last time of a lane too long for a sweep lies far enough back; this is the next one."""
        none = timedelta(0)
        self.alone = {known: last for known, last in self.alone.items() if none <= now - last < every}
        return self.alone.setdefault(lane, now) is now

    def note_lane(self, code: str, lane: Lane, digest: str) -> None:
        """Remember that a lane was written, by a digest of its members in their order."""
        times = self.times_written(code, lane, digest)
        self.lanes.pop((code, lane), None)
        self.lanes[code, lane] = LaneWrites(digest, times + 1)
        _trim(self.lanes)

    def was_written(self, code: str, lane: Lane) -> bool:
        """Whether a lane was written and has not been found in order since."""
        return (code, lane) in self.lanes

    def times_written(self, code: str, lane: Lane, digest: str) -> int:
        """How often a lane of the same members in the same order was written and not found in order since."""
        known = self.lanes.get((code, lane))
        return known.times if known is not None and known.digest == digest else 0

    def shun(self, code: str, lane: Lane, digest: str, why: str) -> None:
        """Leave a lane alone as long as it has this digest."""
        self.shunned[code, lane] = (digest, why)

    def is_shunned(self, code: str, lane: Lane, *digests: str) -> bool:
        """Whether a lane is left alone; one that has changed is not any more."""
        known = self.shunned.get((code, lane))
        if known is None or known[0] in digests:
            return known is not None
        del self.shunned[code, lane]
        return False

    def keep_lanes(self, code: str, faulty: Collection[Lane]) -> None:
        """Forget all lanes but those that are faulty now."""
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
        _trim(self.skips)


def _trim(entries: OrderedDict[object, object] | OrderedDict) -> None:  # type: ignore[type-arg]
    while len(entries) > MOST:
        entries.popitem(last=False)
