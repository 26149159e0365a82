"""One condition, rendered for any table: whatever its columns' types, names and keys are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import pytest
from psycopg import sql
from rows import Rows

from queuewarden.engine import guarded, render
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import Jobs, Mapping, States, TableName, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.model import Outcome

LIMITS = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"))

STATUS_TYPES = {
    "text": "text",
    "varchar": "varchar(10)",
    "char": "char(10)",
    "enum": "state",
    "domain": "word",
    "domain over an enum": "kind",
    "domain over varchar": "short",
}
TYPES = """
CREATE SCHEMA "types.of %s";
CREATE TYPE "types.of %s".state AS ENUM ('waiting', 'running', 'done', 'failed', 'cancelled');
CREATE DOMAIN "types.of %s".word AS text NOT NULL CHECK (VALUE ~ '^[a-z]+$');
CREATE DOMAIN "types.of %s".kind AS "types.of %s".state;
CREATE DOMAIN "types.of %s".short AS varchar(10);
"""


@pytest.fixture
def rows(databases: Callable[..., Database]) -> Rows:
    return Rows(databases(kit.SCHEMA))


def sweep(rows: Rows, mapping: Mapping = kit.MAPPING) -> dict[str, Outcome]:
    return kit.sweep(rows.dsn, mapping, LIMITS)


@pytest.mark.versions
@pytest.mark.parametrize("type_", STATUS_TYPES.values(), ids=STATUS_TYPES)
def test_status_columns_of_any_type(rows: Rows, type_: str) -> None:
    """CASE into an enum, and a text parameter compared with one, fail unless the value has its type."""
    rows.database.execute(TYPES)
    known = "types.of %s"
    own = type_ in ("state", "word", "kind", "short")
    full = f'"{known}".{type_}' if own else type_
    rows.database.execute("ALTER TABLE jobs ALTER status DROP DEFAULT")
    rows.database.execute(f"ALTER TABLE jobs ALTER status TYPE {full} USING status::{full}")
    job = rows.job(started="4 minutes", worker="w1")
    spent = rows.job(started="4 minutes", worker="w1", attempts=3, max_attempts=3)
    silent = rows.job(started="1 minute", worker="w2")
    rows.worker("w2", "3 minutes")
    done = sweep(rows)
    assert {name: str(value).strip() for name, value in rows.statuses().items()} == {
        job: "waiting", spent: "failed", silent: "waiting",
    }  # fmt: skip
    assert all(outcome.error is None for outcome in done.values())


def test_a_workers_status_may_be_an_enum_and_its_offline_value_a_number(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE workers ALTER status DROP DEFAULT")
    rows.database.execute("ALTER TABLE workers ALTER status TYPE smallint USING 1")
    rows.worker("w1", "3 minutes", status=1)
    assert kit.MAPPING.workers is not None
    mapping = replace(kit.MAPPING, workers=replace(kit.MAPPING.workers, offline_value="0"))
    assert sweep(rows, mapping)["offline"].mended == 1
    assert rows.of_worker("w1") == 0


@pytest.mark.versions
@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        ("id uuid DEFAULT gen_random_uuid() PRIMARY KEY", ("id",)),
        ("id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", ("id",)),
        ("id numeric DEFAULT random() PRIMARY KEY", ("id",)),
        ("id timestamptz DEFAULT now() + random() * interval '1 year' PRIMARY KEY", ("id",)),
        ("id bytea DEFAULT uuid_send(gen_random_uuid()) PRIMARY KEY", ("id",)),
        ("id text DEFAULT gen_random_uuid()::text || E'\\'\"%{}\\\\ ü' PRIMARY KEY", ("id",)),
        ("id char(40) DEFAULT gen_random_uuid()::text PRIMARY KEY", ("id",)),
        ("id float8 DEFAULT random() / 3 PRIMARY KEY", ("id",)),
        ("tenant text DEFAULT 'a,b', id bigserial, PRIMARY KEY (tenant, id)", ("tenant", "id")),
        ("tenant uuid DEFAULT gen_random_uuid(), id date DEFAULT now(), UNIQUE (id, tenant)",
         ("tenant", "id")),
    ],
)  # fmt: skip
def test_keys_of_any_type(databases: Callable[..., Database], columns: str, keys: tuple[str, ...]) -> None:
    not_null = ", ".join(f"ALTER {key} SET NOT NULL" for key in keys)
    database = databases(
        f"CREATE TABLE jobs ({columns}, status text, worker text, started_at timestamptz);"
        f"ALTER TABLE jobs {not_null}; CREATE UNIQUE INDEX ON jobs (worker) WHERE status = 'waiting';"
    )
    database.execute(
        "INSERT INTO jobs (status, started_at) SELECT 'running', now() - interval '1 hour'"
        " FROM generate_series(1, 5)"
    )
    mapping = Mapping(
        "mail",
        Jobs(TableName("jobs"), keys, "status", worker="worker", started_at="started_at"),
        States(waiting=("waiting",), running=("running",)),
    )
    # Two at a time: the second batch goes on behind the last key of the first.
    done = kit.sweep(database.dsn, mapping, replace(LIMITS, batch=2))
    assert (done["stuck"].mended, done["stuck"].error) == (5, None)
    listed = database.rows(f"SELECT {', '.join(f'{key}::text' for key in keys)} FROM jobs")
    assert {finding.key for finding in done["stuck"].sample} == {tuple(row) for row in listed}
    # A row at fault is set aside by its key, and left alone by it.
    database.execute("UPDATE jobs SET status = 'running', started_at = now() - interval '1 hour'")
    database.execute("CREATE UNIQUE INDEX ON jobs ((1)) WHERE status = 'waiting'")
    sweeper = Sweeper("test")
    again = kit.sweep(database.dsn, mapping, LIMITS, sweeper=sweeper)
    assert (again["stuck"].mended, again["stuck"].set_aside) == (1, 4)
    assert kit.sweep(database.dsn, mapping, LIMITS, sweeper=sweeper) == {}


AWKWARD = [
    "%s",
    "100%",
    'qu"ote',
    "do.t",
    "Großbuchstaben ✓",
    "select",
    "a" * 63,
    "{braces}",
    "%(x)s",
    "h",
    "hit",
    "j",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_names_that_need_quoting(databases: Callable[..., Database], name: str) -> None:
    database = databases()
    schema, jobs, workers = (sql.Identifier(part) for part in (name, name, name[:60] + " 2"))
    names = {part: (name[: 62 - len(part)] + part) for part in ("id", "st", "wo", "sa", "er", "hb", "at")}
    column = {part: sql.Identifier(full) for part, full in names.items()}
    database.execute(
        sql.SQL(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.{jobs} ({id} bigserial PRIMARY KEY, {st} text,"
            " {wo} text, {sa} timestamptz, {er} text, {at} int DEFAULT 0);"
            " CREATE TABLE {schema}.{workers} ({id} text PRIMARY KEY, {st} text, {hb} timestamptz);"
            " INSERT INTO {schema}.{workers} VALUES ('w1', 'idle', now() - interval '1 hour');"
            " INSERT INTO {schema}.{jobs} ({st}, {wo}, {sa}) VALUES"
            " ('running', 'w1', now()), ('running', NULL, now() - interval '1 hour')"
        ).format(schema=schema, jobs=jobs, workers=workers, **column)
    )
    mapping = Mapping(
        "mail",
        Jobs(
            TableName(name, name), (names["id"],), names["st"], worker=names["wo"], started_at=names["sa"],
            error=names["er"], attempts=names["at"], max_attempts=5, label=(names["er"],),
        ),
        States(waiting=("100% waiting",), running=("running",), failed=("%s",)),
        Workers(TableName(name[:60] + " 2", name), names["id"], names["hb"], names["st"], "off%line"),
    )  # fmt: skip
    done = kit.sweep(database.dsn, mapping, LIMITS)
    assert {code: outcome.mended for code, outcome in done.items()} == {"silent": 1, "offline": 1, "stuck": 1}
    statuses = sql.SQL("SELECT {st} FROM {schema}.{jobs} ORDER BY 1").format(
        schema=schema, jobs=jobs, **column
    )
    assert database.rows(statuses) == [("100% waiting",), ("100% waiting",)]


PARTITIONED = """
CREATE TABLE workers (id text PRIMARY KEY, status text, heartbeat timestamptz, current_job bigint);
CREATE TABLE jobs (id bigserial, status text, worker text, started_at timestamptz, month int,
                   enqueued_at timestamptz, finished_at timestamptz, attempts int DEFAULT 0, max_attempts int,
                   error text, label text, PRIMARY KEY (id, month)) PARTITION BY LIST (month);
