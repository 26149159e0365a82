"""Lanes: more running jobs in a lane than it may have.

Detect: running jobs of a lane beyond ``max_running`` (1 where positions are mapped), counted from the oldest.
Repair: none by default; where demotion is switched on, the newer ones go back to waiting.
Never:  touches the oldest ``max_running`` jobs, or a lane of which one running job is locked elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks.facts import job_facts
from queuewarden.model import Rank, Rule
from queuewarden.queues.moves import NOTE_PREFIX, requeue
from queuewarden.queues.sqltext import INTEGER, Value
from queuewarden.queues.terms import job, running
from queuewarden.writes import Put

if TYPE_CHECKING:
    from queuewarden.queues.target import Target

NAME = "lanes"


def rules(target: Target) -> tuple[Rule, ...]:
    """One rule, where the queue has lanes with a limit."""
    positions = target.mapping.positions
    if positions is None or positions.max_running is None:
        return ()
    started = target.mapping.jobs.started_at
    demoted = requeue(target, f"{NOTE_PREFIX}lane is crowded", count_attempt=False)
    return (
        Rule(
            code="crowded",
            event="lanes.crowded",
            table="jobs",
            where=running(target),
            # Its library's own part in the move is none that a lane's write could take.
            write=demoted if positions.demote and type(demoted) is Put and demoted.beside is None else None,
            facts=job_facts(target),
            reason="crowded",
            rank=Rank(
                lane=positions.lane,
                order=(sql.SQL("{} NULLS LAST").format(job(started)),) if started is not None else (),
            ),
            brake=True,
            faulty=sql.SQL("r.n > {}").format(Value("max_running", positions.max_running, INTEGER)),
        ),
    )
