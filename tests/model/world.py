"""The world of the model: one database, the connections to it, and what is made anew for each example."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from model.ageing import age_plan, age_sweeper, age_tables
from model.fleet import Fleet
from model.guards import Daemon, Person, open_connection, session_on
from model.tables import SCHEMA
from model.witness import Witness

from queuewarden.engine.ledger import schema as ledger
from queuewarden.engine.resolve import resolve

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Coroutine

    import psycopg
    import servers
    from model.tables import Setup

    from queuewarden.model import Finding
    from queuewarden.queues.target import Target

T = TypeVar("T")

_EMPTY = """
TRUNCATE jobs, workers RESTART IDENTITY;
TRUNCATE queuewarden.changes, queuewarden.left_alone, queuewarden.pauses RESTART IDENTITY;
UPDATE queuewarden.counter SET last_id = 0, undos = 0;
UPDATE queuewarden.lease SET holder = NULL, epoch = 0, until = '-infinity', since = NULL;
DROP INDEX IF EXISTS one_place;
"""
_ONE_PLACE = "CREATE UNIQUE INDEX one_place ON jobs (lane, position) WHERE status = 'waiting'"


class Hub:
    """What all examples share: connections, one event loop, the installed ledger."""

    def __init__(self, database: servers.Database) -> None:
        database.execute(SCHEMA)
        self.app: psycopg.Connection[Any] = database.connect()
        self.other: psycopg.Connection[Any] = database.connect(autocommit=False)
        self._runner = asyncio.Runner()
        self.links = [self.run(open_connection(database.dsn)) for _ in range(5)]
        self.run(session_on(self.links[0]).script(ledger.script()))
        self.schema = self.run(ledger.read_schema(session_on(self.links[0])))
        assert self.schema.usable
        self._targets: dict[Setup, Target] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def target(self, setup: Setup) -> Target:
        """The queue, resolved; once for each setup, since its tables stay the same."""
        if setup not in self._targets:
            found = self.run(resolve(session_on(self.links[0]), "test", setup.mapping, setup.limits))
            assert found.target is not None, found.faults
            assert found.target.hold is None, found.faults
            self._targets[setup] = found.target
        return self._targets[setup]

    def close(self) -> None:
        for link in self.links:
            self.run(link.close())
        self._runner.close()
        self.app.close()
        self.other.close()


class World:
    """One example: empty tables, two daemons, a person, and a fleet."""

    def __init__(self, hub: Hub, setup: Setup) -> None:
        hub.other.rollback()
        hub.app.execute(_EMPTY)
        if setup.unique:
            hub.app.execute(_ONE_PLACE)
        self.hub = hub
        self.setup = setup
        self.target = hub.target(setup)
        one, two, three, four, five = hub.links
        self.daemons = {
            "A": Daemon("A", session_on(one), session_on(two), hub.schema),
            "B": Daemon("B", session_on(three), session_on(four), hub.schema),
        }
        self.person = Person(five, hub.schema, self.target)
        self.witness = Witness(hub.app, setup)
        self.fleet = Fleet(hub.app, setup, self.witness)
        self.plan: tuple[Finding, ...] | None = None

    def lock(self, job: str) -> None:
        """Another application locks a job, and keeps it so."""
        self.unlock()
        self.hub.other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (int(job),))
        self.fleet.locked = int(job)

    def unlock(self) -> None:
        self.hub.other.rollback()
        self.fleet.locked = None

    def age(self, span: dt.timedelta) -> None:
        """Time passes."""
        self.unlock()  # it would keep us from setting back the row's times
        before = self.witness.base.versions
        age_tables(self.hub.app, span)
        self.witness.age(span)
        self.fleet.age(span)
        for daemon in self.daemons.values():
            age_sweeper(daemon.sweeper, span, before, self.witness.base.versions)
        if self.plan is not None:
            self.plan = age_plan(self.hub.app, self.plan, span)
        # Whoever lives has beaten all the while: one that does not is no worker of the living.
        for worker in self.fleet.workers:
            if worker.lives:
                self.fleet.beat(worker, tells=True)
        self.witness.rebase()

    def holds_lease(self, daemon: Daemon) -> bool:
        """Whether the lease is a daemon's under the epoch that it knows."""
        ((held,),) = self.hub.app.execute(
            "SELECT holder IS NOT DISTINCT FROM %s AND epoch = %s AND until > clock_timestamp()"
            " FROM queuewarden.lease",
            (daemon.holder, daemon.standing.epoch if daemon.standing.epoch is not None else -1),
        ).fetchall()
        return bool(held)

    def is_paused(self) -> bool:
        ((paused,),) = self.hub.app.execute(
            "SELECT EXISTS (SELECT FROM queuewarden.pauses"
            " WHERE ended_at IS NULL AND (cron IS NOT NULL OR until > clock_timestamp()))"
        ).fetchall()
        return bool(paused)
