from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commands_kit import MAIL, UNREACHABLE, as_role

from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers


@pytest.mark.versions
def test_it_says_what_it_did(mail: Callable, database: servers.Database) -> None:
    first = mail("install", "--env", "prod")
    assert (first.code, first.out) == (0, "prod: schema queuewarden installed, version 4\n")
    again = mail("install", "--env", "prod")
    assert (again.code, again.out) == (0, "prod: schema queuewarden is there, version 4\n")
    database.execute(
        "DROP TABLE queuewarden.upkeep_runs, queuewarden.samples;"
        " UPDATE queuewarden.schema_version SET version = 3"
    )
    upgraded = mail("install")
    assert upgraded.out == "prod: schema queuewarden upgraded from version 3 to 4\n"
    assert upgraded.code == 0


def test_print_connects_nowhere_and_is_what_installs(call: Callable, databases: Callable) -> None:
    there = {"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE} | MAIL
    printed = call("install", "--print", **there)
    assert printed.code == 0
    assert printed.out == schema.script()
    database = databases()
    for _ in range(2):
        database.execute(printed.out)
    assert database.value("SELECT version FROM queuewarden.schema_version") == schema.VERSION


def test_what_a_role_may_not_do_is_left_to_an_administrator(
    call: Callable, database: servers.Database
) -> None:
    role = f"{database.name}_guard"
    database.execute(f"CREATE ROLE {role}")
    try:
        refused = call("install", **({"QUEUEWARDEN_ENV__PROD__DSN": as_role(database, role)} | MAIL))
    finally:
        database.execute(f"DROP ROLE {role}")
    assert refused.code == 1
    assert "not installed: permission denied for database" in refused.out
    assert "have an administrator apply `queuewarden install --print`" in refused.out
    assert not database.rows("SELECT FROM pg_namespace WHERE nspname = 'queuewarden'")


def test_a_schema_that_is_too_new_is_left_as_it_is(mail: Callable, database: servers.Database) -> None:
    mail("install")
    database.execute("UPDATE queuewarden.schema_version SET version = 9")
    refused = mail("install")
    assert refused.code == 1
    assert refused.out == (
        "prod: schema queuewarden has version 9, this program knows 3 to 5: upgrade queuewarden\n"
    )


def test_a_database_that_is_not_reached(call: Callable) -> None:
    refused = call("install", **({"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE} | MAIL))
    assert refused.code == 69
    assert "geheim" not in refused.out + refused.err


def test_several_at_once_and_the_one_that_is_not_there(
    mail: Callable, databases: Callable, database: servers.Database
) -> None:
    dev = databases()
    told = mail(
        "install",
        QUEUEWARDEN_ENV__DEV__DSN=dev.dsn,
        QUEUEWARDEN_ENV__LOST__DSN=UNREACHABLE,
    )
    assert told.code == 69
    for one in (database, dev):
        assert one.value("SELECT version FROM queuewarden.schema_version") == schema.VERSION


def test_a_misspelt_environment(mail: Callable) -> None:
    refused = mail("install", "--env", "prot")
    assert refused.code == 2
    assert "prod" in refused.err
