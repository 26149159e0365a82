"""Reading the ledger: the newest first, by what is asked for, a page at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest
from ledgers import Ledgered, changes
from rows import Rows

from queuewarden.engine.ledger import entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(ledgers.SCHEMA)


@pytest.fixture
def history(database: Database) -> Database:
    """Three sweeps: jobs 1 and 2 in the first, 3 in the second, 4 of another queue's in the third."""
    rows = Rows(database)
    queue = Ledgered(database)
    for count in (2, 1):
        for _ in range(count):
            rows.job("running", "1 hour")
        queue.sweep()
    rows.job("running", "1 hour")
    Ledgered(database, replace(kit.MAPPING, name="fax"), environment="other").sweep()
    return database


def ids(database: Database, **filters: Any) -> list[int]:
    return [one.id for one in changes(database, **filters)]


def test_everything(history: Database) -> None:
    assert ids(history) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"environment": "test"}, [1, 2, 3]),
        ({"environment": "other"}, [4]),
        ({"environment": "nowhere"}, []),
        ({"queues": ("fax",)}, [4]),
        ({"queues": ("fax", "mail")}, [1, 2, 3, 4]),
        ({"checks": ("stuck_jobs",)}, [1, 2, 3, 4]),
        ({"checks": ("positions",)}, []),
        ({"job": "2"}, [2]),
        ({"job": "99"}, []),
        ({"ids": (2, 4, 77)}, [2, 4]),
        ({"ids": (2, 4), "queues": ("mail",)}, [2]),
        ({"ids": ()}, []),
        ({"since": timedelta(hours=1)}, [1, 2, 3, 4]),
        ({"undos": False}, [1, 2, 3, 4]),
    ],
    ids=str,
)
def test_by_what_is_asked_for(history: Database, filters: dict[str, Any], found: list[int]) -> None:
    assert ids(history, **filters) == found


def test_by_sweep_and_time(history: Database) -> None:
    first = changes(history, ids=(1,))[0]
    assert ids(history, sweep=first.sweep) == [1, 2]
    history.execute("UPDATE queuewarden.changes SET at = at - interval '2 h' WHERE first_id = 1")
    assert ids(history, since=timedelta(hours=1)) == [3, 4]


def test_a_key_is_found_by_its_own_value_only(database: Database) -> None:
    rows = Rows(database)
    database.execute(
        "INSERT INTO jobs (id, status, started_at) VALUES (11, 'running', now() - interval '1h')"
    )
    rows.job("running", "1 hour")
    Ledgered(database).sweep()
    assert [one.finding.key for one in changes(database, job="1")] == [("1",)]


@pytest.mark.parametrize("count", [entries.PAGE - 1, entries.PAGE, entries.PAGE + 1, 2 * entries.PAGE + 1])
def test_pages_leave_nothing_out(database: Database, count: int) -> None:
    database.execute(
        f"INSERT INTO jobs (status, started_at) SELECT 'running', now() - interval '1 h'"
        f" FROM generate_series(1, {count})"
    )
    Ledgered(database, limits=replace(kit.LIMITS, batch=1)).sweep()
    assert ids(database) == list(range(1, count + 1))


def test_what_was_taken_back_says_by_what_and_the_undo_says_of_what(history: Database) -> None:
    ledgers.take_back(history, 2)
    told = {one.id: (one.undoes, one.undone_by) for one in changes(history)}
    assert told == {1: (None, None), 2: (None, 5), 3: (None, None), 4: (None, None), 5: (2, None)}
    ledgers.take_back(history, 5)
    told = {one.id: (one.undoes, one.undone_by) for one in changes(history)}
    assert told[2] == (None, None), "the undo was taken back: the change stands again"
    assert told[5] == (2, 6)
    assert told[6] == (5, None)
    assert ids(history, undos=False) == [1, 2, 3, 4]
