from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from commands_kit import MAIL, MESS, UNREACHABLE

from queuewarden.application import by_hand
from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from commands_kit import Called


@pytest.fixture
def ready(mail: Callable[..., Called], database: servers.Database) -> Callable[..., Called]:
    database.execute(schema.script())
    return mail


def table(database: servers.Database) -> list[tuple[object, ...]]:
    return database.rows(
        "SELECT environment, reason, set_by, cron, zone, ended_by, ended_at IS NULL"
        " FROM queuewarden.pauses ORDER BY id"
    )


@pytest.mark.versions
def test_a_pause_says_who_why_and_until_when(ready: Callable, database: servers.Database) -> None:
    called = ready("pause", "prod", "--for", "30m", "--reason", " migrating ")
    assert called.code == 0
    assert re.fullmatch(
        r"prod: +pause 1 +until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+ +migrating +by .+\n", called.out
    )
    assert table(database) == [("prod", "migrating", by_hand.caller(), None, None, None, True)]
    assert 1700 < database.value(
        "SELECT extract(epoch FROM until - clock_timestamp()) FROM queuewarden.pauses"
    ) <= 1800  # fmt: skip
    assert ready("pause", "prod", "--list").out == called.out


@pytest.mark.versions
def test_resume_ends_it(ready: Callable, database: servers.Database) -> None:
    ready("pause", "prod", "--for", "30m", "--reason", "migrating")
    called = ready("resume", "prod")
    assert (called.code, called.out) == (0, "prod: pause 1 ended (migrating)\n")
    assert table(database)[0][5:] == (by_hand.caller(), False)
    again = ready("resume", "prod")
    assert (again.code, again.out) == (1, "prod: nothing to end\n")
    assert ready("pause", "prod", "--list").out == "prod: no pause, no maintenance window\n"


def test_a_window_stays_until_it_is_ended_by_its_id(ready: Callable, database: servers.Database) -> None:
    window = ("--cron", "0 2 * * 0", "--zone", "Europe/Berlin", "--for", "1h", "--reason", "backup")
    called = ready("pause", "prod", *window)
    assert called.code == 0
    assert "maintenance 1" in called.out
    assert "0 2 * * 0 Europe/Berlin for 1h" in called.out
    ready("pause", "prod", "--for", "1m", "--reason", "x")
    assert ready("resume", "prod").out == "prod: pause 2 ended (x)\n"
    assert ready("resume", "prod").code == 1
    assert ready("resume", "prod", "--id", "1").out == "prod: maintenance 1 ended (backup)\n"
    assert ready("resume", "prod", "--id", "1").code == 1


def test_a_window_without_a_zone_goes_by_utc(ready: Callable, database: servers.Database) -> None:
    ready("pause", "prod", "--cron", "0 2 * * *", "--for", "1h", "--reason", "backup")
    assert table(database)[0][3:5] == ("0 2 * * *", "UTC")


def test_commands_by_hand_go_on_and_say_that_it_is_paused(
    ready: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    ready("pause", "prod", "--for", "30m", "--reason", "migrating")
    called = ready("repair", "--no-grace", "--only", "stuck_jobs")
    assert database.value("SELECT status FROM jobs WHERE id = 1") == "waiting"
    assert "brake pause: migrating" in called.out
    assert ready("reset", "--env", "prod", "--job", "3").code == 0
    assert ready("undo", "--env", "prod", "--since", "1h").code == 0
    assert "pause" in ready("diagnose").out


def test_it_is_the_databases_whatever_it_is_called(ready: Callable, database: servers.Database) -> None:
    named = {"QUEUEWARDEN_ENV__LIVE__DSN": database.dsn}
    ready("pause", "live", "--for", "30m", "--reason", "x", **named)
    assert "pause 1" in ready("pause", "prod", "--list", **named).out
    assert ready("resume", "prod", **named).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("prod",),
        ("prod", "--for", "30m"),
        ("prod", "--reason", "x"),
        ("prod", "--for", "30m", "--reason", " "),
        ("prod", "--for", "soon", "--reason", "x"),
        ("prod", "--for", "-30m", "--reason", "x"),
        ("prod", "--for", "30m", "--reason", "x", "--zone", "UTC"),
        ("prod", "--for", "30m", "--reason", "x", "--cron", "every night"),
        ("prod", "--for", "30m", "--reason", "x", "--cron", "0 0 30 2 *"),
        ("prod", "--for", "30m", "--reason", "x", "--cron", "0 2 * * *", "--zone", "Atlantis"),
        ("prod", "--for", "30m", "--reason", "x", "--cron", "0 2 * * *", "--zone", "../../etc/passwd"),
        ("prot", "--for", "30m", "--reason", "x"),
    ],
    ids=" ".join,
)
def test_what_is_no_pause(ready: Callable, database: servers.Database, arguments: tuple[str, ...]) -> None:
    assert ready("pause", *arguments).code == 2
    assert table(database) == []


def test_exit_codes(mail: Callable, call: Callable, database: servers.Database) -> None:
    wanted = ("pause", "prod", "--for", "30m", "--reason", "x")
    none = mail(*wanted)
    assert none.code == 69
    assert "no ledger there: run `queuewarden install --env prod`" in none.err
    assert mail("resume", "prod").code == 69
    database.execute(
        schema.script() + "DROP TABLE queuewarden.pauses; UPDATE queuewarden.schema_version SET version = 1"
    )
    old = mail(*wanted)
    assert old.code == 69
    assert "has version 1, this program knows 3 to 5: run `queuewarden install`" in old.err
    lost = call(*wanted, **({"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE} | MAIL))
    assert lost.code == 69
    assert mail("resume").code == 2
    assert mail("resume", "prod", "--id", "x").code == 2


def test_text_that_would_steer_a_terminal_does_not(ready: Callable) -> None:
    called = ready("pause", "prod", "--for", "30m", "--reason", "a\x1b[31mb\nc")
    assert "\x1b" not in called.out
    assert called.out.count("\n") == 1
