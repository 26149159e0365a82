from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import notify_servers
import pytest
import structlog
import tenacity
from notify_servers import until
from ports import free_port
from structlog.testing import capture_logs

from queuewarden.adapters.notify.courier import Courier
from queuewarden.application.alerting import channel as dispatch_channel
from queuewarden.application.alerting import delivery as dispatch_delivery
from queuewarden.application.alerting.dispatch import Dispatch, takes
from queuewarden.engine.alerting.notices import About, Alert, AlertNotice
from queuewarden.errors import ChannelError
from queuewarden.settings.configuration import ChannelConfig
from queuewarden.settings.secret import SecretSource

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from queuewarden.application.alerting.delivery import Sender
    from queuewarden.engine.alerting.notices import Change


def wall(moment: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=moment - time.monotonic())


def channel(name: str = "ops", url: str = "json://localhost", **rest: Any) -> ChannelConfig:
    given: dict[str, Any] = {
        "severities": frozenset({"warning", "critical", "escalated"}),
        "environments": frozenset(),
        "hourly": 20,
        "timeout": timedelta(seconds=10),
    }
    return ChannelConfig(name, SecretSource(f"QUEUEWARDEN_ALERT__{name}__URL", url), **(given | rest))


def notice(
    id: str = "a1",  # noqa: A002 -- as everybody calls it
    severity: Any = "warning",
    change: Change = "fired",
    channels: tuple[str, ...] = (),
    **alert: Any,
) -> AlertNotice:
    about = About(alert.pop("environment", "prod"), alert.pop("queue", "mail"), alert.pop("subject", ""))
    rule = alert.pop("rule", "waiting_jobs")
    made = Alert(id, rule, severity, about, 120, 100, f"{id} is wrong", "add workers", time.monotonic())
    return AlertNotice(change, replace(made, **alert), channels)


class Sent:
    """A sender that does what each test needs."""

    def __init__(self, *failures: ChannelError | None) -> None:
        self.failures = list(failures)
        self.titles: list[str] = []
        self.bodies: list[str] = []
        self.kinds: list[str] = []
        self.urls: list[str] = []
        self.keys: list[str | None] = []
        self.contexts: list[dict[str, Any]] = []
        self.attempts = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.raises: Exception | None = None

    async def send(
        self,
        url: str,
        *,
        title: str,
        body: str,
        kind: Any,
        key: str | None,
        timeout: float,  # noqa: ARG002, ASYNC109 -- as the protocol has it
    ) -> None:
        self.attempts += 1
        await self.hold.wait()
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.urls.append(url)
        self.titles.append(title)
        self.bodies.append(body)
        self.kinds.append(kind)
        self.keys.append(key)
        self.contexts.append(structlog.contextvars.get_contextvars())


