"""Real processes with passwords in every spelling: nothing that they say or show holds any part of one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest
import servers
from commands_kit import MAIL, own_environment
from daemons import Daemon
from eventually import eventually
from psycopg.conninfo import conninfo_to_dict

from .passwords import ALL, BAD, GOOD, LEFT, RIGHT, leaks, uri

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = (
    ("check",),
    ("check", "--json"),
    ("repair", "--no-grace"),
    ("reset", "--env", "keywords"),
    ("diagnose", "--json"),
    ("diagnose",),
    ("config", "show"),
    ("config", "show", "--json"),
    ("config", "validate"),
    ("status",),
    ("status", "--json"),
)
CRASHING = """
import psycopg
async def connect(conninfo, **options):
    try:
        raise ValueError(f"cannot use {conninfo}")
    except ValueError as error:
        raise RuntimeError(f"tried {URI} and {conninfo!r}") from error
psycopg.AsyncConnection.connect = connect
from queuewarden.application.cli import main
main()
"""
"""A program in which the driver fails as nobody foresaw, with the connection string in its message."""


@pytest.fixture(scope="module")
def scram() -> Iterator[servers.Database]:
    """A database whose server wants the password."""
    source = next(iter(servers.own_sources()), None)
    if source is None:
        pytest.skip("no PostgreSQL binaries here that a test could start: install some, or the wheel")
    with contextlib.closing(servers.start_own(source)) as server, server.database(kit.SCHEMA) as database:
        with database.connect() as admin:
            admin.execute(psycopg.sql.SQL("CREATE ROLE guarded LOGIN PASSWORD {}").format(ALL))
            admin.execute("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO guarded")
            hba = Path(database.value("SHOW hba_file"))
            hba.write_text("local all guarded scram-sha-256\nlocal all all trust\n", encoding="ascii")
            server.reload()
        yield database


@pytest.fixture
def variables(scram: servers.Database, tmp_path: Path) -> dict[str, str]:
    """An environment for each spelling: right ones, wrong ones, ones that reach nobody."""
    place = conninfo_to_dict(scram.dsn)
    there = f"host={place['host']} port={place['port']} dbname={scram.name} user=guarded"
    escaped = ALL.replace("\\", "\\\\").replace("'", "\\'")
    (tmp_path / "passfile").write_text(
        f"*:*:*:*:{ALL.replace(chr(92), chr(92) * 2).replace(':', chr(92) + ':')}\n"
    )
    (tmp_path / "passfile").chmod(0o600)
    (tmp_path / "dsn").write_text(uri(ALL))
    (tmp_path / "broken").write_text(BAD[0](ALL))
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "dsn_credential").write_text(f"{there} password='{escaped}'")
    return {
        **{f"QUEUEWARDEN_ENV__LOST{number}__DSN": spell(ALL) for number, spell in enumerate(GOOD)},
        "QUEUEWARDEN_ENV__KEYWORDS__DSN": f"{there} password='{escaped}' sslpassword='{escaped}'",
        "QUEUEWARDEN_ENV__WRONG__DSN": f"{there} password='{escaped}{RIGHT}'",
        "QUEUEWARDEN_ENV__PASSFILE__DSN": f"{there} passfile={tmp_path}/passfile",
        "QUEUEWARDEN_ENV__FILE__DSN_FILE": f"{tmp_path}/dsn",
        "QUEUEWARDEN_ENV__BROKEN__DSN_FILE": f"{tmp_path}/broken",
        "CREDENTIALS_DIRECTORY": f"{tmp_path}/credentials",
        "PGSSLPASSWORD": ALL,
        "QUEUEWARDEN_STATUS_FILE": f"{tmp_path}/status.json",
        "QUEUEWARDEN_INTERVAL": "500ms",
        "QUEUEWARDEN_STATUS_EVERY": "500ms",
        "QUEUEWARDEN_CONNECT_TIMEOUT": "10s",
        "QUEUEWARDEN_LOG_LEVEL": "debug",
        **MAIL,
    }


UP = {"keywords", "passfile", "credential"}
DOWN = {
    "wrong": "password refused",
    "lost0": "connection refused",
    "broken": "not a libpq URI",
    "file": "refused",
}


@pytest.mark.parametrize("style", ["json", "console"])
def test_the_daemon(
    variables: dict[str, str], tmp_path: Path, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_environment(**variables, QUEUEWARDEN_LOG_FORMAT=style).items():
        monkeypatch.setenv(name, value)
    daemon = Daemon({})
    try:
        status = tmp_path / "status.json"

        def all_told() -> bool:
            told = "".join(daemon.lines)
            return status.exists() and all(
                name in told and text in told
                for name, text in [*DOWN.items(), *((name, "up") for name in UP)]
            )

        eventually(all_told, seconds=40, what="every environment is up or down")
        eventually(lambda: "".join(daemon.lines).count("sweep.done") >= 2 * len(UP), what="sweeps")
        process = Path(f"/proc/{daemon.process.pid}")
        shown = [process.joinpath(name).read_bytes() for name in ("cmdline", "comm", "status")]
        shown += [status.read_bytes()]
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "config.reloaded" in "".join(daemon.lines), what="reloaded")
        assert daemon.end() == 0
    finally:
        daemon.close()
    assert leaks(*daemon.lines, *shown) == []
    assert all(text in "".join(daemon.lines) for text in DOWN.values())


def called(
    variables: dict[str, str], *arguments: str, program: tuple[str, ...] = ("-m", "queuewarden")
) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *program, *arguments],
        env=own_environment(**variables),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command(variables: dict[str, str], command: tuple[str, ...]) -> None:
    code, said = called(variables, *command)
    assert code in (0, 1, 69)
    assert leaks(said) == []
    assert "***" in said or command[:2] != ("config", "show")
    if command[0] in ("check", "diagnose"):
        assert all(text in said for text in DOWN.values())


@pytest.mark.parametrize("command", [("run",), ("config", "validate"), ("check",)], ids=" ".join)
def test_malformed_ones_all_at_once(command: tuple[str, ...]) -> None:
    wrong = {f"QUEUEWARDEN_ENV__BAD{number}__DSN": spell(ALL) for number, spell in enumerate(BAD)}
    code, said = called({**wrong, "QUEUEWARDEN_DNS": ALL, "QUEUEWARDEN_BATCH": uri(ALL)}, *command)
    assert code == 78
    assert len(said.splitlines()) >= 10
    assert leaks(said) == []


def test_a_crash_of_a_command(variables: dict[str, str]) -> None:
    code, said = called(variables, "check", program=("-c", CRASHING.replace("URI", repr(uri(ALL)), 1)))
    assert code == 70
    assert "RuntimeError" in said
    assert leaks(said) == []


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_crash_in_the_daemon(
    variables: dict[str, str], style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_environment(**variables, QUEUEWARDEN_LOG_FORMAT=style).items():
        monkeypatch.setenv(name, value)
    daemon = Daemon({}, program=("-c", CRASHING.replace("URI", repr(uri(ALL)), 1)))
    try:
        eventually(lambda: "RuntimeError" in "".join(daemon.lines), what="the error is told")
        assert daemon.end() == 0
    finally:
        daemon.close()
    assert leaks(*daemon.lines) == []


def test_a_leak_would_be_found() -> None:
    assert len(leaks(ALL, uri(ALL).encode(), LEFT[:-1], f"x{RIGHT.lower()}")) == 5
