"""Standbys: a second server that replays what another one writes, until it is promoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import servers
from eventually import eventually

from queuewarden.adapters import postgres
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_COPY_SECONDS = 60


class _Copy(postgres.Server):
    """A server whose data come from another one that runs, by ``pg_basebackup``."""

    def __init__(self, primary: postgres.Server, settings: Mapping[str, str]) -> None:
        super().__init__(primary.binaries, settings=settings)
        self._primary = primary

    def _initdb(self) -> None:
        copying = self._popen(
            "pg_basebackup",
            *("-D", str(self.data), "-h", str(self._primary.directory), "-p", str(self._primary.port)),
            *("-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync"),
        )
        if copying.wait(_COPY_SECONDS) != 0:
            raise UnavailableError(f"pg_basebackup failed: {self._last_words()}")


def lacking(server: servers.OwnServer) -> str | None:
    """Why this server can have no standby here; None where it can."""
    if (server.server.binaries.directory / "pg_basebackup").exists():
        return None
    return f"{server.source} comes without pg_basebackup"


def start_standby(primary: servers.OwnServer, **settings: str) -> servers.OwnServer:
    """A standby that replicates synchronously: no commit that was told is lost with the primary."""
    copy = _Copy(primary.server, servers.DEFAULTS | settings).start()
    _set_synchronous(primary, "'*'")
    eventually(
        lambda: _one(primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"),
        what="the standby replicates",
    )
    # A commit waits for it from when the checkpointer, too, has read the files; here it has to look up.
    servers.Database(primary.dsn(), servers.MAINTENANCE).execute("CHECKPOINT")
    return servers.OwnServer(primary.source, copy)


def promote(standby: servers.OwnServer) -> None:
    """Make a standby the primary; returns once it takes writes."""
    assert _one(standby, "SELECT pg_promote(true, 30)")
    # It has no standby of its own: a commit would wait for ever.
    _set_synchronous(standby, "''")


def _set_synchronous(server: servers.OwnServer, names: str) -> None:
    database = servers.Database(server.dsn(), servers.MAINTENANCE)
    database.execute(f"ALTER SYSTEM SET synchronous_standby_names = {names}")
    server.reload()


def _one(server: servers.OwnServer, query: str) -> bool:
    return bool(servers.Database(server.dsn(), servers.MAINTENANCE).value(query))
