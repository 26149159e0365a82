"""The status file: replaced whole with each sweep, and true during an outage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import servers

pytestmark = pytest.mark.slow

ONCE = """
from queuewarden.application import daemon
daemon.PUBLISH_DUTY = 10**9
from queuewarden.application.cli import main
main()
"""
"""A daemon that writes its status once, when it begins."""


def test_each_sweep_replaces_it_whole(
    run: Callable[..., Any], prod: servers.Database, tmp_path: Path
) -> None:
    prod.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now() + interval '1 h')")
    prod.execute("INSERT INTO jobs DEFAULT VALUES")
    path = tmp_path / "status.json"
    daemon = run(QUEUE | {"ENV__PROD__DSN": prod.dsn})
    eventually(path.exists, what="the file is there")
    inodes, sweeps = set(), set()

    def replaced() -> bool:
        document = json.loads(path.read_text())
        inodes.add(path.stat().st_ino)
        sweeps.add(document["environments"]["prod"]["last_sweep"])
        return len(sweeps) > 2 and len(inodes) > 1

    eventually(replaced, what="several sweeps, each in a file of its own and not written over another")
    document = json.loads(path.read_text())
    assert document["pid"] == daemon.process.pid
    known = document["environments"]["prod"]
    assert (known["state"], known["waiting_jobs"], known["active_workers"]) == ("up", 1, 1)


def test_p10_r13_during_an_outage_nothing_that_was_known_is_shown_as_so(
    run: Callable[..., Any], staging: servers.Database, own_server: servers.OwnServer, tmp_path: Path
) -> None:
    staging.execute("INSERT INTO jobs DEFAULT VALUES")
    daemon = run(QUEUE | {"ENV__STAGING__DSN": staging.dsn, "STATEMENT_TIMEOUT": "1s"})
    daemon.wait_for("environment.up")
    path = tmp_path / "status.json"
    eventually(path.exists, what="the file is there")

    def down() -> dict[str, Any] | None:
        known: dict[str, Any] = json.loads(path.read_text())["environments"]["staging"]
        return known if known["state"] == "down" else None

    own_server.freeze()
    try:
        known = eventually(down, what="the file tells of the outage")
    finally:
        own_server.thaw()
    assert known["reason"]
    assert known["since"]
    assert not {"waiting_jobs", "running_jobs", "failed_jobs", "active_workers"} & known.keys()
    assert known["queues"] == {}


def test_a_directory_that_is_missing_is_told_once_and_used_once_it_is_there(
    run: Callable[..., Any], prod: servers.Database, tmp_path: Path
) -> None:
    path = tmp_path / "later" / "status.json"
    daemon = run(QUEUE | {"DSN": prod.dsn, "STATUS_FILE": str(path)})
    daemon.wait_for("environment.status", count=3)
    assert len(daemon.events("status_file.failed")) == 1
    path.parent.mkdir()
    eventually(path.exists, what="the file is written")


def test_the_last_one_tells_what_was_known_when_the_end_began(
    run: Callable[..., Any], prod: servers.Database, tmp_path: Path
) -> None:
    prod.execute("INSERT INTO jobs DEFAULT VALUES")
    daemon = run(QUEUE | {"DSN": prod.dsn, "LOG_LEVEL": "debug"}, program=("-c", ONCE))
    path = tmp_path / "status.json"
    eventually(path.exists, what="the file is there")
    first = path.read_text()
    daemon.wait_for("sweep.done", count=2)
    assert path.read_text() == first
    assert daemon.end() == 0
    known = json.loads(path.read_text())["environments"]["default"]
    assert (known["state"], known["waiting_jobs"]) == ("up", 1)
    assert known["last_sweep"] != json.loads(first)["environments"]["default"]["last_sweep"]
