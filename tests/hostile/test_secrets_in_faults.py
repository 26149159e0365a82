"""Connection strings in every spelling, right and wrong: no command and no error repeats a password."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from queuewarden.adapters.db.connect import connect
from queuewarden.application.cli import cli
from queuewarden.errors import UnavailableError

from .passwords import ALL, BAD, GOOD, LEFT, RIGHT, SIGNS, leaks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PASSWORDS = [LEFT + sign + RIGHT for sign in SIGNS] + [ALL]
COMMANDS = (("config", "validate"), ("config", "show"), ("config", "show", "--json"))


def told(variables: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code of a command and all that it said, its error's own text included."""
    result = CliRunner().invoke(cli, arguments, env=variables)
    return result.exit_code, f"{result.output}{result.exception!r}"


def failure(dsn: str) -> str:
    """The error of connecting, with all that a traceback shows of what led to it."""

    async def work() -> None:
        second = timedelta(seconds=1)
        connection = await connect(
            dsn, application_name="queuewarden/test", connect_timeout=second, statement_timeout=second
        )
        await connection.close()

    with pytest.raises(UnavailableError) as raised:
        asyncio.run(work())
    error: BaseException | None = raised.value
    texts = []
    while error is not None:
        texts.append(f"{error!r} {error}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


@pytest.mark.parametrize("password", PASSWORDS)
def test_spellings_that_are_right(password: str) -> None:
    for spell in GOOD:
        variables = {"QUEUEWARDEN_DSN": spell(password)}
        for command in COMMANDS:
            code, said = told(variables, *command)
            assert code == 0
            assert leaks(said) == []
        reason = failure(spell(password))
        assert "connection refused" in reason
        assert leaks(reason) == []


@pytest.mark.parametrize("password", PASSWORDS)
def test_spellings_that_are_wrong(password: str) -> None:
    for spell in BAD:
        variables = {"QUEUEWARDEN_DSN": spell(password)}
        for command in COMMANDS:
            assert leaks(told(variables, *command)[1]) == []
        assert leaks(failure(spell(password))) == []


@pytest.mark.parametrize("spell", BAD)
def test_a_file_that_is_wrong_is_named_and_not_quoted(tmp_path: Path, spell: Callable[[str], str]) -> None:
    file = tmp_path / "dsn"
    file.write_text(spell(ALL))
    variables = {"QUEUEWARDEN_ENV__PROD__DSN_FILE": str(file)}
    for command in (*COMMANDS, ("check",), ("diagnose",)):
        assert leaks(told(variables, *command)[1]) == []


@pytest.mark.parametrize(
    "name",
    ["DNS", "ENV__PROD__PASSWORD", "ENV_PROD_DSN", "QUEUE__MAIL__DSN"],
)
@pytest.mark.parametrize("spell", [*GOOD, *BAD])
def test_a_variable_that_is_misspelt(name: str, spell: Callable[[str], str], tmp_path: Path) -> None:
    for variables, arguments in _given(name, spell(ALL), tmp_path):
        code, said = told(variables, "config", "validate", *arguments)
        assert code == 78
        assert leaks(said) == []


def _given(name: str, value: str, tmp_path: Path) -> list[tuple[dict[str, str], tuple[str, ...]]]:
    """By the environment, and by a file in each kind of quotes."""
    right = {"QUEUEWARDEN_DSN": "host=h"}
    ways: list[tuple[dict[str, str], tuple[str, ...]]] = [(right | {f"QUEUEWARDEN_{name}": value}, ())]
    for number, quote in enumerate(["", "'", '"']):
        file = tmp_path / f"{number}.env"
        file.write_text(f"QUEUEWARDEN_{name}={quote}{value}{quote}\n")
        ways.append((right, ("--config", str(file))))
    return ways


@pytest.mark.parametrize("value", [ALL, *(spell(ALL) for spell in (*GOOD, *BAD))])
def test_a_password_where_something_else_belongs(value: str, tmp_path: Path) -> None:
    right = {"QUEUEWARDEN_DSN": "host=h"}
    mapping = {"QUEUEWARDEN_QUEUE__MAIL__PRESET": "extraction"}
    everywhere: list[dict[str, Any]] = [
        {"QUEUEWARDEN_LOG_LEVEL": value},
        {"QUEUEWARDEN_BATCH": value},
        {"QUEUEWARDEN_STATUS_FILE": value},
        {"QUEUEWARDEN_ENV__PROD__DSN_FILE": value},
        {"QUEUEWARDEN_CONFIG_FILE": value},
        {"QUEUEWARDEN_ENV__DEFAULT__QUEUES": value},
        {**mapping, "QUEUEWARDEN_QUEUE__MAIL__JOBS__TIME_ZONE": value},
        {"QUEUEWARDEN_QUEUE__MAIL__PRESET": value},
        {**mapping, "QUEUEWARDEN_QUEUE__MAIL__POSITIONS__ORDER_BY": value},
        {**mapping, "QUEUEWARDEN_QUEUE__MAIL__WORKERS__REGISTERED_IN": value},
    ]
    for variables in everywhere:
        code, said = told(right | variables, "config", "validate")
        assert code == 78, variables
        assert leaks(said) == [], variables
