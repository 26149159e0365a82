"""The values that all layers speak in. No I/O, no behaviour beyond reading themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from psycopg.sql import Composable

    from queuewarden.writes import Put

Key = tuple[str, ...]
"""A primary key, each part as PostgreSQL prints it (``::text``)."""

Image = dict[str, str | None]
"""A row: column to value as PostgreSQL prints it, so that it can be cast back exactly."""

Mode = Literal["repair", "observe"]
Table = Literal["jobs", "workers"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The guard settings of one queue in one environment, after precedence.

    ``stuck_after_alive`` is None where live workers are spared for ever, ``ledger_keep`` where the ledger is
    kept for ever (``never``).
    """

    interval: timedelta
    mode: Mode
    checks: tuple[str, ...]
    stuck_after: timedelta
    stuck_after_alive: timedelta | None
    dead_after: timedelta
    orphan_after: timedelta
    rescue_budget: int
    timestamps_fill: Literal["estimate", "report"]
    batch: int
    position_rows: int
    brake_rows: int
    busy_factor: float
    failed_jobs: int
    oldest_waiting: timedelta
    remind_after: timedelta
    status_every: timedelta
    statement_timeout: timedelta
    lock_timeout: timedelta
    connect_timeout: timedelta
    lease_ttl: timedelta
    ledger_keep: timedelta | None
    trust_threshold: bool
    alerts: bool
    critical: bool


@dataclass(frozen=True, slots=True)
class Rank:
    """How the rows of a lane are numbered: the position a row should have is its rank.

    Attributes:
        lane: columns that name the lane; empty where the queue is one lane.
        order: ORDER BY terms, the key excepted: the runner adds it as the last tie.
        position: the column that holds the number; None where the rank is only compared with a limit.
    """

    lane: tuple[str, ...]
    order: tuple[Composable, ...]
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition on rows of one table, and what to write where it holds.

    The condition is written in terms of ``j`` (jobs) and ``w`` (workers) and rendered twice: as a plain
    SELECT and as the guarded write.

    Attributes:
        code: short name, unique within its check.
        event: the log event of a change.
        table: the table whose rows are locked and written.
        where: the condition; every row it looks at is locked before it is written.
        write: what to write; None where the finding is only reported.
        with_worker: join the job's worker as ``w`` and lock it with the job.
        absent: a condition on the *absence* of rows, which no lock can hold: it is repeated by a second
            statement of the same transaction.
        cleared: a condition that earlier rules of the same check bring about; tested by the write alone.
        order: columns (never NULL where the condition holds) that come before the key in the order of work.
        facts: further values to report, by name, each rendered as text.
        reason: why, as the log and the row's error column say it.
        patience: the row must have been seen in this state, unchanged, for so long before it is written.
        rank: set for rules about whole lanes: ``where`` tells the members, ``faulty`` which of them to
            write, in terms of ``r.n``, the row's rank.
        faulty: see ``rank``.
        brake: whether the grace and mass-death brakes hold this rule (it judges workers or running jobs).
        by_hand: a person asked for just these rows: those that an undo put back are not spared.
    """

    code: str
    event: str
    table: Table
    where: Composable
    write: Put | None
    with_worker: bool = False
    absent: Composable | None = None
    cleared: Composable | None = None
    order: tuple[str, ...] = ()
    facts: Mapping[str, Composable] = field(default_factory=dict)
    reason: str = ""
    patience: timedelta | None = None
    rank: Rank | None = None
    faulty: Composable | None = None
    brake: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One faulty row: as found (``after`` is None), or as mended.

    Attributes:
        label: how a person knows the job.
    """

    environment: str
    queue: str
    check: str
    code: str
    table: Table
    key: Key
    before: Image
    after: Image | None = None
    facts: Mapping[str, str | None] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A mended finding, as the ledger holds it.

    Attributes:
        id: its number, unique in its database.
        event: the log event that told of it.
        at: when, by the database's clock.
        actor: the daemon that made it, or the person who called.
        epoch: of the lease under which it was made; None where a person called.
        relation: schema and name of the table.
        key_columns: the columns that `Finding.key` speaks of.
        undoes: the change that it took back, if it is an undo.
        undone_by: the change that took it back, if one did.
    """

    id: int
    finding: Finding
    event: str
    reason: str
    sweep: str
    at: datetime
    actor: str
    epoch: int | None
    relation: tuple[str, str]
    key_columns: tuple[str, ...]
    undoes: int | None = None
    undone_by: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule did in one sweep: all that logs, metrics and alerts read.

    Attributes:
        found: rows at fault before the repair.
        mended: rows that this sweep changed: counted from RETURNING, never from intention.
        skipped: found and not mended: locked elsewhere, changed meanwhile, or held back.
        set_aside: rows whose write violated something; left alone until they change.
        sample: at most 20 of the rows, mended ones first.
        seconds: how long it took.
        error: SQLSTATE (or a word of ours) where the check failed.
        failure: what the server said of it, in one line without values.
        held: the brake that held the write, if one did.
    """

    environment: str
    queue: str
    check: str
    code: str
    event: str
    reason: str = ""
    found: int = 0
    mended: int = 0
    skipped: int = 0
    set_aside: int = 0
    sample: tuple[Finding, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    failure: str | None = None
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something wrong that no write can mend. Two of the same ``(kind, queue, subject)`` are the same one."""

    kind: str
    environment: str
    queue: str | None
    subject: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    hint: str = ""

    @property
    def identity(self) -> tuple[str, str | None, str]:
        """What makes it the same anomaly in the next sweep."""
        return self.kind, self.queue, self.subject


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the server says of itself, by its own clock.

    Attributes:
        ledger: oids of the tables in schema ``queuewarden``: others mean that it was installed or upgraded.
    """

    now: datetime
    started_at: datetime
    standby: bool
    timeline: str | None
    system: str | None
    ledger: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of one queue; what is unknown is None, never 0.

    The last four are only asked for where somebody watches; see `engine.outcomes.Outcomes`.
    """

    waiting: int | None = None
    eligible: int | None = None
    running: int | None = None
    failed: int | None = None
    failed_last_hour: int | None = None
    oldest_waiting: timedelta | None = None
    last_finished: timedelta | None = None
    live_workers: int | None = None
    silent_workers: int | None = None
    registered_workers: int | None = None
    done_last_hour: int | None = None
    failed_in_a_row: int | None = None
    average_run: timedelta | None = None
    run_time_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class BrakeChange:
    """A brake that was put on or taken off."""

    on: bool
    kind: str
    queue: str | None
    why: str
    until: datetime | None = None
