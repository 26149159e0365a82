"""Full disks, kills, servers that go away, rights that are missing: nothing half-written bears a name."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import disks
import kit
import poolers
import processes
import psycopg
import pytest
from commands_kit import MAIL, as_role, own_environment
from eventually import eventually
from psycopg.conninfo import make_conninfo
from servers import Database

from queuewarden.application.upkeep.backups import source, taking
from queuewarden.application.upkeep.backups.shelf import Shelf
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import servers

    from queuewarden.settings.configuration import EnvironmentConfig

PASSWORD = "geheim-und-lang"
LARGE = (
    "INSERT INTO jobs (label) SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, {})"
)


def left(shelf: Shelf) -> list[str]:
    """What lies there beside the lock."""
    return sorted(place.name for place in shelf.folder.iterdir() if place.name != ".lock")


@contextmanager
def process(
    database: Database, folder: Path, *arguments: str, group: str = "backup", **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """A real `queuewarden backup`, or another one, killed at the end of the block."""
    dsn = make_conninfo(database.dsn, password=PASSWORD)
    settings = {
        "QUEUEWARDEN_ENV__PROD__DSN": dsn, "QUEUEWARDEN_BACKUP_DIR": str(folder),
        "QUEUEWARDEN_CONFIG_FILE": os.devnull, **MAIL, **variables,
    }  # fmt: skip
    command = [sys.executable, "-m", "queuewarden", group, *arguments]
    started = subprocess.Popen(
        command, env=own_environment(**settings), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Nobody can read the jobs, so that a dump waits."""
    with database.connect(autocommit=False) as connection:
        connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        yield


def programs(database: Database) -> list[int]:
    """The living pg_dump and pg_restore of a database."""
    return processes.naming(f"dbname={database.name}")


