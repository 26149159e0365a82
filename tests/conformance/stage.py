"""Where a scenario plays: a fresh database, a library's schema and workers, our ledger and our daemon."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import ledgers
from daemons import Daemon
from eventually import eventually

from conformance.library import Mapped
from conformance.starting import kill
from queuewarden.engine.ledger import schema
from queuewarden.settings.guard_section import Guard
from queuewarden.settings.load import explain
from queuewarden.settings.names import variable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from servers import Database

    from conformance.library import Library, State
    from queuewarden.queues.mapping import Mapping

PREFIX = "QUEUEWARDEN_"
EVERYWHERE = {"LOG_FORMAT": "json", "LOG_LEVEL": "debug", "INTERVAL": "250ms", "STATUS_EVERY": "1h"}
LIMITS = {"MODE": "repair", "DEAD_AFTER": "5s"}
"""Of the queue, unless the driver says otherwise: ten times as long as its workers take between two beats.
A server that has only just started has as long a grace."""


class Warden(Daemon):
    """A daemon, and which rows its log names."""

    def named(self, event: str) -> Counter[str]:
        """How often the lines of an event name each row."""
        lines = self.events(event)
        return Counter(row["id"] for line in lines for row in line.get("jobs") or line.get("rows") or ())

    def wait_until_named(self, event: str, rows: Sequence[str]) -> None:
        """Wait until the lines of an event have named all these rows."""
        for row in rows:
            eventually(lambda one=row: one in self.named(event), seconds=30, what=f"{event} of {row}")

    def sweep(self, times: int) -> None:
        """Let it sweep so many times more."""
        self.wait_for("sweep.done", count=len(self.events("sweep.done")) + times)

    def said(self) -> list[str]:
        """What it told, for whoever has to find out why; of what it only found, the last."""
        told = [line for line in self.lines if '"level":"debug"' not in line]
        return told[-20:] + [line for line in self.lines if '"check.held"' in line][-1:]


class Stage:
    """One library in one fresh database; closing it ends all that it started.

    Attributes:
        mapping: the queue as the daemon understands it.
        limit: seconds after which the daemon judges a job or a worker.
        wardens: the daemons that were started.
    """

    def __init__(self, library: Library, database: Database) -> None:
        self.library, self.database = library, database
        self.wardens: list[Warden] = []
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="qw-conformance-")))
        library.create(database.dsn)
        database.execute(schema.script())
        loaded = explain({PREFIX + name: value for name, value in self.settings().items()})
        self.mapping: Mapping = loaded.queues[library.name]
        guard = loaded.settled["default", library.name]
        self.limit = max(guard[name].value for name in ("dead_after", "stuck_after")).total_seconds()

    def close(self) -> None:
        """End what was started."""
        self._stack.close()

    def settings(self, **further: str) -> dict[str, str]:
        """The daemon's settings, without prefix; limits stand at the queue, before those of the preset."""
        queue = variable(("queue", self.library.name)).removeprefix(PREFIX)
        chosen = {"DSN": self.database.dsn, "STATUS_FILE": str(self._folder / "status.json")} | EVERYWHERE
        if self.library.preset is not None:
            chosen[f"{queue}__PRESET"] = self.library.preset
        elif isinstance(self.library, Mapped):
            chosen |= {f"{queue}__{name}": value for name, value in self.library.mapping.items()}
        for name, value in (LIMITS | self.library.settings | further).items():
            chosen[f"{queue}__{name}" if name.lower() in Guard.model_fields else name] = value
        return chosen

    def guard(self, **further: str) -> Warden:
        """A daemon that guards the queue, with further settings."""
        warden = Warden(self.settings(**further))
        self._stack.callback(warden.close)
        self.wardens.append(warden)
        return warden

    def worker(self) -> subprocess.Popen[bytes]:
        """A worker of the library's own."""
        worker = self.library.worker(self.database.dsn)
        self._stack.callback(kill, worker)
        return worker

    def let_die(self, job: str) -> None:
        """A worker takes a job, and is killed amid it."""
        worker = self.worker()
        self.wait_for(job, "running")
        self.kill(worker)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker, and give the server time to end the statement that it was in."""
        kill(worker)
        time.sleep(0.3)
        active = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name NOT LIKE 'queuewarden%' AND state = 'active'"
        )
        eventually(lambda: not self.database.rows(active), what="no statement of a worker runs")

    def enqueue(self, *seconds: float) -> list[str]:
        """Jobs that sleep for so long."""
        return self.library.enqueue(self.database.dsn, seconds)

    def state(self, job: str) -> State:
        """What the library says of a job."""
        return self.library.state(self.database.dsn, job)

    def wait_for(self, job: str, *states: State) -> None:
        """Wait until the library says that a job is in one of some states."""
        eventually(lambda: self.state(job) in states, seconds=30, what=f"{job} is {' or '.join(states)}")

    def wait_for_end(self, *jobs: str) -> None:
        """Wait until jobs have noted their end."""
        eventually(lambda: {*jobs} <= {*self.ends()}, seconds=60, what=f"the end of {', '.join(jobs)}")

    def ends(self) -> Counter[str]:
        """How often each job ran to its end."""
        return Counter(job for (job,) in self.database.rows("SELECT id FROM conformance_done"))

    def processes(self, *jobs: str) -> set[int]:
        """The processes in which jobs ran to their end."""
        rows = self.database.rows("SELECT pid FROM conformance_done WHERE id = ANY(%s)", (list(jobs),))
        return {pid for (pid,) in rows}

    def row(self, job: str) -> str | None:
        """A job's row, whole, as the server prints it; None where it is gone."""
        key = ", ".join(f'"{column}"' for column in self.mapping.jobs.id)
        found = self.database.rows(
            f"SELECT t::text FROM {self.mapping.jobs.table} AS t WHERE concat_ws(',', {key}) = %s", (job,)
        )
        return found[0][0] if found else None

    def image(self) -> dict[str, list[str]]:
        """Every row of every table that is not ours, with its version."""
        tables = self.database.rows(
            "SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace NOT IN"
            " (SELECT oid FROM pg_namespace WHERE nspname ~ '^(pg_|information_schema$|queuewarden$)')"
        )
        return {
            table: [row for (row,) in self.database.rows(f"SELECT xmin || t::text FROM {table} AS t")]
            for (table,) in tables
        }

    def booked(self) -> Counter[str]:
        """How often our ledger says that each job was changed."""
        changes = ledgers.changes(self.database)
        jobs = self.mapping.jobs.table.name
        return Counter(",".join(one.finding.key) for one in changes if one.relation[1] == jobs)

    @property
    def shows_life(self) -> bool:
        """Whether the library shows that a running job lives, so that the daemon can spare it."""
        mapping, alive = self.mapping, self.mapping.alive
        signs = (mapping.workers, mapping.jobs.heartbeat, alive.advisory_lock, alive.row_lock, alive.backend)
        return any(signs)
