"""Presets of libraries that do not run where these tests do: held against their documented schemas.

``documented`` has the schemas, and rows as the libraries leave them. One sweep by the preset may change the
right ones, in the right way, and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.engine.resolve import resolve
from queuewarden.queues.fingerprints import differences
from queuewarden.queues.presets import presets
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

    from queuewarden.engine.report import QueueReport
    from queuewarden.engine.resolve import Resolution
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping

DOCUMENTED = Path(__file__).with_name("documented")


@dataclass(frozen=True)
class Case:
    """A library's jobs, and what becomes of them.

    Attributes:
        shown: what is looked at of a job: its number, then what a repair may change.
        after: what is then shown of each job that a repair changes; all others stay as they are.
        counts: jobs that wait, and jobs that run.
        schema: the file of the schema, where it is not named like the preset.
        held: what living workers lock, each in an open transaction of its own.
        reported: how many jobs a look reports, where these are not the ones that a repair changes.
    """

    preset: str
    jobs: str
    shown: tuple[str, ...]
    after: dict[int, tuple[Any, ...]]
    counts: tuple[int, int]
    schema: str = ""
    held: tuple[str, ...] = ()
    reported: int = 0

    @property
    def found(self) -> int:
        return self.reported or len(self.after)

    def __str__(self) -> str:
        return self.schema or self.preset


RIVER = Case(
    "river",
    "river_job",
    (
        "id", "state::text", "attempt", "attempted_by", "errors", "attempted_at < now() - interval '2 hours'",
        "abs(extract(epoch FROM now() - scheduled_at)) < 60", "finalized_at > now() - interval '1 minute'",
    ),
    {
        5: ("retryable", 2, ["first", "dead"], None, True, True, None),
        6: ("discarded", 25, ["dead"], None, True, False, True),
    },
    (2, 3),
)  # fmt: skip
OBAN = Case(
    "oban",
    "oban_jobs",
    (
        "id", "state::text", "attempt", "attempted_by", "completed_at IS NULL",
        "attempted_at < timezone('UTC', now()) - interval '2 hours'",
        "discarded_at > timezone('UTC', now()) - interval '1 minute'",
    ),
    {
        5: ("available", 1, ["node", "uuid"], True, True, None),
        6: ("discarded", 20, ["node", "uuid"], True, True, True),
    },
    (2, 3),
)  # fmt: skip
OBAN_PYTHON = Case("oban", "oban_jobs", OBAN.shown, OBAN.after, OBAN.counts, "oban_python")
HYBRID_LOCK = """
SELECT pg_advisory_lock(('x' || substr(md5('good_jobs' || '-' || id::text), 1, 16))::bit(64)::bigint)
  FROM good_jobs WHERE id::text LIKE '%5'"""
"""With the key as GoodJob makes it."""
GOOD_JOB = Case(
    "good_job",
    "good_jobs",
    (
        "right(id::text, 1)::int", "locked_by_id", "locked_at", "performed_at IS NULL", "finished_at",
        "executions_count", "error",
    ),
    {3: (None, None, False, None, 1, None), 4: (None, None, False, None, 1, "E: before")},
    (1, 4),
    held=(HYBRID_LOCK,),
)  # fmt: skip
SOLID_QUEUE = Case(
    "solid_queue",
    "solid_queue_claimed_executions",
    ("id", "process_id", "created_at"),
    {},
    (0, 3),
    reported=2,
)
QUE = Case(
    "que",
    "que_jobs",
    ("id", "run_at", "error_count", "finished_at", "expired_at"),
    {},
    (2, 1),
    held=("SELECT pg_advisory_lock(2)",),
)
OCA_QUEUE_JOB = Case(
    "oca_queue_job",
    "queue_job",
    (
        "id", "state", "retry", "date_enqueued IS NULL", "date_started IS NULL", "date_done", "worker_pid",
        "exc_name", "exc_info",
    ),
    {
        5: ("pending", 2, True, True, None, None, None, None),
        6: ("failed", 5, False, False, None, 42, "JobFoundDead", "queuewarden: stuck, no attempt left"),
        7: ("pending", 10, True, True, None, None, None, None),
        8: ("pending", 3, True, True, None, None, None, None),
    },
    (2, 7),
    # A row that is referred to while it is locked has two lockers, which only a write sees: that of job 4.
    held=(
        "SELECT FROM queue_job_lock WHERE queue_job_id IN (3, 4) FOR NO KEY UPDATE",
        "SELECT FROM queue_job_lock WHERE queue_job_id = 4 FOR KEY SHARE",
    ),
    reported=5,
)  # fmt: skip
LARAVEL = Case(
    "laravel",
    "jobs",
    ("id", "attempts", "reserved_at", "available_at < created_at + 86400"),
    {5: (1, None, True), 6: (255, None, True)},
    (2, 4),
)
SYMFONY_MESSENGER = Case(
    "symfony_messenger",
    "messenger_messages",
    ("id", "queue_name", "delivered_at", "available_at < timezone('UTC', now()) - interval '1 hour'"),
    {5: ("default", None, True)},
    (2, 3),
)
DELAYED_JOB = Case(
    "delayed_job",
    "delayed_jobs",
    (
        "id",
        "attempts",
        "last_error",
        "locked_by",
        "locked_at IS NULL",
        "failed_at > timezone('UTC', now()) - interval '1 minute'",
        "run_at < timezone('UTC', now())",
    ),
    {
        5: (2, "E: before", None, True, None, True),
        6: (25, "queuewarden: stuck, no attempt left", "host:a pid:1", False, True, True),
        7: (1, "queuewarden: stuck", None, True, None, True),
    },
    (2, 5),
)
CASES = (
    RIVER,
    OBAN,
    OBAN_PYTHON,
    GOOD_JOB,
    SOLID_QUEUE,
    QUE,
    OCA_QUEUE_JOB,
    LARAVEL,
    SYMFONY_MESSENGER,
    DELAYED_JOB,
)


CHECKS = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'"
UNIQUE = (
    "SELECT indexrelid::regclass::text FROM pg_index"
    " WHERE indrelid = %s::regclass AND indisunique AND NOT indisprimary"
)
ON_UPDATE = (
    "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgtype & 16 <> 0"
)


@contextlib.contextmanager
def arranged(databases: Callable[..., servers.Database], case: Case) -> Iterator[servers.Database]:
    """A database with the jobs, whose sessions are in a zone far from UTC, and with what workers hold."""
    database = databases((DOCUMENTED / f"{case}.sql").read_text(encoding="utf-8"))
    database.execute(f"ALTER DATABASE {database.name} SET timezone = 'Asia/Tokyo'")
    database.execute((DOCUMENTED / "rows" / f"{case.preset}.sql").read_text(encoding="utf-8"))
    with contextlib.ExitStack() as stack:
        for statement in case.held:
            stack.enter_context(database.connect(autocommit=False)).execute(statement)
        yield database


def configured(database: servers.Database, case: Case, **guard: str) -> tuple[Mapping, Limits]:
    """What a user's variables make of the preset's name."""
    queue = {"PRESET": case.preset, **guard}
    given = {"QUEUEWARDEN_DSN": database.dsn} | {
        f"QUEUEWARDEN_QUEUE__{case.preset.upper()}__{name}": value for name, value in queue.items()
    }
    (environment,) = load(given, default_file=Path("none"), credentials=Path("none")).environments
    (mapping,) = environment.queues
    return mapping, environment.queue_limits[case.preset]


def resolved(database: servers.Database, mapping: Mapping, limits: Limits) -> Resolution:
    async def _resolved() -> Resolution:
        async with kit.session(database.dsn, limits) as session:
            return await resolve(session, "test", mapping, limits)

    return asyncio.run(_resolved())


def swept(database: servers.Database, mapping: Mapping, limits: Limits) -> QueueReport:
    (queue,) = asyncio.run(kit.sweep_async(database.dsn, mapping, limits)).queues
    assert not [one for one in queue.outcomes if one.error or one.set_aside]
    return queue


def found(queue: QueueReport) -> int:
    """Jobs at fault; where none is repaired, both checks see the same ones."""
    return max(
        sum(one.found for one in queue.outcomes if one.check == check)
        for check in ("dead_workers", "stuck_jobs")
    )


def mended(queue: QueueReport) -> int:
    return sum(one.mended for one in queue.outcomes)


def shown(database: servers.Database, case: Case) -> dict[int, tuple[Any, ...]]:
    rows = database.rows(f"SELECT {', '.join(case.shown)} FROM {case.jobs}")
    return {number: tuple(rest) for number, *rest in rows}


def named(database: servers.Database, case: Case, query: str) -> set[str]:
    return {name for (name,) in database.rows(query, [case.jobs])}


def versions(database: servers.Database, case: Case) -> list[tuple[Any, ...]]:
    """Every job as it stands, with what tells whether anybody wrote it."""
    return database.rows(f"SELECT t::text, xmin::text FROM {case.jobs} AS t ORDER BY 1")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fingerprint_is_that_of_the_documented_schema(
    databases: Callable[..., servers.Database], case: Case
) -> None:
    with arranged(databases, case) as database:
        print_ = presets()[case.preset].fingerprint
        assert print_ is not None
        types = database.rows(
            "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attnum > 0 AND attrelid = ANY(%s::regclass[])",
            [list(print_.tables)],
        )
        tables: dict[tuple[str, str], dict[str, str]] = {}
        for table, column, type_ in types:
            tables.setdefault(("public", table), {})[column] = type_
        assert differences(presets()[case.preset], "public", tables) == {}
        assert named(database, case, CHECKS) == set(print_.constraints)
        assert named(database, case, UNIQUE) == set(print_.unique)
        assert named(database, case, ON_UPDATE) == set(print_.triggers)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_by_default_a_preset_fits_and_reports_but_writes_nothing(
    databases: Callable[..., servers.Database], case: Case
) -> None:
    with arranged(databases, case) as database:
        mapping, limits = configured(database, case)
        assert limits.mode == "observe"
        assert resolved(database, mapping, limits).faults == ()
        before = versions(database, case)
        queue = swept(database, mapping, limits)
        assert queue.counts is not None
        assert (queue.counts.waiting, queue.counts.running) == case.counts
        assert (found(queue), mended(queue)) == (case.found, 0)
        assert versions(database, case) == before


@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_repair_the_right_jobs_change_and_no_other(
    databases: Callable[..., servers.Database], case: Case
) -> None:
    with arranged(databases, case) as database:
        mapping, limits = configured(database, case, MODE="repair")
        assert limits.mode == "repair"
        assert resolved(database, mapping, limits).faults == ()
        before = shown(database, case)
        queue = swept(database, mapping, limits)
        assert shown(database, case) == before | case.after
        assert (found(queue), mended(queue)) == (case.found, len(case.after))
        after = versions(database, case)
        swept(database, mapping, limits)
        assert versions(database, case) == after
