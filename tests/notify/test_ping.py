from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import notify_servers
import pytest
from eventually import eventually
from ports import free_port

from queuewarden.adapters.notify import ping
from queuewarden.adapters.notify.ping import Pinger

if TYPE_CHECKING:
    from collections.abc import Callable

Told = list[tuple[str, str | None]]


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def pinger(told: Told) -> Pinger:
    return Pinger(lambda name, why: told.append((name, why)))


def pings() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ping ")]


def once(pinger: Pinger, url: str, name: str = "prod") -> str | None:
    """One ping, and what became of it."""
    pinger.ping(name, url)
    eventually(lambda: not pings(), seconds=60)
    return pinger.reasons()[name]


def test_url_is_called_with_get(pinger: Pinger, told: Told) -> None:
    with notify_servers.web() as web:
        assert once(pinger, f"http://127.0.0.1:{web.port}/ping/uuid?x=1") is None
    assert web.paths == ["/ping/uuid?x=1"]
    assert web.agents[0].startswith("queuewarden/")
    assert told == []


def test_failure_is_told_once_until_it_goes_well_again(pinger: Pinger, told: Told) -> None:
    with notify_servers.web(500, 503, 200, 200, 404) as web:
        for _ in range(5):
            once(pinger, f"http://127.0.0.1:{web.port}/")
    assert told == [("prod", "HTTP 500"), ("prod", None), ("prod", "HTTP 404")]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "not http or https"),
        ("ftp://127.0.0.1/", "not http or https"),
        ("data:text/plain,hunter2", "not http or https"),
        ("hunter2", "not a URL"),
        ("http://", "no host given"),
        ("http://127.0.0.1:hunter2/", "not a URL"),
        ("http://bad host hunter2/", "not a URL"),
        (f"http://{'x' * 70}.invalid/", "not a URL"),
    ],
)
def test_what_is_no_such_url_fails_without_being_quoted(
    pinger: Pinger, told: Told, url: str, reason: str
) -> None:
    assert once(pinger, url) == reason
    assert "hunter2" not in str(told)


def test_who_cannot_be_reached_is_told_with_the_reason(pinger: Pinger) -> None:
    assert once(pinger, f"http://127.0.0.1:{free_port()}/") == "Connection refused"
    assert once(pinger, "http://nosuchhost.invalid/", "dns") in {
        "Name or service not known",
        "Temporary failure in name resolution",
    }


@pytest.mark.parametrize("receiver", [notify_servers.half_closed, notify_servers.resetting])
def test_broken_connections_are_failures(pinger: Pinger, receiver: Callable[[], object]) -> None:
    with receiver() as port:  # type: ignore[attr-defined]
        why = once(pinger, f"http://127.0.0.1:{port}/")
    assert why in {"the connection was closed", "Connection reset by peer", "no HTTP answer"}


def test_server_without_tls_is_a_failure_of_tls(pinger: Pinger) -> None:
    with notify_servers.web() as web:
        assert (once(pinger, f"https://127.0.0.1:{web.port}/") or "").startswith("TLS: ")


def test_redirects_lead_to_http_alone(pinger: Pinger) -> None:
    with notify_servers.web() as there, notify_servers.web(302) as web:
        web.location = f"http://127.0.0.1:{there.port}/arrived"
        assert once(pinger, f"http://127.0.0.1:{web.port}/") is None
        assert there.paths == ["/arrived"]
        for elsewhere in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
            web.location = elsewhere
            assert once(pinger, f"http://127.0.0.1:{web.port}/") is not None


def test_ping_never_waits_and_is_never_made_twice_at_once(pinger: Pinger) -> None:
    with notify_servers.web() as web:
        web.hold.clear()
        begun = time.monotonic()
        for _ in range(5):
            pinger.ping("prod", f"http://127.0.0.1:{web.port}/slow")
        pinger.ping("staging", f"http://127.0.0.1:{web.port}/other")
        assert time.monotonic() - begun < ping.WITHIN
        eventually(lambda: len(web.paths) == 2)
        web.hold.set()
        eventually(lambda: not pings())
        assert sorted(web.paths) == ["/other", "/slow"]


def test_silent_server_times_out(pinger: Pinger, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ping, "WITHIN", 0.2)
    with notify_servers.silent() as port:
        assert once(pinger, f"http://127.0.0.1:{port}/") == "timed out"
    assert told == [("prod", "timed out")]


def test_ping_that_hangs_where_no_timeout_reaches_counts_as_failed(
    pinger: Pinger, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ping, "LATE", 0.0)
    with notify_servers.web() as web:
        web.hold.clear()
        url = f"http://127.0.0.1:{web.port}/"
        pinger.ping("prod", url)
        eventually(web.came.is_set)
        pinger.ping("prod", url)
        assert told == [("prod", "no answer")]
        web.hold.set()
        eventually(lambda: told[1:] == [("prod", None)])