def waiting(database: Database) -> bool:
    """A dump waits for the lock."""
    return bool(programs(database)) and bool(
        database.rows(
            "SELECT FROM pg_locks WHERE NOT granted AND relation = 'jobs'::regclass AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    )


def slow_to_restore(database: Database) -> str:
    """Have a table that takes seconds to restore where a role of this name is."""
    marker = f"{database.name}_slow"
    database.execute(
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql AS $$ SELECT true FROM pg_sleep(CASE WHEN EXISTS"
        f" (SELECT FROM pg_roles WHERE rolname = '{marker}') THEN 5 ELSE 0 END) $$;"
        "CREATE TABLE slow (id int CHECK (slow())); INSERT INTO slow VALUES (1)"
    )
    return marker


def test_a_full_disk(
    backup: Callable, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(LARGE.format(60_000))
    with disks.small_disk(tmp_path / "small", "2m", tmp_path.stat()) as disk:
        shelf, there = Shelf(disk / "prod"), {"QUEUEWARDEN_BACKUP_DIR": str(disk)}
        refused = backup("run", **there)
        assert refused.code == 69
        assert "has room for 2.1 MB, a backup may take" in refused.err
        monkeypatch.setattr(taking, "_require_room", lambda *_: None)
        full = backup("run", **there)
        assert full.code == 69
        assert "No space left on device" in full.err
        assert left(shelf) == []
        disks.fill(disk)
        assert backup("run", **there).code == 69
        disks.empty(disk)
        assert not programs(database)
        database.execute("TRUNCATE jobs")
        assert backup("run", **there).code == 0


def test_room_is_reckoned_from_the_last_one(
    backup: Callable, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backup("run").code == 0
    last = shelf.look()[0][0].manifest
    assert last.size * 10 < last.database_size
    monkeypatch.setattr(Shelf, "free", lambda _: last.size * 2)
    assert backup("run").code == 0
    monkeypatch.setattr(Shelf, "free", lambda _: last.size - 1)
    assert backup("run").code == 69


def test_killed_in_the_middle(backup: Callable, database: Database, folder: Path, shelf: Shelf) -> None:
    with locked(database), process(database, folder, "run") as running:
        eventually(lambda: waiting(database), what="pg_dump waits")
        assert [*shelf.folder.glob(".partial-*/*")]
        for pid in programs(database):
            shown = processes.Path(f"/proc/{pid}/cmdline").read_bytes()
            assert b"pg_dump" in shown
            assert PASSWORD.encode() not in shown
        running.kill()
        running.wait()
        assert [name[:9] for name in left(shelf)] == [".partial-"]
    eventually(lambda: not programs(database), what="pg_dump is gone")
    assert shelf.look() == ([], [])
    assert "no backup" in backup("list").out
    assert backup("run").code == 0
    assert left(shelf) == [shelf.look()[0][0].name]


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("backup run", signal.SIGINT),
        ("backup run", signal.SIGHUP),
        ("upkeep run backup", signal.SIGTERM),
    ],
)
def test_ended_in_the_middle(
    database: Database, folder: Path, shelf: Shelf, command: str, number: signal.Signals
) -> None:
    group, *arguments = command.split()
    with locked(database), process(database, folder, *arguments, group=group) as running:
        eventually(lambda: waiting(database), what="pg_dump waits")
        running.send_signal(number)
        running.send_signal(number)
        assert running.wait(30) == 128 + number
        assert left(shelf) == []
        assert not programs(database)


def test_a_trial_that_was_killed_is_tidied_away_by_the_next(
    backup: Callable, database: Database, folder: Path, scratches: Callable
) -> None:
    marker = slow_to_restore(database)
    assert backup("run").code == 0
    database.execute(f"CREATE ROLE {marker}")
    with process(database, folder, "verify") as running:
        try:
            eventually(scratches, what="a scratch database")
            running.send_signal(signal.SIGSTOP)
        finally:
            database.execute(f"DROP ROLE {marker}")
        (first,) = scratches()
        # Whoever is at it keeps it.
        assert backup("verify").code == 0
        assert scratches() == [first]
        running.kill()
        running.wait()
    eventually(lambda: not processes.naming(f"dbname={first}"), what="pg_restore is gone")
    assert backup("verify").code == 0
    assert scratches() == []


def test_the_server_goes_away_in_the_middle(
    folder: Path, shelf: Shelf, own_server: servers.OwnServer
) -> None:
    database = Database(own_server.dsn(), "postgres")
    database.execute(kit.SCHEMA)
    with database.connect(autocommit=False) as connection, process(database, folder, "run") as running:
        connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        eventually(lambda: waiting(database), what="pg_dump waits")
        own_server.halt()
        _, told = running.communicate(timeout=30)
        connection.close()
    assert running.returncode == 69
    assert "connection" in told
    assert PASSWORD not in told
    assert left(shelf) == []


def test_a_server_that_goes_away_says_nothing_about_the_backup(
    backup: Callable, database: Database, folder: Path, shelf: Shelf, own_server: servers.OwnServer
) -> None:
    marker = slow_to_restore(database)
    assert (backup("run").code, backup("verify").code) == (0, 0)
    elsewhere = Database(own_server.dsn(), "postgres")
    elsewhere.execute(f"CREATE ROLE {marker}")
    there = "SELECT FROM pg_database WHERE datname LIKE 'queuewarden_scratch_%'"
    settings = {"QUEUEWARDEN_ENV__PROD__SCRATCH_DSN": own_server.dsn()}
    with process(database, folder, "verify", **settings) as running:
        eventually(lambda: elsewhere.rows(there), what="a scratch database")
        own_server.halt()
        _, told = running.communicate(timeout=30)
    assert running.returncode == 69, told
    assert "the server went away" in told
    assert shelf.look()[0][0].manifest.verified_at is not None
    own_server.launch()
    assert elsewhere.rows(there)
    elsewhere.execute(f"DROP ROLE {marker}")
    assert backup("verify", **settings).code == 0
    assert not elsewhere.rows(there)


def test_two_at_once(backup: Callable, shelf: Shelf) -> None:
    with shelf.locked():
        second = backup("run")
    assert second.code == 75
    assert "another backup is being written to" in second.out
    assert backup("run").code == 0


def test_rights_are_missing(backup: Callable, database: Database) -> None:
    role = f"{database.name}_poor"
    database.execute(f"CREATE ROLE {role}; GRANT SELECT ON workers TO {role}")
    poor = {"QUEUEWARDEN_ENV__PROD__DSN": as_role(database, role)}
    try:
        refused = backup("run", **poor)
        assert refused.code == 69
        assert "permission denied for table jobs" in refused.err
        assert "GRANT pg_read_all_data to" in refused.err
        database.execute(
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};"
            f" GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"
        )
        assert backup("run", **poor).code == 0
        untried = backup("verify", **poor)
        assert untried.code == 69
        assert "may not create a database to restore into: ALTER ROLE … CREATEDB" in untried.err
        assert "not proven yet" in backup("list").out
        database.execute("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY")
        hidden = backup("run", **poor)
        assert hidden.code == 69
        assert 'row-level security policy for table "jobs"' in hidden.err
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.skipif(poolers.program() is None, reason=poolers.ABSENT)
def test_through_a_pooler_it_is_refused(backup: Callable, database: Database) -> None:
    with psycopg.connect(database.dsn) as direct:
        info = direct.info
        with poolers.pooler(info.host, info.port, info.user) as dsn:
            pooled = {"QUEUEWARDEN_ENV__PROD__DSN": make_conninfo(dsn, dbname=database.name)}
            refused = backup("run", **pooled)
            assert refused.code == 69
            assert "a pooler stands in between" in refused.err
            assert backup("run", **pooled, QUEUEWARDEN_ENV__PROD__UPKEEP_DSN=database.dsn).code == 0


def test_a_frozen_server_holds_nobody_who_ends_it(
    own_server: servers.OwnServer, shelf: Shelf, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "POLITELY", 0.3)

    async def asks(config: EnvironmentConfig) -> None:
        async with source.opened(config, config.dsn.read()) as connection:
            await connection.execute("SELECT pg_sleep(60)")

    async def cancelled(database: Database, config: EnvironmentConfig) -> list[float]:
        """Seconds that it took each of them to end."""
        dump = source.released(taking.take(config, shelf, lambda _: None))
        tasks = [asyncio.create_task(dump), asyncio.create_task(source.released(asks(config)))]
        await asyncio.to_thread(eventually, lambda: waiting(database), what="pg_dump waits")
        own_server.freeze()
        took = []
        for task in tasks:
            begun = time.monotonic()
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            took.append(time.monotonic() - begun)
        return took

    with own_server.database(kit.SCHEMA) as database:
        settings = {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn, **MAIL}
        (config,) = load(settings, default_file=folder / "none").environments
        with locked(database):
            took = asyncio.run(cancelled(database, config))
            own_server.thaw()
        assert max(took) < 10
        assert left(shelf) == []
        assert not programs(database)


def test_whoever_waits_for_a_table_goes_first(
    database: Database, shelf: Shelf, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "PAUSE", 0.1)
    settings = {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn, **MAIL}
    (config,) = load(settings, default_file=folder / "none").environments
    told: list[str] = []

    def change() -> float:
        """Change the schema of a table that the dump has locked; and seconds that it took."""
        begun = time.monotonic()
        database.execute("ALTER TABLE workers ADD COLUMN more int")
        return time.monotonic() - begun

    async def work() -> float:
        taken = asyncio.create_task(taking.take(config, shelf, lambda one: told.append(one.phase)))
        # Dump and count wait; the dump locks tables by their age, so that it has the workers.
        wait = "SELECT count(*) = 2 FROM pg_locks WHERE NOT granted AND relation = 'jobs'::regclass"
        await asyncio.to_thread(eventually, lambda: database.value(wait), what="both wait for the jobs")
        took = await asyncio.to_thread(change)
        held.close()
        await taken
        return took

    with database.connect(autocommit=False) as held:
        held.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        # If the dump gave no way, it would wait for ever.
        assert asyncio.run(work()) < 10
    assert "waiting" in told
    assert len(shelf.look()[0]) == 1
