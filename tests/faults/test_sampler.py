"""Whoever makes the application wait, or makes it the victim of a deadlock, is named; others are not."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from eventually import eventually
from faults.sampler import EVERY, LIMIT, Entry, Sampler
from faults.schema import SCHEMA
from faults.shop import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import servers

OURS = "queuewarden/test"
TOO_LONG = 2 * LIMIT
WAITING = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"


@pytest.fixture
def shop(databases: Callable[..., servers.Database]) -> servers.Database:
    database = databases(SCHEMA)
    database.execute("INSERT INTO jobs (id) VALUES (1), (2)")
    return database


@pytest.fixture
def sampler(shop: servers.Database, tmp_path: Path) -> Iterator[Sampler]:
    made = Sampler(shop.dsn, tmp_path / "diary")
    yield made
    made.close()


@pytest.fixture
def client(shop: servers.Database, tmp_path: Path) -> Iterator[Client]:
    made = Client(shop.dsn, "w", str(tmp_path / "diary"))
    made.connect()
    yield made
    made.close()


def lock(connection: psycopg.Connection, job: int) -> None:
    connection.execute("UPDATE jobs SET attempts = attempts + 1 WHERE id = %s", [job])


def let_go(holder: psycopg.Connection, waiter: int, sampler: Sampler) -> None:
    """Commit once somebody has waited for too long and, where that is put down to us, was often seen to."""
    with contextlib.closing(psycopg.connect(holder.info.dsn, autocommit=True)) as looking:
        eventually(lambda: looking.execute(WAITING, [waiter]).fetchall(), what="somebody waits")
    time.sleep(TOO_LONG)
    if holder.info.parameter_status("application_name") == OURS:
        eventually(lambda: len(sampler._samples) * EVERY > TOO_LONG, what="samples of the wait")
    holder.commit()


def waits_for(who: str, shop: servers.Database, client: Client, sampler: Sampler) -> Entry:
    """What the diary says of a transaction that had to wait for somebody."""
    with shop.connect(application_name=who, autocommit=False) as holder:
        lock(holder, 1)
        with client.transaction("beat") as connection:
            letting_go = threading.Thread(target=let_go, args=(holder, connection.info.backend_pid, sampler))
            letting_go.start()
            lock(connection, 1)
        letting_go.join()
    (entry,) = sampler.entries()
    assert entry.took > LIMIT
    return entry


def test_a_wait_for_the_guard_is_put_down_to_it(
    shop: servers.Database, client: Client, sampler: Sampler
) -> None:
    assert waits_for(OURS, shop, client, sampler).ours > LIMIT


def test_a_wait_for_anybody_else_is_not(shop: servers.Database, client: Client, sampler: Sampler) -> None:
    assert waits_for("psql", shop, client, sampler).ours == 0


@pytest.mark.parametrize(("partner", "victim"), [(OURS, True), ("psql", False)])
def test_a_deadlock_is_put_down_to_its_partner(
    shop: servers.Database, client: Client, sampler: Sampler, partner: str, *, victim: bool
) -> None:
    with shop.connect(application_name=partner, autocommit=False) as holder:
        holder.execute("SET deadlock_timeout = '1min'")
        lock(holder, 1)
        crossing = threading.Thread(target=lock, args=(holder, 2))
        with contextlib.suppress(psycopg.errors.DeadlockDetected), client.transaction("beat") as connection:
            lock(connection, 2)
            crossing.start()
            # Who begins to wait last, and looks for a deadlock first, is the victim.
            eventually(lambda: shop.rows(WAITING, [holder.info.backend_pid]), what="the partner waits")
            if victim:
                eventually(lambda: holder.info.backend_pid in sampler._guards, what="a sample of the guard")
            lock(connection, 1)
        crossing.join()
        holder.rollback()
    (entry,) = sampler.entries()
    assert (entry.sqlstate, entry.victim) == ("40P01", victim)
