"""The line of the campaign does to a transaction what it says."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from faults.link import Ending, Link

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

SECONDS = 5


@pytest.fixture
def link(own_server: servers.OwnServer) -> Iterator[Link]:
    made = Link(lambda: own_server.server.directory)
    yield made
    made.close()


def through(link: Link) -> psycopg.Connection:
    (port,) = link.ports
    return psycopg.connect(
        host="127.0.0.1",
        port=port,
        user="postgres",
        dbname="postgres",
        autocommit=True,
        connect_timeout=SECONDS,
    )


@pytest.fixture
def direct(own_server: servers.OwnServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own_server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.counted AS SELECT 0 AS n")
        yield connection


def counted(direct: psycopg.Connection) -> int:
    ((n,),) = direct.execute("SELECT n FROM counted").fetchall()
    return n


def repair(link: Link) -> None:
    with through(link) as connection:
        connection.execute("BEGIN")
        connection.execute('UPDATE "public"."counted" SET n = n + 1')
        connection.execute("COMMIT")


@pytest.mark.parametrize(("ending", "becomes"), [("before", 0), ("after", 1)])
def test_a_repair_is_cut_at_its_commit(
    direct: psycopg.Connection, link: Link, ending: Ending, becomes: int
) -> None:
    ambush = link.ambush(ending)
    with through(link) as other:
        other.execute("BEGIN")
        other.execute("COMMIT")
    assert not ambush.sprung.is_set()
    with pytest.raises(psycopg.OperationalError):
        repair(link)
    assert ambush.sprung.is_set()
    assert counted(direct) == becomes
    repair(link)
    assert counted(direct) == becomes + 1


def test_a_repair_is_held_at_its_commit_until_the_line_is_healed(
    direct: psycopg.Connection, link: Link
) -> None:
    failed = threading.Event()

    def try_it() -> None:
        try:
            repair(link)
        except psycopg.OperationalError:
            failed.set()

    ambush = link.ambush("hold")
    repairing = threading.Thread(target=try_it)
    repairing.start()
    ambush.wait()
    held = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    assert direct.execute(held).fetchall() == [(1,)]
    link.heal()
    repairing.join(SECONDS)
    assert failed.is_set()
    assert counted(direct) == 0


def fails(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def test_a_deaf_line_swallows_everything_and_tells_nobody(direct: psycopg.Connection, link: Link) -> None:
    with through(link) as connection:
        link.deafen()
        answer = threading.Thread(target=lambda: fails(connection))
        answer.start()
        time.sleep(0.3)
        link.heal()
        answer.join(0.3)
        assert answer.is_alive()
        link.cut()
        answer.join(SECONDS)
        assert not answer.is_alive()
    with through(link) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
