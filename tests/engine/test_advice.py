"""Recommended indexes held against the existing ones, where a question about one of them fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import kit

from queuewarden.engine.advice import inspected
from queuewarden.engine.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.engine.advice import Inspection

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
