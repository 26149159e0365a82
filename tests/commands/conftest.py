"""Commands by hand, called as the shell calls them, on a real database."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import kit
import pytest
from click.testing import CliRunner
from commands_kit import MAIL, Called

from queuewarden.adapters.logging import setup
from queuewarden.application.cli import cli

import structlog  # isort: skip -- the package above decides how it is loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Commands that write set up the log of the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    if setup._pipe is not None:
        setup._pipe.sink.close()
        setup._pipe = None


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
