"""Escape sequences and huge texts in rows: shown, never obeyed, on lines of bounded length."""

from __future__ import annotations

import asyncio
import io
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import pytest
from click.testing import CliRunner

from queuewarden.adapters import logging
from queuewarden.adapters.logging.journal import Journal
from queuewarden.application.cli import cli
from queuewarden.application.narrator import Narrator
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import OrderTerm, Positions, Reference, TableName

from .conftest import VARIABLES
from .terminals import ESCAPES, RIGHT_TO_LEFT, harmless_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database

    from queuewarden.engine.report import SweepReport

SCHEMA = """
CREATE SCHEMA app;
CREATE TABLE app.parents (id text);
CREATE TABLE app.workers (id text PRIMARY KEY, status text NOT NULL DEFAULT 'idle', heartbeat timestamptz);
CREATE TABLE app.jobs (
    id text PRIMARY KEY, status text NOT NULL DEFAULT 'waiting', worker text,
    started_at timestamptz, enqueued_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz,
    updated_at timestamptz, attempts int NOT NULL DEFAULT 0, max_attempts int, error text, label text,
    lane text, position int, priority int NOT NULL DEFAULT 0, parent text);
INSERT INTO app.parents VALUES ('here');
"""
ROWS = (
    """
INSERT INTO app.workers (id, status, heartbeat) VALUES
    ('dead' || left(%(text)s, 600), 'busy', now() - interval '1 hour'),
    ('zombie' || left(%(text)s, 600), 'offline', now())""",
    """
INSERT INTO app.jobs (id, status, worker, started_at, lane, error, label, enqueued_at, parent, position)
SELECT name || left(%(text)s, 600), status,
       CASE WHEN status = 'running' THEN worker || left(%(text)s, 600) END,
       CASE WHEN status <> 'waiting' THEN now() - age END, lane || %(text)s, %(text)s, %(text)s,
       now() - interval '3 hours', CASE WHEN lane <> 'd' THEN %(text)s END, position
  FROM (VALUES ('of the dead', 'running', 'dead', interval '1 hour', 'a', NULL::int),
               ('nobody''s', 'running', 'gone', interval '1 hour', 'b', NULL),
               ('one', 'running', 'zombie', interval '1 minute', 'c', NULL),
               ('two', 'running', 'zombie', interval '1 second', 'c', NULL),
               ('next', 'waiting', NULL, interval '1 hour', 'd', 7),
               ('over next', 'waiting', NULL, interval '1 hour', 'd', 7),
               ('orphan', 'waiting', NULL, interval '1 hour', 'f', 1),
               ('undated', 'done', NULL, interval '1 minute', 'e', NULL))
       AS row (name, status, worker, age, lane, position)""",
)
MAPPING = replace(
    kit.jobs_mapping(table=TableName("jobs", "app"), updated_at="updated_at", label=("label", "error")),
    workers=replace(kit.MAPPING.workers, table=TableName("workers", "app"), current_job=None)
    if kit.MAPPING.workers is not None
    else None,
    positions=Positions("position", (OrderTerm("enqueued_at"),), ("lane",), 1, demote=True),
    references=(Reference("parent", TableName("parents", "app"), "id"),),
    timestamps=(("done", "finished_at"),),
)
TEXTS = {**ESCAPES, "right to left": RIGHT_TO_LEFT}
HUGE = ('password="' + "\\" * 1000 + "\x1b[31m\u202e" + "ש\n") * 1_000
"""1 MB of what a terminal obeys, and of what a reader of secrets may run away with."""
GROUPS = {
    "some": dict(list(TEXTS.items())[::2]),
    "others": dict(list(TEXTS.items())[1::2]),
}
LONGEST = 600
"""Characters of a line that commands print; most keep to 160."""
LONGEST_CONSOLE = 5_000
LONGEST_JSON = 60_000
"""Of one event in the log: twenty jobs, each with what names it, every character of it an escape."""


@pytest.fixture(params=GROUPS)
def rows(request: pytest.FixtureRequest, databases: Callable[..., Database]) -> Database:
    """A queue in which everything that a row can hold is hostile, and everything is out of order."""
    return filled(databases(SCHEMA), *GROUPS[request.param].values())


def filled(database: Database, *texts: str) -> Database:
    with database.connect() as connection, connection.transaction():
        for text in texts:
            for statement in ROWS:
                connection.execute(statement, {"text": text})
    return database


