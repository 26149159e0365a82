"""What happens, as server-sent events."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from eventually import eventually
from served import READ
from wire import connect, rest

from queuewarden.application.http import access, events, protocol
from queuewarden.application.http.documents import Overview
from queuewarden.application.watching import bulletin
from queuewarden.engine.alerting.notices import About, Alert, AlertNotice

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest
    from served import Served


class Listener:
    """A client of the event stream."""

    def __init__(self, served: Served) -> None:
        self.connection = served.connect(timeout=10)
        self.connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {READ}"})
        self.response: http.client.HTTPResponse = self.connection.getresponse()

    def next(self) -> dict[str, str]:
        """The fields of the next event or comment; nothing once the stream has ended."""
        fields = {}
        while line := self.response.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        return fields

    def event(self) -> tuple[str, Any]:
        fields = self.next()
        return fields["event"], json.loads(fields["data"])

    def repair(self) -> Any:
        """The next repair that is told; environments may turn at any time between."""
        kind, data = self.event()
        while kind != "repair":
            kind, data = self.event()
        return data

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@contextlib.contextmanager
def listening(served: Served, count: int = 1) -> Iterator[list[Listener]]:
    """So many listeners that have been greeted."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(contextlib.closing(Listener(served))) for _ in range(count)]
        for one in listeners:
            assert one.response.status == 200
            assert one.next() == {"retry": "2000"}
            assert one.event()[0] == "hello"
        yield listeners


def tell(served: Served, kind: str, data: Any) -> None:
    served._loop.call_soon_threadsafe(served.station.bulletin.tell, kind, data)


def test_the_greeting_is_the_status(api: Served) -> None:
    listener = Listener(api)
    assert listener.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    listener.next()
    kind, data = listener.event()
    assert kind == "hello"
    assert Overview.model_validate(data).environments.keys() == {"prod", "test"}
    listener.close()


def test_fifty_listeners_hear_what_happens(api: Served) -> None:
    with listening(api, 50) as listeners:
        tell(api, "repair", {"count": 3})
        assert [one.repair() for one in listeners] == [{"count": 3}] * 50
    eventually(lambda: not api.station.bulletin.listeners)


def test_an_environment_that_is_swept_is_told_without_secrets(api: Served) -> None:
    with listening(api) as (listener,):
        api.guards["prod"].status.turn("down", "password=opensesame\nrefused")
        api._loop.call_soon_threadsafe(api.station.changed, api.guards["prod"])
        told = listener.event()
        while told[1]["environment"] != "prod" or "refused" not in str(told[1]["reason"]):
            told = listener.event()
    assert told[0] == "environment"
    assert "opensesame" not in str(told)


def test_an_alert_is_told_without_secrets(api: Served) -> None:
    about = About("prod", "mail", "postgresql://me:opensesame@db/prod")
    alert = Alert("a1", "fight", "warning", about, 1, 0, f"lane {about.subject}", "h", since=0.0)
    with listening(api) as (listener,):
        announce = api.station.alarm._announce
        api._loop.call_soon_threadsafe(announce, [AlertNotice("fired", alert)])
        kind, data = listener.event()
        while kind != "alert":
            kind, data = listener.event()
        assert (data["id"], "opensesame" in json.dumps(data)) == ("a1", False)


def test_silence_is_broken_by_comments(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.05)
    for guard in api.guards.values():
        guard.shut()
    with listening(api) as (listener,):
        found: dict[str, str] = {}
        while "" not in found and ": keep-alive" not in found:
            found = listener.next()


def test_listeners_have_a_number(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LISTENERS", 3)
    with listening(api, 3):
        refused = Listener(api)
        assert (refused.response.status, refused.response.headers["Retry-After"]) == (503, "10")
        refused.close()
    eventually(lambda: not api.station.bulletin.listeners)
    with listening(api, 3):
        pass


def test_who_listens_with_a_token_that_was_exchanged_hears_no_more(
    serve: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "FRESH", 0.0)
    file = tmp_path / "token"
    file.write_text(READ)
    served = serve(HTTP_READ_TOKEN=None, HTTP_READ_TOKEN_FILE=str(file), reached=True)
    with listening(served) as (listener,):
        tell(served, "repair", 1)
        assert listener.repair() == 1
        file.write_text("the-next-token-of-the-tests")
        tell(served, "repair", 2)
        assert b"repair" not in listener.response.read()


def test_a_listener_that_leaves_is_forgotten_at_once(api: Served) -> None:
    with listening(api, 2) as (first, _):
        first.close()
        eventually(lambda: len(api.station.bulletin.listeners) == 1, seconds=events.KEEP_ALIVE / 2)


def test_a_listener_that_does_not_read_is_cut_and_holds_nobody_up(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, number = [0.0], 0
    monkeypatch.setattr(api._loop, "time", lambda: time.monotonic() + later[0])
    monkeypatch.setattr(bulletin, "BACKLOG", 10_000)
    assert api.server._built is not None
    connections: set[Any] = api.server._built.state.connections
    with listening(api, 2) as (_, reader):
        while len(api.station.bulletin.listeners) > 1:
            assert number < 1000
            tell(api, "repair", {"number": number, "filling": "x" * 100_000})
            assert reader.repair()["number"] == number
            number += 1
            # The reader has read all: whoever is waited for is the other one.
            if any(one._read_timer is not None for one in list(connections)):
                later[0] += protocol.READ_WITHIN


def test_streams_end_with_the_server_and_are_complete(api: Served) -> None:
    request = f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READ}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(api)) for _ in range(20)]
        for client in clients:
            client.sendall(request)
        eventually(lambda: len(api.station.bulletin.listeners) == 20)
        begun = time.monotonic()
        api.close()
        assert time.monotonic() - begun < 4
        assert all(rest(client).endswith(b"\r\n0\r\n\r\n") for client in clients)
