"""Nothing is lost, nothing runs twice because of us, nothing changes that the ledger does not have.

A short run, the same each time, is part of the gate; ``QW_MODEL_EXAMPLES=2000`` asks for a long one that is
another each time, and prints how to repeat an example that fails.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from model.machine import Model
from model.world import Hub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Database

EXAMPLES = int(os.environ.get("QW_MODEL_EXAMPLES", "0"))
SHORT = 20
STEPS = 50
SECONDS_EACH = 10
"""More than any example takes, on a slow machine."""


@pytest.fixture
def hub(database: Database) -> Iterator[Hub]:
    with contextlib.closing(Hub(database)) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(600 + EXAMPLES * SECONDS_EACH)
def test_no_order_of_events_breaks_a_promise(hub: Hub) -> None:
    Model.hub = hub
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=EXAMPLES or SHORT,
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            deadline=None,
            print_blob=True,
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    for what, number in sorted(Model.tally.items()):
        print(f"{number:8} {what}")  # noqa: T201 -- told with -s: whether enough happens
