"""A pooler in transaction mode in front of a server: pgbouncer, where the machine has it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from eventually import eventually
from ports import free_port
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator

ABSENT = "no pgbouncer on this machine: apt-get install pgbouncer"

_NOBODY = 65534


def program() -> str | None:
    """The pooler's program; it stands where only root's PATH leads."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def pooler(host: str, server_port: int, user: str, *, size: int = 1, **settings: str) -> Iterator[str]:
    """The connection string, without a database, of a pooler in front of a server.

    Args:
        host: of the server, or the folder of its socket.
        server_port: of the server.
        user: everybody's, towards the server.
        size: connections to the server, for all clients.
        settings: further ones of pgbouncer's.
    """
    command = program()
    assert command is not None, ABSENT
    # It refuses to run as root, and a server's socket may be its owner's alone.
    account = Path(host).stat().st_uid if host.startswith("/") else _NOBODY
    port = free_port()
    # Not below pytest's own folder, into which only root may look.
    folder = Path(tempfile.mkdtemp(prefix="qw-pooler-"))
    folder.chmod(0o755)
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host={host} port={server_port} user={user}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {size}\nmin_pool_size = 1\n"
        + "".join(f"{name} = {value}\n" for name, value in settings.items())
    )
    line = [command, str(ini)]
    if os.geteuid() == 0:
        line = ["setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups", *line]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file)
    dsn = make_conninfo("", host="127.0.0.1", port=port, user=user)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(dsn, dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        eventually(answers, what="the pooler answers")
        yield dsn
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)
