from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from queuewarden.application.commands.options import config_option, load_or_exit, with_configuration
from queuewarden.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from queuewarden.settings.configuration import Configuration


@click.command()
@with_configuration
@click.option("--loud", is_flag=True)
def environments(configuration: Configuration, *, loud: bool) -> None:
    """Names the environments."""
    names = ",".join(one.name for one in configuration.environments)
    click.echo(names.upper() if loud else names)


@click.command()
@config_option
def quiet(config_file: Path | None) -> None:
    click.echo(load_or_exit(config_file, announce=False).configuration.source)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> Any:
    monkeypatch.setattr(load, "explain", partial(load.explain, default_file=nowhere, credentials=nowhere))
    monkeypatch.setattr("os.environ", {"QUEUEWARDEN_ENV__PROD__DSN": "host=h"})
    return CliRunner().invoke


def test_a_command_gets_the_configuration_and_says_its_source(run: Any) -> None:
    result = run(environments, ["--loud"])
    assert (result.exit_code, result.stdout) == (0, "PROD\n")
    assert result.stderr == "queuewarden: configuration from environment\n"


def test_the_file_is_read(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    file.write_text("QUEUEWARDEN_ENV__DEV__DSN=host=d\n")
    result = run(environments, ["--config", str(file)])
    assert result.stdout == "dev,prod\n"
    assert result.stderr == f"queuewarden: configuration from environment, {file}\n"


def test_a_fault_ends_the_command_with_78(run: Any, tmp_path: Path) -> None:
    result = run(environments, ["--config", str(tmp_path / "missing")])
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith(f"queuewarden: {tmp_path}/missing: cannot be read")


def test_the_source_is_not_always_announced(run: Any) -> None:
    result = run(quiet, [])
    assert (result.stdout, result.stderr) == ("environment\n", "")


def test_help_tells_of_the_option(run: Any) -> None:
    assert "--config FILE" in run(environments, ["--help"]).stdout
