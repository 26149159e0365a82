"""Gathering: one look at one environment, read-only, bounded, on a connection that is kept."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.adapters.db.session import Query
from queuewarden.application.opening import open_session
from queuewarden.application.resolving import resolve_all
from queuewarden.application.status import EnvironmentStatus
from queuewarden.application.top.fleets import abroad
from queuewarden.application.top.view import View
from queuewarden.engine import lease, observe, pauses
from queuewarden.engine.fleet import fleet_name
from queuewarden.engine.ledger.latest import latest, repairs
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.engine.longest import longest, running_jobs
from queuewarden.engine.lookup import CONNECTION
from queuewarden.engine.primary import STANDBY
from queuewarden.errors import QueuewardenError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.application.resolving import Resolved
    from queuewarden.application.top.fleets import Fleets
    from queuewarden.engine.ledger.latest import Repair
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.longest import RunningJob
    from queuewarden.model import Counts, ServerState
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import EnvironmentConfig

LONGEST = 5
"""Jobs that are looked up of each queue."""

REPAIRS = 5
"""Repairs that are looked up of each environment."""

STATEMENT = timedelta(seconds=5)
"""A statement that takes longer than this is given up: who watches must not weigh on the database."""

BOUND = 20.0
"""Seconds after which a look is given up, whatever it waits for."""

RESOLVED_FOR = 60.0
"""Seconds for which what was found in the catalog is believed."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The queries about one queue, composed once."""

    target: Target
    look: Query
    roll: Query | None
    longest: Query | None

    @property
    def queries(self) -> list[Query]:
        return [query for query in (self.look, self.roll, self.longest) if query is not None]


class Watcher:
    """Watches one environment.

    Args:
        config: the environment.
        queues: only these queues; None: all.
        homes: the fleets of each environment that is watched.

    Attributes:
        view: what is known of it; never older than the last look.
    """

    def __init__(
        self, config: EnvironmentConfig, queues: Collection[str] | None, homes: Mapping[str, Fleets]
    ) -> None:
        self.config = config
        self._homes = homes
        self.view = View(EnvironmentStatus(config.name), config.queue_limits)
        self._queues = queues
        self._session: Session | None = None
        self._asking = False
        self._resolved: Resolved | None = None
        self._resolved_at = 0.0
        self._asked: list[_Asked] = []
        self._schema: Schema | None = None

    async def look(self) -> None:
        """Look once; what fails is told by the view."""
        timer = asyncio.get_running_loop().call_later(BOUND, self.shut)
        self._asking = True
        try:
            await self._look()
        except (QueuewardenError, psycopg.Error) as error:
            why = reason(error)
            self.view.lost(why)
            self._homes[self.config.name].forget()
            await self.close()
        finally:
            timer.cancel()
            self._asking = False

    def shut(self) -> bool:
        """Make a look that waits for an answer fail at once; whether there is one."""
        if not self._asking or self._session is None:
            return False
        self._session.shut()
        return True

    async def close(self) -> None:
        """Close the connection; the next look opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _look(self) -> None:
        session = self._session
        if session is None or not session.usable:
            await self.close()
            timeout = min(self.config.limits.statement_timeout, STATEMENT)
            session = self._session = await open_session(self.config, statement_timeout=timeout)
            ((version, *_),) = await session.rows(Query(CONNECTION, {}))
            self.view.version = version.split()[0]  # without the packager's own
            self._resolved = None
        if self._resolved is None or time.monotonic() - self._resolved_at > RESOLVED_FOR:
            await self._resolve(session)
        await self._ask(session)
        await self._homes[self.config.name].look(session)
        self.view.answered = time.monotonic()
        self.view.status.turn("up")

    async def _resolve(self, session: Session) -> None:
        resolved = await resolve_all(session, self.config, self._queues)
        self._schema = await read_schema(session)
        self._asked = [
            _Asked(target, observe.look(target), observe.roll(target), longest(target, LONGEST))
            for one in resolved.queues.values()
            if (target := one.target) is not None
        ]
        status = self.view.status
        status.fleets = {asked.target.queue: fleet_name(asked.target) for asked in self._asked}
        status.holds = {
            queue: one.faults[0] if one.faults else None for queue, one in resolved.queues.items()
        }
        self.view.hints = resolved.hints
        self._resolved, self._resolved_at = resolved, time.monotonic()

    async def _ask(self, session: Session) -> None:
        queries = [observe.SERVER, *(query for asked in self._asked for query in asked.queries)]
        first, *results = await session.read(queries)
        if isinstance(first, psycopg.Error):
            raise first
        server = observe.server_state(first[0])
        if server.standby:
            raise UnavailableError(STANDBY)
        self.view.uptime = server.now - server.started_at
        elsewhere = {
            asked.target.queue: await abroad(session, asked.target, self._homes) for asked in self._asked
        }
        self._take(results, elsewhere)
        await self._ask_ledger(session, server)

    def _take(
        self, results: Sequence[list[Row] | psycopg.Error], elsewhere: Mapping[str, observe.Muster | None]
    ) -> None:
        """Take in what the queues' queries brought, each by itself."""
        assert self._resolved is not None  # noqa: S101 -- for the type checker
        counts: dict[str, Counts | None] = dict.fromkeys(self._resolved.queues)
        jobs: list[RunningJob] = []
        left = iter(results)
        for asked in self._asked:
            look, roll, ran = (
                next(left) if query is not None else [] for query in (asked.look, asked.roll, asked.longest)
            )
            if any(isinstance(one, psycopg.Error) for one in (look, roll, ran)):
                self._resolved_at = 0.0  # the tables may be others by now
            if isinstance(look, list):
                muster = elsewhere[asked.target.queue]
                if isinstance(roll, list) and roll:
                    muster = observe.muster(roll[0])
                seen = observe.sight(look[0]).counts
                counts[asked.target.queue] = seen if muster is None else muster.onto(seen)
            if isinstance(ran, list):
                jobs += running_jobs(asked.target, ran)
        self.view.counted(counts)
        self.view.longest = tuple(jobs)

    async def _ask_ledger(self, session: Session, server: ServerState) -> None:
        if self._schema is None or self._schema.tables != server.ledger:
            self._schema = await read_schema(session)
        schema, view = self._schema, self.view
        held = await lease.look(session) if schema.usable else None
        done, active = await self._records(session, schema)
        # All at once, since a frame may be drawn while we wait.
        view.ledger = next(iter(schema.faults), None)
        view.status.lease = None if held is None else {"holder": held.holder, "epoch": held.epoch}
        view.repairs = done
        view.status.brakes = tuple(pauses.brakes(active, server.now))

    async def _records(
        self, session: Session, schema: Schema
    ) -> tuple[tuple[Repair, ...], tuple[pauses.Pause, ...]]:
        """The latest repairs, and the pauses and windows that there are."""
        asked = [latest(REPAIRS, self._queues)] if schema.usable else []
        asked += [pauses.ACTIVE] if schema.usable else []
        found = [one if isinstance(one, list) else [] for one in await session.read(asked)] if asked else []
        done, active = [*found, [], []][:2]
        return repairs(done), pauses.pauses(active)
