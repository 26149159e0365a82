"""What the daemon says and writes of hostile rows, as real processes say it: log, status file, `status`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from commands_kit import own_environment
from daemons import Daemon
from eventually import eventually

from .conftest import VARIABLES
from .terminals import ESCAPES, RIGHT_TO_LEFT, harmless_line
from .test_terminals import LONGEST_CONSOLE, LONGEST_JSON, SCHEMA, filled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import Database


@pytest.mark.parametrize(("style", "longest"), [("console", LONGEST_CONSOLE), ("json", LONGEST_JSON)])
def test_a_daemon(
    databases: Callable[..., Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    style: str,
    longest: int,
) -> None:
    database = filled(databases(SCHEMA), *ESCAPES.values(), RIGHT_TO_LEFT)
    settings = VARIABLES | {
        "QUEUEWARDEN_ENV__PROD__DSN": database.dsn,
        "QUEUEWARDEN_QUEUE__MAIL__JOBS__LABEL": "label, error",
        "QUEUEWARDEN_LOG_FORMAT": style,
        "QUEUEWARDEN_LOG_LEVEL": "debug",
        "QUEUEWARDEN_STATUS_FILE": str(tmp_path / "status.json"),
        "QUEUEWARDEN_INTERVAL": "300ms",
        "QUEUEWARDEN_DEAD_AFTER": "1s",
        "QUEUEWARDEN_BRAKE_ROWS": "10000",
    }
    for name, value in own_environment(**settings).items():
        monkeypatch.setenv(name, value)
    daemon = Daemon({})
    try:
        for event in ("jobs.reset", "positions.repaired", "anomaly.raised", "timestamps.filled"):
            eventually(lambda told=event: told in "".join(daemon.lines), seconds=30, what=event)
        eventually((tmp_path / "status.json").exists)
        shown = [
            subprocess.run(
                [sys.executable, "-m", "queuewarden", "status", *more], capture_output=True, check=False
            )
            for more in ([], ["--json"])
        ]
        assert daemon.end() == 0
    finally:
        daemon.close()
    written = (tmp_path / "status.json").read_text()
    assert json.loads(written)["environments"]["prod"]
    texts = ["".join(daemon.lines), written, *((one.stdout + one.stderr).decode() for one in shown)]
    for text in texts:
        assert [ascii(line[:300]) for line in text.split("\n") if not harmless_line(line)] == []
        assert max(map(len, text.split("\n"))) <= longest
