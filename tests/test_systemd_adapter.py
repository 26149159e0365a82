"""What is said to systemd, as it arrives at its socket."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queuewarden.adapters.systemd import Notifier, credentials_directory, watchdog_interval

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    notifier = Notifier()
    yield notifier
    notifier.close()


def test_each_message_arrives_as_systemd_reads_it(manager: socket.socket, notifier: Notifier) -> None:
    said = [notifier.ready(), notifier.status("3/4 up; größe ✓"), notifier.watchdog(), notifier.stopping()]
    assert said == [True] * 4
    assert [manager.recv(4096).decode() for _ in said] == [
        "READY=1",
        "STATUS=3/4 up; größe ✓",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_a_reload_carries_the_monotonic_time(manager: socket.socket, notifier: Notifier) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, moment = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(moment) <= after


def test_a_status_can_neither_forge_a_message_nor_show_a_secret(
    manager: socket.socket, notifier: Notifier
) -> None:
    notifier.status("prod DOWN\nMAINPID=1 postgresql://u:pw@h \x1b[31m")
    assert manager.recv(4096).decode() == r"STATUS=prod DOWN MAINPID=1 postgresql://u:***@h \x1b[31m"


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"queuewarden-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notifier = Notifier()
        assert notifier.ready()
        notifier.close()
        assert listening.recv(4096) == b"READY=1"


def test_a_busy_systemd_is_not_waited_for(manager: socket.socket, notifier: Notifier) -> None:
    started = time.monotonic()
    answers = [notifier.watchdog() for _ in range(5000)]
    assert answers[0] is True
    assert answers[-1] is False
    assert time.monotonic() - started < 5
    manager.recv(4096)
    assert notifier.watchdog() is True


def test_a_systemd_that_went_away_is_not_an_error(manager: socket.socket, notifier: Notifier) -> None:
    manager.close()
    assert notifier.watchdog() is False


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "vsock:2:1"])
def test_harmless_without_systemd(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    said = [
        notifier.ready(),
        notifier.status("x"),
        notifier.watchdog(),
        notifier.stopping(),
        notifier.reloading(),
    ]
    notifier.close()
    assert said == [False] * 5


@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_a_socket_that_nobody_reads_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert Notifier().ready() is False


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "90000000"}, timedelta(seconds=90)),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, timedelta(seconds=90)),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "5", "WATCHDOG_PID": "?"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_interval(environ: dict[str, str], expected: timedelta | None) -> None:
    assert watchdog_interval(environ) == expected


def test_the_credentials_directory() -> None:
    assert credentials_directory({"CREDENTIALS_DIRECTORY": "/run/credentials/q"}) == Path(
        "/run/credentials/q"
    )
    assert credentials_directory({}) is None
