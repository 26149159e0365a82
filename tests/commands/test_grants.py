"""The role that `grants` prints: it suffices for everything, and is given nothing beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from commands_kit import LANES, MAIL, UNREACHABLE
from daemons import Daemon
from psycopg.conninfo import make_conninfo

from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import servers
    from commands_kit import Called

ALL = LANES | {
    "QUEUEWARDEN_QUEUE__MAIL__JOBS__UPDATED_AT": "updated_at",
    "QUEUEWARDEN_QUEUE__MAIL__JOBS__MAX_ATTEMPTS": "max_attempts",
    "QUEUEWARDEN_QUEUE__MAIL__WORKERS__CURRENT_JOB": "current_job",
    "QUEUEWARDEN_QUEUE__MAIL__REFERENCES": "parent -> parents.id",
}
MORE = """
CREATE TABLE parents (id bigint PRIMARY KEY, secret text);
INSERT INTO parents VALUES (1);
CREATE TABLE others (id int);
ALTER TABLE jobs ADD secret text"""
TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION touch()"""
FAULTS = """
INSERT INTO workers (id, status, heartbeat, current_job) VALUES
    ('dead', 'busy', now() - interval '40 minutes', 1), ('alive', 'busy', now(), NULL);
INSERT INTO jobs (id, status, worker, started_at, attempts, max_attempts, parent, enqueued_at, lane, position)
SELECT id, status, worker, now() - started * interval '1 m', attempts, most, parent,
       now() - enqueued * interval '1 m', lane, position
  FROM (VALUES
    (101, 'running', 'dead', 40, 1, NULL, 1, 50, NULL, NULL),
    (102, 'running', 'alive', 40, 1, NULL, 1, 50, NULL, NULL),
    (103, 'running', 'alive', 40, 3, 3, 1, 50, NULL, NULL),
    (104, 'waiting', NULL, NULL, 0, NULL, 9, 50, NULL, NULL),
    (105, 'done', 'alive', 40, 0, NULL, 1, 50, NULL, NULL),
    (106, 'waiting', NULL, NULL, 0, NULL, 1, 45, 7, 2),
    (107, 'waiting', NULL, NULL, 0, NULL, 1, 50, 7, 2))
    AS r(id, status, worker, started, attempts, most, parent, enqueued, lane, position)"""
EVENTS = {
    "jobs.reset",
    "jobs.failed",
    "workers.offline",
    "orphans.cancelled",
    "timestamps.filled",
    "positions.repaired",
}


@pytest.fixture
def settings(database: servers.Database) -> dict[str, str]:
    """What an administrator has: the whole mapping, the schema, and rows with every fault."""
    database.execute(MORE)
    database.execute(schema.script())
    database.execute(FAULTS)
    return {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn} | MAIL | ALL


@pytest.fixture
def role(database: servers.Database) -> Iterator[str]:
    """The name of a role that is dropped in the end."""
    name = f"{database.name} Wärter"
    yield name
    quoted = psycopg.sql.Identifier(name).as_string(None)
    database.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


def granted(
    call: Callable[..., Called], database: servers.Database, settings: dict[str, str], role: str
) -> str:
    """Apply what is printed; the DSN of the role."""
    printed = call("grants", "--env", "prod", "--role", role, **settings)
    assert printed.code == 0, printed.err
    for _ in range(2):
        database.execute(printed.out)
    quoted = psycopg.sql.Identifier(role).as_string(None)
    database.execute(f"ALTER ROLE {quoted} PASSWORD 'role'")
    return make_conninfo(database.dsn, user=role, password="role")


@pytest.mark.slow
@pytest.mark.versions
@pytest.mark.parametrize("trigger", ["", TOUCH], ids=["plain", "touched"])
def test_it_suffices_for_every_command(
    call: Callable[..., Called],
    database: servers.Database,
    settings: dict[str, str],
    role: str,
    trigger: str,
) -> None:
    database.execute(trigger or "SELECT")
    guard = settings | {"QUEUEWARDEN_ENV__PROD__DSN": granted(call, database, settings, role)}

    def by_hand(*arguments: str, code: int = 0) -> Called:
        called = call(*arguments, **guard)
        assert called.code == code, called.out + called.err
        assert "permission denied" not in called.out + called.err
        assert "GRANT" not in called.out + called.err
        return called

    by_hand("check", code=1)
    by_hand("repair", "--no-grace", "--dry-run", code=1)
    repaired = by_hand("repair", "--no-grace", "--json")
    assert repaired.document
    assert {one["event"] for one in by_hand("history", "--json").document} == EVENTS
    undone = by_hand("undo", "--env", "prod", "--since", "1h", "--json")
    assert len(undone.document["environments"]["prod"]) >= len(EVENTS)
    database.execute("UPDATE jobs SET label = 'moved on'; UPDATE workers SET started_at = now()")
    by_hand("repair", "--no-grace")
    database.execute(
        "UPDATE jobs SET status = 'running', worker = 'alive', started_at = now() WHERE id = 101"
    )
    by_hand("reset", "--env", "prod", "--job", "101")
    by_hand("retry", "--env", "prod", "--since", "1d")
    by_hand("diagnose")
    by_hand("pause", "prod", "--for", "1m", "--reason", "x")
    by_hand("resume", "prod")
    by_hand("history", "--csv")


