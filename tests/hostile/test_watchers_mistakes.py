"""Mistakes of ours, files that are none, names that call people: none of them reaches a sweep or a person."""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from alertings import rule
from stations import station
from structlog.testing import capture_logs

from queuewarden.application.alerting import delivery as dispatch_delivery
from queuewarden.application.alerting import dispatch, watched
from queuewarden.application.alerting.delivery import ATTEMPTS, Delivery
from queuewarden.application.alerting.dispatch import Dispatch
from queuewarden.application.alerting.messages import compose
from queuewarden.application.http.access import Access
from queuewarden.application.http.problems import Problem
from queuewarden.application.watching import metering
from queuewarden.engine.alerting.decide import Policy, decide
from queuewarden.engine.alerting.notices import About, Alert, AlertNotice, Observation
from queuewarden.engine.alerting.wording import summary
from queuewarden.engine.report import SweepReport
from queuewarden.errors import ChannelError, UnavailableError
from queuewarden.model import ServerState
from queuewarden.settings.configuration import ChannelConfig, HttpConfig
from queuewarden.settings.secret import SecretSource

if TYPE_CHECKING:
    from pathlib import Path

    from queuewarden.application.watching.station import Station
    from queuewarden.engine.alerting.notices import AlertNotice as Notice

TOKEN = "a-token-of-the-tests"


def bearer(token: str) -> Any:
    return SimpleNamespace(headers={"authorization": f"Bearer {token}"}, client=None)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_secret_that_is_no_file_keeps_nobody_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "secret"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    source = SecretSource("F", path=path)
    with pytest.raises(UnavailableError, match="secret is no file; write the secret into one"):
        source.read()
    with capture_logs() as lines, pytest.raises(Problem) as caught:
        Access(HttpConfig(None, 0, read_token=source)).reader(bearer(TOKEN))
    assert (caught.value.status, [line["event"] for line in lines]) == (503, ["http.token_failed"])


def test_two_files_with_the_same_token_let_nobody_write(tmp_path: Path) -> None:
    files = {kind: tmp_path / kind for kind in ("read", "write")}
    for file in files.values():
        file.write_text(TOKEN)
    sources = {f"{kind}_token": SecretSource("F", path=file) for kind, file in files.items()}
    with pytest.raises(Problem, match="are the same") as caught:
        Access(HttpConfig(None, 0, **sources)).writer(bearer(TOKEN))
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("@channel", "@ channel"),
        ("<!here> @here", "<!here> @ here"),
        ("@Everyone!", "@ Everyone!"),
        ("<@&123> <@!123> <@123>", "<@ &123> <@ !123> <@ 123>"),
        ("ada@allied.example.com", "ada@allied.example.com"),
    ],
)
def test_a_name_calls_nobody_in_a_chat(name: str, shown: str) -> None:
    said = summary(rule(summary="{subject}: @oncall, look"), About("prod", "mail", name), 1)
    assert said == f"{shown}: @oncall, look"


def test_a_name_forges_neither_a_title_nor_a_line() -> None:
    hostile = "w\r\nBcc: eve@example.com\r\n\r\nRESOLVED all is well\u2028\u202e\x1b[31m"
    about = About("prod", "mail", hostile)
    alert = Alert(
        "a", "zombie", "warning", about, 1, 0, summary(rule(summary="{subject}"), about, 1), "", 0.0
    )
    message = compose([AlertNotice("fired", alert)], lambda _: datetime.now(UTC))
    assert message.title.isprintable()
    assert len(message.body.splitlines()) == 5
    assert "eve@" not in message.title + message.body


def test_reloads_cost_a_message_none_of_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_delivery, "_backoff", lambda _: 0.01)
    reloads, tried = 2 * ATTEMPTS, 0

    async def main() -> None:
        class Down:
            async def send(self, *_: Any, **__: Any) -> None:
                nonlocal tried
                tried += 1
                if tried <= reloads:
                    delivery.hurry()
                raise ChannelError("refused")

        config = ChannelConfig(
            "ops", SecretSource("U", "json://x"), frozenset(), frozenset(), 20, timedelta(1)
        )
        delivery = Delivery(config, Down())
        alert = Alert("a", "r", "warning", About("prod"), 1, 0, "s", "", 0.0)
        message = compose([AlertNotice("fired", alert)], lambda _: datetime.now(UTC))
        await delivery.deliver(message, time.monotonic())

    asyncio.run(main())
    assert tried == reloads + ATTEMPTS


class MistakeError(Exception):
    pass


def mistake(*_: Any, **__: Any) -> None:
    raise MistakeError


