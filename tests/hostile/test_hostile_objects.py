"""Whoever may create objects on the guard's path, but owns nothing that it reads, has nothing run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest

from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper

from .conftest import FAULTY, MAPPING, MENDED, sweep
from .traps import PWNED, sprung

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Stage

BITES = {
    False: "UPDATE app.jobs SET error = 'x' WHERE status = 'running'::varchar",
    True: "SELECT count(*) FROM app.jobs",
}
"""Statements without defence that step into a trap, by whether public comes first."""


@pytest.mark.parametrize("first", [False, True], ids=["public last", "public first"])
@pytest.mark.parametrize("superuser", [False, True], ids=["role", "superuser"])
@pytest.mark.parametrize("status", ["varchar(20)", "app.state"])
def test_a_sweep_steps_into_no_trap(
    set_up: Callable[..., Stage], *, status: str, superuser: bool, first: bool
) -> None:
    stage = set_up(status, superuser=superuser)
    stage.lay_traps(first=first)
    outcomes = sweep(stage)
    assert {one.error for one in outcomes.values()} == {None}
    assert stage.statuses() == MENDED
    assert sweep(stage) == {}
    assert sprung(stage.database) == 0


@pytest.mark.parametrize("first", [False, True], ids=["public last", "public first"])
def test_commands_step_into_no_trap(set_up: Callable[..., Stage], *, first: bool) -> None:
    stage = set_up(superuser=first)
    stage.lay_traps(first=first)
    diagnosed = stage.call("diagnose", "--env", "prod", "--json")
    remarks = diagnosed.document["environments"]["prod"]["remarks"]
    assert [one for one in remarks if one["topic"] in ("mapping", "rights") and one["level"] == "wrong"] == []
    checked = stage.call("check", "--json")
    found: dict[str, set[str]] = {}
    for check, _, key in checked.rows():
        found.setdefault(check, set()).add(key)
    assert found == FAULTY
    assert stage.call("reset", "--env", "prod", "--older-than", "5m").code == 0
    assert stage.call("retry", "--env", "prod", "--since", "1d").code == 0
    repaired = stage.call("repair", "--no-grace")
    assert PWNED not in repaired.out + repaired.err
    assert stage.call("check").code == 0
    assert stage.statuses() == MENDED | {"broken": "waiting"}
    assert sprung(stage.database) == 0


@pytest.mark.parametrize("path", ["app, public", "app, public, pg_catalog"])
def test_names_without_schema_step_into_no_trap(set_up: Callable[..., Stage], path: str) -> None:
    stage = set_up()
    stage.lay_traps(first=False)
    stage.take_path(path)
    stage.variables |= {
        "QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE": "jobs",
        "QUEUEWARDEN_QUEUE__MAIL__WORKERS__TABLE": "workers",
        "QUEUEWARDEN_QUEUE__MAIL__REFERENCES": "parent -> parents.id",
    }
    for command in (("diagnose",), ("check",), ("repair", "--no-grace")):
        called = stage.call(*command)
        assert PWNED not in called.out + called.err
    assert sprung(stage.database) == 0


def test_a_ledger_steps_into_no_trap(set_up: Callable[..., Stage]) -> None:
    stage = set_up(superuser=True)
    stage.lay_traps(first=True)
    before = stage.statuses()
    assert stage.call("install").code == 0
    assert stage.call("repair", "--no-grace").code == 0
    assert stage.statuses() == MENDED
    assert stage.call("history", "--env", "prod", "--json").code == 0
    assert stage.call("pause", "prod", "--for", "1m", "--reason", "'; --").code == 0
    assert stage.call("pause", "prod", "--list").code == 0
    assert stage.call("resume", "prod").code == 0
    assert stage.call("undo", "--env", "prod", "--since", "10m").code == 0
    assert stage.statuses() == before
    assert sprung(stage.database) == 0


@pytest.mark.parametrize("first", [False, True], ids=["public last", "public first"])
def test_the_traps_do_bite(set_up: Callable[..., Stage], *, first: bool) -> None:
    stage = set_up()
    stage.lay_traps(first=first)
    with (
        psycopg.connect(stage.guard, autocommit=True, application_name="queuewarden/none") as connection,
        pytest.raises(psycopg.errors.RaiseException, match=PWNED),
    ):
        connection.execute(BITES[first])
    assert sprung(stage.database) == 1


def test_what_a_pooler_left_in_our_session_is_not_looked_at(set_up: Callable[..., Stage]) -> None:
    stage = set_up(superuser=True)

    async def work() -> None:
        async with kit.session(stage.guard) as session:
            for name in ("pg_class", "pg_attribute", "pg_locks", "jobs", "workers"):
                await session._connection.execute(f"CREATE TEMP TABLE {name} (id text)".encode())
            for name in ("text", "int8"):
                await session._connection.execute(f"CREATE DOMAIN pg_temp.{name} AS pg_catalog.bool".encode())
            resolution = await resolve(session, "test", MAPPING, kit.LIMITS)
            assert resolution.target is not None
            assert resolution.faults == ()
            await Sweeper("test").sweep(session, [resolution.target], policy=kit.BY_HAND)

    asyncio.run(work())
    assert stage.statuses() == MENDED
