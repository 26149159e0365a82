"""Recommended indexes held against the existing ones, where a question about one of them fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import pytest
from library_schemas import ddl

from queuewarden.engine.inspection import inspected, statements
from queuewarden.engine.resolve import resolve
from queuewarden.queues.mapping import Starts, TableName
from queuewarden.queues.presets import presets
from queuewarden.settings.mappings import preset_mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.engine.inspection import Inspection

ENUM = """
CREATE TYPE state AS ENUM ('waiting', 'running', 'done', 'failed', 'cancelled');
ALTER TABLE jobs ALTER status DROP DEFAULT;
ALTER TABLE jobs ALTER status TYPE state USING status::state"""


def test_a_question_that_fails_is_no_answer_and_spoils_no_other(
    databases: Callable[..., Database],
) -> None:
    database = databases(kit.SCHEMA)
    database.execute(ENUM)
    mapping = replace(kit.MAPPING, timestamps=(("lost", "finished_at"),))

    async def look() -> Inspection:
        async with kit.session(database.dsn) as session:
            target = (await resolve(session, "test", mapping, kit.LIMITS)).target
            assert target is not None
            return await inspected(session, target)

    first = asyncio.run(look())
    assert [index.purpose for index in first.unseen] == ["finding lost without finished_at"]
    assert len(first.missing) >= 4
    for index in first.missing:
        database.execute(index.statement)
    second = asyncio.run(look())
    assert second.missing == ()
    assert second.unseen == first.unseen


@pytest.mark.parametrize(
    ("preset", "left", "serving"),
    [
        ("river", [], {"river_job_prioritized_fetching_index", "river_job_state_and_finalized_at_index"}),
        ("oban", ["telling run times and stalls"], {"oban_jobs_state_discarded_at_idx"}),
        (
            "good_job",
            ["counting failures", "telling run times and stalls"],
            {"index_good_jobs_on_locked_by_id", "index_good_jobs_for_candidate_dequeue_unlocked"},
        ),
        ("solid_queue", [], set()),
        ("que", [], set()),
    ],
)
def test_a_library_s_own_indexes_serve_its_workers_and_us(
    databases: Callable[..., Database], preset: str, left: list[str], serving: set[str]
) -> None:
    database = databases(ddl(preset))
    mapping = preset_mapping(presets()[preset])

    async def look() -> Inspection:
        async with kit.session(database.dsn) as session:
            target = (await resolve(session, "test", mapping, kit.LIMITS)).target
            assert target is not None
            return await inspected(session, target)

    found = asyncio.run(look())
    assert [index.purpose for index in found.missing] == left
    assert found.unseen == ()
    assert {*found.serving} >= serving
    for index in found.missing:
        database.execute(index.statement)
    assert asyncio.run(look()).missing == ()


def test_starts_that_are_noted_are_looked_up_by_job(databases: Callable[..., Database]) -> None:
    database = databases(kit.SCHEMA)
    database.execute("CREATE TABLE notes (job bigint, at timestamptz)")
    mapping = replace(kit.MAPPING, starts=Starts(TableName("notes"), "job", "at"))

    async def look() -> list[str]:
        async with kit.session(database.dsn) as session:
            target = (await resolve(session, "test", mapping, kit.LIMITS)).target
            assert target is not None
            missing = (await inspected(session, target)).missing
            wanted = [index for index in missing if index.purpose == "finding when a job started"]
            return [line for index in wanted for line in await statements(session, target, index)]

    (statement,) = asyncio.run(look())
    database.execute(statement.encode())
    assert asyncio.run(look()) == []