@pytest.mark.slow
def test_it_suffices_for_a_daemon(
    call: Callable[..., Called],
    database: servers.Database,
    settings: dict[str, str],
    role: str,
    tmp_path: Path,
) -> None:
    guard = settings | {"QUEUEWARDEN_ENV__PROD__DSN": granted(call, database, settings, role)}
    short = {name.removeprefix("QUEUEWARDEN_"): value for name, value in guard.items()}
    daemon = Daemon(
        short | {"INTERVAL": "1s", "DEAD_AFTER": "1s", "LOG_FORMAT": "json", "STUCK_AFTER": "10m"},
        QUEUEWARDEN_STATUS_FILE=str(tmp_path / "status.json"),
    )
    try:
        daemon.wait_for("lease.gained")
        for event in EVENTS:
            daemon.wait_for(event)
        assert daemon.end() == 0
    finally:
        daemon.close()
    assert not daemon.events("check.failed")
    assert not daemon.events("queue.drifted")
    assert {one for (one,) in database.rows("SELECT event FROM queuewarden.changes")} == EVENTS


@pytest.mark.versions
def test_nothing_beyond_is_given(
    call: Callable[..., Called], database: servers.Database, settings: dict[str, str], role: str
) -> None:
    dsn = granted(call, database, settings, role)
    with psycopg.connect(dsn, autocommit=True) as guard:
        for statement in (
            "DELETE FROM jobs",
            "TRUNCATE jobs",
            "INSERT INTO jobs (id) VALUES (1000)",
            "UPDATE jobs SET id = 5",
            "UPDATE jobs SET priority = 5",
            "UPDATE jobs SET label = 'x'",
            "UPDATE jobs SET secret = 'x'",
            "SELECT secret FROM jobs",
            "DELETE FROM workers",
            "UPDATE workers SET heartbeat = now()",
            "INSERT INTO workers (id) VALUES ('x')",
            "SELECT secret FROM parents",
            "UPDATE parents SET id = 2",
            "SELECT FROM others",
            "CREATE TABLE queuewarden.mine (id int)",
            "UPDATE queuewarden.schema_version SET version = 9",
            "DELETE FROM queuewarden.lease",
            "INSERT INTO queuewarden.counter DEFAULT VALUES",
            "DELETE FROM queuewarden.pauses",
            "TRUNCATE queuewarden.changes",
            "DROP SCHEMA queuewarden CASCADE",
            "CREATE ROLE another",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                guard.execute(statement)
    ((superuser, creates_db, creates_role, bypasses),) = database.rows(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = %s", [role]
    )
    assert [superuser, creates_db, creates_role, bypasses] == [False] * 4


def test_every_right_is_needed(
    call: Callable[..., Called], database: servers.Database, settings: dict[str, str], role: str
) -> None:
    """Without any one of those on its own tables, the schema is not used; those of alerts are for alerts."""
    dsn = granted(call, database, settings, role)
    guard = settings | {"QUEUEWARDEN_ENV__PROD__DSN": dsn}
    assert call("history", **guard).code == 0
    quoted = psycopg.sql.Identifier(role).as_string(None)
    for table, rights in schema.RIGHTS.items():
        for right in rights:
            database.execute(f"REVOKE {right} ON queuewarden.{table} FROM {quoted}")
            dispensable = table in {"alerts", "suppressions", "upkeep_runs", "samples"}
            assert call("history", **guard).code == (0 if dispensable else 69)
            called = call(
                *(("upkeep", "status") if table in {"upkeep_runs", "samples"} else ("alerts", "list")),
                **guard,
            )
            assert called.code == 69
            assert f"rights missing on {table} in schema queuewarden" in called.err
            database.execute(f"GRANT {right} ON queuewarden.{table} TO {quoted}")


def test_an_observer_needs_no_right_to_write_jobs(
    call: Callable[..., Called], settings: dict[str, str]
) -> None:
    told = call("grants", "--env", "prod", **settings).out
    assert "DELETE ON jobs" not in told
    assert "GRANT pg_read_all_stats TO " in told
    assert "queuewarden" in told


def test_names_are_quoted(call: Callable[..., Called], settings: dict[str, str]) -> None:
    told = call("grants", "--env", "prod", "--role", 'a"b; DROP', **settings)
    assert told.code == 0
    assert '"a""b; DROP"' in told.out
    assert told.out.count("'a\"b; DROP'") == 1


def test_exit_codes(
    call: Callable[..., Called], database: servers.Database, settings: dict[str, str]
) -> None:
    assert call("grants", **settings).code == 2
    lost: dict[str, Any] = settings | {"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE}
    called = call("grants", "--env", "prod", **lost)
    assert called.code == 69
    assert "geheim" not in called.out + called.err
    for change in ("DROP TABLE workers", "ALTER TABLE jobs RENAME TO tasks"):
        database.execute(change)
        part = call("grants", "--env", "prod", **settings)
        assert part.code == 1
        assert "prod/mail does not fit the database: rights for it are missing here" in part.err
