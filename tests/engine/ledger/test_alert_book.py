"""Alerts and suppressions in the database: what one daemon wrote, another one, or a command, reads."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from ledgers import SCHEMA

from queuewarden.engine.alerting.notices import About, Alert, Suppression
from queuewarden.engine.ledger import alert_book
from queuewarden.engine.ledger.schema import read_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.versions

NOW = 1000.0
ALERT = Alert(
    id="backlog.prod.mail",
    rule="backlog",
    severity="warning",
    about=About("prod", "mail", 'a "subject"; DROP'),
    value=120.5,
    threshold=100,
    summary="prod/mail: 120 jobs wait — é'",
    hint="add %s workers",
    since=NOW - 60,
)


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(SCHEMA)


def run(database: servers.Database, work: Callable[[Any], Any]) -> Any:
    async def main() -> Any:
        async with kit.session(database.dsn) as session:
            return await work(session)

    return asyncio.run(main())


def save(database: servers.Database, *alerts: Alert, now: float = NOW) -> None:
    run(database, lambda session: alert_book.save(session, alerts, now))


def look(database: servers.Database, now: float = NOW) -> Any:
    return run(database, lambda session: alert_book.look(session, now))


def near(alert: Alert) -> Alert:
    return replace(alert, since=pytest.approx(alert.since, abs=5))


def test_an_alert_comes_back_as_it_was_written(database: servers.Database) -> None:
    save(database, ALERT, replace(ALERT, id="other", about=About("prod"), announced=True, escalated=True))
    alerts, suppressions = look(database)
    assert near(ALERT) in alerts
    assert {(one.id, one.announced, one.escalated) for one in alerts} == {
        (ALERT.id, False, False),
        ("other", True, True),
    }
    assert suppressions == []


def test_ages_and_not_times_are_kept(database: servers.Database) -> None:
    save(database, ALERT)
    ((alert,), _) = look(database, now=5.0)
    assert alert.since == pytest.approx(-55, abs=5)


def test_writing_twice_keeps_one_life_and_what_people_answered(database: servers.Database) -> None:
    save(database, replace(ALERT, announced=True))
    acked = run(database, lambda session: alert_book.acknowledge(session, ALERT.id, "ada", NOW))
    assert acked.acked_by == "ada"
    save(database, replace(ALERT, value=7, escalated=True))
    ((alert,), _) = look(database)
    assert (alert.value, alert.announced, alert.escalated, alert.acked_by) == (7, True, True, "ada")
    assert alert.told == pytest.approx(NOW, abs=5)
    assert database.value("SELECT count(*) FROM queuewarden.alerts") == 1


def test_an_alert_ends_and_lives_again(database: servers.Database) -> None:
    save(database, ALERT)
    save(database, replace(ALERT, resolved=NOW - 10))
    assert look(database)[0] == []
    save(database, ALERT)
    save(database, replace(ALERT, resolved=NOW))
    found = run(database, lambda session: alert_book.ended(session, NOW))
    assert [one.id for one in found] == [ALERT.id] * 2
    assert [one.resolved for one in found] == [pytest.approx(NOW, abs=5), pytest.approx(NOW - 10, abs=5)]


def test_an_alert_that_ended_before_it_was_ever_written_is_history(database: servers.Database) -> None:
    save(database, replace(ALERT, resolved=NOW))
    assert look(database)[0] == []
    assert len(run(database, lambda session: alert_book.ended(session, NOW))) == 1


def test_only_what_fires_can_be_acknowledged(database: servers.Database) -> None:
    save(database, replace(ALERT, resolved=NOW))
    assert run(database, lambda session: alert_book.acknowledge(session, ALERT.id, "ada", NOW)) is None


def test_a_suppression_holds_until_its_moment_or_until_it_is_lifted(database: servers.Database) -> None:
    def suppress(lasts: float) -> Any:
        wanted = Suppression("", NOW + lasts, "a move", "ada", "back*", None, "mail")
        return run(database, lambda session: alert_book.suppress(session, wanted, NOW))

    brief, long = suppress(0.001), suppress(3600)
    (_, (found,)) = look(database)
    assert (found.id, found.rule, found.environment, found.queue) == (long.id, "back*", None, "mail")
    assert (found.reason, found.by) == ("a move", "ada")
    assert found.until == pytest.approx(NOW + 3600, abs=5)
    assert run(database, lambda session: alert_book.lift(session, brief.id, "ada", NOW)) is None
    lifted = run(database, lambda session: alert_book.lift(session, long.id, "bob", NOW))
    assert lifted.id == long.id
    assert look(database)[1] == []
    assert database.value("SELECT ended_by FROM queuewarden.suppressions WHERE ended_by IS NOT NULL") == "bob"


def test_old_alerts_are_forgotten(database: servers.Database) -> None:
    save(
        database,
        replace(ALERT, resolved=NOW - 7200),
        replace(ALERT, id="b", resolved=NOW),
        replace(ALERT, id="c"),
    )
    assert run(database, lambda session: alert_book.forget(session, timedelta(hours=1))) == 1
    assert database.value("SELECT count(*) FROM queuewarden.alerts") == 2


def test_a_role_without_rights_on_alerts_still_repairs(database: servers.Database) -> None:
    role = f"older_{os.urandom(3).hex()}"
    database.execute(
        f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA queuewarden TO {role};"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA queuewarden TO {role};"
        f" REVOKE ALL ON queuewarden.alerts FROM {role}"
    )

    async def seen() -> Any:
        from psycopg.conninfo import make_conninfo

        async with kit.session(make_conninfo(database.dsn, user=role)) as session:
            return await read_schema(session)

    try:
        found = asyncio.run(seen())
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert (found.usable, found.alerts) == (True, False)
    assert found.unkept is not None
    assert "alerts" in found.unkept


def test_one_environments_alerts_are_not_anothers(database: servers.Database) -> None:
    other = replace(ALERT, id="other", about=About("staging", "mail"))
    save(database, ALERT, other, replace(other, id="past", resolved=NOW))
    (mine, _) = run(database, lambda session: alert_book.look(session, NOW, "prod"))
    assert [one.id for one in mine] == [ALERT.id]
    assert run(database, lambda session: alert_book.ended(session, NOW, "prod")) == []
    assert len(look(database)[0]) == 2
