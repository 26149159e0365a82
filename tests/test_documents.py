"""What the documents tell people to put into a configuration file is accepted as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psycopg
import pytest

from queuewarden.application.cli import cli
from queuewarden.engine.alerting.defaults import RULES
from queuewarden.settings import envfile
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = (CHECKOUT / "README.md", *sorted((CHECKOUT / "config").glob("*.md")))
_BLOCK = re.DOTALL | re.MULTILINE
DSN = "QUEUEWARDEN_DSN=host=db.example.com dbname=app\n"


def blocks(document: Path) -> Iterator[str]:
    for block in re.findall(r"^```sh\n(.*?)^```$", document.read_text(), _BLOCK):
        if re.search(r"^#?QUEUEWARDEN_", block, re.MULTILINE):
            yield block


CONFIGURATIONS = [
    pytest.param(block, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(blocks(document), start=1)
]


def loaded(text: str, folder: Path) -> Any:
    file = folder / "given.env"
    file.write_text(text)
    return load({}, file, default_file=folder / "none", credentials=folder / "none")


def test_the_readme_shows_how_to_configure_and_how_to_map() -> None:
    assert len(list(blocks(CHECKOUT / "README.md"))) >= 2


@pytest.mark.parametrize("block", CONFIGURATIONS)
def test_a_documented_configuration_is_valid(block: str, tmp_path: Path) -> None:
    dsn = "" if "DSN=" in block else DSN
    assert loaded(block + dsn, tmp_path).environments


@pytest.mark.parametrize("block", CONFIGURATIONS)
def test_no_documented_value_has_a_comment_in_it(block: str) -> None:
    assert [one.key for one in envfile.parse(block) if "#" in one.value] == []


def test_the_documented_mapping_has_what_retry_needs(tmp_path: Path) -> None:
    [mapping] = [block for block in blocks(CHECKOUT / "README.md") if "__JOBS__TABLE" in block]
    [queue] = loaded(mapping + DSN, tmp_path).environments[0].queues
    assert queue.states.failed
    assert queue.states.done
    assert queue.jobs.finished_at


def test_the_sql_for_workers_runs_on_the_tables_that_the_readme_maps(database: Any, tmp_path: Path) -> None:
    [mapping] = [block for block in blocks(CHECKOUT / "README.md") if "__JOBS__TABLE" in block]
    [queue] = loaded(mapping + DSN, tmp_path).environments[0].queues
    jobs, workers = queue.jobs, queue.workers
    statements = re.findall(r"^```sql\n(.*?)^```$", (CHECKOUT / "config/workers.md").read_text(), _BLOCK)
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {jobs.table.schema}")
        connection.execute(
            f"CREATE TABLE {jobs.table} ({jobs.id[0]} int PRIMARY KEY, {jobs.status} text,"
            f" {jobs.worker} text, {jobs.attempts} int DEFAULT 0, {jobs.started_at} timestamptz,"
            f" {jobs.finished_at} timestamptz)"
        )
        connection.execute(f"INSERT INTO {jobs.table} VALUES (17, '{queue.states.waiting[0]}')")
        connection.execute(
            f"CREATE TABLE {workers.table} ({workers.id} text PRIMARY KEY, {workers.heartbeat} timestamptz)"
        )
        connection.execute(f"INSERT INTO {workers.table} VALUES ('w1', NULL)")
        claim, beat, finish = statements
        assert connection.execute(claim).rowcount == 1
        assert connection.execute(beat).rowcount == 1
        assert connection.execute(finish).rowcount == 0
        connection.execute(f"UPDATE {jobs.table} SET started_at = '2026-01-02 03:04:05.678901+00'")
        assert connection.execute(finish).rowcount == 1
        after = connection.execute(f"SELECT {jobs.status} FROM {jobs.table}").fetchone()
    assert after == (queue.states.done[0],)


def test_the_documented_way_back_asks_whether_there_is_a_previous_version() -> None:
    text = (CHECKOUT / "config/systemd.md").read_text()
    [command] = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "ln -sfnT" in block]
    assert command.startswith("test -e /opt/queuewarden/previous &&\n")


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(one.read_text(), id=one.name) for one in DOCUMENTS),
        *(pytest.param(rule.hint, id=rule.name) for rule in RULES),
    ],
)
def test_a_command_that_somebody_is_told_to_run_is_there(text: str) -> None:
    blocks = "".join(re.findall(r"^```\w+\n(.*?)^```$", text, _BLOCK))
    told = [*re.findall(r"`(queuewarden [^`]+)`", text), *blocks.splitlines()]
    for line in told:
        if (match := re.match(r"(?:\$ |sudo )?queuewarden ([a-z]+)(?: ([a-z]+))?", line)) is None:
            continue
        name, word = match.groups()
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        if word and isinstance(command, click.Group):
            assert word in command.commands, f"{name} {word}"
