from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import notify_servers
import pytest

from queuewarden.adapters.notify import through_apprise
from queuewarden.adapters.notify.through_apprise import DONE, NOT_UNDERSTOOD, answer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library


@pytest.fixture(autouse=True)
def logger_as_it_was() -> Iterator[None]:
    """What is set for a process of its own does not stay in this one."""
    logger = logging.getLogger("apprise")
    level, propagate = logger.level, logger.propagate
    assert through_apprise.prepare() == ""
    yield
    left = [handler for handler in logger.handlers if isinstance(handler, through_apprise._Lines)]
    assert left == [], "each request takes its handler away"
    logger.setLevel(level)
    logger.propagate = propagate


def request(url: str, do: str = "send", **rest: Any) -> dict[str, Any]:
    return {"do": do, "url": url, "title": "t", "body": "b", "kind": "warning", "timeout": 5, **rest}


def test_message_is_sent() -> None:
    with notify_servers.web() as web:
        assert answer(request(web.url())) == DONE
    assert web.bodies[0]["type"] == "warning"


def test_refusal_is_answered_with_its_reason() -> None:
    with notify_servers.web(500) as web:
        told = answer(request(web.url()))
    assert told == {"ok": False, "permanent": False, "reason": "JSON: HTTP 500 Internal Server Error"}


def test_too_long_message_is_cut_rather_than_refused() -> None:
    with notify_servers.web() as web:
        assert answer(request(web.url(), body="x" * 100_000)) == DONE
        assert answer(request(web.url("/?overflow=upstream"), body="x" * 100_000)) == DONE
    assert len(web.bodies[0]["message"]) < 50_000
    assert len(web.bodies[1]["message"]) == 100_000


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nosuch://x", NOT_UNDERSTOOD),
        ("", f"{NOT_UNDERSTOOD}: Unsupported URL: (none)"),
        ("slack://bad", f"{NOT_UNDERSTOOD}: An invalid Slack (second) Token (None) was specified."),
        ("json://a/ json://b/", "there are several URLs; make a channel of each"),
    ],
)
def test_url_that_is_not_understood_is_told_with_the_reason(url: str, reason: str) -> None:
    for do in ("check", "send"):
        assert answer(request(url, do)) == {"ok": False, "permanent": True, "reason": reason}


def test_plugin_that_cannot_be_used_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "enabled", False)
    told = answer(request("json://localhost/", "check"))
    assert told["permanent"]
    assert told["reason"].startswith("its plugin cannot be used here")


def test_mistake_of_a_plugin_is_the_answer_to_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr("apprise.Apprise.notify", mistaken)
    told = answer(request("json://localhost/"))
    assert told == {"ok": False, "permanent": False, "reason": "internal error: ZeroDivisionError"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", ("map", "7f3a", "queuewarden")), ("?action=trigger", ("trigger", None, "queuewarden"))],
)
def test_incidents_go_by_the_alert_unless_the_url_says_otherwise(
    query: str, expected: tuple[str, str | None, str]
) -> None:
    lines = through_apprise._Lines()
    plugin: Any = through_apprise._plugin(f"pagerduty://routing@key{query}", 5, "7f3a", lines)
    assert (plugin.action, plugin.dedup, plugin.source) == expected


def test_timeouts_are_ours_unless_the_url_says_otherwise() -> None:
    lines = through_apprise._Lines()
    assert through_apprise._plugin("json://h/", 10, None, lines).request_timeout == (8.0, 8.0)
    assert through_apprise._plugin("json://h/?cto=1&rto=2", 10, None, lines).request_timeout == (1.0, 2.0)


def test_without_the_library_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise.plugins", None)
    assert through_apprise.prepare() == "Apprise is not installed: pip install 'queuewarden[notify]'"


def test_messages_of_one_alert_open_and_resolve_one_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    class Answer:
        status_code = 202
        content = b""

    def post(_: str, data: str, **__: Any) -> Answer:
        events.append(json.loads(data))
        return Answer()

    monkeypatch.setattr("requests.post", post)
    for title, kind in (("[critical] prod: down", "failure"), ("[resolved] prod: down", "success")):
        assert answer(request("pagerduty://routing@key", title=title, kind=kind, key="7f3a")) == DONE
    assert [(one["event_action"], one["dedup_key"]) for one in events] == [
        ("trigger", "7f3a"),
        ("resolve", "7f3a"),
    ]
