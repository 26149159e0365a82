"""Starting a library's programs; a worker in a session of its own, so that a kill hits it and nobody else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = Path(__file__).resolve().parents[1]
CALL_SECONDS = 30

_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
}


def start(command: Sequence[str], folder: Path = TESTS, **environ: str) -> subprocess.Popen[bytes]:
    """A worker; what it prints is dropped, what it says on stderr is heard."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ours | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def start_python(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A worker that is a module of the tests."""
    return start([sys.executable, "-m", module, *arguments])


def variables(dsn: str) -> dict[str, str]:
    """A DSN in the variables of libpq, which other drivers read, too."""
    told = conninfo_to_dict(dsn)
    return {variable: str(told[word]) for word, variable in _VARIABLES.items() if told.get(word)}


def call(command: Sequence[str], folder: Path, dsn: str) -> list[str]:
    """Run a program to its end; the words that it prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | variables(dsn),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=CALL_SECONDS,
    )
    return done.stdout.split()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a worker as the kernel does when memory runs out: no handler runs, no row is written."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait(10)
