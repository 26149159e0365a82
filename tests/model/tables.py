"""The queue that the model works on: its tables, the ways it may be set up, and what stands in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import kit

from queuewarden.queues.mapping import OrderTerm, Positions, Reference, TableName

if TYPE_CHECKING:
    import psycopg

    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping

Place = tuple[str, str]
"""A row: its table and its key."""

Row = dict[str, str | None]

STUCK_AFTER = kit.LIMITS.stuck_after
DEAD_AFTER = kit.LIMITS.dead_after
ORPHAN_AFTER = kit.LIMITS.orphan_after
BUDGET = 2
TTL = dt.timedelta(seconds=30)

COLUMNS = {
    "jobs": (
        "id", "status", "worker", "started_at", "heartbeat", "enqueued_at", "scheduled_at", "finished_at",
        "updated_at", "attempts", "max_attempts", "error", "label", "lane", "position", "priority", "parent",
    ),
    "workers": ("id", "status", "heartbeat", "current_job", "started_at"),
}  # fmt: skip
TIMES = ("started_at", "heartbeat", "enqueued_at", "scheduled_at", "finished_at", "updated_at")

SCHEMA = (
    kit.SCHEMA
    + """
CREATE TABLE parents (id bigint PRIMARY KEY);
INSERT INTO parents VALUES (1);
CREATE FUNCTION aged(image text[], columns text[], span interval) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. cardinality(columns) LOOP
        IF columns[i] LIKE '%_at' OR columns[i] = 'heartbeat' THEN
            FOR nr IN 1 .. array_length(image, 1) LOOP
                image[nr][i] := (image[nr][i]::timestamptz - span)::text;
            END LOOP;
        END IF;
    END LOOP;
    RETURN image;
END $$;
"""
)


@dataclass(frozen=True)
class Setup:
    """How the application and the guard are set up.

    Attributes:
        unique: places in a lane are unique, row by row.
        beats: the jobs' own heartbeats are mapped.
        at_finish: attempts are counted by whoever ends one, rather than by the claim.
        spare: jobs of live workers are never taken for stuck.
        batch: rows that the guard writes in one transaction.
        brake_rows: see the guard's setting.
    """

    unique: bool = False
    beats: bool = False
    at_finish: bool = False
    spare: bool = False
    batch: int = 1000
    brake_rows: int = 50

    @property
    def mapping(self) -> Mapping:
        mapping = kit.jobs_mapping(
            heartbeat="heartbeat" if self.beats else None,
            updated_at="updated_at",
            attempts_counted="finish" if self.at_finish else "claim",
        )
        assert mapping.workers is not None
        return replace(
            mapping,
            workers=replace(mapping.workers, started_at="started_at"),
            positions=Positions(
                "position", (OrderTerm("priority", descending=True), OrderTerm("enqueued_at")), ("lane",)
            ),
            references=(Reference("parent", TableName("parents"), "id"),),
            timestamps=(("running", "started_at"), ("done", "finished_at")),
        )

    @property
    def limits(self) -> Limits:
        return replace(
            kit.LIMITS,
            rescue_budget=BUDGET,
            batch=self.batch,
            brake_rows=self.brake_rows,
            stuck_after_alive=None if self.spare else STUCK_AFTER,
            lease_ttl=TTL,
        )


@dataclass(frozen=True)
class Snapshot:
    """All rows as text, and the versions in which they stand."""

    now: dt.datetime
    rows: dict[Place, Row]
    versions: dict[Place, str]

    def of(self, table: str) -> dict[str, Row]:
        """The rows of one table, by key."""
        return {key: row for (name, key), row in self.rows.items() if name == table}


_READ = " UNION ALL ".join(
    f"SELECT clock_timestamp(), '{table}', id::text, xmin::text,"
    f" ARRAY[{', '.join(f'{name}::text' for name in names)}] FROM {table}"
    for table, names in COLUMNS.items()
)


def snapshot(connection: psycopg.Connection[Any]) -> Snapshot:
    """What stands in the tables now."""
    rows: dict[Place, Row] = {}
    versions: dict[Place, str] = {}
    now = dt.datetime.now(dt.UTC)
    for moment, table, key, version, values in connection.execute(_READ):
        now = moment
        rows[table, key] = dict(zip(COLUMNS[table], values, strict=True))
        versions[table, key] = version
    return Snapshot(now, rows, versions)


def moment(text: str | None) -> dt.datetime:
    """A time as it stands in a row."""
    assert text is not None
    return dt.datetime.fromisoformat(text)


def older(text: str | None, limit: dt.timedelta, now: dt.datetime) -> bool:
    """Whether a time is there and lies further back than a limit."""
    return text is not None and now - moment(text) > limit


def latest(*texts: str | None) -> str | None:
    """The latest of some times; None where there is none."""
    return max((text for text in texts if text is not None), key=moment, default=None)
