"""Who has the lease, and so announces, where the connection that asks for it cannot be made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import kit
import pytest
from ledgers import SCHEMA

from queuewarden.application.alerting.watched import FREE_FOR, Watched
from queuewarden.application.keeper import Keeper
from queuewarden.settings.configuration import EnvironmentConfig
from queuewarden.settings.secret import DsnSource

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

NOWHERE = EnvironmentConfig(
    "prod", DsnSource("D", value="host=127.0.0.1 port=1"), (kit.MAPPING,), kit.LIMITS, {"mail": kit.LIMITS}
)


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(SCHEMA)


@pytest.mark.parametrize(
    ("row", "holder"), [("'other', now() + interval '1 h'", "other"), ("'me', now()", None)]
)
def test_a_keeper_that_cannot_connect_hears_of_the_holder_by_others(
    database: servers.Database, row: str, holder: str | None
) -> None:
    database.execute(f"UPDATE queuewarden.lease SET (holder, until) = ({row})")

    async def main() -> str | None:
        keeper = Keeper(NOWHERE, "me", lambda: None)
        try:
            await asyncio.wait_for(keeper.answered.wait(), 30)
            assert (keeper.held, keeper.holder) == (False, None)
            async with kit.session(database.dsn) as session:
                await keeper.hear(session)
            return keeper.holder
        finally:
            await keeper.close()

    assert asyncio.run(main()) == holder


def test_where_nobody_has_the_lease_for_long_this_daemon_announces() -> None:
    found = Watched("prod")
    free = {"ours": False, "holder": None, "epoch": 1}
    assert found._stands_by(free, 100)
    assert found._stands_by(free | {"holder": "other"}, 100 + FREE_FOR)
    assert found._stands_by(free, 200)
    assert not found._stands_by(free, 200 + FREE_FOR)
    assert not found._stands_by(free | {"ours": True, "holder": "me"}, 300)
    assert not found._stands_by(None, 400)
