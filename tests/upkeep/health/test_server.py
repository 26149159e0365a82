"""The server: standbys and slots, slow statements, its disk, and the certificate that it shows."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest
import servers
import standbys
from commands_kit import as_role
from eventually import eventually
from ports import free_port
from upkeep.health import looking
from upkeep.health.looking import bad, look, only, reading, run, signs

from queuewarden.adapters import postgres
from queuewarden.adapters.db.certificate import validity
from queuewarden.adapters.db.disk import Disk, disk
from queuewarden.application.upkeep.checkup import checkup
from queuewarden.engine.upkeep.health.signs import Where
from queuewarden.errors import UnavailableError
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queuewarden.engine.upkeep.health.signs import Health

LAG, SLOT, SLOW = "replication_lag_seconds", "slot_megabytes", "slow_statement_seconds"
DISK, TLS, BARE = "disk_used", "certificate_seconds", "unencrypted"


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


def checked(dsn: str) -> Health:
    """A whole checkup, as `diagnose` and the daemon make it."""
    configuration = load({"QUEUEWARDEN_DSN": dsn})
    return asyncio.run(checkup(configuration.environments[0], []))


@pytest.mark.versions
def test_connections_are_counted_whether_or_not_a_role_may_see_whose(database: servers.Database) -> None:
    database.execute("DO $$ BEGIN CREATE ROLE qw_plain; EXCEPTION WHEN duplicate_object THEN END $$")
    with database.connect(), database.connect(), database.connect():
        seen = only(checked(database.dsn), "connections_used")
        hidden = only(checked(as_role(database, "qw_plain")), "connections_used")
    assert hidden.value >= 4 / 200
    assert hidden.value == pytest.approx(seen.value, abs=2 / 200)
    run(database, seen)
    assert [looking.loud(seen, share) for share in (0.8, 0.81, 0.96)] == [None, "warning", "critical"]


@pytest.mark.versions
def test_a_slot_that_nobody_reads_is_named_and_dropped(database: servers.Database) -> None:
    slot = f"qw_{database.name}"
    database.execute("SELECT pg_create_physical_replication_slot(%s, true)", [slot])
    try:
        database.execute("INSERT INTO jobs (label) SELECT repeat('x', 100) FROM generate_series(1, 5000)")
        health = look(database.dsn)
        (sign,) = [sign for sign in signs(health, SLOT) if sign.where.subject == slot]
        assert health.readings[sign.where] == sign.value > 0.5
        assert health.figures["server_slot_bytes", ""] >= sign.value * 1e6
        assert [looking.loud(sign, size) for size in (999, 1001, 10_001)] == [None, "warning", "critical"]
        run(database, sign)
        assert [one for one in signs(look(database.dsn), SLOT) if one.where.subject == slot] == []
    finally:
        database.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
            [slot],
        )


def test_a_standby_that_does_not_replay_is_behind(own_server: servers.OwnServer) -> None:
    if (why := standbys.lacking(own_server)) is not None:
        pytest.skip(why)
    with own_server.database(kit.SCHEMA) as database:
        standby = standbys.start_standby(own_server)
        database.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        database.execute("SELECT pg_reload_conf()")
        try:
            (sign,) = signs(look(database.dsn), LAG)
            name = sign.where.subject
            assert sign.value < 10
            servers.Database(standby.dsn(), "postgres").execute("SELECT pg_wal_replay_pause()")

            def behind() -> bool:
                database.execute("INSERT INTO jobs (label) SELECT repeat('x', 99) FROM generate_series(1, 9)")
                sign = only(look(database.dsn), LAG)
                return sign.value > 0.5 and "KiB of WAL" in sign.text

            eventually(behind, what="a standby that is behind")
            health = look(database.dsn)
            sign = only(health, LAG)
            assert health.readings[Where(LAG, "", name)] == sign.value
            assert health.figures["server_replication_lag_seconds", ""] == sign.value
            assert sign.text.startswith(f"standby {name} is ")
            ((answer, *_),) = run(database, sign)[0]
            assert answer == name
        finally:
            standby.close()


def test_a_slow_statement_on_a_queue_is_named() -> None:
    source = next((one for one in servers.own_sources() if _has_statements(one)), None)
    if source is None:
        pytest.skip("no PostgreSQL server here comes with the extension pg_stat_statements")
    server = servers.start_own(source, shared_preload_libraries="pg_stat_statements")
    try:
        with server.database(kit.SCHEMA) as database:
            assert SLOW not in look(database.dsn).settled, "there is no extension yet"
            database.execute('CREATE SCHEMA "odd %s"; CREATE EXTENSION pg_stat_statements SCHEMA "odd %s"')
            with database.connect() as connection:
                for _ in range(101):
                    connection.execute("SELECT count(*) FROM jobs, pg_sleep(0.002) WHERE label = 's3cret'")
            health = look(database.dsn)
            sign = signs(health, SLOW)[0]
            assert reading(health, SLOW, "") == sign.value
            assert 0.002 <= sign.value < 1
            assert "in 101 calls: SELECT count(*) FROM jobs, pg_sleep($1)" in sign.text
            assert "s3cret" not in sign.text
            assert [looking.loud(sign, mean) for mean in (0.9, 1.1, 5.1)] == [None, "info", "warning"]
            ((calls, *_),) = run(database, sign)[0]
            assert calls == 101
            assert bad(health, SLOW) == {}
    finally:
        server.close()


def test_an_extension_that_was_not_preloaded_hides_nothing_else(database: servers.Database) -> None:
    there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
    if not database.value(there):
        pytest.skip("this PostgreSQL server comes without the extension pg_stat_statements")
    database.execute("CREATE EXTENSION pg_stat_statements")
    health = look(database.dsn)
    assert health.unseen == ("statements: SQLSTATE 55000",)
    assert SLOW not in health.settled
    assert reading(health, "invalid_indexes") == 0


def test_the_disk_is_seen_where_the_server_is_here_and_lets_it(
    server: servers.TestServer, database: servers.Database
) -> None:
    if not isinstance(server, servers.OwnServer):
        pytest.skip(f"{server.source} does not run on this machine, as far as can be told")
    health = checked(database.dsn)
    room = shutil.disk_usage(server.server.data)
    assert reading(health, DISK, "") == pytest.approx(1 - room.free / (room.used + room.free), abs=0.02)
    assert health.figures["server_disk_free_bytes", ""] == pytest.approx(room.free, rel=0.05)
    sign = only(health, DISK)
    run(database, sign)
    assert [looking.loud(sign, share) for share in (0.85, 0.86, 0.96)] == [None, "warning", "critical"]
    # A Unix socket is no network, and shows no certificate.
    assert reading(health, BARE, "") == 0
    assert TLS not in {where.metric for where in health.readings} | health.settled


def test_the_disk_is_absent_where_the_role_may_not_know_where_it_is(database: servers.Database) -> None:
    database.execute("DO $$ BEGIN CREATE ROLE qw_plain; EXCEPTION WHEN duplicate_object THEN END $$")
    health = checked(as_role(database, "qw_plain"))
    assert DISK not in {where.metric for where in health.readings} | health.settled
    assert signs(health, DISK) == []


def test_another_ones_directory_is_not_taken_for_the_servers(database: servers.Database) -> None:
    async def work() -> Disk | None:
        async with await psycopg.AsyncConnection.connect(database.dsn) as connection:
            assert disk(connection, "/nowhere at all") is None
            return disk(connection, "/proc/1/root")

    assert asyncio.run(work()) is None


@pytest.fixture
def listening() -> Iterator[postgres.Server]:
    """A server that listens at a port of 127.0.0.1."""
    binaries = servers.own_sources()[0].binaries
    assert binaries is not None
    with postgres.Server(binaries, port=free_port()) as server:
        yield server


def test_the_certificate_is_that_of_the_server(listening: postgres.Server, tmp_path: Path) -> None:
    database = servers.Database(listening.dsn(), "postgres")
    given = f"host=127.0.0.1 port={listening.port} user=postgres dbname=postgres"
    bare = checked(f"{given} sslmode=disable")
    assert TLS not in {where.metric for where in bare.readings} | bare.settled
    assert reading(bare, BARE, "") == 0, "it does not leave this machine"
    _encrypt(listening, tmp_path, 90)
    database.execute("ALTER SYSTEM SET ssl = on")
    for days, severity in ((90, None), (20, "warning"), (3, "critical")):
        _encrypt(listening, tmp_path, days)
        database.execute("SELECT pg_reload_conf()")

        def shown(days: int = days) -> bool:
            try:
                left = checked(f"{given} sslmode=require").readings.get(Where(TLS))
            except (UnavailableError, psycopg.OperationalError):
                return False  # it does not speak TLS yet
            return left == pytest.approx(days * 86_400, abs=600)

        eventually(shown, what=f"a certificate of {days} days")
        health = checked(f"{given} sslmode=require")
        sign = only(health, TLS)
        assert bad(health, TLS) == ({sign.text: severity} if severity else {})
        end = health.figures["server_certificate_end_timestamp_seconds", ""]
        assert end == pytest.approx((datetime.now(UTC) + timedelta(days=days)).timestamp(), abs=600)
        assert sign.text.endswith(f"on {datetime.fromtimestamp(end, UTC):%Y-%m-%d}")
    # What only shook hands is nothing that a server's log would have to tell.
    log = (listening.directory / "server.log").read_text()
    assert "SSL" not in log
    assert "startup packet" not in log


def _encrypt(server: postgres.Server, folder: Path, days: int) -> None:
    owner = server.data.stat()
    made = {name: folder / name for name in ("server.key", "server.crt")}
    _openssl(
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        days=days,
        key=made["server.key"],
        out=made["server.crt"],
    )
    for name, file in made.items():
        placed = server.data / name
        shutil.copy(file, placed)
        placed.chmod(0o600)
        shutil.chown(placed, owner.st_uid, owner.st_gid)


def _openssl(*kind: str, days: int, key: Path, out: Path, form: str = "PEM") -> None:
    """A certificate that holds for so many days from now."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-subj", "/CN=localhost/O=x",
         "-days", str(days), "-keyout", key, "-out", out, "-outform", form],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip


def test_the_times_of_a_certificate(tmp_path: Path) -> None:
    der = tmp_path / "certificate"
    for kind in (["rsa:2048"], ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]):
        for days in (1, 40_000):
            _openssl(*kind, days=days, key=tmp_path / "key", out=der, form="DER")
            found = validity(der.read_bytes())
            assert abs(found.begins - datetime.now(UTC)) < timedelta(minutes=5)
            # openssl asks the clock for each of them.
            assert timedelta(0) <= found.ends - found.begins - timedelta(days=days) < timedelta(seconds=10)
            with pytest.raises((ValueError, IndexError)):
                validity(der.read_bytes()[:40])


def _has_statements(source: servers.Source) -> bool:
    assert source.binaries is not None
    config = source.binaries.directory / "pg_config"
    if not config.exists():
        return False
    told = subprocess.run([config, "--sharedir"], check=True, capture_output=True, text=True, timeout=10)
    return (Path(told.stdout.strip()) / "extension/pg_stat_statements.control").exists()
