"""Reports by the clock: to a file as a whole, or to a channel in a few words."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from upkeep.reports import making

from queuewarden.adapters import whole_file
from queuewarden.application.upkeep.report_views.words import message
from queuewarden.application.upkeep.reports import cleaned, period_of
from queuewarden.engine.upkeep.config import Upkeep
from queuewarden.engine.upkeep.report.build import Builder, Subject
from queuewarden.engine.upkeep.report.values import Frame
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import Database


@pytest.mark.parametrize(
    ("cron", "period"),
    [
        (None, "week"),
        ("0 7 * * *", "day"),
        ("0 * * * *", "day"),
        ("0 7 * * 1-5", "day"),
        ("0 7 * * 1", "week"),
        ("0 0 1,15 * *", "month"),
        ("0 0 1 * *", "month"),
        ("0 0 1 1 *", "month"),
    ],
)
def test_a_report_is_about_the_time_from_one_to_the_next(cron: str | None, period: str) -> None:
    assert period_of(Upkeep(schedule={} if cron is None else {"report": cron})) == period


def run(mail: Callable, **variables: str) -> object:
    return mail(
        "upkeep", "run", "report", "--env", "prod",
        **{f"QUEUEWARDEN_{name}": value for name, value in variables.items()},
    )  # fmt: skip


def test_a_queue_that_samples_name_forges_no_line_of_a_message() -> None:
    builder, queue = Builder(Frame("prod", "day", 0, 86_400)), "gone\n- forged\x1b[31m"
    builder.queue(Subject(queue, "t"), [making.hour(0, queue, failed=99)])
    _, body = message(cleaned(builder.report([])))
    assert "gone" in body
    assert not any(line.startswith("- forged") for line in body.splitlines())
    assert "\x1b" not in body


@pytest.mark.parametrize("kind", ["html", "json", "txt"])
def test_to_a_file(mail: Callable, ledger: Database, tmp_path: Path, kind: str) -> None:
    making.write(ledger, making.month(["mail"], length=2))
    called = run(
        mail,
        UPKEEP__REPORT="0 7 * * *",
        UPKEEP__REPORT_TO=f"{tmp_path}/{{environment}}-{{period}}.{kind}",
    )
    assert called.code == 0, called.err
    (file,) = tmp_path.iterdir()
    assert file.name == f"prod-day.{kind}"
    text = file.read_text()
    if kind == "json":
        assert json.loads(text)["environments"]["prod"]["period"] == "day"
    else:
        assert text.startswith("<!doctype html>" if kind == "html" else "prod: day, ")
    assert ledger.value("SELECT result FROM queuewarden.upkeep_runs WHERE task = 'report'") == "done"


def test_a_folder_that_is_not_there_is_told(mail: Callable, ledger: Database, tmp_path: Path) -> None:
    called = run(mail, UPKEEP__REPORT_TO=f"{tmp_path}/nosuch/r.html")
    assert called.code != 0
    assert "cannot be written" in called.out + called.err
    assert ledger.value("SELECT result FROM queuewarden.upkeep_runs WHERE task = 'report'") == "failed"


def test_two_environments_do_not_write_the_same_file(
    mail: Callable, ledger: Database, tmp_path: Path
) -> None:
    called = run(
        mail,
        ENV__OTHER__DSN=ledger.dsn,
        UPKEEP__REPORT="@daily",
        UPKEEP__REPORT_TO=f"{tmp_path}/r.html",
    )
    assert called.code == 78
    assert "prod has the same file; put {environment} into its name" in called.err
    assert list(tmp_path.iterdir()) == []


def test_without_a_destination_nothing_is_done(mail: Callable) -> None:
    called = run(mail)
    assert "REPORT_TO" in called.out + called.err


def test_to_a_channel(mail: Callable, ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from queuewarden.adapters.notify.courier import Courier

    sent: list[tuple[str, str, str]] = []

    async def send(_: Courier, url: str, *, title: str, body: str, **rest: object) -> None:
        sent.append((url, title, body))

    monkeypatch.setattr(Courier, "send", send)
    making.write(ledger, making.month(["mail"], length=8))
    called = run(mail, UPKEEP__REPORT_TO="team", ALERT__TEAM__URL="json://127.0.0.1:1")
    assert called.code == 0, called.err
    ((url, title, body),) = sent
    assert url == "json://127.0.0.1:1"
    assert title.startswith("[report] prod: week until ")
    assert "done" in body


def test_a_channel_that_is_not_there(mail: Callable) -> None:
    called = run(mail, UPKEEP__REPORT_TO="nosuch")
    assert called.code == 78
    assert "QUEUEWARDEN_UPKEEP__REPORT_TO" in called.err
    assert "unknown channel nosuch; there is none" in called.err


def test_a_file_is_written_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.html"
    whole_file.write(file, "one")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("one", 0o640)
    file.chmod(0o604)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(QueuewardenError, match="No space left on device"):
        whole_file.write(file, "two")
    monkeypatch.undo()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("r.html", "one")]
    whole_file.write(file, "three")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("three", 0o604)


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(QueuewardenError, match="no regular file"):
        whole_file.write(pipe, "x")
    assert pipe.is_fifo()