CREATE TABLE jobs_1 PARTITION OF jobs FOR VALUES IN (1);
CREATE TABLE jobs_2 PARTITION OF jobs FOR VALUES IN (2) PARTITION BY RANGE (id);
CREATE TABLE jobs_2_a PARTITION OF jobs_2 FOR VALUES FROM (0) TO (1000);
"""


@pytest.mark.versions
@pytest.mark.parametrize("batch", [1, 1000])
def test_a_partitioned_table(databases: Callable[..., Database], batch: int) -> None:
    rows = Rows(databases(PARTITIONED))
    rows.worker("w1", "3 minutes", status="idle")
    for month in (1, 2, 1, 2):
        rows.job(started="4 minutes", month=month, worker="w1")
        rows.job(started="1 hour", month=month)
    rows.database.execute("CREATE UNIQUE INDEX ON jobs_2_a (label) WHERE status = 'waiting'")
    rows.job("waiting", month=2, label="same")
    bad = rows.job(started="4 minutes", month=2, label="same")
    mapping, sweeper = kit.jobs_mapping(id=("id", "month")), Sweeper("test")
    done = kit.sweep(rows.dsn, mapping, replace(LIMITS, batch=batch), sweeper=sweeper)
    assert {code: outcome.mended for code, outcome in done.items()} == {"silent": 4, "offline": 1, "stuck": 4}
    assert done["stuck"].set_aside == 1
    assert rows.of_job(bad) == "running"
    assert kit.sweep(rows.dsn, mapping, LIMITS, sweeper=sweeper) == {}


def test_a_table_partitioned_by_status_moves_its_rows(databases: Callable[..., Database]) -> None:
    database = databases(
        "CREATE TABLE jobs (id bigserial, status text, started_at timestamptz, PRIMARY KEY (id, status))"
        " PARTITION BY LIST (status);"
        "CREATE TABLE hot PARTITION OF jobs FOR VALUES IN ('waiting', 'failed');"
        "CREATE TABLE busy PARTITION OF jobs FOR VALUES IN ('running');"
        "INSERT INTO jobs (status, started_at) SELECT 'running', now() - interval '1 hour'"
        " FROM generate_series(1, 3)"
    )
    mapping = Mapping(
        "mail",
        Jobs(TableName("jobs"), ("id", "status"), "status", started_at="started_at"),
        States(waiting=("waiting",), running=("running",)),
    )
    done = kit.sweep(database.dsn, mapping, LIMITS)
    assert done["stuck"].mended == 3
    assert database.rows("SELECT tableoid::regclass::text, count(*) FROM jobs GROUP BY 1") == [("hot", 3)]


def test_what_a_trigger_makes_of_the_row_is_what_is_reported(rows: Rows) -> None:
    rows.database.execute(
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; NEW.label := 'by trigger'; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()"
    )
    for _ in range(3):
        rows.job(started="4 minutes")
    done = sweep(rows)["stuck"]
    assert (done.found, done.mended, done.skipped) == (3, 2, 1)
    after = {finding.key: finding.after and finding.after["label"] for finding in done.sample}
    assert after == {("1",): "by trigger", ("3",): "by trigger", ("2",): None}


def test_rows_that_no_write_reaches_do_not_starve_those_behind(rows: Rows) -> None:
    """p3, by a trigger: nothing fails, nothing is written, and the batch goes on behind."""
    rows.database.execute(
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF NEW.id <= 4 THEN RETURN NULL; END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()"
    )
    for _ in range(6):
        rows.job(started="4 minutes")
    done = kit.sweep(rows.dsn, limits=replace(LIMITS, batch=2))
    assert done["stuck"].mended == 2


def test_generated_columns_are_neither_written_nor_imaged(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE jobs ADD shout text GENERATED ALWAYS AS (upper(status)) STORED")
    rows.job(started="4 minutes")
    done = kit.sweep(rows.dsn, kit.jobs_mapping(label=("label", "shout")), LIMITS)
    assert done["stuck"].mended == 1
    assert "shout" not in done["stuck"].sample[0].before


STYLES = {
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-5",
    "bytea_output": "escape",
    "DateStyle": "German",
}


@pytest.mark.parametrize("style", STYLES)
def test_images_are_exact(rows: Rows, style: str) -> None:
    """What is recorded can be cast back to the very same value, whatever the session prints by default."""
    rows.database.execute(
        "ALTER TABLE jobs ADD ratio float8, ADD pause interval, ADD raw bytea, ADD due date;"
        f"ALTER DATABASE \"{rows.database.name}\" SET {style} = '{STYLES[style]}'"
    )
    rows.job(
        started="4 minutes", ratio=0.1 + 0.2, pause="1 day 02:03:04.5", raw=b"\x00\xff'", due="2024-02-29"
    )
    columns = ("ratio", "pause", "raw", "due")
    (finding,) = kit.sweep(rows.dsn, kit.jobs_mapping(label=columns), LIMITS)["stuck"].sample
    assert {name: finding.before[name] for name in columns} == {
        "ratio": "0.30000000000000004", "pause": "1 day 02:03:04.5", "raw": "\\x00ff27", "due": "2024-02-29",
    }  # fmt: skip


def test_only_rules_that_write_can_be_rendered_as_a_write(rows: Rows) -> None:
    from queuewarden.checks import stuck_jobs

    async def target() -> Any:
        async with kit.session(rows.dsn) as session:
            return (await resolve(session, "test", kit.MAPPING, LIMITS)).target

    resolved = asyncio.run(target())
    rule = replace(stuck_jobs.rules(resolved)[0], write=None)
    for write in (guarded.write, guarded.write_lean):
        with pytest.raises(ValueError, match="writes nothing"):
            write(resolved, rule, render.Scope(1))
