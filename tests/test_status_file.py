"""The status file: replaced at once, readable by everybody, and clear about what is wrong with it."""

from __future__ import annotations

import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from eventually import eventually

from queuewarden.adapters import status_file
from queuewarden.errors import QueuewardenError


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "/run/queuewarden/status.json"),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b"}, "/run/a/status.json"),
        ({"RUNTIME_DIRECTORY": "/run/a", "QUEUEWARDEN_STATUS_FILE": "/tmp/x.json"}, "/tmp/x.json"),  # noqa: S108 -- not opened
        ({"queuewarden_status_file": "/srv/x.json"}, "/srv/x.json"),
    ],
)
def test_where_it_is(environ: dict[str, str], expected: str) -> None:
    assert status_file.path(environ) == Path(expected)


def test_an_ordinary_users_daemon_writes_below_the_users_own_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_file, "DEFAULT", tmp_path / "system" / "queuewarden" / "status.json")
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "user")}
    (tmp_path / "user").mkdir()
    path = status_file.prepared(environ)
    assert path == tmp_path / "user" / "queuewarden" / "status.json"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    status_file.write(path, {"n": 1})
    assert status_file.latest(environ) == path


def test_a_reader_takes_the_word_of_the_daemon_that_wrote_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, own = tmp_path / "system" / "status.json", tmp_path / "user" / "system" / "status.json"
    monkeypatch.setattr(status_file, "DEFAULT", system)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "user")}
    for path in (system, own):
        path.parent.mkdir(parents=True)
        status_file.write(path, {})
    for later, earlier in ((system, own), (own, system)):
        os.utime(earlier, (1, 1))
        os.utime(later, (2, 2))
        assert status_file.latest(environ) == later
    assert status_file.latest(environ | {"RUNTIME_DIRECTORY": "/run/a"}) == Path("/run/a/status.json")


def test_a_system_directory_that_is_ours_to_write_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_file, "DEFAULT", tmp_path / "status.json")
    assert status_file.prepared({"XDG_RUNTIME_DIR": "/run/user/1"}) == tmp_path / "status.json"


def test_an_empty_variable_turns_it_off() -> None:
    assert status_file.path({"QUEUEWARDEN_STATUS_FILE": "", "RUNTIME_DIRECTORY": "/run/a"}) is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    document = {
        "since": datetime(2026, 1, 2, tzinfo=UTC),
        "age": timedelta(seconds=90),
        "environments": {"token": {"up": False, "reason": "postgresql://u:pw@h refused", "waiting": None}},
    }
    status_file.write(path, document)
    assert status_file.read(path) == {
        "since": "2026-01-02T00:00:00+00:00",
        "age": 90.0,
        "environments": {"token": {"up": False, "reason": "postgresql://u:***@h refused", "waiting": None}},
    }


def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    before = os.umask(0o077)
    try:
        status_file.write(path, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_document(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status_file.write(path, {"n": 0, "same": 0})
    stop = threading.Event()
    seen: list[dict[str, object]] = []

    def look() -> None:
        while not stop.is_set():
            seen.append(status_file.read(path))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        eventually(lambda: seen, what="the reader is at work")
        for number in range(50):
            status_file.write(path, {"n": number, "filler": ["x" * 4000] * 5, "same": number})
    finally:
        stop.set()
        reader.join()
    assert all(document["n"] == document["same"] for document in seen)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    status_file.write(path, {"n": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        status_file.write(path, {"n": 2})
    assert status_file.read(path) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_an_error_of_the_writer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        status_file.write(tmp_path / "no" / "status.json", {})


def test_a_missing_file_asks_for_the_daemon(tmp_path: Path) -> None:
    with pytest.raises(
        QueuewardenError, match=r"status\.json: there is no status file; is the daemon running\?"
    ):
        status_file.read(tmp_path / "status.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"n": 1', "is broken"),
        (b"", "is broken"),
        (b"\xff\xfe", "is broken"),
        (b"[1]", "not a status file"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content)
    with pytest.raises(QueuewardenError, match=message) as caught:
        status_file.read(path)
    assert str(path) in str(caught.value)


def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(QueuewardenError, match="cannot be read: Is a directory"):
        status_file.read(tmp_path)


def test_the_file_is_json_of_one_object(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status_file.write(path, {"label": "größe\x1b[31m"})
    assert json.loads(path.read_bytes()) == {"label": "größe\\x1b[31m"}


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    device = tmp_path / "pipe"
    os.mkfifo(device)
    with pytest.raises(OSError, match="not a regular file"):
        status_file.write(device, {})
    assert device.is_fifo()
    assert list(tmp_path.iterdir()) == [device]
