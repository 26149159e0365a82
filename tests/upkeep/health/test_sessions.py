"""Sessions that run for long, sit idle in a transaction, or wait for each other: seen, named and ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest
from commands_kit import as_role
from eventually import eventually
from upkeep.health import looking
from upkeep.health.looking import bad, look, only, pid, reading, run, signs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

pytestmark = pytest.mark.versions

LONG, IDLE, BLOCKED = "long_query_seconds", "idle_in_transaction_seconds", "blocked_seconds"


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def test_a_long_statement_is_named_without_its_values_and_can_be_cancelled(
    database: servers.Database, aside: ThreadPoolExecutor
) -> None:
    with database.connect(application_name="reports") as connection:
        sleeping = aside.submit(connection.execute, "SELECT pg_sleep(60), 'p4ssw0rd', $$s3cret$$")
        eventually(lambda: signs(look(database.dsn), LONG), what="a statement that runs")
        health = look(database.dsn)
        sign = only(health, LONG)
        assert reading(health, LONG, "") == sign.value > 0
        assert f"session {pid(connection)} of postgres (reports) has run one statement for" in sign.text
        assert sign.text.endswith("SELECT pg_sleep(60), '…', '…'")
        assert run(database, sign) == [[(True,)]]
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleeping.result(10)
        assert not looking.ended(connection)
        assert [looking.loud(sign, seconds) for seconds in (299, 301, 3601)] == [None, "warning", "critical"]


def test_the_snapshot_that_a_backup_of_ours_keeps_open_is_no_fault(database: servers.Database) -> None:
    with database.connect(application_name="queuewarden/upkeep") as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1")
        assert signs(look(database.dsn), IDLE) == []


def test_maintenance_and_copies_take_long_by_nature(
    database: servers.Database, aside: ThreadPoolExecutor
) -> None:
    database.execute(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 FROM pg_sleep(60)';"
        "CREATE TABLE one AS SELECT 1 AS n"
    )
    with database.connect() as connection:
        commented = "/* of the\napp */ -- nightly\n CREATE INDEX ON one (slow(n))"
        building = aside.submit(connection.execute, commented)
        active = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {pid(connection)}"
        eventually(lambda: database.value(active), what="an index that is built")
        health = look(database.dsn)
        connection.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            building.result(10)
    assert signs(health, LONG) == []
    assert reading(health, LONG, "") == 0


def test_an_idle_transaction_is_named_and_can_be_ended(database: servers.Database) -> None:
    with database.connect(autocommit=False, application_name="forgetful") as connection:
        connection.execute("UPDATE jobs SET label = 'x'")
        health = look(database.dsn)
        sign = only(health, IDLE)
        assert reading(health, IDLE, "") == sign.value > 0
        assert f"session {pid(connection)} of postgres (forgetful) has been idle" in sign.text
        assert run(database, sign) == [[(True,)]]
        assert looking.ended(connection)
    assert [looking.loud(sign, seconds) for seconds in (299, 301, 3601)] == [None, "warning", "critical"]


def test_nobody_is_ended_who_got_the_number_of_a_session_that_is_gone(database: servers.Database) -> None:
    with database.connect(autocommit=False) as connection:
        connection.execute("SELECT 1")
        sign = only(look(database.dsn), IDLE)
        born = database.value(
            f"SELECT backend_start::text FROM pg_stat_activity WHERE pid = {pid(connection)}"
        )
        (statement,) = sign.remedy
        another = statement.replace(born[:4], "1999")
        assert another != statement
        assert database.rows(another.encode()) == []
        assert not looking.ended(connection)


def test_of_those_who_wait_for_each_other_the_one_is_ended_who_does_not_wait(
    database: servers.Database, aside: ThreadPoolExecutor
) -> None:
    database.execute("INSERT INTO jobs (label) VALUES ('a')")
    with (
        database.connect(autocommit=False, application_name="holder") as holder,
        database.connect(application_name="first") as first,
        database.connect(application_name="second") as second,
    ):
        holder.execute("UPDATE jobs SET label = 'b'")
        waiting = []
        for waiter in (first, second):
            waiting.append(aside.submit(waiter.execute, "UPDATE jobs SET label = 'c'"))
            looking.waits(database, pid(waiter))
        health = look(database.dsn)
        found = signs(health, BLOCKED)
        assert reading(health, BLOCKED, "") == max(sign.value for sign in found) > 0
        by_first, by_second = (
            next(sign for sign in found if sign.text.startswith(f"session {pid(one)} "))
            for one in (first, second)
        )
        assert f"which session {pid(holder)} of postgres (holder) holds (idle in transaction" in by_first.text
        assert f"which session {pid(first)} of postgres (first) holds (waits itself" in by_second.text
        assert by_second.remedy == ()
        # Whoever waits is told of once: not as a long statement as well.
        assert signs(health, LONG) == []
        assert run(database, by_first) == [[(True,)]]
        for one in waiting:
            one.result(10)
        assert looking.ended(holder)
    assert [looking.loud(by_first, seconds) for seconds in (29, 31, 301)] == [None, "warning", "critical"]
    assert bad(look(database.dsn), BLOCKED) == {}


def test_who_waits_to_become_the_leader_is_well(
    database: servers.Database, aside: ThreadPoolExecutor
) -> None:
    lead = "SELECT pg_advisory_lock(7)"
    with database.connect() as leader, database.connect() as other:
        leader.execute(lead)
        waiting = aside.submit(other.execute, lead)
        looking.waits(database, pid(other))
        health = look(database.dsn)
        assert signs(health, BLOCKED) == signs(health, LONG) == []
        assert reading(health, BLOCKED, "") == 0
        leader.execute("SELECT pg_advisory_unlock_all()")
        waiting.result(10)


def test_what_a_role_may_not_see_is_absent_and_never_0(database: servers.Database) -> None:
    database.execute(
        "DO $$ BEGIN CREATE ROLE qw_half_blind; EXCEPTION WHEN duplicate_object THEN END $$;"
        "REVOKE pg_read_all_stats FROM qw_half_blind;"
        "GRANT SELECT ON jobs, workers TO qw_half_blind"
    )
    role = as_role(database, "qw_half_blind")
    with database.connect(autocommit=False) as connection:
        connection.execute("SELECT 1")
        health = look(role)
        assert {LONG, IDLE}.isdisjoint(where.metric for where in health.readings)
        assert {LONG, IDLE}.isdisjoint(health.settled)
        (unseen,) = [one for one in health.unseen if one.startswith("sessions of others")]
        grant = unseen.partition(": ")[2]
        assert grant == "GRANT pg_read_all_stats TO qw_half_blind"
        # A lock that somebody waits for is seen by everybody.
        assert reading(health, BLOCKED, "") == 0
        database.execute(grant)
        assert (reading(look(role), IDLE, "") or 0) > 0
    database.execute("DROP OWNED BY qw_half_blind")
