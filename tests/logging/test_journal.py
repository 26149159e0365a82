"""The journal's native protocol, parsed as journald does."""

from __future__ import annotations

import array
import io
import json
import logging
import os
import socket
import struct
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from logging_journald import JournaldTransport

from queuewarden.adapters.logging import configure, set_level, setup
from queuewarden.adapters.logging.journal import Journal

import structlog  # isort: skip -- the package above decides how it is loaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that journald would listen on."""
    monkeypatch.setattr(JournaldTransport, "SOCKET_PATH", tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(5)
        yield listening


def received(journald: socket.socket) -> dict[str, str]:
    """The next entry, from the datagram or from the sealed file that came with it."""
    data, ancillary, _, _ = journald.recvmsg(1 << 20, socket.CMSG_SPACE(4))
    for _, _, packed in ancillary:
        descriptor = array.array("i", packed)[0]
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            data = file.read()
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", data)
            value, end = data[8 : 8 + length], data[8 + length : 9 + length]
            assert end == b"\n"
            data = data[9 + length :]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


def test_an_event_becomes_native_fields(journald: socket.socket) -> None:
    configure("info", "journal")
    structlog.contextvars.bind_contextvars(environment="prod", queue="mail", sweep="a1")
    jobs = [{"id": "1", "worker": "w-1", "age": timedelta(seconds=192)}, {"id": "2", "worker": None}]
    structlog.get_logger().info(
        "jobs.reset", reason="stuck", count=2, seconds=0.5, jobs=jobs, kept=None, up=False
    )
    assert received(journald) == {
        "MESSAGE": "jobs.reset environment=prod queue=mail reason=stuck count=2 seconds=0.5 up=false "
        "jobs=[id=1 worker=w-1 age=3m12s; id=2] sweep=a1",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "queuewarden",
        "QW_EVENT": "jobs.reset",
        "QW_ENVIRONMENT": "prod",
        "QW_QUEUE": "mail",
        "QW_SWEEP": "a1",
        "QW_REASON": "stuck",
        "QW_COUNT": "2",
        "QW_SECONDS": "0.5",
        "QW_UP": "false",
        "QW_JOBS": '[{"id":"1","worker":"w-1","age":192.0},{"id":"2","worker":null}]',
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3"), ("critical", "2")],
)
def test_the_priority_is_the_level(journald: socket.socket, level: str, priority: str) -> None:
    configure("debug", "journal")
    getattr(structlog.get_logger(), level)("x")
    assert received(journald)["PRIORITY"] == priority


def test_names_become_what_journald_accepts(journald: socket.socket) -> None:
    configure("info", "journal")
    structlog.get_logger().info("x", **{"größe-in kb": 1, "a" * 100: 2, "MESSAGE": "no", "priority": "0"})
    fields = received(journald)
    assert fields["QW_GR_SSE_IN_KB"] == "1"
    assert fields["QW_" + "A" * 61] == "2"
    assert fields["QW_MESSAGE"] == "no"
    assert fields["QW_PRIORITY"] == "0"
    assert (fields["PRIORITY"], fields["MESSAGE"].split()[0]) == ("6", "x")


def test_nothing_reaches_the_journal_unredacted(journald: socket.socket) -> None:
    configure("info", "journal")
    label = "\x1b[31m\nMESSAGE=forged\nPRIORITY=0 password=hunter2 postgresql://u:hunter2@h"
    structlog.get_logger().info("jobs.reset", label=label, jobs=[{"token": "hunter2"}])
    fields = received(journald)
    assert "hunter2" not in str(fields)
    assert "\x1b" not in "".join(fields.values())
    assert fields["PRIORITY"] == "6"
    assert "\n" not in fields["MESSAGE"]
    assert fields["QW_LABEL"].startswith("\\x1b[31m\nMESSAGE=forged")


def test_an_exception_is_part_of_the_message(journald: socket.socket) -> None:
    configure("info", "journal")
    error = LookupError("nothing there")
    structlog.get_logger().error("check.failed", check="lanes", exc_info=error)
    fields = received(journald)
    message = fields["MESSAGE"].splitlines()
    assert message[0] == 'check.failed check=lanes error="LookupError: nothing there"'
    assert message[1:] == ["    LookupError: nothing there"]
    assert fields["QW_EXCEPTION"] == "LookupError: nothing there"


def test_libraries_arrive_there_too(journald: socket.socket) -> None:
    configure("info", "journal")
    logging.getLogger("psycopg").error("boo")
    fields = received(journald)
    assert (fields["PRIORITY"], fields["MESSAGE"]) == ("3", "library.message logger=psycopg message=boo")


def test_an_entry_too_large_for_a_datagram_arrives_whole(journald: socket.socket) -> None:
    configure("info", "journal")
    jobs = [{"id": str(number), "label": "x" * 4000} for number in range(200)]
    structlog.get_logger().info("jobs.reset", jobs=jobs)
    fields = received(journald)
    assert len(json.loads(fields["QW_JOBS"])) == 200
    assert fields["MESSAGE"].endswith("] more=199")


def test_a_journal_that_went_away_and_came_back(journald: socket.socket, tmp_path: Path) -> None:
    stream = io.StringIO()
    configure("info", "journal", stream=stream)
    log = structlog.get_logger()
    log.info("first")
    assert received(journald)["QW_EVENT"] == "first"
    journald.close()
    log.warning("second", count=2)
    (tmp_path / "socket").unlink()
    log.warning("third")
    assert stream.getvalue() == "second count=2\nthird\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(tmp_path / "socket"))
        log.info("fourth")
        assert received(again)["QW_EVENT"] == "fourth"
    assert stream.getvalue() == "second count=2\nthird\n"


def test_a_stopped_journald_stops_nobody(journald: socket.socket) -> None:
    stream = io.StringIO()
    configure("info", "journal", stream=stream)
    started = time.monotonic()
    for number in range(2000):
        structlog.get_logger().info("x", number=number)
    assert time.monotonic() - started < 20
    lost_to_stream = stream.getvalue().splitlines()
    assert 0 < len(lost_to_stream) < 2000
    assert received(journald)["QW_NUMBER"] == "0"
    assert lost_to_stream[-1] == "x number=1999"


def test_without_the_socket_lines_on_systemds_stream_keep_their_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournaldTransport, "SOCKET_PATH", tmp_path / "nothing")
    with (tmp_path / "stderr").open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure("info", "auto", stream=stream)
        structlog.get_logger().error("check.failed", exception="Traceback\nKeyError")
        assert (tmp_path / "stderr").read_text() == "<3>check.failed\n<3>    Traceback\n<3>    KeyError\n"


def test_auto_is_the_journal_only_where_this_very_stream_is_connected_to_it(
    journald: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(value: str) -> str:
        monkeypatch.setenv("JOURNAL_STREAM", value)
        configure("info", "auto", stream=stream)
        assert setup._pipe is not None
        return type(setup._pipe.sink).__name__

    with (tmp_path / "stderr").open("w", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        assert chosen(f"{found.st_dev}:{found.st_ino}") == "Journal"
        assert chosen(f"{found.st_dev}:{found.st_ino + 1}") == "JsonLines"
        assert [chosen(value) for value in ("", ":", "1", "a:b")] == ["JsonLines"] * 4


def test_leaving_the_journal_closes_its_socket(journald: socket.socket) -> None:
    configure("info", "journal")
    assert setup._pipe is not None
    sink: Any = setup._pipe.sink
    assert isinstance(sink, Journal)
    configure("info", "json", stream=io.StringIO())
    assert sink._transport.socket.fileno() == -1


def test_the_level_can_change_under_the_journal(journald: socket.socket) -> None:
    configure("error", "journal", stream=sys.stderr)
    structlog.get_logger().info("no")
    set_level("info")
    structlog.get_logger().info("yes")
    assert received(journald)["QW_EVENT"] == "yes"
