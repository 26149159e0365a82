"""Names and words that would be SQL if they were pasted: all does its work, and none of it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from commands_kit import Called
from psycopg import sql
from psycopg.conninfo import make_conninfo

from queuewarden.application.cli import cli
from queuewarden.redact import redact

from .strange import STYLES, Strange
from .terminals import harmless_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

FOUND = {
    "dead_workers": {"of_the_dead", "dead"},
    "stuck_jobs": {"of_the_dead", "stuck"},
    "orphans": {"orphan"},
    "timestamps": {"undated"},
    "lanes": {"too_many"},
    "positions": {"first", "second", "third"},
}
MENDED = {
    "of_the_dead": "waiting",
    "stuck": "waiting",
    "well": "running",
    "too_many": "waiting",
    "third": "waiting",
    "second": "waiting",
    "first": "waiting",
    "undated": "done",
    "broken": "failed",
    "orphan": "cancelled",
}


class Queue:
    """A strange queue in a database, and a guard for it."""

    def __init__(self, database: Database, names: Strange) -> None:
        self.database, self.names, self.dsn = database, names, database.dsn
        database.execute(names.schema)

    def call(self, *arguments: str) -> Called:
        given = {"QUEUEWARDEN_ENV__PROD__DSN": self.dsn} | self.names.variables
        result = CliRunner().invoke(cli, arguments, env=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        called = Called(result.exit_code, result.stdout, result.stderr)
        if arguments[0] == "grants":
            return called  # SQL, in which names stand as they are
        assert [line for line in called.out.split("\n") if not harmless_line(line)] == []
        return called

    def statuses(self) -> dict[str, str]:
        """Status by key, in plain words."""
        plain = {self.names.spelled(word): word for word in [*MENDED, *MENDED.values()]}
        query = sql.SQL("SELECT {}, {}::text FROM {}").format(
            *(sql.Identifier(self.names.spelled(name)) for name in ("id", "status")),
            sql.Identifier(self.names.spelled("app"), self.names.spelled("jobs")),
        )
        return {plain[key]: plain[status] for key, status in self.database.rows(query)}

    def canary_lives(self) -> bool:
        return self.database.value("SELECT to_regclass('public.canary') IS NOT NULL") is True


@pytest.fixture
def queue(databases: Callable[..., Database]) -> Callable[..., Queue]:
    return lambda style, **rest: Queue(databases(), Strange(style, **rest))


def found(called: Called, names: Strange) -> dict[str, set[str]]:
    plain = {redact(names.spelled(key)): key for keys in FOUND.values() for key in keys}
    rows: dict[str, set[str]] = {}
    for check in called.document["environments"]["prod"]["queues"]["mail"]["checks"]:
        rows.setdefault(check["check"], set()).update(plain[row["key"][0]] for row in check["rows"])
    return rows


@pytest.mark.parametrize(
    ("style", "enum"), [(style, number % 2 == 0) for number, style in enumerate(STYLES)], ids=list(STYLES)
)
def test_everything_does_its_work_and_can_be_undone(
    queue: Callable[..., Queue], *, style: str, enum: bool
) -> None:
    one = queue(style, enum=enum)
    before = one.statuses()
    diagnosed = one.call("diagnose", "--json").document["environments"]["prod"]["remarks"]
    topics = {"mapping", "rights"}
    assert [each for each in diagnosed if each["topic"] in topics and each["level"] == "wrong"] == []
    assert found(one.call("check", "--json"), one.names) == FOUND
    assert one.statuses() == before
    assert one.call("install").code == 0
    assert one.call("repair", "--no-grace").code == 0
    assert one.statuses() == MENDED
    assert one.call("check").code == 0
    assert one.call("history", "--env", "prod").code == 0
    assert one.call("history", "--env", "prod", "--csv").code == 0
    undone = one.call("undo", "--env", "prod", "--since", "10m")
    assert undone.code == 0, undone.out
    assert one.statuses() == before
    assert one.canary_lives()


@pytest.mark.parametrize(
    "style", ["semicolons", "quotes", "percent signs", "right to left", "dots and blanks"]
)
def test_commands_for_one_row(queue: Callable[..., Queue], style: str) -> None:
    one = queue(style, enum=True)
    spelled = one.names.spelled
    assert one.call("reset", "--env", "prod", "--worker", spelled("dead")).code == 0
    assert one.statuses()["of_the_dead"] == "waiting"
    assert one.call("reset", "--env", "prod", "--older-than", "5m").code == 0
    assert one.statuses()["stuck"] == "waiting"
    assert one.call("retry", "--env", "prod", "--since", "1d").code == 0
    assert one.statuses()["broken"] == "waiting"
    lane = one.call("repair", "--lane", spelled("d"), "--only", "positions", "--no-grace")
    assert lane.code == 0, lane.out + lane.err
    assert one.call("config", "show", "--json").document["queues"]["mail"]
    assert one.canary_lives()


@pytest.mark.parametrize("style", ["quotes", "percent signs", "63 bytes of others"])
def test_the_advice_on_indexes_can_be_run(queue: Callable[..., Queue], style: str) -> None:
    one = queue(style, enum=True)

    def advised() -> list[str]:
        remarks: list[dict[str, Any]] = one.call("diagnose", "--json").document["environments"]["prod"][
            "remarks"
        ]
        return [line for each in remarks if each["topic"] == "indexes" for line in each["remedy"]]

    statements = advised()
    assert len(statements) >= 4
    for statement in statements:
        one.database.execute(statement)
    assert advised() == []
    assert one.canary_lives()


@pytest.mark.parametrize("style", ["semicolons", "quotes", "both quotes", "percent signs", "right to left"])
def test_the_printed_grants_suffice_and_run_nothing_else(queue: Callable[..., Queue], style: str) -> None:
    one = queue(style, enum=True)
    role = STYLES[style](one.database.name[-6:])
    assert one.call("install").code == 0
    printed = one.call("grants", "--env", "prod", "--role", role)
    assert printed.code == 0
    try:
        one.database.execute(printed.out)
        one.database.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD 'guard'").format(sql.Identifier(role)))
        one.dsn = make_conninfo(one.database.dsn, user=role, password="guard")
        assert one.call("repair", "--no-grace").code == 0
        assert one.statuses() == MENDED
        assert one.canary_lives()
    finally:
        one.database.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))
