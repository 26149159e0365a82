"""Suppressions of the memory and of ledgers, as one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import pytest
from ledgers import SCHEMA

from queuewarden.application.alerting.suppressions import Suppressions
from queuewarden.engine.alerting.notices import Suppression
from queuewarden.engine.ledger import alert_book

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

NOW = 100.0


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(SCHEMA)


def given(suppressions: Suppressions, **changes: Any) -> Any:
    whole = Suppression("", NOW + 300, "a move", "ada", environment="prod")
    return suppressions.set(replace(whole, **changes))


def keep(suppressions: Suppressions, database: servers.Database, environment: str = "prod") -> None:
    async def main() -> None:
        async with kit.session(database.dsn) as session:
            await suppressions.write(session, environment, NOW)
            _, holding = await alert_book.look(session, NOW)
            suppressions.take(environment, holding)

    asyncio.run(main())


def rows(database: servers.Database) -> list[tuple[Any, ...]]:
    return database.rows("SELECT environment, reason, ended_by FROM queuewarden.suppressions ORDER BY number")


def test_one_that_is_set_counts_at_once_and_is_kept_with_the_next_sweep(database: servers.Database) -> None:
    suppressions = Suppressions()
    one = given(suppressions)
    assert suppressions.holding(NOW) == [one]
    keep(suppressions, database)
    assert rows(database) == [("prod", "a move", None)]
    (kept,) = suppressions.holding(NOW)
    assert kept.id == "prod-1"
    assert kept.until == pytest.approx(NOW + 300, abs=60)
    keep(suppressions, database)
    assert len(rows(database)) == 1


def test_another_environments_ledger_does_not_get_it(database: servers.Database) -> None:
    suppressions = Suppressions()
    given(suppressions)
    keep(suppressions, database, "staging")
    assert rows(database) == []
    assert len(suppressions.holding(NOW)) == 1


def test_one_for_all_is_kept_by_the_first_ledger_and_holds_for_all(database: servers.Database) -> None:
    suppressions = Suppressions()
    given(suppressions, environment=None, rule="back*")
    keep(suppressions, database, "staging")
    keep(suppressions, database, "prod")
    assert rows(database) == [(None, "a move", None)]
    (one,) = suppressions.holding(NOW)
    assert (one.environment, one.rule) == (None, "back*")


def test_one_that_is_lifted_is_lifted_in_its_ledger(database: servers.Database) -> None:
    suppressions = Suppressions()
    given(suppressions)
    keep(suppressions, database)
    (kept,) = suppressions.holding(NOW)
    assert suppressions.lift(kept.id, "bob", NOW) == kept
    assert suppressions.holding(NOW) == []
    keep(suppressions, database)
    assert rows(database) == [("prod", "a move", "bob")]
    assert suppressions.holding(NOW) == []
    with pytest.raises(LookupError, match="alerts list"):
        suppressions.lift(kept.id, "bob", NOW)


def test_the_id_that_was_answered_names_it_when_a_ledger_has_it(database: servers.Database) -> None:
    suppressions = Suppressions()
    first, second = given(suppressions), given(suppressions)
    assert first.id != second.id != given(Suppressions()).id
    keep(suppressions, database)
    suppressions.lift(second.id, "bob", NOW)
    keep(suppressions, database)
    assert rows(database) == [("prod", "a move", "bob")] * 2


def test_one_that_is_lifted_while_it_is_written_is_lifted(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppressions = Suppressions()
    one, suppress = given(suppressions), alert_book.suppress

    async def slow(*args: Any) -> Suppression:
        written = await suppress(*args)
        suppressions.lift(one.id, "bob", NOW)
        return written

    monkeypatch.setattr(alert_book, "suppress", slow)
    keep(suppressions, database)
    assert suppressions.holding(NOW) == []


def test_one_that_is_over_holds_no_more(database: servers.Database) -> None:
    suppressions = Suppressions()
    given(suppressions)
    assert suppressions.holding(NOW + 301) == []
    keep(suppressions, database)
    assert rows(database) == []


def test_memory_is_bounded() -> None:
    suppressions = Suppressions()
    for number in range(1100):
        given(suppressions, reason=str(number))
    found = suppressions.holding(NOW)
    assert len(found) == 1000
    assert found[-1].reason == "1099"
