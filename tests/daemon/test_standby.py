"""A standby is told to be one before anything else is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow


def test_a_standby_is_not_said_to_have_drifted(
    run: Callable[..., Any], own_server: servers.OwnServer, staging: servers.Database
) -> None:
    data = Path(staging.value("SHOW data_directory"))
    own_server.halt()
    (data / "standby.signal").touch()
    own_server.launch()
    try:
        daemon = run(QUEUE | {"DSN": staging.dsn, "QUEUE__MAIL__JOBS__ERROR": "no_such_column"})
        assert "standby" in daemon.wait_for("environment.down")["reason"]
        assert not daemon.events("queue.drifted")
    finally:
        own_server.halt()
        (data / "standby.signal").unlink()
        own_server.launch()
