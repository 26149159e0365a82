"""Rows of a queue for tests: written with ages rather than times, read back as plain values."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from servers import Database

    from queuewarden.engine.sweep import Sweeper

TIMES = frozenset(
    {"started_at", "heartbeat", "enqueued_at", "scheduled_at", "finished_at", "updated_at", "beat"}
)


class Rows:
    """The jobs and workers of one database.

    A value of a time column that is text is an age (``"5 minutes"``), by the database's clock.
    """

    def __init__(self, database: Database, jobs: str = "jobs", workers: str = "workers") -> None:
        self.database = database
        self.dsn = database.dsn
        self._jobs = sql.Identifier(*jobs.split("."))
        self._workers = sql.Identifier(*workers.split("."))

    def job(self, status: Any = "running", started: str | None = None, **columns: Any) -> Any:
        """Insert a job; its id."""
        given = {"status": status, **columns}
        if started is not None:
            given["started_at"] = started
        return self._insert(self._jobs, given)

    def worker(self, name: Any, beat: str | None = "0 seconds", **columns: Any) -> None:
        """Insert a worker that beat so long ago."""
        self._insert(self._workers, {"id": name, "heartbeat": beat, **columns})

    def of_job(self, key: Any, *columns: str) -> Any:
        """A job's columns; its status by default."""
        return self._read(self._jobs, key, columns or ("status",))

    def of_worker(self, key: Any, *columns: str) -> Any:
        """A worker's columns; its status by default."""
        return self._read(self._workers, key, columns or ("status",))

    def statuses(self) -> dict[Any, Any]:
        """The status of every job."""
        return dict(self.database.rows(sql.SQL("SELECT id, status FROM {}").format(self._jobs)))

    def _insert(self, table: sql.Composable, given: dict[str, Any]) -> Any:
        ages = {name for name in TIMES & set(given) if isinstance(given[name], str)}
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
            table,
            sql.SQL(", ").join(map(sql.Identifier, given)),
            sql.SQL(", ").join(
                sql.SQL("statement_timestamp() - {}::interval").format(sql.Placeholder(name))
                if name in ages
                else sql.Placeholder(name)
                for name in given
            ),
        )
        return self.database.value(query, given)

    def _read(self, table: sql.Composable, key: Any, columns: tuple[str, ...]) -> Any:
        query = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), table
        )
        (row,) = self.database.rows(query, (key,))
        return row if len(row) > 1 else row[0]


def age_memory(sweeper: Sweeper, span: dt.timedelta, queue: str = "mail") -> None:
    """As if what this daemon remembers of rows had been seen so much earlier."""
    memory = sweeper.state(queue).memory
    for known, (version, since) in memory.seen.items():
        memory.seen[known] = (version, since - span)
    for reset in memory.resets.values():
        reset.times[:] = [time - span for time in reset.times]


def summer_time(database: Database, *, begins: bool, minutes: int = 1) -> str:
    """A time zone in which summer time began, or ended, so many minutes ago."""
    moment = database.value(
        "SELECT (statement_timestamp() AT TIME ZONE 'UTC') - make_interval(mins => %s)", (minutes,)
    )
    assert isinstance(moment, dt.datetime)
    if begins:
        return f"AAA0BBB-1,{_rule(moment)},{_rule(moment + dt.timedelta(days=30))}"
    ended = moment + dt.timedelta(hours=1)  # by the clock that was put back
    return f"AAA0BBB-1,{_rule(moment - dt.timedelta(days=30))},{_rule(ended)}"


def _rule(moment: dt.datetime) -> str:
    """A day of the year counted from 0, the 29th of February among them."""
    return f"{moment.timetuple().tm_yday - 1}/{moment:%H:%M:%S}"
