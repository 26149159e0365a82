"""What `repair --out` and `repair --plan` do with plans: made from a dry run, applied by the engine."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query
from queuewarden.application.plan_file import EnvironmentPlan
from queuewarden.application.sweeps import Swept, swept
from queuewarden.engine.judge import prepared
from queuewarden.engine.lane_runner import LaneRunner
from queuewarden.engine.plans import Planner
from queuewarden.engine.policy import Policy
from queuewarden.engine.queue_pass import QueuePass
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.engine.runner import Runner
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.by_hand import Place
    from queuewarden.model import Finding, ServerState

_DATABASE = Query(b"SELECT current_database()::text", {})
_LOOK = Policy(daemon=False, write=False, only=())


async def plan_of(place: Place, result: Swept) -> EnvironmentPlan:
    """The plan that a dry run of a place amounts to: rows that nothing holds and whose rule writes."""
    findings = [
        finding
        for queue in result.report.queues
        for outcome in queue.outcomes
        if outcome.held is None and not result.reports(queue.queue, outcome)
        for finding in outcome.sample
        if finding.after is not None
    ]
    server = result.report.server
    database = await _database(place, server)
    return EnvironmentPlan(database, server.now.isoformat(), tuple(findings))


async def apply_plan(place: Place, plan: EnvironmentPlan, *, grace: bool) -> Swept:
    """Apply a plan to a place.

    Raises:
        UnavailableError: the plan is one of another database.
        psycopg.Error: the database failed.
    """
    begun, server = time.monotonic(), await place.server()
    if await _database(place, server) != plan.database:
        raise UnavailableError(f"the plan was made for another database ({plan.database[1]})")
    sweeper = Sweeper(place.config.name)
    fleets = await place.liveness.fleets(place.session, place.targets)
    looked = await sweeper.sweep(
        place.session, place.targets, policy=_LOOK, standing=place.standing, fleets=fleets
    )
    sweep = looked.sweep
    book = place.standing.book(sweep)
    queues = []
    for target in place.targets:
        planned = [one for one in plan.findings if one.queue == target.queue]
        state = sweeper.state(target.queue)
        ready = replace(prepared(state, target, server.now), fleet=fleets.get(target.queue))
        runner, lanes = Runner(place.session, server.now), LaneRunner(place.session, server.now)
        pass_ = QueuePass(
            runner,
            lanes,
            ready,
            state,
            Policy(daemon=False, grace=grace),
            sweeper.grace,
            stay=place.standing.stays(server),
        )
        confirm = place.liveness.confirm
        planner = Planner(place.session, ready, book, pass_.held, confirm)
        queues.append(QueueReport(target.queue, None, tuple(await planner.apply(planned)), target.hold))
    seconds, trips = time.monotonic() - begun, place.session.round_trips
    report = SweepReport(place.config.name, sweep, server, tuple(queues), (), (), seconds, trips)
    return swept(place, report, fleets=fleets, told=_strangers(place, plan.findings))


def _strangers(place: Place, findings: Sequence[Finding]) -> list[str]:
    known = {target.queue for target in place.targets}
    unknown = sorted({one.queue for one in findings} - known)
    return [
        f"queue {name} of the plan is not there, or was not chosen: nothing was done to it"
        for name in unknown
    ]


async def _database(place: Place, server: ServerState) -> tuple[str | None, str]:
    ((name,),) = await place.session.rows(_DATABASE)
    return server.system, name
