"""The sweep: observe, brake, check, repair, in this order; each check with its own failure."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.engine import observe
from queuewarden.engine.alerting import anomalies, blocked
from queuewarden.engine.alerting.alerts import Alerts
from queuewarden.engine.brakes import Grace
from queuewarden.engine.judge import BrakeBoard, QueueState, advised, prepared
from queuewarden.engine.lane_runner import LaneRunner
from queuewarden.engine.observe import Muster
from queuewarden.engine.policy import Policy
from queuewarden.engine.primary import STANDBY
from queuewarden.engine.queue_pass import COSTLY, DUTY, QueuePass
from queuewarden.engine.report import QueueReport, SweepReport, told
from queuewarden.engine.runner import Runner
from queuewarden.errors import QueuewardenError, UnavailableError
from queuewarden.model import BrakeChange, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping, Sequence
    from datetime import datetime

    from queuewarden.adapters.db.session import Query, Row, Session
    from queuewarden.engine.alerting.alerts import Notice
    from queuewarden.engine.runner import Confirm
    from queuewarden.model import Anomaly, Key, ServerState, Table
    from queuewarden.queues.target import Fleet, Target

DAEMON = Policy()

RUN_TIMES_EVERY = 600.0
"""Seconds between two looks at run times."""


@dataclass(slots=True)
class Sweeper:
    """Sweeps one environment; keeps what must outlive a sweep.

    Attributes:
        interrupted: what the last sweep had done before it failed; None where it ended.
    """

    environment: str
    grace: Grace = field(default_factory=Grace)
    alerts: Alerts = field(default_factory=Alerts)
    board: BrakeBoard = field(default_factory=BrakeBoard)
    queues: dict[str, QueueState] = field(default_factory=dict)
    interrupted: SweepReport | None = None

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
            UnknownOutcomeError: the connection was lost while a COMMIT was under way.
            psycopg.OperationalError: the connection was lost.
        """
        begun, trips = time.monotonic(), session.round_trips
        self.interrupted = None
        server, failures = await self._observe(session, targets, fleets or {})
        holding: list[BrakeChange] = []
        seen = list(extra)
        reports: list[QueueReport] = []
        runner, lane_runner = Runner(session, server.now, confirm), LaneRunner(session, server.now)

        def report(brakes: list[BrakeChange], notices: list[Notice]) -> SweepReport:
            return SweepReport(
                self.environment,
                uuid.uuid4().hex[:8],
                server,
                tuple(reports),
                tuple(brakes),
                tuple(notices),
                time.monotonic() - begun,
                session.round_trips - trips,
            )

        for target in targets:
            state = self.state(target.queue)
            if policy.daemon:
                self._first_look(state, target, server.now)
            pass_ = QueuePass(runner, lane_runner, target, state, policy, self.grace)
            try:
                await self._run_times(session, target, state)
                fleet = (fleets or {}).get(target.queue)
                pass_.target = replace(prepared(state, target, server.now), fleet=fleet)
                await pass_.run()
                seen += await self._anomalies(session, target, state, server.now)
            except (psycopg.Error, QueuewardenError):
                reports.append(told(pass_))
                self.interrupted = report([], [])
                raise
            holding += pass_.holding
            reports.append(told(pass_, failures.get(target.queue, [])))
        if self.grace.holds(server.now) and policy.grace:
            holding.append(
                BrakeChange(on=True, kind="grace", queue=None, why=self.grace.why, until=self.grace.until)
            )
        judged = {None, *(target.queue for target in targets)}
        unknown = [*failures, *(queue for queue in self.queues if queue not in judged)]
        return report(
            self.board.turn(holding, judged), self.alerts.update(seen, server.now, remind_after, unknown)
        )

    def state(self, queue: str) -> QueueState:
        """What is kept of a queue."""
        return self.queues.setdefault(queue, QueueState())

    def keep(self, queues: Container[str]) -> None:
        """Forget queues that are no more."""
        for gone in [name for name in self.queues if name not in queues]:
            del self.queues[gone]
        for identity in [one for one in self.board.on if one[1] is not None and one[1] not in queues]:
            del self.board.on[identity]

    def _look(self, target: Target) -> Query:
        state = self.state(target.queue)
        if state.memory.estimated:
            return observe.look(target, state.memory.estimated)
        return state.composed.of(target, "look", lambda: observe.look(target))

    def _roll(self, target: Target) -> Query | None:
        return self.state(target.queue).composed.of(target, "roll", lambda: observe.roll(target))

    async def _observe(
        self, session: Session, targets: Sequence[Target], fleets: Mapping[str, Fleet | None]
    ) -> tuple[ServerState, dict[str, list[Outcome]]]:
        """The server, the counts and the workers, in one round trip; failures by queue."""
        asked = time.monotonic()
        due = [target for target in targets if self.state(target.queue).next_look <= asked]
        looks = [self._look(target) for target in due]
        rolls = {target.queue: roll for target in targets if (roll := self._roll(target)) is not None}
        first, *results = await session.read([observe.SERVER, *rolls.values(), *looks])
        if isinstance(first, psycopg.Error):
            raise first
        server = observe.server_state(first[0])
        if server.standby:
            raise UnavailableError(STANDBY)
        answered = time.monotonic()
        self.grace.observe(server, asked, answered, _longest_grace(targets))
        spent = (answered - asked) / max(1, len(due))
        failures: dict[str, list[Outcome]] = {}
        mustered = dict(zip(rolls, results, strict=False))
        for target in targets:
            result = mustered.get(target.queue)
            if isinstance(result, psycopg.Error):
                failures.setdefault(target.queue, []).append(_failure(target, "workers", result))
            self._take_muster(target, result, fleets, server.now)
        for target, result in zip(due, results[len(rolls) :], strict=True):
            state = self.state(target.queue)
            if isinstance(result, psycopg.Error):
                state.sight = None
                failures.setdefault(target.queue, []).append(_failure(target, "counts", result))
            else:
                state.sight = observe.sight(result[0])
            state.next_look = asked + (spent * DUTY if spent > COSTLY else 0.0)
        return server, failures

    def _take_muster(
        self,
        target: Target,
        result: list[Row] | psycopg.Error | None,
        fleets: Mapping[str, Fleet | None],
        now: datetime,
    ) -> None:
        state = self.state(target.queue)
        was_blind = state.blind
        fleet = fleets.get(target.queue)
        state.muster = None
        if fleet is not None:
            state.muster = Muster(live=fleet.beating, silent=len(fleet.dead))
        elif isinstance(result, list):
            state.muster = observe.muster(result[0])
        state.blind = state.muster is None and target.mapping.workers is not None
        if was_blind and not state.blind and fleet is not None:
            self.grace.wait(now, target.limits.dead_after, "outage where the workers register")

    def _first_look(self, state: QueueState, target: Target, now: datetime) -> None:
        """A daemon that starts where no worker beats cannot tell a dead fleet from one that reconnects."""
        if state.looked or state.muster is None:
            return
        state.looked = True
        if state.muster.live == 0:
            self.grace.wait(now, target.limits.dead_after, "no worker alive at the start")

    async def _anomalies(
        self, session: Session, target: Target, state: QueueState, now: datetime
    ) -> list[Anomaly]:
        found: list[Anomaly] = list(anomalies.of_memory(target, state.memory, now))
        if state.sight is not None:
            found += anomalies.of_counts(target, state.sight.counts, state.muster)
        if state.sight is not None and state.muster is not None:
            found += anomalies.of_idleness(target, state.sight.counts, state.muster, state.idle, now)
        found += await self._premature(session, target, state)
        limit = advised(state, target)
        if limit is not None:
            found.append(anomalies.threshold(target, limit))
        return found + await self._blocked(session, target, state)

    async def _premature(self, session: Session, target: Target, state: QueueState) -> list[Anomaly]:
        resets = {
            key: (reset.worker, reset.started) for key, reset in list(state.memory.resets.items())[-100:]
        }
        query = observe.premature(target, resets)
        rows = await _optional(session, query) if query is not None else []
        if rows is not None:
            found = {tuple(row[0]) for row in rows}
            if found - state.premature:
                state.threshold.note_premature(target.limits.stuck_after_alive or target.limits.stuck_after)
            state.premature = found
        return [anomalies.premature(target, key) for key in sorted(state.premature)]

    async def _run_times(self, session: Session, target: Target, state: QueueState) -> None:
        """Look at run times now and then; a job heartbeat tells a long run from a hang without them."""
        monotonic = time.monotonic()
        if monotonic < state.next_run_times or target.mapping.jobs.heartbeat is not None:
            return
        state.next_run_times = monotonic + RUN_TIMES_EVERY
        query = observe.run_times(target, state.memory.estimated)
        rows = await _optional(session, query) if query is not None else None
        if rows:
            state.threshold.note_run_times(*rows[0])

    async def _blocked(self, session: Session, target: Target, state: QueueState) -> list[Anomaly]:
        found = []
        skipped: dict[Table, list[Key]] = {}
        for table, key in state.skips.update(state.memory.skips):
            skipped.setdefault(table, []).append(key)
        for table, keys in skipped.items():
            rows = await _optional(session, blocked.holders(target, table, keys)) or []
            found += [blocked.anomaly(target, table, row) for row in rows]
            for key in set(keys) - {tuple(row[0]) for row in rows}:
                state.memory.skips.pop((table, key), None)
        return found


async def _optional(session: Session, query: Query) -> list[Row] | None:
    """Rows of a query that a sweep can do without; None where it failed."""
    (result,) = await session.read([query])
    return None if isinstance(result, psycopg.Error) else result


def _failure(target: Target, code: str, error: psycopg.Error) -> Outcome:
    return Outcome(
        target.environment,
        target.queue,
        "observe",
        code,
        "",
        error=error.sqlstate or "unknown",
        failure=primary_message(error),
    )


def _longest_grace(targets: Sequence[Target]) -> timedelta:
    return max((target.limits.dead_after for target in targets), default=timedelta(minutes=2))
