"""The sweep: observe, brake, check, repair, in this order; each check with its own failure."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine import observe
from queuewarden.engine.alerting import anomalies
from queuewarden.engine.alerting.alerts import Alerts
from queuewarden.engine.brakes import Grace
from queuewarden.engine.judge import BrakeBoard, QueueState, prepared
from queuewarden.engine.lane_runner import LaneRunner
from queuewarden.engine.queue_pass import COSTLY, DUTY, Policy, QueuePass
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.engine.runner import Runner
from queuewarden.errors import UnavailableError
from queuewarden.model import BrakeChange

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from queuewarden.adapters.db.session import Query, Row, Session
    from queuewarden.engine.observe import Sight
    from queuewarden.engine.runner import Confirm
    from queuewarden.model import Anomaly, ServerState
    from queuewarden.queues.target import Fleet, Target

DAEMON = Policy()

RUN_TIMES_EVERY = 600.0
"""Seconds between two looks at run times."""


@dataclass(slots=True)
class Sweeper:
    """Sweeps one environment; keeps what must outlive a sweep."""

    environment: str
    grace: Grace = field(default_factory=Grace)
    alerts: Alerts = field(default_factory=Alerts)
    board: BrakeBoard = field(default_factory=BrakeBoard)
    queues: dict[str, QueueState] = field(default_factory=dict)

    async def sweep(
        self,
        session: Session,
        targets: Sequence[Target],
        *,
        policy: Policy = DAEMON,
        remind_after: timedelta = timedelta(hours=1),
        extra: Collection[Anomaly] = (),
        confirm: Confirm | None = None,
        fleets: Mapping[str, Fleet | None] | None = None,
    ) -> SweepReport:
        """One pass.

        Args:
            session: the connection.
            targets: the queues, resolved.
            policy: see `Policy`.
            remind_after: when anomalies that stay are told again.
            extra: anomalies found elsewhere, such as drift.
            confirm: see `runner.Confirm`.
            fleets: for queues whose workers register elsewhere, their liveness; None where it is unknown.

        Raises:
            UnavailableError: the server is a standby, or a deadline struck.
            psycopg.OperationalError: the connection was lost.
        """
        begun, trips = time.monotonic(), session.round_trips
        fleets = fleets or {}
        server, unknown = await self._observe(session, targets, fleets)
        self.grace.observe(server, time.monotonic(), _longest_grace(targets))
        holding: list[BrakeChange] = []
        seen = list(extra)
        reports = []
        runner, lane_runner = Runner(session, server.now, confirm), LaneRunner(session, server.now)
        for target in targets:
            state = self.state(target.queue)
            self._first_look(state, target, server.now)
            fleet = fleets.get(target.queue)
            ready = replace(prepared(state, target, server.now), fleet=fleet)
            pass_ = QueuePass(
                runner,
                lane_runner,
                ready,
                state,
                policy,
                self.grace,
                blind_fleet=target.queue in fleets and fleet is None,
            )
            outcomes = await pass_.run()
            holding += pass_.holding
            reports.append(
                QueueReport(
                    target.queue, state.sight.counts if state.sight else None, tuple(outcomes), target.hold
                )
            )
            seen += await self._anomalies(session, ready, state, server.now)
        if self.grace.holds(server.now) and policy.grace:
            holding.append(
                BrakeChange(on=True, kind="grace", queue=None, why=self.grace.why, until=self.grace.until)
            )
        judged = {None, *(target.queue for target in targets)}
        unknown += [queue for queue in self.queues if queue not in judged]
        return SweepReport(
            self.environment,
            uuid.uuid4().hex[:8],
            server,
            tuple(reports),
            tuple(self.board.turn(holding, judged)),
            tuple(self.alerts.update(seen, server.now, remind_after, unknown)),
            time.monotonic() - begun,
            session.round_trips - trips,
        )

    def state(self, queue: str) -> QueueState:
        """What is kept of a queue."""
        return self.queues.setdefault(queue, QueueState())

    async def _observe(
        self, session: Session, targets: Sequence[Target], fleets: Mapping[str, Fleet | None]
    ) -> tuple[ServerState, list[str]]:
        """The server and the counts, in one round trip; queues whose counts are unknown."""
        monotonic = time.monotonic()
        due = [target for target in targets if self.state(target.queue).next_look <= monotonic]
        looks = [observe.look(target, self.state(target.queue).memory.estimated) for target in due]
        first, *results = await session.read([observe.SERVER, *looks])
        if isinstance(first, psycopg.Error):
            raise first
        server = observe.server_state(first[0])
        if server.standby:
            raise UnavailableError("a standby: only the primary is guarded")
        spent = (time.monotonic() - monotonic) / max(1, len(due))
        unknown = []
        for target, result in zip(due, results, strict=True):
            state = self.state(target.queue)
            if isinstance(result, psycopg.Error):
                state.sight = None
                unknown.append(target.queue)
            else:
                state.sight = _with_fleet(observe.sight(result[0]), fleets.get(target.queue))
            state.next_look = monotonic + (spent * DUTY if spent > COSTLY else 0.0)
        return server, unknown

    def _first_look(self, state: QueueState, target: Target, now: datetime) -> None:
        """A daemon that starts where no worker beats cannot tell a dead fleet from one that reconnects."""
        if state.looked or state.sight is None:
            return
        state.looked = True
        if state.sight.counts.live_workers == 0:
            self.grace.wait(now, target.limits.dead_after, "no worker alive at the start")

    async def _anomalies(
        self, session: Session, target: Target, state: QueueState, now: datetime
    ) -> list[Anomaly]:
        found: list[Anomaly] = list(anomalies.of_memory(target, state.memory, now))
        if state.sight is not None:
            found += anomalies.of_counts(target, state.sight)
            found += anomalies.of_idleness(target, state.sight, state.idle, now)
        found += await self._premature(session, target, state)
        await self._run_times(session, target, state)
        if state.threshold.advised is not None and not target.limits.trust_threshold:
            found.append(anomalies.threshold(target, state.threshold.advised))
        return found

    async def _premature(self, session: Session, target: Target, state: QueueState) -> list[Anomaly]:
        resets = {
            key: (reset.worker, reset.started) for key, reset in list(state.memory.resets.items())[-100:]
        }
        query = observe.premature(target, resets)
        rows = await self._optional(session, query) if query is not None else []
        if rows:
            state.threshold.note_premature(_live_limit(target) or target.limits.stuck_after)
            state.next_run_times = 0.0
        return [anomalies.premature(target, tuple(row[0])) for row in rows]

    async def _run_times(self, session: Session, target: Target, state: QueueState) -> None:
        monotonic = time.monotonic()
        if monotonic < state.next_run_times:
            return
        state.next_run_times = monotonic + RUN_TIMES_EVERY
        query = observe.run_times(target, state.memory.estimated)
        rows = await self._optional(session, query) if query is not None else []
        sample, p95 = rows[0] if rows else (0, None)
        state.threshold.judge(_live_limit(target), sample, p95)

    async def _optional(self, session: Session, query: Query) -> list[Row]:
        """Rows of a query that a sweep can do without."""
        (result,) = await session.read([query])
        return [] if isinstance(result, psycopg.Error) else result


def _longest_grace(targets: Sequence[Target]) -> timedelta:
    return max((target.limits.dead_after for target in targets), default=timedelta(minutes=2))


def _live_limit(target: Target) -> timedelta | None:
    """The limit that applies to live workers; None where they are spared anyway."""
    return target.limits.stuck_after_alive


def _with_fleet(sight: Sight, fleet: Fleet | None) -> Sight:
    """Counts of workers that register elsewhere."""
    if fleet is None:
        return sight
    counts = replace(sight.counts, live_workers=fleet.beating, silent_workers=len(fleet.dead))
    return replace(sight, counts=counts)
