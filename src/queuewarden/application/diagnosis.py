"""A diagnosis of one environment: what a guard finds there, and what to do about each thing that is wrong."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from queuewarden.adapters.db.session import Query
from queuewarden.application.status import brief
from queuewarden.engine.advice import recommended_indexes
from queuewarden.engine.inspection import inspected, statements
from queuewarden.engine.judge import advised
from queuewarden.engine.lease import look
from queuewarden.engine.ledger.schema import VERSION
from queuewarden.engine.lookup import CONNECTION
from queuewarden.engine.policy import Policy
from queuewarden.engine.sweep import Sweeper
from queuewarden.settings.names import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.application.by_hand import Place
    from queuewarden.engine.report import QueueReport, SweepReport
    from queuewarden.engine.resolve import Resolution
    from queuewarden.model import Counts
    from queuewarden.queues.target import Target

Level = Literal["ok", "info", "advice", "wrong"]
LOOK = Policy(daemon=False, write=False, only=())
"""A sweep that only counts."""

_SLOW = 0.1
"""Seconds for one round trip: a sweep makes a handful, and each repairing batch six."""

_OFF = 5.0
"""Seconds between two clocks that a person may want to know of; nothing here compares them."""

_STATEMENT = re.compile(r"(?:, or)?: ((?:GRANT|ALTER ROLE) .*)\Z")
"""The statement that a fault about rights ends in."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was looked at.

    Attributes:
        topic: connection, rights, clock, mapping, ledger, indexes, brakes, workers, jobs or anomalies.
        level: ``advice`` makes things better, ``wrong`` keeps the guard from its work.
        remedy: what to do about it, line by line; statements stand alone on theirs.
        facts: the same for programs.
    """

    topic: str
    level: Level
    text: str
    queue: str | None = None
    remedy: tuple[str, ...] = ()
    facts: tuple[tuple[str, Any], ...] = ()


async def diagnose(place: Place) -> list[Remark]:
    """Look at everything, write nothing.

    Raises:
        UnavailableError: the server is a standby.
        psycopg.Error: the connection was lost.
    """
    remarks = await _connection(place)
    for queue, resolution in place.resolutions.items():
        remarks += _mapping(queue, resolution)
    remarks += [Remark("mapping", "advice", hint) for hint in place.hints]
    remarks.append(await _ledger(place))
    sweeper = Sweeper(place.config.name)
    report = await sweeper.sweep(
        place.session,
        place.targets,
        policy=LOOK,
        standing=place.standing,
        fleets=await place.liveness.fleets(place.session, place.targets),
    )
    for target in place.targets:
        remarks += await _indexes(place, target)
        remarks += _modes(target)
    remarks += _brakes(sweeper, place.targets, report)
    for queue_report in report.queues:
        remarks += _counts(queue_report, fits=not place.resolutions[queue_report.queue].faults)
    remarks += _anomalies(report)
    return remarks


async def _connection(place: Place) -> list[Remark]:
    begun = time.monotonic()
    server = await place.server()
    latency = time.monotonic() - begun
    ours = datetime.now(UTC)
    ((version, user, tls, protocol, zone, superuser),) = await place.session.rows(Query(CONNECTION, {}))
    encrypted = f"encrypted ({protocol})" if tls else "not encrypted"
    drift = (server.now - ours).total_seconds()
    facts = (
        ("connect_ms", round(place.connected_in * 1000, 1)),
        ("round_trip_ms", round(latency * 1000, 1)),
        ("server_version", version),
        ("user", user),
        ("tls", bool(tls)),
    )
    found = [
        Remark(
            "connection",
            "advice" if latency > _SLOW else "ok",
            f"PostgreSQL {version} as {user}, {encrypted}, connected in {facts[0][1]} ms,"
            f" one round trip {facts[1][1]} ms",
            remedy=("run queuewarden nearer to the database: each step waits for the way",)
            if latency > _SLOW
            else (),
            facts=facts,
        ),
        Remark(
            "clock",
            "ok" if abs(drift) < _OFF else "info",
            f"the server's clock says {server.now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {abs(drift):.1f} s"
            f" {'ahead of' if drift >= 0 else 'behind'} ours (only the server's counts); its sessions use"
            f" {zone}; it started {brief(server.now - server.started_at)} ago",
            facts=(
                ("server_time", server.now.isoformat()),
                ("drift_seconds", round(drift, 3)),
                ("zone", zone),
            ),
        ),
    ]
    if superuser:
        found.append(
            Remark(
                "rights",
                "advice",
                f"{user} is a superuser, which is more than a guard needs",
                remedy=("use a role that may only read and update the mapped columns",),
            )
        )
    return found


def _mapping(queue: str, resolution: Resolution) -> Iterator[Remark]:
    if not resolution.faults:
        yield Remark("mapping", "ok", "fits the database", queue)
        yield Remark("rights", "ok", "all that the checks need", queue)
    left = "the queue is only observed" if resolution.target else "nothing of this queue is read"
    for fault in resolution.faults:
        if found := _STATEMENT.search(fault):
            yield Remark("rights", "wrong", fault[: found.start()], queue, (f"{found[1]};",))
        else:
            yield Remark("mapping", "wrong", fault, queue, (f"until it fits, {left}",))
    for note in resolution.notes:
        yield Remark("mapping", "info", note, queue)


async def _ledger(place: Place) -> Remark:
    """Whether changes are recorded, and who has the right to make them."""
    schema, install = place.schema, f"queuewarden install --env {place.config.name}"
    if schema.faults:
        return Remark("ledger", "wrong", schema.faults[0], remedy=("until then nothing is repaired",))
    if schema.version is None:
        return Remark(
            "ledger",
            "advice",
            "not installed: repairs are neither recorded nor can they be undone, several daemons have no"
            " lease, and rescue budgets do not outlive a restart",
            remedy=(install,),
        )
    held = await look(place.session)
    who = f"held by {held.holder}, epoch {held.epoch}" if held.holder else "free: no daemon guards it now"
    facts = (("version", schema.version), ("holder", held.holder), ("epoch", held.epoch))
    if schema.version < VERSION:
        text = f"version {schema.version} is older than this program's {VERSION}; the lease is {who}"
        return Remark("ledger", "advice", text, remedy=(install,), facts=facts)
    return Remark("ledger", "ok", f"installed, version {schema.version}; the lease is {who}", facts=facts)


async def _indexes(place: Place, target: Target) -> list[Remark]:
    if not target.jobs.leaves:
        return []
    if place.resolutions[target.queue].faults:
        return [Remark("indexes", "info", "looked at once mapping and rights fit", target.queue)]
    seen = await inspected(place.session, target)
    found = []
    for index in seen.missing:
        lines = await statements(place.session, target, index)
        found.append(
            Remark(
                "indexes", "advice", f"none serves {index.purpose}", target.queue, lines, (("missing", True),)
            )
        )
    found += [
        Remark("indexes", "info", f"could not be looked at: the one for {index.purpose}", target.queue)
        for index in seen.unseen
    ]
    return found or [
        Remark(
            "indexes",
            "ok",
            f"all {len(recommended_indexes(target))} recommended ones are there",
            target.queue,
        )
    ]


def _modes(target: Target) -> Iterator[Remark]:
    if target.limits.mode == "observe":
        name = variable(("env", target.environment, "queue", target.queue, "mode"))
        remedy = (f"to have it repaired, set {name}=repair",)
        yield Remark("brakes", "info", "MODE=observe: nothing is repaired", target.queue, remedy)


def _brakes(sweeper: Sweeper, targets: list[Target], report: SweepReport) -> Iterator[Remark]:
    for brake in report.brakes:
        until = f" until {brake.until.astimezone(UTC):%H:%M:%S} UTC" if brake.until else ""
        yield Remark(
            "brakes",
            "info",
            f"{brake.kind}: {brake.why}{until}",
            brake.queue,
            ("wait, or `queuewarden repair --no-grace`",) if brake.kind == "grace" else (),
        )
    if not report.brakes:
        yield Remark("brakes", "ok", "none holds")
    counted = {one.queue for one in report.queues if one.counts is not None}
    for target in targets:
        if target.queue in counted and advised(sweeper.state(target.queue), target) is None:
            yield Remark("brakes", "ok", "no run times speak against the limits", target.queue)


def _counts(report: QueueReport, *, fits: bool) -> Iterator[Remark]:
    counts = report.counts
    if counts is None:
        why = "see indexes; a count that takes longer than STATEMENT_TIMEOUT is cut off"
        remedy = why if fits else "what mapping and rights say comes first"
        yield Remark("jobs", "wrong", "could not be counted", report.queue, (remedy,))
        return
    workers = _known(counts, live_workers="live", silent_workers="silent", registered_workers="registered")
    if workers:
        yield Remark(
            "workers", "ok" if counts.live_workers else "info", _listed(workers), report.queue, (), workers
        )
    jobs = _known(
        counts,
        waiting="waiting",
        running="running",
        failed="failed",
        failed_last_hour="failed in the last hour",
    )
    text = _listed(jobs)
    if counts.oldest_waiting is not None:
        text += f"; the oldest has waited {brief(counts.oldest_waiting)}"
    yield Remark("jobs", "ok", text, report.queue, (), jobs)


def _known(counts: Counts, **words: str) -> tuple[tuple[str, int], ...]:
    values = ((word, getattr(counts, name)) for name, word in words.items())
    return tuple((word, value) for word, value in values if value is not None)


def _listed(values: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{value} {word}" for word, value in values)


def _anomalies(report: SweepReport) -> Iterator[Remark]:
    for notice in report.notices:
        one = notice.anomaly
        facts = " ".join(f"{key}={value}" for key, value in one.facts.items())
        yield Remark(
            "anomalies",
            "wrong",
            f"{one.kind}: {facts}".rstrip(": "),
            one.queue,
            (one.hint,),
            tuple(one.facts.items()),
        )
    if not report.notices:
        yield Remark("anomalies", "ok", "none")
