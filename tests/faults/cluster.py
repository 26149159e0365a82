"""The campaign's server, which can crash, restart, and fail over to a standby.

Its clients know two places, of which one holds the primary: folders, since the sockets move with the servers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import servers
import standbys
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Callable

_SETTINGS = {
    # What was told to be committed must outlive a kill -9 of the server; the machine itself does not crash.
    "synchronous_commit": "on",
    "autovacuum_naptime": "10s",
}
_GONE_SECONDS = 20.0


class Cluster:
    """A primary in one of two places, and for a moment a standby in the other."""

    def __init__(self, source: servers.Source) -> None:
        self.primary = servers.start_own(source, **_SETTINGS)
        self._folder = Path(tempfile.mkdtemp(prefix="qw-campaign-"))
        self._folder.chmod(0o755)
        self._place = 0
        self._move_in(self.primary)

    def close(self) -> None:
        self.primary.close()
        shutil.rmtree(self._folder)

    @property
    def dsn(self) -> str:
        """Both places, of which the one that takes writes is meant."""
        hosts = ",".join(str(self._folder / name) for name in "ab")
        return self.connection_string(host=hosts, port="5432,5432", target_session_attrs="read-write")

    def connection_string(self, **rest: object) -> str:
        return make_conninfo("", user="postgres", dbname=servers.MAINTENANCE, **rest)

    @property
    def home(self) -> Path:
        """The folder of the primary's socket."""
        return self.primary.server.directory

    def place(self, number: int) -> Callable[[], Path | None]:
        """What leads to the server in one of the two places."""
        folder = self._folder / "ab"[number]
        return lambda: folder.resolve() if folder.exists() else None

    def crash(self) -> None:
        """Kill -9 the postmaster, and start it again once what it left behind has gone, too."""
        self._kill(self.primary)
        self.primary.launch()

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """Shut it down as asked, and start it again."""
        process = self.primary.server._process
        assert process is not None
        process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        process.wait(20)
        self.primary.launch()

    def lacking(self) -> str | None:
        """Why it cannot fail over; None where it can."""
        return standbys.lacking(self.primary)

    def fail_over(self) -> None:
        """Give the primary a standby, kill the primary with all its processes, promote the standby."""
        old = self.primary
        standby = standbys.start_standby(old, **_SETTINGS)
        self._place = 1 - self._place
        self._move_in(standby)
        self._kill(old)
        standbys.promote(standby)
        self.primary = standby
        (self._folder / "ab"[1 - self._place]).unlink()
        # Whoever ends what it left behind would wait for the process that stands in there.
        (old.server.data / "postmaster.pid").unlink()
        old.close()

    def _move_in(self, server: servers.OwnServer) -> None:
        (self._folder / "ab"[self._place]).symlink_to(server.server.directory)

    def _kill(self, server: servers.OwnServer) -> None:
        """Kill -9; backends that have not noticed after a while go the same way, as they hold its memory."""
        children = servers.children_of(server.pid)
        process = server.server._process
        assert process is not None
        process.kill()
        process.wait()
        deadline = time.monotonic() + _GONE_SECONDS
        while left := [pid for pid in children if _is_postgres(pid)]:
            if time.monotonic() > deadline - _GONE_SECONDS + 1:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"processes of the server do not end: {left}"
            time.sleep(0.02)


def _is_postgres(pid: int) -> bool:
    """Whether a child of the server is still there: its id may be another's by now."""
    try:
        command = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "(postgres)" in command and command.rpartition(")")[2].split()[0] != "Z"
