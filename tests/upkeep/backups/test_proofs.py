"""The age of the newest proven backup, by the record alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import kit
import pytest

from queuewarden.engine.ledger.schema import script
from queuewarden.engine.upkeep import proofs, sight
from queuewarden.engine.upkeep.config import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.application.upkeep.backups.shelf import Shelf

DAY = 86_400.0


def seen(database: Database, **schedule: str) -> sight.Sight:
    async def work() -> sight.Sight:
        async with kit.session(database.dsn) as session:
            return await sight.look(session, "prod", Upkeep(schedule=schedule))  # type: ignore[arg-type]  # names of tasks

    return asyncio.run(work())


def ran(database: Database, task: str, result: str, days: int, subject: str | None = None) -> str:
    """Somebody backed up, or tried a backup that was taken so long ago; what it is called."""
    taken = datetime.now(UTC) - timedelta(days=days)
    subject = subject or f"{taken:{proofs.STAMP}}"
    database.execute(
        "INSERT INTO queuewarden.upkeep_runs"
        " (environment, task, trigger, actor, started_at, alive_until, finished_at, result, did)"
        " VALUES ('prod', %s, 'hand', 'x', %s, now(), now(), %s, jsonb_build_array(jsonb_build_object("
        "'subject', %s::text)))",
        [task, taken if task == "backup" else datetime.now(UTC), result, subject],
    )
    return subject


def test_it_is_that_of_the_newest_whose_last_trial_went_well(databases: Callable[..., Database]) -> None:
    database = databases(script())
    assert seen(database, backup="0 1 * * *").proven_age is None
    ran(database, "backup", "failed", 20)
    assert seen(database, backup="0 1 * * *").proven_age == pytest.approx(20 * DAY, abs=60)
    assert seen(database, vacuum="0 1 * * *").proven_age is None
    ran(database, "verify", "done", 9)
    third = ran(database, "verify", "done", 3)
    ran(database, "verify", "failed", 1)
    ran(database, "verify", "done", 2, "something else")
    found = seen(database, verify="0 1 * * *")
    assert found.proven_age == pytest.approx(3 * DAY, abs=60)
    assert found.readings("prod", found.at)[sight.UNPROVEN] == {sight.About("prod"): 0}
    later = found.readings("prod", found.at + 6 * DAY)[sight.UNPROVEN]
    assert later[sight.About("prod")] == pytest.approx(DAY, abs=60)
    # It was taken while a clock was wrong: it silences nothing.
    ran(database, "verify", "done", -400)
    assert seen(database, verify="0 1 * * *").proven_age == pytest.approx(3 * DAY, abs=60)
    ran(database, "verify", "failed", 3, third)
    assert seen(database, verify="0 1 * * *").proven_age == pytest.approx(9 * DAY, abs=60)


def test_the_commands_are_recorded(backup: Callable, shelf: Shelf, database: Database) -> None:
    database.execute(script())
    assert (backup("run").code, backup("verify").code) == (0, 0)
    (one,), _ = shelf.look()
    runs = database.rows(
        "SELECT task, trigger, result, did->0->>'subject' FROM queuewarden.upkeep_runs ORDER BY 1"
    )
    assert runs == [("backup", "hand", "done", one.name), ("verify", "hand", "done", one.name)]
    assert seen(database, backup="0 1 * * *").proven_age == pytest.approx(0, abs=60)
    # One thing at a time in a database.
    database.execute(
        "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, alive_until)"
        " VALUES ('prod', 'vacuum', 'hand', 'somebody', now() + interval '1 minute')"
    )
    busy = backup("run")
    assert busy.code == 75
    assert "vacuum" in busy.err
    assert len(shelf.look()[0]) == 1
