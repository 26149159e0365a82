"""The sweep: observe, brake, check, repair, in this order; each check with its own failure."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.adapters.db.session import Query
from queuewarden.engine import observe, pauses
from queuewarden.engine.alerting import watch
from queuewarden.engine.alerting.alerts import Alerts
from queuewarden.engine.brakes import Grace
from queuewarden.engine.judge import BrakeBoard, QueueState, prepared
from queuewarden.engine.lane_runner import LaneRunner
from queuewarden.engine.ledger.recall import recall, recalled
from queuewarden.engine.observe import Muster
from queuewarden.engine.outcomes import EVERY
from queuewarden.engine.policy import Policy
from queuewarden.engine.primary import STANDBY
from queuewarden.engine.queue_pass import COSTLY, DUTY, QueuePass
from queuewarden.engine.report import QueueReport, SweepReport, told
from queuewarden.engine.runner import Runner
from queuewarden.engine.standing import Standing
from queuewarden.errors import QueuewardenError, UnavailableError
from queuewarden.model import BrakeChange, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping, Sequence
    from datetime import datetime

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.engine.alerting.alerts import Notice
    from queuewarden.engine.outcomes import Load
    from queuewarden.engine.runner import Confirm
    from queuewarden.model import Anomaly, ServerState
    from queuewarden.queues.target import Fleet, Target

DAEMON = Policy()
FREELY = Standing()
UNDOS = Query(b"SELECT undos FROM queuewarden.counter", {})


@dataclass(frozen=True, slots=True)
class _Sight:
    """What the first round trip of a sweep shows; failures by queue."""

    server: ServerState
    failures: dict[str, list[Outcome]]
    stay: str | None
    pauses: list[BrakeChange]
    seconds: float


@dataclass(slots=True)
class Sweeper:
    """Sweeps one environment; keeps what must outlive a sweep.

    Attributes:
        interrupted: what the last sweep had done before it failed; None where it ended.
        watched: somebody wants to know how jobs end, and the server's load, too.
    """

    environment: str
    grace: Grace = field(default_factory=Grace)
    alerts: Alerts = field(default_factory=Alerts)
    board: BrakeBoard = field(default_factory=BrakeBoard)
    queues: dict[str, QueueState] = field(default_factory=dict)
    interrupted: SweepReport | None = None
    watched: bool = False
    load: Load | None = None
    next_load: float = 0.0

    async def sweep(
        self,
        session: Session,
        targets: Sequence[Target],
        *,
        policy: Policy = DAEMON,
        standing: Standing = FREELY,
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
            standing: see `Standing`.
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
        sight = await self._observe(session, targets, fleets or {}, standing)
        server, failures = sight.server, sight.failures
        sweep, stay = uuid.uuid4().hex[:8], sight.stay
        holding = list(sight.pauses)
        if holding and policy.daemon:
            stay = stay or holding[0].kind
        seen = list(extra)
        reports: list[QueueReport] = []
        book = standing.book(sweep)
        runner = Runner(session, server.now, confirm, book)
        lane_runner = LaneRunner(session, server.now, book)

        def report(brakes: list[BrakeChange], notices: list[Notice]) -> SweepReport:
            return SweepReport(
                self.environment,
                sweep,
                server,
                tuple(reports),
                tuple(brakes),
                tuple(notices),
                time.monotonic() - begun,
                session.round_trips - trips,
                sight.seconds,
                self.load,
            )

        for target in targets:
            state = self.state(target.queue)
            if policy.daemon:
                self._first_look(state, target, server.now)
            pass_ = QueuePass(runner, lane_runner, target, state, policy, self.grace)
            pass_.stay = stay or ("ledger" if state.unrecalled else None)
            try:
                await watch.look_at_run_times(session, target, state)
                if self.watched:
                    await watch.look_at_outcomes(session, target, state)
                fleet = (fleets or {}).get(target.queue)
                pass_.target = replace(prepared(state, target, server.now), fleet=fleet)
                await pass_.run()
                seen += await watch.anomalies_of(session, target, state, server.now)
            except (psycopg.Error, QueuewardenError):
                reports.append(told(pass_))
                self.interrupted = report([], [])
                raise
            holding += pass_.holding
            reports.append(told(pass_, failures.get(target.queue, [])))
        if self.watched and self.next_load <= begun:
            self.next_load = begun + EVERY
            self.load = await watch.load(session)
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
        self,
        session: Session,
        targets: Sequence[Target],
        fleets: Mapping[str, Fleet | None],
        standing: Standing,
    ) -> _Sight:
        """The server, the counts, the workers and what the ledger tells, in one round trip."""
        asked = time.monotonic()
        due = [target for target in targets if self.state(target.queue).next_look <= asked]
        looks = [self._look(target) for target in due]
        rolls = {target.queue: roll for target in targets if (roll := self._roll(target)) is not None}
        recalls = [self._recall(target) for target in targets] if standing.recorded else []
        held = [UNDOS] if standing.recorded else []
        if standing.schema is not None and standing.schema.usable:
            held.append(pauses.ACTIVE)
        first, *results = await session.read([observe.SERVER, *rolls.values(), *looks, *recalls, *held])
        if isinstance(first, psycopg.Error):
            raise first
        server = observe.server_state(first[0])
        if server.standby:
            raise UnavailableError(STANDBY)
        answered = time.monotonic()
        if targets:  # else nobody is judged, and how long to wait is unknown
            longest = max(target.limits.dead_after for target in targets)
            self.grace.observe(server, asked, answered, longest)
        spent = (answered - asked) / max(1, len(due))
        failures: dict[str, list[Outcome]] = {}
        mustered = dict(zip(rolls, results, strict=False))
        for target in targets:
            result = mustered.get(target.queue)
            if isinstance(result, psycopg.Error):
                failures.setdefault(target.queue, []).append(_failure(target, "workers", result))
            self._take_muster(target, result, fleets, server.now)
        results = results[len(rolls) :]
        for target, result in zip(due, results, strict=False):
            state = self.state(target.queue)
            if isinstance(result, psycopg.Error):
                state.sight = None
                failures.setdefault(target.queue, []).append(_failure(target, "counts", result))
            else:
                state.sight = observe.sight(result[0])
            state.next_look = asked + (spent * DUTY if spent > COSTLY else 0.0)
        results = results[len(due) :]
        for target, result in zip(targets, results if recalls else [None] * len(targets), strict=False):
            self._take_recalled(target, result, failures)
        told = results[len(recalls) :]
        broken = next((one for one in told if isinstance(one, psycopg.Error)), None)
        stay = "ledger" if broken is not None else standing.stays(server)
        undos = told[0][0][0] if told and not isinstance(told[0], psycopg.Error) else 0
        session.fence = standing.fence(undos)
        active = told[1] if len(told) > 1 and not isinstance(told[1], psycopg.Error) else []
        return _Sight(
            server, failures, stay, pauses.brakes(pauses.pauses(active), server.now), answered - asked
        )

    def _recall(self, target: Target) -> Query:
        known = self.state(target.queue).memory.last_filled
        return self.state(target.queue).composed.of(target, ("recall", known), lambda: recall(target, known))

    def _take_recalled(
        self, target: Target, result: list[Row] | psycopg.Error | None, failures: dict[str, list[Outcome]]
    ) -> None:
        """What the ledger tells; where it cannot be asked, nothing of this queue may be repaired."""
        state = self.state(target.queue)
        if isinstance(result, psycopg.Error):
            failures.setdefault(target.queue, []).append(_failure(target, "ledger", result))
            state.unrecalled = True
        elif result is None:
            state.recalled, state.unrecalled = None, False
        else:
            state.recalled = recalled(target, result[0])
            state.unrecalled = False
            state.memory.note_estimated(state.recalled.filled)
            state.memory.last_filled = max(state.memory.last_filled, state.recalled.last_filled)

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
