"""The real process: exit codes, completion, terminals, interruption."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import pytest
from commands_kit import MAIL, MESS, UNREACHABLE, own_environment
from eventually import eventually

from queuewarden.application import by_hand, cli
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

COMMAND = (sys.executable, "-m", "queuewarden")


def ends(monkeypatch: pytest.MonkeyPatch, error: Exception) -> object:
    """How the console script ends where a command raises an error."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_an_error_that_nobody_expected_is_70_on_one_line_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(monkeypatch, ValueError("postgresql://u:geheim@host/db\nis odd")) == 70
    err = capsys.readouterr().err
    assert err.startswith("queuewarden: internal error: ValueError")
    assert "geheim" not in err
    assert len(err.splitlines()) == 1


def test_a_database_that_fails_a_command_is_69(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(monkeypatch, UnavailableError("environment prod: connection refused")) == 69
    assert capsys.readouterr().err == "queuewarden: environment prod: connection refused\n"


def test_whoever_interrupts_while_a_command_is_imported_has_found_nothing(
    monkeypatch: pytest.MonkeyPatch, call: Callable
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)
    assert call("check").code == 130


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_changes_no_exit_code(closed: str) -> None:
    environment = own_environment() | {"QUEUEWARDEN_DSN": UNREACHABLE}
    command = ["sh", "-c", f'"$@" check {closed}', "sh", *COMMAND]
    called = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert called.returncode == 69, called.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, call: Callable) -> None:
    called = call("completion", shell)
    assert called.code == 0
    assert "_QUEUEWARDEN_COMPLETE" in called.out
    assert call("completion", SHELL=f"/usr/bin/{shell}").out == called.out


def test_completion_for_a_shell_that_nobody_knows(call: Callable) -> None:
    assert call("completion", SHELL="/bin/false").code == 2
    assert call("completion", "tcsh").code == 2


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("queuewarden di", {"diagnose"}),
        ("queuewarden check --env ", {"prod", "preview"}),
        ("queuewarden check --env pre", {"preview"}),
        ("queuewarden check --queue ", {"mail"}),
        ("queuewarden repair --only po", {"positions"}),
        ("queuewarden completion f", {"fish"}),
    ],
)
def test_names_complete(words: str, wanted: set[str]) -> None:
    environment = own_environment(
        _QUEUEWARDEN_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(words.count(" ")),
        QUEUEWARDEN_ENV__PROD__DSN="dbname=unused",
        QUEUEWARDEN_ENV__PREVIEW__DSN="dbname=unused",
        **MAIL,
    )
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == wanted
    assert done.stderr == ""


def test_completion_is_silent_about_a_configuration_that_is_wrong() -> None:
    environment = own_environment(
        _QUEUEWARDEN_COMPLETE="bash_complete",
        COMP_WORDS="queuewarden check --env ",
        COMP_CWORD="3",
        QUEUEWARDEN_NONSENSE="1",
    )
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_on_a_terminal_there_are_colours_and_without_one_there_are_none(database: servers.Database) -> None:
    database.execute(MESS)
    environment = own_environment(QUEUEWARDEN_ENV__PROD__DSN=database.dsn, TERM="xterm", **MAIL)
    seen = on_a_terminal(environment)
    assert "\x1b[31m" in seen
    assert "stuck_jobs" in seen
    assert "\x1b[31m" not in on_a_terminal(environment | {"NO_COLOR": "1"})


def on_a_terminal(environment: dict[str, str]) -> str:
    """What `check` shows to a person."""
    ours, theirs = pty.openpty()
    with subprocess.Popen((*COMMAND, "check"), env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 4096):
                seen += piece
        except OSError:
            pass  # Linux's way to say that the other side is closed
        os.close(ours)
        assert process.wait(30) == 1
    return seen.decode()


@pytest.mark.slow
def test_whoever_interrupts_does_not_wait_for_a_frozen_server(own_server: servers.OwnServer) -> None:
    with own_server.database() as database:
        database.execute(
            "CREATE FUNCTION forever() RETURNS bool LANGUAGE sql AS 'SELECT pg_sleep(60) IS NULL';"
            "CREATE VIEW jobs AS SELECT 1 AS id, 'waiting' AS status WHERE forever()"
        )
        environment = own_environment(
            QUEUEWARDEN_ENV__PROD__DSN=database.dsn,
            QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE="jobs",
            QUEUEWARDEN_QUEUE__MAIL__JOBS__ID="id",
            QUEUEWARDEN_QUEUE__MAIL__JOBS__STATUS="status",
            QUEUEWARDEN_QUEUE__MAIL__STATES__WAITING="waiting",
            QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING="running",
        )
        with subprocess.Popen(
            (*COMMAND, "check"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            eventually(
                lambda: (
                    database.value(
                        "SELECT count(*) FROM pg_stat_activity"
                        " WHERE application_name = 'queuewarden/prod' AND wait_event = 'PgSleep'"
                    )
                    == 1
                )
            )
            own_server.freeze()
            try:
                process.send_signal(signal.SIGINT)
                assert process.wait(10) != 0
            finally:
                own_server.thaw()


@pytest.mark.slow
def test_a_standby_is_a_database_that_cannot_be_used(own_server: servers.OwnServer, call: Callable) -> None:
    with own_server.database(kit.SCHEMA) as database:
        variables = {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn, **MAIL}
        data = Path(database.value("SHOW data_directory"))
        own_server.halt()
        (data / "standby.signal").touch()
        own_server.launch()
        try:
            commands = ("check",), ("repair",), ("reset", "--env", "prod"), ("diagnose",), ("backup", "run")
            for command in commands:
                called = call(*command, **variables)
                assert called.code == 69
                assert "environment prod: a standby" in called.err
        finally:
            own_server.halt()
            (data / "standby.signal").unlink()
            own_server.launch()


def test_the_caller_is_known_by_name_or_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert by_hand.caller() == f"{os.getuid()} (sudo by alice)"
    monkeypatch.delenv("SUDO_USER")
    assert by_hand.caller() == str(os.getuid())
