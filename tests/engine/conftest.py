"""What holds for all tests that repair on a database inside the test's own process."""

from __future__ import annotations

import pytest

from queuewarden.adapters.db import session
from queuewarden.engine import queue_pass, sweep


@pytest.fixture(autouse=True)
def patient_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is held up between two statements of a repair does not lose its transaction.

    That the server ends what is idle for two seconds is tested with the session.
    """
    patient = session.LOCALS.replace(b"'2s'", b"'60s'")
    assert patient != session.LOCALS
    monkeypatch.setattr(session, "LOCALS", patient)


@pytest.fixture(autouse=True)
def cheap_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy makes any look costly, and the next sweeps then go without it."""
    for module in (sweep, queue_pass):
        monkeypatch.setattr(module, "COSTLY", 60.0)
