"""Backups of a real database: a place for them, and commands as the shell calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kit
import pytest
from click.testing import CliRunner
from commands_kit import MAIL, Called
from fresh_logging import restored_logging

from queuewarden.application.cli import cli
from queuewarden.application.upkeep.backups.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import servers


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Commands set up the log of the whole process."""
    with restored_logging():
        yield


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    database = databases(kit.SCHEMA)
    database.execute("INSERT INTO jobs (status, label) SELECT 'waiting', 'job' FROM generate_series(1, 30)")
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the backups lie."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def shelf(folder: Path) -> Shelf:
    return Shelf(folder / "prod")


@pytest.fixture
def backup(database: servers.Database, folder: Path) -> Callable[..., Called]:
    """Calls a subcommand of `backup` for environment prod, which has queue mail."""

    def _backup(*arguments: str, **variables: str) -> Called:
        environ = {
            "QUEUEWARDEN_ENV__PROD__DSN": database.dsn,
            "QUEUEWARDEN_BACKUP_DIR": str(folder),
            "QUEUEWARDEN_LOG_LEVEL": "error",
            **MAIL,
            **variables,
        }
        result = CliRunner().invoke(cli, ["backup", *arguments], env=environ)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Called(result.exit_code, result.stdout, result.stderr)

    return _backup


@pytest.fixture
def scratches(database: servers.Database) -> Callable[[], list[str]]:
    """The scratch databases on the server that are of this test."""

    def _scratches() -> list[str]:
        from queuewarden.application.upkeep.backups.scratch import prefix

        there = database.rows("SELECT datname FROM pg_database")
        return [name for (name,) in there if name.startswith(prefix("prod", database.name))]

    return _scratches
