"""Commands by hand on a database with a ledger, and a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ledgers
import pytest
from click.testing import CliRunner
from commands_kit import MAIL, Called
from fresh_logging import restored_logging
from page.conftest import browser  # noqa: F401 -- a fixture

from queuewarden.application.cli import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    with restored_logging():
        yield


@pytest.fixture
def ledger(databases: Callable[..., Database]) -> Database:
    return databases(ledgers.SCHEMA)


@pytest.fixture
def call() -> Callable[..., Called]:
    """Calls a command with these variables."""

    def _call(*arguments: str, **variables: str) -> Called:
        result = CliRunner().invoke(cli, arguments, env=MAIL | variables)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Called(result.exit_code, result.stdout, result.stderr)

    return _call


@pytest.fixture
def mail(ledger: Database, call: Callable[..., Called]) -> Callable[..., Called]:
    """Calls a command for environment prod, which has queue mail."""
    return lambda *arguments, **variables: call(
        *arguments, **({"QUEUEWARDEN_ENV__PROD__DSN": ledger.dsn} | variables)
    )