def call(database: Database, *arguments: str, code: int | None = None) -> tuple[str, str]:
    given = VARIABLES | {
        "QUEUEWARDEN_ENV__PROD__DSN": database.dsn,
        "QUEUEWARDEN_QUEUE__MAIL__JOBS__LABEL": "label, error",
        "QUEUEWARDEN_LOG_FORMAT": "console",
    }
    result = CliRunner().invoke(cli, arguments, env=given)
    assert result.exit_code in ((0, 1) if code is None else (code,)), result.output[:1000]
    return result.stdout, result.stderr


def lines(*texts: str) -> Iterator[str]:
    for text in texts:
        yield from text.split("\n")


def obeyed(text: str, longest: int = LONGEST) -> list[str]:
    """Lines that a terminal would obey or that have no end."""
    return [ascii(line[:200]) for line in lines(text) if not harmless_line(line) or len(line) > longest]


def test_commands(rows: Database) -> None:
    for command in (
        ("diagnose",),
        ("check",),
        ("repair", "--dry-run", "--no-grace"),
        ("reset", "--env", "prod", "--dry-run"),
        ("retry", "--env", "prod", "--dry-run"),
        ("repair", "--no-grace"),
    ):
        out, err = call(rows, *command)
        assert obeyed(out) == [], command
        assert obeyed(err, LONGEST_CONSOLE) == [], command
        assert "found" in out or command[0] == "diagnose"


def test_huge_texts(databases: Callable[..., Database]) -> None:
    database = filled(databases(SCHEMA), HUGE)
    for command in (("check",), ("repair", "--no-grace")):
        out, err = call(database, *command)
        assert obeyed(out) == [], command
        assert obeyed(err, LONGEST_CONSOLE) == [], command
    out, _ = call(database, "check", "--json")
    assert obeyed(out, LONGEST_JSON) == []


def test_a_lane_that_is_not_there(rows: Database) -> None:
    for command in ("check", "repair"):
        out, err = call(rows, command, "--lane", "a\x1b[31m", code=2)
        assert out == ""
        assert obeyed(err, LONGEST_CONSOLE) == []
        assert "unknown lane" in err


def test_json_of_commands(rows: Database) -> None:
    for command in (("check",), ("diagnose",), ("repair", "--dry-run", "--no-grace")):
        out, err = call(rows, *command, "--json")
        assert [line for line in lines(out) if not harmless_line(line)] == []
        assert obeyed(err) == []
        json.loads(out)


async def swept(database: Database) -> SweepReport:
    return await kit.sweep_async(database.dsn, MAPPING, sweeper=Sweeper("prod"))


@pytest.mark.parametrize("style", ["console", "json"])
def test_log_lines(rows: Database, style: Any) -> None:
    stream = io.StringIO()
    logging.configure("debug", style, stream=stream)
    report = asyncio.run(swept(rows))
    Narrator("prod").tell(report)
    Narrator("prod").drifted("mail", (f"constraint {ESCAPES['CSI']}\n of {'x' * 100_000}",))
    written = stream.getvalue()
    longest = LONGEST_JSON if style == "json" else LONGEST_CONSOLE
    assert [ascii(line[:300]) for line in lines(written) if not harmless_line(line)] == []
    assert max(map(len, lines(written))) <= longest
    assert sum(outcome.mended for outcome in report.queues[0].outcomes) > len(TEXTS)
    for event in ("jobs.reset", "workers.offline", "positions.repaired", "anomaly.raised"):
        assert event in written
    assert json.loads(written.splitlines()[0]) if style == "json" else "prod/mail" in written


def test_the_journal(rows: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []

    def send(_: object, fields: Any) -> None:
        sent.append(dict(fields))

    logging.configure("debug", "journal", stream=io.StringIO())
    monkeypatch.setattr("logging_journald.JournaldTransport.send", send)
    Narrator("prod").tell(asyncio.run(swept(rows)))
    assert isinstance(logging.setup._pipe.sink, Journal)
    assert any("jobs.reset" in fields["MESSAGE"] for fields in sent)
    for fields in sent:
        assert all(map(harmless_line, fields["MESSAGE"].split("\n    "))), ascii(fields["MESSAGE"])
        assert sum(map(len, fields.values())) <= LONGEST_JSON
        # The protocol tells where a field ends: lines and tabs may stand in one.
        assert [
            name for name, text in fields.items() if not all(map(harmless_line, re.split("[\n\t]", text)))
        ] == []
