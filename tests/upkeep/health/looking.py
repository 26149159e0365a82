"""A look at a database's health, as the daemon takes it, and the statements that it prints, run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import psycopg
from eventually import eventually

from queuewarden.adapters.metrics.families import OF_ENVIRONMENT
from queuewarden.adapters.metrics.instruments import Instruments
from queuewarden.application.watching import health_measures
from queuewarden.engine.alerting.defaults import RULES
from queuewarden.engine.alerting.readings import READINGS
from queuewarden.engine.resolve import resolve
from queuewarden.engine.upkeep.health.examine import examine
from queuewarden.engine.upkeep.health.signs import Where, loudness

if TYPE_CHECKING:
    import servers

    from queuewarden.engine.upkeep.health.signs import Health, Sign

QUIET = "ALTER TABLE jobs SET (autovacuum_enabled = false)"
"""Lest the server mend what a test has broken."""


def look(dsn: str) -> Health:
    async def work() -> Health:
        async with kit.session(dsn) as session:
            resolution = await resolve(session, "test", kit.MAPPING, kit.LIMITS)
            assert resolution.target is not None, resolution.faults
            _, health = await examine(session, [resolution.target])
            health_measures.show(Instruments(OF_ENVIRONMENT, ("test",)), health)  # knows each figure
            assert {where.metric for where in health.readings} <= READINGS.keys()
            return health

    return asyncio.run(work())


def signs(health: Health, metric: str) -> list[Sign]:
    return [sign for sign in health.signs if sign.where.metric == metric]


def only(health: Health, metric: str) -> Sign:
    (sign,) = signs(health, metric)
    return sign


def reading(health: Health, metric: str, queue: str = "mail") -> float | None:
    return health.readings[Where(metric, queue)]


def bad(health: Health, metric: str | None = None) -> dict[str, str]:
    """What the default rules find wrong: the text of each sign, and how loud they are."""
    found = {sign.text: loudness(RULES, sign.where, sign.value) for sign in health.signs}
    kept = {sign.text for sign in health.signs if metric in {None, sign.where.metric}}
    return {text: level for text, level in found.items() if level is not None and text in kept}


def loud(sign: Sign, value: float) -> str | None:
    """How loud the default rules would be of it, were it so large."""
    return loudness(RULES, sign.where, replace(sign, value=value).value)


def run(database: servers.Database, sign: Sign) -> list[list[tuple[object, ...]]]:
    """Each statement of the remedy, as a person would run it; what it answers."""
    assert sign.remedy
    answers = []
    with database.connect() as connection:
        for statement in sign.remedy:
            assert statement.endswith(";")
            cursor = connection.execute(statement.encode())
            answers.append(cursor.fetchall() if cursor.description else [])
    return answers


def waits(database: servers.Database, pid: int) -> None:
    """Until a session waits for a lock."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
        f" WHERE pid = {pid} AND NOT granted AND wait_event_type = 'Lock')"
    )
    eventually(
        lambda: database.value(query),
        what="a session that waits",
    )


def pid(connection: psycopg.Connection) -> int:
    return connection.info.backend_pid


def ended(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False
