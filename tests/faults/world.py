"""The world of the campaign: a server, an application at work, daemons that guard it, and those who watch."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
from pathlib import Path

import psycopg
import servers
from faults import ledger
from faults.cluster import Cluster
from faults.crew import Crew
from faults.guards import Guards
from faults.invariants import violations
from faults.sampler import Sampler
from faults.schema import LANES, SCHEMA

REPAIR_SECONDS = 45.0
"""How long a repair may take before a fault counts as not survived: several times what brakes may hold."""

_TOLD = 8

# What is still to be repaired, each part a line that says what is wrong.
_UNREST = """
SELECT 'job ' || j.id || ' of ' || coalesce(j.worker, 'nobody')
  FROM jobs AS j LEFT JOIN workers AS w ON w.id = j.worker
 WHERE j.status = 'running' AND ((w.pid = ANY(%(pids)s)) IS NOT TRUE
       OR j.started_at < now() - interval '1500 ms')
UNION ALL
SELECT 'worker ' || id || ' is neither alive nor offline' FROM workers AS w
 WHERE status <> 'offline' AND (pid <> ALL(%(pids)s)
       OR EXISTS (SELECT FROM workers AS later WHERE later.pid = w.pid AND later.born_at > w.born_at)
       OR heartbeat NOT BETWEEN clock_timestamp() - interval '1 s' AND clock_timestamp())
UNION ALL
SELECT 'process ' || pid || ' is no worker' FROM unnest(%(pids)s) AS pid
 WHERE NOT EXISTS (SELECT FROM workers AS w WHERE w.pid = pid.pid AND w.status <> 'offline')
UNION ALL
SELECT 'lane ' || lane FROM (
    SELECT lane, position, row_number() OVER (PARTITION BY lane ORDER BY joined_at, id) AS n
      FROM interviews WHERE status = 'waiting') AS i
 WHERE position IS DISTINCT FROM n
UNION ALL
SELECT 'letter ' || id FROM letters WHERE status = 'running'
UNION ALL
SELECT 'nothing is finished' WHERE NOT EXISTS (
    SELECT FROM campaign.finishes WHERE at > to_timestamp(%(since)s))"""


class World:
    """All that there is, and how one looks at it.

    Attributes:
        cluster: the server.
        crew: the application.
        guards: the daemons.
        database: the shop's, for the campaign's own statements.
        chance: decides how a fault goes; seeded anew for each.
        folder: for small disks and diaries.
    """

    def __init__(self, source: servers.Source) -> None:
        with contextlib.ExitStack() as stack:
            self.chance = random.Random()
            self.folder = Path(tempfile.mkdtemp(prefix="qw-world-"))
            stack.callback(shutil.rmtree, self.folder)
            self.cluster = Cluster(source)
            stack.callback(self.cluster.close)
            self.database = servers.Database(self.cluster.dsn, servers.MAINTENANCE)
            self.database.execute(SCHEMA)
            ledger.install(self.cluster.dsn)
            diary = self.folder / "diary"
            self.sampler = Sampler(self.cluster.dsn, diary)
            stack.callback(self.sampler.close)
            self.crew = Crew(self.cluster.dsn, diary)
            stack.callback(self.crew.close)
            self.guards = Guards(self.cluster)
            stack.callback(self.guards.close)
            self.guards.complete()
            self.wait_until_repaired(time.time())
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def mend(self) -> None:
        """Do what a supervisor does: replace who has died, let lines be good again."""
        for link in self.guards.links.values():
            link.heal()
        self.crew.complete()
        self.guards.complete()

    def unrest(self, since: float) -> list[str]:
        """What is still to be repaired.

        Args:
            since: what is known of the daemons, and some job, must be newer than this moment.
        """
        given = {"pids": self.crew.pids(), "since": since}
        guards, missing = self.guards, self.crew.missing()
        found = [f"{missing} processes of the application are gone"] if missing else []
        found += [f"daemon {name} is not up" for name in guards.running if not guards.is_up(name, since)]
        try:
            with self.connect() as connection:
                found += [what for (what,) in connection.execute(_UNREST, given)]
                found += ledger.unrest(connection, guards)
        except psycopg.Error as error:
            found.append(f"the server: {error}")
        return found

    def wait_until_repaired(self, since: float) -> str:
        """Wait for it; what came last.

        Raises:
            AssertionError: it does not come.
        """
        deadline, last = time.monotonic() + REPAIR_SECONDS, ""
        while left := self.unrest(since):
            last = "; ".join(left[:_TOLD])
            assert time.monotonic() < deadline, f"not repaired: {last}"
            time.sleep(0.05)
        return last

    def violations(self) -> list[str]:
        """What is violated now that everything has been repaired."""
        return violations(self.database, self.crew.pids())

    def connect(self) -> psycopg.Connection:
        """A connection of the campaign's own."""
        return self.database.connect(application_name="campaign", connect_timeout=2)

    def holder(self) -> str:
        """The daemon that repairs; any, where none does at this moment."""
        return self.lease_holder() or self.chance.choice(sorted(self.guards.running))

    def lease_holder(self) -> str | None:
        """The daemon that has the lease."""
        with self.connect() as connection:
            return ledger.holder(connection, self.guards)

    def scramble(self, lanes: int = 1) -> None:
        """Something for the guard to repair: lanes whose positions are wrong."""
        for lane in self.chance.sample(range(LANES), lanes):
            wrong = self.chance.choice(["position * 2", "NULL", "1", "-position", "position + 3"])
            self.execute(
                f"UPDATE interviews SET position = {wrong} WHERE status = 'waiting' AND lane = {lane}"
            )

    def execute(self, statement: str) -> int:
        """One statement of the campaign's own."""
        with self.connect() as connection:
            return connection.execute(statement.encode()).rowcount
