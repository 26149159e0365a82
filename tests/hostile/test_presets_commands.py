"""Commands and API of queues of libraries, and of such without a status column: nothing breaks on them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from fresh_logging import restored_logging
from library_schemas import DOCUMENTED, ddl
from served import Served

from queuewarden.application.cli import cli
from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import Database

TOLD = ("errors", "failure")
STATES = ("waiting", "running", "done", "failed", "cancelled")
COMMANDED = ("good_job", "laravel", "solid_queue")
ASKED = ("laravel", "que")
"""States told by several columns, by one of whole numbers, by locks, by whether there is a row at all."""
QUEUE = {
    "MODE": "repair",
    "CHECKS": "dead_workers, stuck_jobs, orphans, timestamps, lanes, positions",
}


Library = tuple[str, "Database"]


@pytest.fixture
def library(request: pytest.FixtureRequest, databases: Callable[..., Database]) -> Library:
    name = request.param
    database = databases(ddl(name))
    database.execute((DOCUMENTED / "rows" / f"{name}.sql").read_text("utf-8"))
    database.execute(schema.script())
    return name, database


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("diagnose", "--json"),
    ("check", "--json"),
    ("repair", "--no-grace", "--dry-run", "--out", "{plan}"),
    ("repair", "--no-grace", "--plan", "{plan}"),
    ("reset", "--env", "prod", "--older-than", "1m", "--json"),
    ("reset", "--env", "prod", "--job", "1"),
    ("retry", "--env", "prod", "--since", "9d", "--json"),
    ("repair", "--no-grace", "--json"),
    ("history", "--env", "prod", "--json"),
    ("undo", "--env", "prod", "--since", "1h"),
    ("top", "--once"),
)


@pytest.mark.parametrize("library", COMMANDED, indirect=True)
def test_no_command_breaks(library: Library, tmp_path: Path) -> None:
    name, database = library
    variables = {f"QUEUEWARDEN_QUEUE__Q__{key}": value for key, value in ({"PRESET": name} | QUEUE).items()}
    variables["QUEUEWARDEN_ENV__PROD__DSN"] = database.dsn
    for command in COMMANDS:
        with restored_logging():
            given = [part.format(plan=tmp_path / "plan") for part in command]
            result = CliRunner().invoke(cli, given, env=variables)
        assert isinstance(result.exception, SystemExit | None), (command, result.exception)
        assert result.exit_code in (0, 1, 2), (command, result.output)
        assert "SQLSTATE" not in result.output, (command, result.output)
        if "--json" in command and result.exit_code < 2:
            assert not failures(json.loads(result.stdout)), command


@pytest.mark.parametrize("library", ASKED, indirect=True)
def test_no_endpoint_breaks(library: Library) -> None:
    name, database = library
    settings = {f"QUEUE__Q__{key}": value for key, value in ({"PRESET": name} | QUEUE).items()}
    with contextlib.closing(Served({"ENV__PROD__DSN": database.dsn} | settings)) as api:
        for path, operations in api.json("/api/openapi.json")["paths"].items():
            if "get" not in operations or path.endswith(("/events", "/stream")):
                continue
            parameters = {one["name"] for one in operations["get"].get("parameters", ())}
            place = {key: value for key, value in (("env", "prod"), ("queue", "q")) if key in parameters}
            asked: list[dict[str, Any]] = [place]
            asked += [place | {"state": state} for state in STATES if "state" in parameters]
            for query in asked:
                answer = api.get(path, **query)
                assert answer.status < 500, (path, query, answer.body)
                if answer.status == 200 and answer.headers.get_content_type() == "application/json":
                    assert not failures(answer.json), (path, query)
        assert not failures(api.post("/api/consistency", env="prod", queue="q").json)


def failures(document: Any) -> list[Any]:
    """What a document says went wrong, however deep."""
    if isinstance(document, list):
        return [found for one in document for found in failures(one)]
    if not isinstance(document, dict):
        return []
    own = [one for key, one in document.items() if key in TOLD and one]
    return own + [found for key, one in document.items() if key not in TOLD for found in failures(one)]
