"""The sweep: observe, brake, check, repair, in this order; each check with its own failure."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.session import Query
from queuewarden.engine import observe, pauses
from queuewarden.engine.alerting import watch
from queuewarden.engine.alerting.raised import Raised
from queuewarden.engine.brakes import Grace
from queuewarden.engine.intake import first_look, take_muster, take_recalled, take_sight
from queuewarden.engine.judge import BrakeBoard, QueueState, prepared
from queuewarden.engine.lane_runner import LaneRunner
from queuewarden.engine.ledger.recall import recall
from queuewarden.engine.outcomes import EVERY
from queuewarden.engine.policy import Policy
from queuewarden.engine.primary import STANDBY
from queuewarden.engine.queue_pass import COSTLY, DUTY, QueuePass
from queuewarden.engine.report import SweepReport, told
from queuewarden.engine.runner import Runner
from queuewarden.engine.standing import Standing
from queuewarden.errors import QueuewardenError, UnavailableError
from queuewarden.model import BrakeChange, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.alerting.raised import Notice
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
    raised: Raised = field(default_factory=Raised)
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
        passes: list[QueuePass] = []
        book = standing.book(sweep)
        runner = Runner(session, server.now, confirm, book)
        lane_runner = LaneRunner(session, server.now, book)

        def report(brakes: list[BrakeChange], notices: list[Notice]) -> SweepReport:
            return SweepReport(
                self.environment,
                sweep,
                server,
                tuple(told(one, failures.get(one.target.queue, [])) for one in passes),
                tuple(brakes),
                tuple(notices),
                time.monotonic() - begun,
                session.round_trips - trips,
                sight.seconds,
                self.load,
            )

        try:
            for target in targets:
                state = self.state(target.queue)
                if policy.daemon:
                    first_look(state, target, self.grace, server.now)
                pass_ = QueuePass(runner, lane_runner, target, state, policy, self.grace)
                pass_.stay = stay or ("ledger" if state.unrecalled else None)
                passes.append(pass_)
                await watch.look_at_run_times(session, target, state)
                fleet = (fleets or {}).get(target.queue)
                pass_.target = replace(prepared(state, target, server.now), fleet=fleet)
                await pass_.run()
                seen += await watch.anomalies_of(session, target, state, server.now)
                holding += pass_.holding
            if self.watched:
                await self._look_around(session, targets)
        except (psycopg.Error, QueuewardenError):
            self.interrupted = report([], [])
            raise
        if self.grace.holds(server.now) and policy.grace:
            holding.append(
                BrakeChange(on=True, kind="grace", queue=None, why=self.grace.why, until=self.grace.until)
            )
        judged = {None, *(target.queue for target in targets)}
        # A look that failed after long is not repeated at once: meanwhile nothing is known.
        unseen = (queue for queue, state in self.queues.items() if queue not in judged or state.sight is None)
        unknown = [*failures, *unseen]
        blind = [queue for queue, state in self.queues.items() if state.blind]
        return report(
            self.board.turn(holding, judged),
            self.raised.update(seen, server.now, remind_after, unknown, blind),
        )

    async def _look_around(self, session: Session, targets: Sequence[Target]) -> None:
        """What only those who watch want to know: behind all repairs, which do not wait for it."""
        for target in targets:
            await watch.look_at_outcomes(session, target, self.state(target.queue))
        monotonic = time.monotonic()
        if self.next_load <= monotonic:
            self.next_load = monotonic + EVERY
            self.load = await watch.load(session)

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
        lost: list[Outcome | None] = []
        mustered = dict(zip(rolls, results, strict=False))
        for target in targets:
            state, fleet = self.state(target.queue), fleets.get(target.queue)
            result = mustered.get(target.queue)
            lost.append(take_muster(state, target, result, fleet, self.grace, server.now))
        results = results[len(rolls) :]
        for target, result in zip(due, results, strict=False):
            state = self.state(target.queue)
            lost.append(take_sight(state, target, result))
            state.seen_at = server.now
            state.next_look = asked + (spent * DUTY if spent > COSTLY else 0.0)
        results = results[len(due) :]
        for target, result in zip(targets, results if recalls else [None] * len(targets), strict=False):
            lost.append(take_recalled(self.state(target.queue), target, result))
        failures: dict[str, list[Outcome]] = {}
        for outcome in filter(None, lost):
            failures.setdefault(outcome.queue, []).append(outcome)
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
