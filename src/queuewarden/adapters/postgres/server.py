"""A private PostgreSQL server for the demo and for tests: durability is off, and nothing stays behind."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from queuewarden.adapters.postgres.account import Account
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.postgres.binaries import Binaries

_SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "unix_socket_permissions": "0700",
}
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 3.0
_PORT: Final = 5432

# Reads until whoever started it is gone, however that ended; then ends its process group and removes the
# directory. SIGTERM is for children of the caller, SIGQUIT for initdb and the postmaster, which itself kills
# those of its children that do not hear it within 5 s. A stopped process must go on in order to hear either.
_KEEPER: Final = """
trap '' INT QUIT TERM HUP
read _
kill -TERM 0; kill -QUIT 0; kill -CONT 0
i=0; while [ -e "$1/data/postmaster.pid" ] && [ $i -lt 70 ]; do sleep 0.1; i=$((i+1)); done
[ "$2" = keep ] || rm -rf "$1" || { sleep 0.5; rm -rf "$1"; }
kill -KILL 0
"""


class Server:
    """A server of our own: trust on a unix socket in a 0700 directory, gone with whoever started it.

    A small shell process, the keeper, waits at the read end of a pipe: when this process ends, even by
    kill -9, the keeper ends the server and removes its directory.

    Attributes:
        binaries: what it runs.
        directory: its private directory: the socket, ``data`` and ``server.log``.
        port: its port, which is part of the socket's name; TCP only where one was asked for.

    """

    def __init__(
        self,
        binaries: Binaries,
        *,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
        keep: bool = False,
        base: Path | None = None,
    ) -> None:
        """Describe the server; ``start`` starts it.

        Args:
            binaries: from ``find_binaries``.
            settings: server settings, added to our own and overriding them.
            port: listen on this port of 127.0.0.1, too.
            keep: leave the directory there when the server stops.
            base: where its directory is made; None: where temporary ones are.

        """
        self.binaries = binaries
        self.directory = Path()
        self.port = port or _PORT
        self._settings = {"listen_addresses": "127.0.0.1" if port else ""} | _SETTINGS | dict(settings or {})
        self._host_auth = "trust" if port else "reject"
        self._keep = keep
        self._base = base
        self._account = Account()
        self._programs = binaries.directory
        self._keeper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def pid(self) -> int:
        """Process id of the postmaster.

        Raises:
            UnavailableError: the server is not running.

        """
        if self._process is None:
            raise UnavailableError("the PostgreSQL server is not running; start it first")
        return self._process.pid

    @property
    def process_group(self) -> int:
        """The keeper's process group: what is in it ends when this process does, however that ends.

        Raises:
            UnavailableError: the server has not been started.

        """
        if self._keeper is None:
            raise UnavailableError("the PostgreSQL server has not been started; start it first")
        return self._keeper.pid

    @property
    def start_command(self) -> str:
        """What a person types to start a server that was kept; for root, as the user that it ran as."""
        # pg_ctl gives the options to a shell of its own.
        listen = f"listen_addresses={self._settings['listen_addresses']}"
        options = shlex.join(["-k", str(self.directory), "-p", str(self.port), "-c", listen])
        return self._control("-o", options, "start")

    @property
    def stop_command(self) -> str:
        """What a person types to stop it again."""
        return self._control("-m", "fast", "stop")

    def _control(self, *arguments: str) -> str:
        command = [str(self._programs / "pg_ctl"), "-D", str(self.data), *arguments]
        return shlex.join([*self._account.prefix(), *command])

    def is_running(self) -> bool:
        """Whether the postmaster is there."""
        return self._process is not None and self._process.poll() is None

    def dsn(self, database: str = "postgres") -> str:
        """Connection URI of a database, through the unix socket."""
        host = quote(str(self.directory))
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={self.port}"

    def start(self) -> Self:
        """Create the directory and the cluster and start the server; returns once it accepts connections.

        Raises:
            UnavailableError: it did not start; the message ends with the server's own last words.

        """
        self.prepare()
        try:
            self._initdb()
            self.launch()
        except BaseException:
            self.stop()
            raise
        return self

    def prepare(self) -> None:
        """Create the directory, for somebody else to bring the data; what is in it ends when we do.

        Raises:
            UnavailableError: we are root, and there is no user to run the server as.

        """
        self._account = Account.choose()
        self.directory = self._account.directory(self._base)
        try:
            self._keeper = self._start_keeper()
            self._programs = self._account.usable(self.binaries, self.directory)
        except BaseException:
            self.stop()
            raise

    def launch(self, within: float = _START_SECONDS) -> None:
        """Start the server on its existing data; returns once it accepts connections.

        Args:
            within: seconds; a recovery may take long.

        Raises:
            UnavailableError: it did not start.

        """
        arguments = ["-D", str(self.data), "-k", str(self.directory), "-p", str(self.port)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        self._process = self._popen("postgres", *arguments)
        deadline = time.monotonic() + within
        while not self._is_ready():
            if not self.is_running():
                raise UnavailableError(f"the PostgreSQL server ended while starting: {self._last_words()}")
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the PostgreSQL server was not ready after {within:.0f} s: {self._last_words()}"
                )
            time.sleep(0.01)

    def halt(self) -> None:
        """Stop the server: fast, else at once, else by force, within some ten seconds. Its data stay."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return

    def stop(self) -> None:
        """Stop the server and, unless it is to be kept, remove its directory. May be called twice."""
        self.halt()
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            keeper.stdin.close()
            keeper.wait()
        if not self._keep and self.directory.name:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 -- a script of our own
            ["/bin/sh", "-c", _KEEPER, "keeper", str(self.directory), "keep" if self._keep else "remove"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            process_group=0,
        )

    def _initdb(self) -> None:
        initdb = self._popen(
            "initdb",
            *("-D", str(self.data), "-U", "postgres", "--locale=C", "--encoding=UTF8", "--no-sync"),
            *("--auth-local=trust", f"--auth-host={self._host_auth}"),
        )
        try:
            code = initdb.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            initdb.kill()
            code = initdb.wait()
        if code != 0:
            raise UnavailableError(f"initdb failed: {self._last_words()}")

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A child in the keeper's process group: out of Ctrl-C's reach, within the keeper's."""
        with (self.directory / "server.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 -- the server that was found
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=_environment(),
                process_group=self._keeper.pid if self._keeper else None,
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=self._account.groups,
            )

    def _is_ready(self) -> bool:
        """The postmaster says so itself, in the eighth line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.pid)] and [line.strip() for line in lines[7:8]] == ["ready"]

    def _last_words(self) -> str:
        lines = (self.directory / "server.log").read_text(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-5:]) or "it printed nothing"


def _environment() -> dict[str, str]:
    """Ours, without PGDATA, PGPORT and their kin, and without a locale that the server may not know."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG")) or name.startswith("PGBACKREST_")
    }
    return inherited | {"LC_ALL": "C"}