def dispatching(
    configs: list[ChannelConfig], work: Callable[[Dispatch], Coroutine[Any, Any, None]], sender: Sender
) -> None:
    async def run() -> None:
        dispatch = Dispatch(configs, sender)
        try:
            await work(dispatch)
        finally:
            await dispatch.close()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups and waits in hundredths of a second."""
    monkeypatch.setattr(dispatch_channel, "GROUP_WITHIN", 0.1)
    monkeypatch.setattr(dispatch_channel, "AFTER_MISTAKE", 0.01)
    monkeypatch.setattr(dispatch_delivery, "_backoff", lambda _: 0.02)


@pytest.mark.parametrize(
    ("told", "config", "taken"),
    [
        (notice(severity="warning"), channel(), True),
        (notice(severity="info"), channel(), False),
        (notice(severity="info", change="resolved"), channel(), False),
        (notice(severity="warning", change="resolved"), channel(), True),
        (notice(severity="warning", change="acknowledged"), channel(), True),
        (notice(severity="critical", change="escalated"), channel(), True),
        (notice(severity="critical", change="escalated"), channel(severities=frozenset({"critical"})), False),
        (notice(severity="critical"), channel(severities=frozenset({"escalated"})), False),
        (notice(severity="critical", change="escalated"), channel(severities=frozenset({"escalated"})), True),
        (
            notice(severity="critical", change="resolved", escalated=True),
            channel(severities=frozenset({"escalated"})),
            True,
        ),
        (notice(severity="critical", change="resolved"), channel(severities=frozenset({"escalated"})), False),
        (notice(), channel(environments=frozenset({"staging"})), False),
        (notice(), channel(environments=frozenset({"staging", "prod"})), True),
        (notice(environment="", queue=""), channel(environments=frozenset({"staging"})), True),
        (notice(channels=("night",)), channel(), False),
        (notice(channels=("night", "ops")), channel(), True),
        (notice(channels=("ops",), severity="info"), channel(), False),
        (notice(environment="", rule="channel_failing", subject="ops"), channel(), False),
        (notice(environment="", rule="channel_failing", subject="night"), channel(), True),
    ],
)
def test_each_channel_takes_what_it_is_configured_for(
    told: AlertNotice,
    config: ChannelConfig,
    taken: bool,  # noqa: FBT001 -- a parameter
) -> None:
    assert takes(config, told) is taken


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"severity": "critical"}, {"severity": "warning"}),
        ({"severity": "critical", "channels": ("night",)}, {"severity": "critical", "channels": ("ops",)}),
    ],
)
def test_an_end_is_told_to_who_was_told_of_the_alert_though_the_rule_has_changed(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    async def main() -> None:
        sent = {"night": Sent(), "ops": Sent()}

        async def send(url: str, **message: Any) -> None:
            await sent[url.removeprefix("json://")].send(url, **message)

        sender = Sent()
        sender.send = send  # type: ignore[method-assign]
        night = channel("night", "json://night", severities=frozenset({"critical"}))
        dispatch = Dispatch([night, channel("ops", "json://ops", environments=frozenset({"test"}))], sender)
        dispatch.put([notice(**before)], wall)
        dispatch.put([notice(change="resolved", **after)], wall)
        await dispatch.close()
        assert sent["night"].titles[-1].startswith("[resolved]")
        assert sent["ops"].titles == []

    asyncio.run(main())


def test_notices_of_the_same_moment_are_one_message() -> None:
    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1"), notice("a2")], wall)
        dispatch.put([notice("a3")], wall)
        assert sent.attempts == 0
        await until(lambda: sent.titles)
        dispatch.put([notice("a4")], wall)
        await until(lambda: len(sent.titles) == 2)

    sent = Sent()
    dispatching([channel()], work, sent)
    assert sent.titles == ["[warning] prod: 3 alerts", "[warning] prod/mail: a4 is wrong"]
    assert all(f"id: {one}" in sent.bodies[0] for one in ("a1", "a2", "a3"))
    assert sent.keys == [None, "a4"]


def test_critical_ones_do_not_wait_for_others_and_take_those_that_wait_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch_channel, "GROUP_WITHIN", 60.0)

    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1")], wall)
        dispatch.put([notice("a2", "critical"), notice("a3", "critical")], wall)
        await until(lambda: sent.titles)

    sent = Sent()
    dispatching([channel()], work, sent)
    assert sent.titles == ["[critical] prod: 3 alerts"]
    assert sent.kinds == ["failure"]


def test_receiver_of_incidents_gets_one_alert_a_message() -> None:
    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1"), notice("a2"), notice("a3")], wall)
        await until(lambda: len(sent.titles) == 2)

    sent = Sent()
    dispatching([channel(url="pagerduty://routing@key", hourly=2)], work, sent)
    assert sent.keys == ["a1", "a2"]
    assert ["1 notice was not sent" in body for body in sent.bodies] == [True, False]


def test_failed_attempt_is_repeated_until_it_is_taken_and_told_once() -> None:
    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: sent.attempts == 2)
        state = dispatch.states()["ops"]
        assert (state.ok, state.reason, state.sent) == (False, "HTTP 500", 0)
        assert state.since is not None
        await until(lambda: sent.titles)
        await until(lambda: dispatch.states()["ops"].queued == 0)
        state = dispatch.states()["ops"]
        assert (state.ok, state.reason, state.since, state.sent, state.failed) == (True, None, None, 1, 0)

    with capture_logs() as logs:
        sent = Sent(*[ChannelError("HTTP 500")] * 3)
        dispatching([channel()], work, sent)
    told = [(line["event"], line["log_level"]) for line in logs]
    assert told == [("channel.failed", "warning"), ("alert.sent", "debug"), ("channel.recovered", "info")]
    assert logs[0]["reason"] == "HTTP 500"


def test_after_ten_attempts_a_message_is_given_up_and_counted() -> None:
    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: dispatch.states()["ops"].failed == 1)
        assert sent.attempts == 10
        dispatch.put([notice("a2", "critical")], wall)
        await until(lambda: sent.titles)

    with capture_logs() as logs:
        sent = Sent(*[ChannelError("HTTP 500")] * 10)
        dispatching([channel()], work, sent)
    assert sent.titles == ["[critical] prod/mail: a2 is wrong"]
    [lost] = [line for line in logs if line["event"] == "alert.lost"]
    assert (lost["title"], lost["reason"]) == ("[critical] prod/mail: a1 is wrong", "HTTP 500")


def test_permanent_failure_is_not_repeated() -> None:
    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: dispatch.states()["ops"].failed == 1)
        assert not dispatch.states()["ops"].ok

    sent = Sent(ChannelError("no URL", permanent=True))
    dispatching([channel()], work, sent)
    assert sent.attempts == 1


def test_waits_between_attempts_add_up_to_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    waits = []
    for state.attempt_number in range(1, dispatch_delivery.ATTEMPTS):
        waits.append(dispatch_delivery._backoff(state))
    assert 1 < waits[0] < 3
    assert max(waits) <= dispatch_delivery.LONGEST_WAIT * 1.25
    assert 500 < sum(waits) < 1100
    assert [dispatch_delivery._backoff(state) for _ in range(2)] != [waits[-1]] * 2, "spread by chance"


def test_old_message_is_no_news_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(dispatch: Dispatch) -> None:
        sent.hold.clear()
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: sent.attempts == 1)
        dispatch.put([notice("a2", "critical")], wall)
        monkeypatch.setattr(dispatch_delivery, "STALE", 0.0)
        sent.hold.set()
        await until(lambda: dispatch.states()["ops"].queued == 0)
        state = dispatch.states()["ops"]
        assert (state.failed, state.dropped, state.sent) == (1, 1, 0)

    sent = Sent(ChannelError("HTTP 500"))
    dispatching([channel()], work, sent)
    assert sent.titles == []


def test_full_queue_drops_the_oldest_that_is_not_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_channel, "QUEUE", 3)
    monkeypatch.setattr(dispatch_channel, "GROUP_WITHIN", 0.0)

    async def work(dispatch: Dispatch) -> None:
        sent.hold.clear()
        dispatch.put([notice("first")], wall)
        await until(lambda: sent.attempts == 1)
        for id_, severity in (("c1", "critical"), ("w1", "warning"), ("w2", "warning"), ("c2", "critical")):
            dispatch.put([notice(id_, severity)], wall)
            await asyncio.sleep(0.02)
        assert dispatch.states()["ops"].queued == 4
        assert dispatch.states()["ops"].dropped == 1
        sent.hold.set()
        await until(lambda: dispatch.states()["ops"].queued == 0)

    sent = Sent()
    with capture_logs() as logs:
        dispatching([channel()], work, sent)
    assert [title.split()[-3] for title in sent.titles] == ["first", "c1", "w2", "c2"]
    assert [line["title"] for line in logs if line["event"] == "alert.lost"] == [
        "[warning] prod/mail: w1 is wrong"
    ]


def test_queue_of_critical_ones_takes_no_other_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_channel, "QUEUE", 2)
    monkeypatch.setattr(dispatch_channel, "GROUP_WITHIN", 0.0)

    async def work(dispatch: Dispatch) -> None:
        sent.hold.clear()
        dispatch.put([notice("first", "critical")], wall)
        await until(lambda: sent.attempts == 1)
        for id_, severity in (("c1", "critical"), ("c2", "critical"), ("w1", "warning"), ("c3", "critical")):
            dispatch.put([notice(id_, severity)], wall)
            await asyncio.sleep(0.02)
        sent.hold.set()
        await until(lambda: dispatch.states()["ops"].queued == 0)

    sent = Sent()
    dispatching([channel()], work, sent)
    assert [title.split()[-3] for title in sent.titles] == ["first", "c2", "c3"]


def test_g3_hourly_cap_is_enforced_counted_and_told() -> None:
    async def work(dispatch: Dispatch) -> None:
        for number in range(6):
            dispatch.put([notice(f"w{number}")], wall)
        dispatch.put([notice("c1", "critical")], wall)
        await until(lambda: sent.titles)
        assert dispatch.states()["ops"].swallowed == 4
        dispatch.put([notice("w7")], wall)
        dispatch.put([notice("w0", change="resolved")], wall)
        await until(lambda: len(sent.titles) == 2)

    sent = Sent()
    dispatching([channel(hourly=2)], work, sent)
    assert sent.titles == ["[critical] prod: 3 alerts", "[resolved] prod/mail: w0 is wrong"]
    assert "w2" not in sent.bodies[0]
    assert "4 notices were not sent here" in sent.bodies[0]
    assert "1 notice was not sent here" in sent.bodies[1]


def test_mistake_of_ours_is_logged_and_costs_one_message() -> None:
    async def work(dispatch: Dispatch) -> None:
        sent.raises = ZeroDivisionError()
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: dispatch.states()["ops"].failed == 1)
        dispatch.put([notice("a2", "critical")], wall)
        await until(lambda: sent.titles)

    sent = Sent()
    with capture_logs() as logs:
        dispatching([channel()], work, sent)
    assert sent.titles == ["[critical] prod/mail: a2 is wrong"]
    assert [line["log_level"] for line in logs if line["event"] == "channel.mistake"] == ["error"]


def test_mistake_in_a_text_does_not_reach_whoever_put_it() -> None:
    async def work(dispatch: Dispatch) -> None:
        def broken(moment: float) -> datetime:
            raise ZeroDivisionError

        dispatch.put([notice("a1", "critical")], broken)
        dispatch.put([notice("a2", "critical")], wall)
        await until(lambda: sent.titles)

    sent = Sent()
    with capture_logs() as logs:
        dispatching([channel()], work, sent)
    assert "channel.mistake" in [line["event"] for line in logs]


def test_unreadable_url_file_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "url"

    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: not dispatch.states()["ops"].ok)
        assert "cannot be read" in (dispatch.states()["ops"].reason or "")
        path.write_text("json://elsewhere/\n")
        await until(lambda: sent.titles)

    sent = Sent()
    config = replace(channel(), url=SecretSource("QUEUEWARDEN_ALERT__OPS__URL_FILE", path=path))
    dispatching([config], work, sent)
    assert sent.urls == ["json://elsewhere/"]


def test_new_configuration_keeps_what_waits_and_tries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_delivery, "_backoff", lambda _: 60.0)

    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1", "critical")], wall)
        dispatch.put([notice("a2", "critical")], wall)
        await until(lambda: not dispatch.states()["ops"].ok and not dispatch.states()["gone"].ok)
        dispatch.reconfigure([channel("ops", "json://new"), channel("added")])
        await until(lambda: len(sent.urls) == 2)
        dispatch.put([notice("a3", "critical")], wall)
        await until(lambda: len(sent.urls) == 4)
        assert set(dispatch.states()) == {"ops", "added"}

    sent = Sent(ChannelError("HTTP 500"), ChannelError("HTTP 500"))
    dispatching([channel("ops"), channel("gone")], work, sent)
    assert sorted(sent.urls) == ["json://localhost", "json://new", "json://new", "json://new"]


def test_close_sends_what_is_queued_but_for_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_channel, "GROUP_WITHIN", 60.0)

    async def quick(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1")], wall)

    sent = Sent()
    dispatching([channel()], quick, sent)
    assert sent.titles == ["[warning] prod/mail: a1 is wrong"]

    async def stuck(dispatch: Dispatch) -> None:
        held.hold.clear()
        dispatch.put([notice("a1"), notice("a2", "critical")], wall)
        await until(lambda: held.attempts)
        dispatch.put([notice("a3")], wall)
        begun = time.monotonic()
        await dispatch.close()
        assert time.monotonic() - begun < 8
        dispatch.put([notice("a4", "critical")], wall)

    held = Sent()
    with capture_logs() as logs:
        dispatching([channel()], stuck, held)
    assert held.titles == []
    assert [line["count"] for line in logs if line["event"] == "alerts.unsent"] == [2]


def test_failing_channel_tries_once_more_when_the_daemon_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_delivery, "_backoff", lambda _: 60.0)

    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: not dispatch.states()["ops"].ok)

    sent = Sent(ChannelError("HTTP 500"))
    dispatching([channel()], work, sent)
    assert sent.titles == ["[critical] prod/mail: a1 is wrong"]


def test_channel_that_still_fails_when_the_daemon_stops_holds_it_up_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch_delivery, "_backoff", lambda _: 60.0)

    async def work(dispatch: Dispatch) -> None:
        dispatch.put([notice("a1", "critical")], wall)
        dispatch.put([notice("a2", "critical")], wall)
        await until(lambda: not dispatch.states()["ops"].ok)
        begun = time.monotonic()
        await dispatch.close()
        assert time.monotonic() - begun < 5
        assert dispatch.states()["ops"].failed == 2

    sent = Sent(*[ChannelError("HTTP 500")] * 10)
    with capture_logs() as logs:
        dispatching([channel()], work, sent)
    assert sent.attempts == 3
    assert [line["event"] for line in logs] == ["channel.failed", "alert.lost", "alert.lost"]


def test_notices_of_one_environment_leave_no_trace_in_the_log_of_others() -> None:
    async def work(dispatch: Dispatch) -> None:
        structlog.contextvars.bind_contextvars(environment="prod")
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: sent.titles)
        structlog.contextvars.clear_contextvars()

    sent = Sent()
    dispatching([channel()], work, sent)
    assert sent.contexts == [{}]


def test_hanging_channel_holds_up_no_other_and_500_then_200_arrives() -> None:
    async def run() -> None:
        courier = Courier()
        configs = [
            channel("hangs", f"json://127.0.0.1:{port}/"),
            channel("flaps", flapping.url()),
            channel("mail", mailbox.url()),
            channel("wrong", "nosuch://hunter2-secret"),
        ]
        dispatch = Dispatch(configs, courier)
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: mailbox.mails and len(flapping.bodies) == 3)
        await until(lambda: [dispatch.states()[name].sent for name in ("flaps", "mail")] == [1, 1])
        await until(lambda: not dispatch.states()["wrong"].ok)
        states = dispatch.states()
        assert states["flaps"].ok
        assert (states["hangs"].queued, states["hangs"].sent) == (1, 0)
        assert states["wrong"].failed == 1
        begun = time.monotonic()
        await dispatch.close()
        await courier.close()
        assert time.monotonic() - begun < 8
        assert courier.pid is None

    with (
        notify_servers.silent() as port,
        notify_servers.web(500, 500, 200) as flapping,
        notify_servers.smtp() as mailbox,
        capture_logs() as logs,
    ):
        asyncio.run(run())
    assert mailbox.mails[0]["Subject"] == "[critical] prod/mail: a1 is wrong"
    assert "queuewarden alerts ack a1" in mailbox.mails[0].get_content()
    assert "hunter2" not in str(logs)


def test_message_survives_the_death_of_its_process() -> None:
    async def run() -> None:
        courier = Courier()
        dispatch = Dispatch([channel(url=web.url())], courier)
        web.hold.clear()
        dispatch.put([notice("a1", "critical")], wall)
        await until(web.came.is_set)
        web.answers = [200]
        assert courier.pid is not None
        os.kill(courier.pid, signal.SIGKILL)
        await until(lambda: not dispatch.states()["ops"].ok)
        assert dispatch.states()["ops"].reason == "the sending process ended (-9)"
        web.hold.set()
        await until(lambda: dispatch.states()["ops"].sent == 1)
        await dispatch.close()
        await courier.close()

    with notify_servers.web() as web:
        asyncio.run(run())
    assert len(web.bodies) == 2


def test_g1_nothing_that_was_not_taken_counts_as_sent() -> None:
    async def run() -> None:
        courier = Courier()
        configs = [
            channel(f"c{number}", url)
            for number, url in enumerate(
                [
                    f"json://127.0.0.1:{free_port()}/",
                    f"json://127.0.0.1:{half}/",
                    f"json://127.0.0.1:{reset}/",
                    moved.url(),
                    mailbox.url(),
                    f"mailto://127.0.0.1:{half}?from=a@b.example&to=c@d.example",
                    "json://nosuchhost.invalid/",
                    "slack://wrong",
                ]
            )
        ]
        dispatch = Dispatch(configs, courier)
        dispatch.put([notice("a1", "critical")], wall)
        await until(lambda: all(not state.ok for state in dispatch.states().values()), 60)
        assert [state.sent for state in dispatch.states().values()] == [0] * len(configs)
        await dispatch.close()
        await courier.close()
        assert [state.sent for state in dispatch.states().values()] == [0] * len(configs)

    with (
        notify_servers.half_closed() as half,
        notify_servers.resetting() as reset,
        notify_servers.web(302) as moved,
        notify_servers.smtp("550 no such user") as mailbox,
    ):
        moved.location = "/ok"
        asyncio.run(run())