MISTAKES = {
    "the meter cannot be made": lambda _: (metering.Meter, "__init__"),
    "the meter": lambda one: (type(one.meter), "swept"),
    "the alarm": lambda one: (type(one.alarm), "swept"),
    "the decision": lambda _: (watched, "decide"),
    "the dispatch": lambda one: (type(one.telling), "put"),
    "the ping": lambda one: (type(one.telling), "swept"),
    "the trends": lambda one: (type(one), "_take"),
    "the status": lambda one: (type(one), "_show"),
}


@pytest.mark.parametrize("place", MISTAKES)
def test_a_mistake_of_a_watcher_ends_there_and_is_told(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = station(HttpConfig("127.0.0.1", 0), "prod")
    guard = one.guards["prod"]
    guard.status.turn("up")
    now = datetime.now(UTC)
    server = ServerState(now, now, standby=False, timeline=None, system=None)
    report = SweepReport("prod", "s", server, (), (), (), 0.0, 0)
    one.alarm._of(guard).known = one.alarm._of(guard)._remembered = True
    one.checkups._due["prod"] = math.inf  # no look at a database that is not there
    if place == "the meter cannot be made":
        one.meter = None
    monkeypatch.setattr(*MISTAKES[place](one), mistake)
    with capture_logs() as lines:
        one.swept(guard, report)
        one.changed(guard)
        one.failed(guard, None)
        one.interrupted(guard, report)
        asyncio.run(one.keep(guard, None, None))  # type: ignore[arg-type]  # a mistake by itself
    assert {line["event"] for line in lines} >= {"station.failed"}


def firing(one: Station, name: str, *, told: bool = True) -> None:
    """Have an alert of an environment fire."""
    seen = Observation(name, {"waiting_jobs": {About(name, "mail"): 99.0}})
    policy = Policy((rule(),), silent=not told)
    found = one.alarm._of(one.guards[name])
    found.state, _ = decide(found.state, seen, time.monotonic(), policy)


def test_alerts_of_an_environment_that_is_taken_away_are_over() -> None:
    told: list[Notice] = []
    one = station(HttpConfig("127.0.0.1", 0), "prod", "test", "quiet")
    one.alarm.tell = told.extend
    for name in ("prod", "test"):
        firing(one, name)
    firing(one, "quiet", told=False)
    left = tuple(env for env in one.configuration.environments if env.name == "test")
    one.alarm.reconfigure(replace(one.configuration, environments=left))
    assert [(one.change, one.alert.about.environment) for one in told] == [("resolved", "prod")]
    assert [alert.about.environment for alert in one.alarm.alerts()] == ["test"]


def test_alerts_of_an_environment_that_comes_back_are_told_again() -> None:
    told: list[Notice] = []
    one = station(HttpConfig("127.0.0.1", 0), "prod", "test")
    one.alarm.tell = told.extend
    firing(one, "prod")
    kept = one.alarm.alerts()
    assert [alert.announced for alert in kept] == [True]
    left = tuple(env for env in one.configuration.environments if env.name == "test")
    one.alarm.reconfigure(replace(one.configuration, environments=left))
    found = one.alarm._of(one.guards["prod"])
    found._remember(kept, [], time.monotonic())
    assert [alert.announced for alert in found.state.alerts] == [False]
    assert [notice.change for notice in told] == ["resolved"]


def test_a_guard_that_is_ending_begins_no_alert() -> None:
    one = station(HttpConfig("127.0.0.1", 0), "prod")
    guards = one.guards
    assert isinstance(guards, dict)
    guard = guards.pop("prod")
    guard.status.turn("down", "it ends")
    one.failed(guard, None)
    assert one.alarm._watched == {}


def test_a_storm_of_names_keeps_little_and_is_over_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LAST_WITHIN", 20.0)
    sent: list[str] = []

    class Kept:
        async def send(self, *_: Any, title: str, **__: Any) -> None:
            sent.append(title)

    def notices(change: Any) -> list[Notice]:
        about = (About("prod", "mail", f"worker {number}") for number in range(5000))
        return [
            AlertNotice(change, Alert(one.subject, "zombie", "warning", one, 1, 0, "s", "", 0.0))
            for one in about
        ]

    async def main() -> None:
        config = ChannelConfig(
            "ops", SecretSource("U", "json://x"), frozenset({"warning"}), frozenset(), 20, timedelta(1)
        )
        storm = Dispatch([config], Kept())
        for change in ("fired", "resolved"):
            storm.put(notices(change), lambda _: datetime.now(UTC))
        assert storm.states()["ops"].swallowed == 4980
        await storm.close()

    asyncio.run(main())
    assert sent == ["[warning] prod: 20 alerts, 20 resolved"]
    assert len(compose(notices("fired"), lambda _: datetime.now(UTC)).notices) == 20
