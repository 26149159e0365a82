"""Proving a backup: it is restored into a scratch database, rows are counted, and `check` is run on it."""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.postgres.binaries import numbers
from queuewarden.adapters.postgres.children import FailedError
from queuewarden.adapters.postgres.dumping import find_tools
from queuewarden.application import sweeping
from queuewarden.application.by_hand import Place
from queuewarden.application.liveness import Liveness
from queuewarden.application.opening import open_session
from queuewarden.application.resolving import resolve_all
from queuewarden.application.upkeep.backups import source
from queuewarden.application.upkeep.backups.backup import BadBackupError
from queuewarden.application.upkeep.backups.manifest import Verification
from queuewarden.application.upkeep.backups.scratch import require_absent, scratch
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.engine.policy import Policy
from queuewarden.engine.upkeep.task import Progress
from queuewarden.errors import QueuewardenError, UnavailableError
from queuewarden.settings.secret import DsnSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from psycopg import AsyncConnection

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.upkeep.backups.backup import Backup
    from queuewarden.application.upkeep.backups.scratch import Scratch
    from queuewarden.settings.configuration import Configuration, EnvironmentConfig

# What a server says that lacks room, rights or something that the dump counts on: the backup may be good.
_CIRCUMSTANCES = re.compile(
    "permission denied|must (?:be|have)|No space left|out of (?:shared )?memory|terminating connection"
    "|too many|server closed the connection|is not available|could not (?:open ext|access file|load lib)"
    "|could not (?:extend|write|fsync|resize|create (?:temporary )?(?:file|directory))"
    '|(?:role|tablespace) ".*" does not exist|can only create extension|shared_preload_libraries',
    re.IGNORECASE,
)
_SHOWN = 3
"""Differences that are told one by one."""


@dataclass(frozen=True, slots=True)
class Restorer:
    """Restores backups of one environment.

    Attributes:
        configuration: all environments: workers may register in another one.
        tell: is told how far it has come.
    """

    configuration: Configuration
    config: EnvironmentConfig
    tell: Callable[[Progress], None]

    async def prove(self, backup: Backup) -> Verification:
        """Restore a backup into a scratch database, look at that, drop it, and note what came of it.

        Raises:
            UnavailableError: it could not be tried, which says nothing about the backup.
        """
        begun, findings, why = time.monotonic(), 0, ""
        try:
            async with self._restored(backup, bare=True) as place:
                findings = await self.check(place.dsn, place.name)
        except BadBackupError as error:
            why = str(error)
        verification = Verification(
            at=datetime.now(UTC),
            ok=not why,
            seconds=round(time.monotonic() - begun, 3),
            why=why,
            findings=findings,
            rows=0 if why else backup.manifest.rows,
        )
        proven = verification.at if verification.ok else None
        backup.record(replace(backup.manifest, verified_at=proven, verification=verification))
        return verification

    async def restore(self, backup: Backup, name: str, *, bare: bool) -> None:
        """Restore a backup into a new database, which has its name only once it is whole.

        Args:
            backup: which one.
            name: of the new database.
            bare: without owners and privileges.

        Raises:
            BadBackupError: it is no good.
            UnavailableError: there is such a database, or it cannot be made; none was.
        """
        async with self._restored(backup, bare=bare, wanted=name) as place:
            await place.become(name)

    @asynccontextmanager
    async def _restored(self, backup: Backup, *, bare: bool, wanted: str = "") -> AsyncIterator[Scratch]:
        """A scratch database with the backup in it and all its rows."""
        config, manifest = self.config, backup.manifest
        self.tell(Progress(backup.name, "reading", 0, 0))
        with backup.opened() as dump:
            elsewhere = None if wanted else config.scratch_dsn
            dsn = source.direct(config) if elsewhere is None else elsewhere.read()
            where = "" if elsewhere is None else "SCRATCH_DSN"
            async with source.opened(config, dsn, where) as connection:
                if wanted:
                    await require_absent(connection, wanted)
                async with scratch(config, dsn, connection, manifest, bare=bare) as place:
                    tools = find_tools(max([place.major, *numbers(manifest.tool_version)[:1]]))
                    self.tell(Progress(backup.name, "restoring", 0, 0))
                    try:
                        within = config.upkeep.timeout.total_seconds()
                        await tools.restore(place.dsn, place.major, dump, within, bare=bare)
                    except FailedError as error:
                        await _require_alive(connection)
                        raise judged(f"{backup.name} cannot be restored: {error}") from None
                    await self._count(backup, place)
                    yield place

    async def _count(self, backup: Backup, place: Scratch) -> None:
        async with source.opened(self.config, place.dsn) as connection:
            await connection.execute(b"ANALYZE")
            await source.begin(connection)
            tables, objects = await source.count(
                connection,
                lambda table, done, total: self.tell(Progress(table, "counting", done, total)),
            )
        differing = list(backup.manifest.differences(tables, objects))
        if differing:
            more = f", and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
            told = "; ".join(islice(differing, _SHOWN))
            raise BadBackupError(f"{backup.name} does not hold what it must: {told}{more}")

    async def check(self, dsn: str, name: str) -> int:
        """Run the checks on a database, as `queuewarden check` does; how many rows they found.

        Args:
            dsn: which database.
            name: what is tried in it.

        Raises:
            BadBackupError: a queue that is configured is not there, or cannot be read.
            UnavailableError: the server went away.
        """
        self.tell(Progress(name, "checking", 0, 0))
        config = replace(self.config, dsn=DsnSource("scratch", value=dsn), upkeep_dsn=None)
        others = {one.name: one for one in self.configuration.environments} | {config.name: config}
        # Nobody else waits there: a question may take as long as a trial may.
        session: Session = await open_session(config, statement_timeout=config.upkeep.timeout)
        liveness = Liveness(config.name, others)
        try:
            resolved = await resolve_all(session, config)
            schema = await read_schema(session)
            where = Place(config, session, resolved.queues, liveness, resolved.hints, 0.0, schema)
            swept = await sweeping.sweep(where, Policy(daemon=False, write=False), where.targets)
        except (QueuewardenError, psycopg.Error) as error:
            async with source.opened(config, dsn) as connection:
                await _require_alive(connection)
            said = source.said(error) if isinstance(error, psycopg.Error) else str(error)
            raise BadBackupError(f"{name} cannot be checked: {said}") from None
        finally:
            await session.close()
            await liveness.close()
        faults = [f"queue {queue}: {fault}" for queue, found in swept.faults.items() for fault in found]
        faults += [
            f"queue {one.queue}: {one.check}: {one.failure or one.error}"
            for one in swept.outcomes
            if one.error
        ]
        if faults:
            raise BadBackupError(f"cannot be checked: {'; '.join(faults[:_SHOWN])}")
        return sum(one.found for one in swept.outcomes)


def judged(why: str) -> QueuewardenError:
    """The error that says why a backup could not be restored: is it no good, or could it not be tried?"""
    return UnavailableError(why) if _CIRCUMSTANCES.search(why) else BadBackupError(why)


async def _require_alive(connection: AsyncConnection) -> None:
    """Whether the server itself is the matter.

    Raises:
        UnavailableError: it is.
    """
    try:
        await connection.execute(b"SELECT")
    except psycopg.Error as error:
        raise UnavailableError(f"the server went away: {source.said(error)}") from None
