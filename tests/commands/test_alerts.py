from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import pytest
from commands_kit import UNREACHABLE
from receivers import Receiver

from queuewarden.engine.alerting.notices import About, Alert
from queuewarden.engine.ledger import alert_book, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers
    from commands_kit import Called

ALERT = Alert(
    id="backlog.prod.mail",
    rule="backlog",
    severity="critical",
    about=About("prod", "mail"),
    value=120,
    threshold=100,
    summary="prod/mail: 120 jobs wait \x1b[31m",
    hint="add workers",
    since=0.0,
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def ready(mail: Callable[..., Called], database: servers.Database) -> Callable[..., Called]:
    database.execute(schema.script())
    return mail


def keep(database: servers.Database, *alerts: Alert, now: float = 720.0) -> None:
    import asyncio

    async def main() -> None:
        async with kit.session(database.dsn) as session:
            await alert_book.save(session, alerts, now)

    asyncio.run(main())


def test_what_fires_is_listed_loudest_words_first(ready: Callable, database: servers.Database) -> None:
    keep(database, ALERT, replace(ALERT, id="old", resolved=0.0))
    called = ready("alerts", "list")
    assert called.code == 0
    assert called.out.splitlines() == [
        "critical prod/mail: 120 jobs wait \\x1b[31m  (for 12 m)",
        "         backlog.prod.mail  add workers",
    ]
    assert "ended 12 m ago" in ready("alerts", "list", "--all").out


def test_nothing_fires(ready: Callable) -> None:
    assert ready("alerts", "list").out == "prod: no alert fires\n"


def test_json_has_all_of_it(ready: Callable, database: servers.Database) -> None:
    keep(database, ALERT)
    ready("alerts", "suppress", "--queue", "mail", "--reason", "a move")
    told = json.loads(ready("alerts", "list", "--json").out)["prod"]
    (alert,), (suppression,) = told["alerts"], told["suppressions"]
    assert (alert["rule"], alert["environment"], alert["queue"], alert["value"]) == (
        "backlog",
        "prod",
        "mail",
        120,
    )
    assert (suppression["environment"], suppression["queue"], suppression["reason"]) == (
        "prod",
        "mail",
        "a move",
    )


def test_ack_says_which_does_not_fire(ready: Callable, database: servers.Database) -> None:
    keep(database, ALERT)
    called = ready("alerts", "ack", ALERT.id, "nothing")
    assert (called.code, called.out.splitlines()[0]) == (1, "backlog.prod.mail: acknowledged")
    assert "nothing: no such alert fires" in called.out
    assert "acknowledged by" in ready("alerts", "list").out


def test_ack_says_nothing_of_what_could_not_be_asked(call: Callable) -> None:
    called = call("alerts", "ack", "x", QUEUEWARDEN_ENV__PROD__DSN=UNREACHABLE)
    assert (called.code, called.out) == (69, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--reason"),
        (("--reason", " "), "say why"),
        (("--reason", "x" * 501), "more than 500 characters"),
        (("--reason", "what no database takes \udcff"), "not UTF-8"),
        (("--reason", "x", "--rule", "backlock"), "did you mean backlog"),
        (("--reason", "x", "--rule", ""), "none of this name"),
    ],
)
def test_a_suppression_says_why_and_names_what_there_is(
    ready: Callable, arguments: tuple[str, ...], said: str
) -> None:
    called = ready("alerts", "suppress", *arguments)
    assert (called.code, said in called.err) == (2, True), called.err
    assert json.loads(ready("alerts", "list", "--json").out)["prod"]["suppressions"] == []


def test_lifting_twice(ready: Callable) -> None:
    ready("alerts", "suppress", "--rule", "backlog", "--reason", "why")
    assert (ready("alerts", "lift", "prod", "1").code, ready("alerts", "lift", "prod", "1").code) == (0, 1)


def test_without_a_ledger_or_a_database(mail: Callable, call: Callable) -> None:
    called = mail("alerts", "list")
    assert called.code == 69
    assert "prod: no ledger there: run `queuewarden install --env prod`" in called.err
    assert call("alerts", "list", QUEUEWARDEN_ENV__PROD__DSN=UNREACHABLE).code == 69


def test_a_message_is_really_sent_to_each_channel(mail: Callable, receiver: Receiver) -> None:
    called = mail("alerts", "test", QUEUEWARDEN_ALERT__OPS__URL=receiver.url)
    assert (called.code, called.out) == (0, "ops: sent\n")
    assert receiver.titles[0].startswith("[test] queuewarden on ")


def test_a_channel_that_does_not_take_it_is_told_with_its_reason(mail: Callable, receiver: Receiver) -> None:
    receiver.status = 500
    channels = {
        "QUEUEWARDEN_ALERT__OPS__URL": receiver.url,
        "QUEUEWARDEN_ALERT__WRONG__URL": "nonsense://hunter2@x",
        "QUEUEWARDEN_ALERT__GONE__URL_FILE": "/nowhere/url",
    }
    called = mail("alerts", "test", **channels)
    assert called.code == 69
    told = dict(line.split(": ", 1) for line in called.out.splitlines())
    assert told.keys() == {"ops", "wrong", "gone"}
    assert "sent" not in told.values()
    assert "cannot be read" in told["gone"]
    assert "hunter2" not in called.out + called.err
    assert mail("alerts", "test", "gone", **channels).out.startswith("gone: ")


def test_no_channel_and_an_unknown_one(mail: Callable, receiver: Receiver) -> None:
    assert mail("alerts", "test").code == 78
    called = mail("alerts", "test", "opps", QUEUEWARDEN_ALERT__OPS__URL=receiver.url)
    assert called.code == 2
    assert "did you mean ops?" in called.err


def test_the_rules_are_listed_as_they_are_in_force(mail: Callable) -> None:
    called = mail("alerts", "rules", QUEUEWARDEN_RULE__ENVIRONMENT_DOWN__FOR="7m")
    assert "environment_down" in called.out
    assert "for 7m" in called.out
    everything = json.loads(mail("alerts", "rules", "--json").out)
    assert {"name", "metric", "threshold", "severity"} <= everything[0].keys()
    off = mail("alerts", "rules", QUEUEWARDEN_RULE__ENVIRONMENT_DOWN__ENABLED="false")
    assert "environment_down" not in off.out
