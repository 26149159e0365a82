"""How long jobs really run: against it limits are held, and resets that came too early show."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import compiled
from queuewarden.queues.keys import TEXTS, key_among
from queuewarden.queues.sqltext import INTERVAL, TEXT, Name, Value, cast, commas, every, negate
from queuewarden.queues.terms import job, relation, status_is
from queuewarden.queues.times import as_instant, finite, instant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query
    from queuewarden.model import Key
    from queuewarden.queues.target import Target

NULL = sql.SQL("NULL")


def run_times(target: Target, estimated: Collection[Key] = ()) -> Query | None:
    """How many jobs finished in the last day (at most 1000 looked at), and the p95 of their run times."""
    jobs, done = target.mapping.jobs, target.mapping.states.done
    if jobs.started_at is None or jobs.finished_at is None or not done:
        return None
    finished, started = (
        instant(target, target.jobs, "j", name) for name in (jobs.finished_at, jobs.started_at)
    )
    conditions = [
        status_is(target, "done", done),
        sql.SQL("{} > statement_timestamp() - {}").format(
            finished, Value("day", timedelta(days=1), INTERVAL)
        ),
        sql.SQL("{} >= {}").format(finished, started),
        *(finite(target.jobs, "j", name) for name in (jobs.finished_at, jobs.started_at)),
    ]
    if estimated:
        conditions.append(negate(key_among(target, "jobs", "estimated", list(estimated))))
    return compiled(
        sql.SQL(
            "SELECT count(*), percentile_cont(0.95) WITHIN GROUP (ORDER BY s.took)"
            " FROM (SELECT {} - {} AS took FROM {} AS j WHERE {} ORDER BY {} DESC LIMIT 1000) AS s"
        ).format(finished, started, relation(target.jobs), every(conditions), job(jobs.finished_at))
    )


def premature(target: Target, resets: Mapping[Key, tuple[str | None, str | None]]) -> Query | None:
    """Of jobs that we reset, those that their former worker has finished: nobody else had claimed them.

    Rows: key, and how long the job ran in truth (NULL where that is not mapped).

    Args:
        target: the queue.
        resets: for each key the former worker and the former start, as text.
    """
    jobs, done = target.mapping.jobs, target.mapping.states.done
    if jobs.worker is None or not done or not resets:
        return None
    conditions = [status_is(target, "done", done)]
    arrays = [("former", [former for former, _ in resets.values()])]
    for number, name in enumerate(jobs.id):
        if name in target.mapping.state_columns:
            continue  # it has moved on, and the key with it
        arrays.append((f"k{number}", [key[number] for key in resets]))
        theirs = cast(Name("r", f"k{number}"), target.jobs.columns[name].type)
        conditions.append(sql.SQL("{} = {}").format(job(name), theirs))
    same: Composable = sql.SQL("{} IS NOT DISTINCT FROM r.former").format(cast(job(jobs.worker), TEXT))
    if jobs.started_at is not None:
        arrays.append(("since", [started for _, started in resets.values()]))
        since = cast(Name("r", "since"), target.jobs.columns[jobs.started_at].type)
        same = sql.SQL(
            "({same} AND ({start} IS NULL OR {start} = {since}) OR {worker} IS NULL AND {start} IS NULL)"
        ).format(same=same, start=job(jobs.started_at), since=since, worker=job(jobs.worker))
    return compiled(
        sql.SQL("SELECT ARRAY[{}], {} FROM unnest({}) AS r({}) JOIN {} AS j ON {}").format(
            commas(cast(job(name), TEXT) for name in jobs.id),
            _ran(target),
            commas(Value(f"reset_{name}", values, TEXTS) for name, values in arrays),
            commas(Name(name) for name, _ in arrays),
            relation(target.jobs),
            every([*conditions, same]),
        )
    )


def _ran(target: Target) -> Composable:
    """How long a job of `premature` ran, from the start that was cleared to its finish; NULL: for ever."""
    jobs = target.mapping.jobs
    if jobs.started_at is None or jobs.finished_at is None:
        return NULL
    type_ = target.jobs.columns[jobs.started_at].type
    since = cast(Name("r", "since"), type_)
    ran = as_instant(target, target.jobs, jobs.started_at, since)
    finished = instant(target, target.jobs, "j", jobs.finished_at)
    return sql.SQL("CASE WHEN isfinite({0}) AND isfinite({1}) THEN {0} - {1} END").format(finished, ran)
