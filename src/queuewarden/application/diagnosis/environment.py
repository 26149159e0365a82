"""A diagnosis of one environment: what a guard finds there, and what to do about each thing that is wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query
from queuewarden.application.diagnosis.health import health_remarks
from queuewarden.application.diagnosis.libraries import library_remarks
from queuewarden.application.diagnosis.queues import count_remarks, index_remarks, mapping_remarks
from queuewarden.application.diagnosis.remark import Remark
from queuewarden.application.status import brief
from queuewarden.engine.alerting.defaults import RULES
from queuewarden.engine.judge import advised
from queuewarden.engine.lease import look
from queuewarden.engine.ledger.schema import VERSION
from queuewarden.engine.lookup import CONNECTION
from queuewarden.engine.policy import Policy
from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuewarden.application.by_hand import Place
    from queuewarden.engine.alerting.rules import AlertRule
    from queuewarden.engine.report import SweepReport
    from queuewarden.queues.target import Target

LOOK = Policy(daemon=False, write=False, only=())
"""A sweep that only counts."""

_SLOW = 0.1
"""Seconds for one round trip: a sweep makes a handful, and each repairing batch six."""

_OFF = 5.0
"""Seconds between two clocks that a person may want to know of; nothing here compares them."""


async def diagnose(place: Place, rules: Sequence[AlertRule] = RULES) -> list[Remark]:
    """Look at everything, write nothing.

    Args:
        place: where.
        rules: what of the database's health is bad.

    Raises:
        UnavailableError: the server is a standby.
        psycopg.Error: the connection was lost.
    """
    remarks = await _connection(place)
    for queue, resolution in place.resolutions.items():
        remarks += mapping_remarks(place.config.name, queue, resolution)
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
        remarks += await index_remarks(place, target)
        remarks += await library_remarks(place, target)
    remarks += await health_remarks(place, rules)
    remarks += _brakes(sweeper, place.targets, report)
    for queue_report in report.queues:
        remarks += count_remarks(queue_report, fits=not place.resolutions[queue_report.queue].faults)
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
    if (lacking := schema.unkept or schema.unscheduled) is not None:
        grants = f"queuewarden grants --env {place.config.name}"
        return Remark("ledger", "advice", lacking, remedy=(grants,), facts=facts)
    return Remark("ledger", "ok", f"installed, version {schema.version}; the lease is {who}", facts=facts)


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
