"""Which programs fit a server, and what they are told where everybody can read it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queuewarden.adapters.postgres import children, dumping
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs both programs, by their versions, where alone they are looked for."""
    places: list[tuple[Path, str]] = []
    monkeypatch.setattr(dumping, "candidates", lambda extra: [*((one, "") for one in extra), *places])

    def _installed(name: str, dump: str, restore: str | None = None) -> Path:
        place = tmp_path / name
        place.mkdir()
        for program, version in (("pg_dump", dump), ("pg_restore", restore or dump)):
            (place / program).write_text(
                f"#!/bin/sh\necho '{program} (PostgreSQL) {version} (a distribution)'\n"
            )
            (place / program).chmod(0o755)
        places.append((place, "machine"))
        return place

    return _installed


def test_the_programs_of_the_servers_own_version_or_else_of_the_next(installed: Callable[..., Path]) -> None:
    installed("new", "18.4")
    middle = installed("middle", "16.14")
    installed("old", "14.2")
    assert [dumping.find_tools(major).version for major in (13, 14, 15, 16, 17, 18)] == [
        "14.2", "14.2", "16.14", "16.14", "18.4", "18.4",
    ]  # fmt: skip
    assert dumping.find_tools(15).directory == middle
    with pytest.raises(
        UnavailableError, match=r"version 19 or later found here \(there is: 14.2, 16.14, 18.4\)"
    ):
        dumping.find_tools(19)


def test_what_is_no_pair_or_no_program_is_passed_over(installed: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"there is: none\); install one"):
        dumping.find_tools(13)
    installed("mixed", "16.1", "15.1")
    (installed("lacking", "16.1") / "pg_restore").unlink()
    (installed("strange", "16.1") / "pg_dump").write_text("#!/bin/sh\necho hello\n")
    wrapper = tmp_path / "pg_wrapper"
    wrapper.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 16.1'\n")
    wrapper.chmod(0o755)
    wrapped = installed("wrapped", "16.1")
    (wrapped / "pg_dump").unlink()
    (wrapped / "pg_dump").symlink_to(wrapper)
    with pytest.raises(UnavailableError, match="there is: none"):
        dumping.find_tools(13)


def test_the_machine_has_some() -> None:
    assert dumping.find_tools(13).major >= 13


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:s3cret%20word@db.example.com:6543/app?sslmode=require",
        "host=db.example.com port=6543 user=me password='s3cret word' dbname=app sslmode=require",
    ],
)
def test_a_password_stands_on_no_command_line(dsn: str) -> None:
    place, secrets = dumping.handed(dsn)
    assert secrets == {"PGPASSWORD": "s3cret word"}
    assert "s3cret" not in place
    for part in ("host=db.example.com", "port=6543", "user=me", "dbname=app", "sslmode=require"):
        assert part in place
    assert "application_name=queuewarden/upkeep" in place
    assert dumping.handed("dbname=app") == (dumping.handed("dbname=app")[0], {})


def test_other_secrets_are_refused_and_not_repeated() -> None:
    with pytest.raises(UnavailableError, match="sslpassword cannot be handed to pg_dump") as refused:
        dumping.handed("dbname=app sslpassword=s3cret")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(UnavailableError, match="connection string not understood") as refused:
        dumping.handed("dbname=app nonsense s3cret")
    assert "s3cret" not in str(refused.value)


def test_an_older_server_need_not_know_what_a_newer_program_sets(
    installed: Callable[..., Path], tmp_path: Path
) -> None:
    place = installed("new", "17.1")
    unknown = 'could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"'
    other = 'could not execute query: ERROR:  relation "jobs" exists'

    def restore(*errors: str, major: int) -> None:
        lines = "".join(f"echo 'pg_restore: error: {error}' >&2\n" for error in errors)
        (place / "pg_restore").write_text(
            f'#!/bin/sh\ncase "$*" in *exit-on-error*) exit 3;; esac\n{lines}exit 1\n'
        )
        with Path(os.devnull).open("rb") as nothing:
            tools = dumping.Tools(place, "17.1")
            asyncio.run(tools.restore("dbname=app", major, nothing, 10))

    restore(unknown, major=15)
    with pytest.raises(UnavailableError, match='relation "jobs" exists'):
        restore(unknown, other, major=15)
    with pytest.raises(UnavailableError, match="ended with 3 and said nothing"):
        restore(unknown, major=17)
    with pytest.raises(UnavailableError, match="ended with 1 and said nothing"):
        restore(major=15)


def child(script: str, within: float = 10, **rest: object) -> None:
    asyncio.run(children.run([sys.executable, "-c", script], dict(os.environ), within, **rest))  # type: ignore[arg-type]


def test_a_program_that_takes_too_long_is_ended_however_deaf() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=r"took longer than 0.5 s"):
        child(deaf, 0.5)
    assert time.monotonic() - begun < 20


def test_its_complaints_are_kept_short() -> None:
    with pytest.raises(children.FailedError) as failed:
        child(
            "import sys; sys.stderr.write('error: ' + 'x' * 9_000_000 + 'password=s3cret' * 3); sys.exit(1)"
        )
    assert len(str(failed.value)) < 1000
    with pytest.raises(children.FailedError, match=r"python\S*: one; two; three$") as failed:
        child(
            "import sys\n"
            "for word in 'one two three four'.split() * 99: print('a: error: ', word, file=sys.stderr)\n"
            "sys.exit(1)"
        )
    assert len(failed.value.lines) <= 40
    with pytest.raises(UnavailableError, match="nothing cannot be started: No such file or directory"):
        asyncio.run(children.run([Path("/nowhere/nothing")], {}, 1))
