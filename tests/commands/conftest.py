"""Commands by hand, called as the shell calls them, on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kit
import pytest
from click.testing import CliRunner
from commands_kit import MAIL, Called
from fresh_logging import restored_logging

from queuewarden.application.cli import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Commands that write set up the log of the whole process."""
    with restored_logging():
        yield


@pytest.fixture
def call() -> Callable[..., Called]:
    """Calls a command with these variables."""

    def _call(*arguments: str, **variables: str) -> Called:
        result = CliRunner().invoke(cli, arguments, env=variables)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Called(result.exit_code, result.stdout, result.stderr)

    return _call


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.fixture
def mail(database: servers.Database, call: Callable[..., Called]) -> Callable[..., Called]:
    """Calls a command for environment prod, which has queue mail."""

    def _call(*arguments: str, **variables: str) -> Called:
        return call(*arguments, **({"QUEUEWARDEN_ENV__PROD__DSN": database.dsn} | MAIL | variables))

    return _call
