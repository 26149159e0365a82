"""What ``queuewarden diagnose`` says of health, by the alert rules as they are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kit
import pytest
from click.testing import CliRunner
from commands_kit import MAIL, Called
from fresh_logging import restored_logging

from queuewarden.application.cli import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

AT_ONCE = {"QUEUEWARDEN_RULE__IDLE_IN_TRANSACTION__THRESHOLD": "0.001"}
OF_THE_MACHINE = {
    f"QUEUEWARDEN_RULE__{rule}__ENABLED": "false"
    for rule in ("DISK_USED", "DISK_USED_CRITICAL", "DATABASE_SLOW", "DATABASE_SLOW_CRITICAL")
}
"""How full its disk is, and how busy it is, is nothing that is looked for here."""


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    with restored_logging():
        yield


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


def diagnose(dsn: str, *arguments: str, **variables: str) -> Called:
    env = MAIL | OF_THE_MACHINE | {"QUEUEWARDEN_ENV__PROD__DSN": dsn} | variables
    result = CliRunner().invoke(cli, ["diagnose", *arguments], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Called(result.exit_code, result.stdout, result.stderr)


def health(called: Called) -> list[dict[str, Any]]:
    remarks = called.document["environments"]["prod"]["remarks"]
    return [one for one in remarks if one["topic"] == "health"]


@pytest.mark.versions
def test_a_database_that_is_well_has_one_line(database: servers.Database) -> None:
    called = diagnose(database.dsn, "--json")
    (remark,) = health(called)
    assert (remark["level"], remark["remedy"]) == ("ok", [])
    assert remark["text"].startswith("nothing found, by ")
    assert called.code == 0


def test_each_finding_has_the_statement_that_mends_it(database: servers.Database) -> None:
    database.execute("CREATE INDEX twice ON jobs (id)")
    with database.connect(autocommit=False) as connection:
        connection.execute("SELECT 1")
        called = diagnose(database.dsn, "--json", **AT_ONCE)
        idle, twice = health(called)
        assert (idle["level"], idle["facts"]["severity"], idle["queue"]) == ("advice", "warning", None)
        assert (twice["level"], twice["facts"]["reading"], twice["queue"]) == (
            "info",
            "duplicate_indexes",
            "mail",
        )
        assert called.code == 0, "the guard can do its work"
        shown = diagnose(database.dsn, **AT_ONCE).out
        for one in (idle, twice):
            assert one["text"].partition(" for ")[0] in shown
            for statement in one["remedy"]:
                assert f"      {statement}\n" in shown
                database.execute(statement)
        assert connection.closed or connection.broken or not _answers(connection)
    assert [one["level"] for one in health(diagnose(database.dsn, "--json", **AT_ONCE))] == ["ok"]


def test_what_is_critical_is_wrong_and_what_nobody_wants_to_know_is_not_told(
    database: servers.Database,
) -> None:
    critical = {"QUEUEWARDEN_RULE__IDLE_IN_TRANSACTION_CRITICAL__THRESHOLD": "0.002"}
    silent = {
        "QUEUEWARDEN_RULE__IDLE_IN_TRANSACTION__ENABLED": "false",
        "QUEUEWARDEN_RULE__IDLE_IN_TRANSACTION_CRITICAL__ENABLED": "false",
    }
    with database.connect(autocommit=False) as connection:
        connection.execute("SELECT 1")
        called = diagnose(database.dsn, "--json", **AT_ONCE, **critical)
        assert [one["level"] for one in health(called)] == ["wrong"]
        assert called.code == 1
        assert [one["level"] for one in health(diagnose(database.dsn, "--json", **silent))] == ["ok"]


def _answers(connection: Any) -> bool:
    try:
        connection.execute("SELECT 1")
    except Exception:  # noqa: BLE001 -- however it ended
        return False
    return True
