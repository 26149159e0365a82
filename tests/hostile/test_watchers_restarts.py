"""What a restart, an outage and a ledger that comes and goes do to alerts that people were told of."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import kit
import pytest
from daemons import QUEUE, Daemon
from eventually import eventually
from receivers import Receiver
from rows import Rows

from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import servers

CROWD = {
    "RULE__CROWD__METRIC": "waiting_jobs",
    "RULE__CROWD__THRESHOLD": "2",
    "RULE__NO_LIVE_WORKER__ENABLED": "false",
}
ID = "crowd.prod.mail"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons, each with a status file of its own."""
    started: list[Daemon] = []

    def _start(settings: dict[str, str], *arguments: str) -> Daemon:
        place = tmp_path_factory.mktemp("status") / "status.json"
        started.append(Daemon({"STATUS_FILE": str(place)} | settings, *arguments))
        return started[-1]

    yield _start
    for one in started:
        one.close()


def crowd(database: servers.Database) -> None:
    rows = Rows(database)
    rows.worker("w")
    for _ in range(3):
        rows.job("waiting")


def is_open(database: servers.Database, name: str = ID) -> bool:
    return bool(
        database.value(
            "SELECT count(*) FROM queuewarden.alerts WHERE id = %s AND resolved_at IS NULL", [name]
        )
    )


def test_a_restart_while_the_database_is_down_tells_nothing_twice(
    start: Callable[..., Daemon], own_server: servers.OwnServer, receiver: Receiver
) -> None:
    with own_server.database(kit.SCHEMA) as database:
        database.execute(schema.script())
        crowd(database)
        settings = QUEUE | CROWD | {"ENV__PROD__DSN": database.dsn, "ALERT__OPS__URL": receiver.url}
        first = start(settings)
        first.wait_for("alert.fired", rule="crowd")
        eventually(lambda: is_open(database), what="it is kept")
        first.end()
        own_server.halt()
        second = start(settings)
        second.wait_for("environment.down")
        own_server.launch()
        second.wait_for("environment.up")
        second.wait_for("environment.status", up=True, count=3)
        assert second.events("alert.fired", rule="crowd") == []
        database.execute("DELETE FROM jobs")
        second.wait_for("alert.resolved", rule="crowd")
        assert second.end() == 0


def test_what_fires_is_kept_again_once_the_ledger_is_installed_anew(
    start: Callable[..., Daemon], databases: Callable[..., servers.Database]
) -> None:
    database = databases(kit.SCHEMA)
    database.execute(schema.script())
    crowd(database)
    daemon = start(QUEUE | CROWD | {"ENV__PROD__DSN": database.dsn, "ALERT__OPS__URL": "json://127.0.0.1:1/"})
    daemon.wait_for("alert.fired", rule="crowd")
    eventually(lambda: is_open(database), what="it is kept")
    database.execute("DROP SCHEMA queuewarden CASCADE")
    daemon.wait_for("environment.status", count=len(daemon.events("environment.status")) + 3)
    database.execute(schema.script())
    eventually(lambda: is_open(database), seconds=20, what="it is kept again")
    database.execute("TRUNCATE queuewarden.alerts")
    eventually(lambda: is_open(database), seconds=20, what="it is kept after somebody emptied the table")
    assert len(daemon.events("alert.fired", rule="crowd")) == 1
    assert daemon.end() == 0


@pytest.mark.parametrize("reload", [False, True])
def test_what_fired_in_an_environment_that_is_called_otherwise_now_is_over(
    start: Callable[..., Daemon],
    databases: Callable[..., servers.Database],
    receiver: Receiver,
    tmp_path: Path,
    *,
    reload: bool,
) -> None:
    database = databases(kit.SCHEMA)
    database.execute(schema.script())
    crowd(database)
    file = tmp_path / "queuewarden.env"

    def named(name: str) -> None:
        file.write_text(f"QUEUEWARDEN_ENV__{name}__DSN={database.dsn!r}\n")

    settings = QUEUE | CROWD | {"ALERT__OPS__URL": receiver.url}
    named("PROD")
    daemon = start(settings, "--config", str(file))
    eventually(lambda: is_open(database), seconds=20, what="it is kept")
    named("LIVE")
    if reload:
        daemon.process.send_signal(signal.SIGHUP)
    else:
        daemon.end()
        daemon = start(settings, "--config", str(file))
    eventually(lambda: is_open(database, "crowd.live.mail"), seconds=20, what="the new name")
    eventually(lambda: not is_open(database), seconds=20, what="the old name")
    daemon.wait_for("environment.status", environment="live", count=3)
    assert len(daemon.events("alert.resolved", rule="crowd")) == 1


def test_two_daemons_of_a_database_that_flaps_keep_to_the_cooldown_and_tell_each_end(
    start: Callable[..., Daemon], own_server: servers.OwnServer, receiver: Receiver
) -> None:
    with own_server.database(kit.SCHEMA) as database:
        database.execute(schema.script())
        crowd(database)
        settings = QUEUE | CROWD | {"ENV__PROD__DSN": database.dsn, "ALERT__OPS__URL": receiver.url}
        settings |= {"RULE__ENVIRONMENT_DOWN__FOR": "0s", "LEASE_TTL": "6s"}
        daemons = [start(settings), start(settings)]
        for daemon in daemons:
            daemon.wait_for("environment.status", up=True)
        for outage in range(1, 5):
            own_server.halt()
            for daemon in daemons:
                daemon.wait_for("environment.down", count=outage)
            own_server.launch()
            for daemon in daemons:
                daemon.wait_for("environment.up", count=outage + 1)
        eventually(lambda: is_open(database), seconds=20, what="somebody has the lease")
        for daemon in daemons:
            daemon.wait_for("alert.resolved", rule="environment_down")
            assert len(daemon.events("alert.fired", rule="environment_down")) == 1
            assert len(daemon.events("alert.resolved", rule="environment_down")) == 1
        assert sum(len(daemon.events("alert.fired", rule="crowd")) for daemon in daemons) == 1
        assert [daemon.end() for daemon in daemons] == [0, 0]


def test_who_takes_the_lease_over_repeats_nothing_of_what_had_ended(
    start: Callable[..., Daemon], databases: Callable[..., servers.Database], receiver: Receiver
) -> None:
    database = databases(kit.SCHEMA)
    database.execute(schema.script())
    crowd(database)
    settings = QUEUE | CROWD | {"ENV__PROD__DSN": database.dsn, "ALERT__OPS__URL": receiver.url}
    first = start(settings)
    first.wait_for("alert.fired", rule="crowd")
    second = start(settings)
    second.wait_for("environment.status", count=3)
    database.execute("DELETE FROM jobs")
    first.wait_for("alert.resolved", rule="crowd")
    eventually(lambda: not is_open(database), what="its end is kept")
    second.wait_for("environment.status", count=len(second.events("environment.status")) + 2)
    first.end()
    second.wait_for("lease.gained")
    second.wait_for("environment.status", count=len(second.events("environment.status")) + 3)
    assert second.events("alert.resolved") == second.events("alert.fired") == []
    assert database.value("SELECT count(*) FROM queuewarden.alerts WHERE id = %s", [ID]) == 1
