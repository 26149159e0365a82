from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands_kit import UNREACHABLE
from eventually import eventually

from queuewarden.adapters import status_file
from queuewarden.application.status import EnvironmentStatus, document
from queuewarden.model import Anomaly, BrakeChange, Counts

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def status(tmp_path: Path, call: Callable) -> Callable:
    """Calls `status` on a file that holds a document, text, or nothing."""

    def _status(*arguments: str, content: dict[str, Any] | str | None, **variables: str) -> Any:
        path = tmp_path / "status.json"
        if isinstance(content, dict):
            status_file.write(path, content)
        elif content is not None:
            path.write_text(content)
        return call("status", *arguments, **({"QUEUEWARDEN_STATUS_FILE": str(path)} | variables))

    return _status


def written(*, state: str = "up", pid: int | None = None, age: timedelta = timedelta(0)) -> dict[str, Any]:
    """The document of a daemon with one environment."""
    prod = EnvironmentStatus("prod")
    prod.turn("up")
    prod.counts = {"mail": Counts(waiting=7, running=2, failed=1, live_workers=3)}
    prod.last_change = (datetime.now(UTC), "2 reset")
    if state == "down":
        prod.turn("down", "connection refused")
        prod.counts = {}
    prod.holds = {"mail": "jobs has no column beat"}
    prod.brakes = (BrakeChange(on=True, kind="grace", queue=None, why="server started"),)
    prod.anomalies = (Anomaly("stalled", "prod", "mail", "", {}, "look at the \x1b[31mworkers"),)
    content = document([prod], "environment", pid or os.getpid(), timedelta(seconds=30))
    content["written_at"] = (datetime.now(UTC) - age).isoformat()
    return content


def test_all_up(status: Callable) -> None:
    called = status(content=written())
    assert called.code == 0
    line = next(line for line in called.out.splitlines() if line.startswith("prod "))
    assert line.split()[:2] == ["prod", "up"]
    assert line.split()[4:8] == ["7", "2", "1", "3"]
    assert "2 reset" in line
    assert "prod/mail: anomaly stalled" in called.out
    assert "prod/mail: only observed: jobs has no column beat" in called.out
    assert "prod: brake grace: server started" in called.out
    assert "\x1b" not in called.out


def test_it_works_with_every_database_down_and_without_a_configuration(status: Callable) -> None:
    assert status(content=written(), QUEUEWARDEN_ENV__PROD__DSN=UNREACHABLE).code == 0
    assert status(content=written(), QUEUEWARDEN_NONSENSE="1").code == 0


def test_an_environment_that_is_down(status: Callable) -> None:
    called = status(content=written(state="down"))
    assert called.code == 1
    assert "down" in called.out
    assert "connection refused" in called.out
    assert " ? " in called.out, "what is unknown is not 0"


def test_json(status: Callable) -> None:
    called = status("--json", content=written(age=timedelta(seconds=20)))
    assert called.code == 0
    found = called.document
    assert found["environments"]["prod"]["waiting_jobs"] == 7
    assert found["alive"] is True
    assert found["stale"] is False
    assert 20 <= found["age_seconds"] < 80


def test_a_file_older_than_three_intervals_is_stale(status: Callable) -> None:
    old = written(age=timedelta(seconds=100))
    assert status(content=old).code == 1
    assert "silent for too long" in status(content=old).out
    slow = {"QUEUEWARDEN_DSN": UNREACHABLE, "QUEUEWARDEN_INTERVAL": "1m"}
    del old["interval_seconds"]
    assert status(content=old, **slow).code == 0


def test_the_daemons_own_word_on_its_interval_wins(status: Callable) -> None:
    old = written(age=timedelta(seconds=100))
    assert status(content=old | {"interval_seconds": 60}).code == 0


def test_a_daemon_that_ended_and_that_nobody_waited_for_is_gone(status: Callable) -> None:
    with subprocess.Popen(["true"]) as child:
        eventually(lambda: b") Z " in Path(f"/proc/{child.pid}/stat").read_bytes())
        called = status(content=written(pid=child.pid))
    assert called.code == 1
    assert f"the daemon (process {child.pid}) is gone" in called.out


def test_a_daemon_that_is_gone(status: Callable) -> None:
    with subprocess.Popen(["true"]) as child:
        pass
    called = status(content=written(pid=child.pid))
    assert called.code == 1
    assert f"the daemon (process {child.pid}) is gone" in called.out


def test_no_file(status: Callable) -> None:
    called = status(content=None)
    assert called.code == 1
    assert "there is no status file" in called.err
    assert "QUEUEWARDEN_STATUS_FILE" in called.err


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"written_at": 1, "environments": {}, "pid": 1}', "\x00", '{"pid": null}'],
)
def test_a_file_that_is_broken(status: Callable, content: str) -> None:
    called = status(content=content)
    assert called.code == 1
    assert called.err.startswith("queuewarden: ")
    assert len(called.err.splitlines()) == 1


def test_environments_of_another_shape_are_no_crash(status: Callable) -> None:
    content = written()
    for odd in ([], {"prod": 3}, {"prod": {}}, {"prod": {"state": "up", "since": "yesterday"}}):
        called = status(content=content | {"environments": odd})
        assert called.code == 1
        assert "this is not a status file of queuewarden" in called.err


def test_a_status_file_that_is_turned_off(status: Callable, call: Callable) -> None:
    called = call("status", QUEUEWARDEN_STATUS_FILE="")
    assert called.code == 1
    assert "turned off" in called.err
