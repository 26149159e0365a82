"""Requests that two parsers might read differently, or that mean something to files, logs or databases."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest
from daemons import QUEUE
from eventually import eventually
from served import WRITE, Served
from wire import connect, exchange, rest, status

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

POST = f"POST /api/alerts/ack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRITE}\r\n"
GET = "GET /health/live HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = f"0\r\n\r\n{GET}\r\n"


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"):
            patch.delenv(name, raising=False)
        with contextlib.closing(
            Served(QUEUE | {"ENV__PROD__DSN": "host=127.0.0.1 port=1"}, reached=False)
        ) as served:
            yield served


@pytest.mark.parametrize(
    "request_",
    [
        f"{POST}Content-Length: 2\r\nContent-Length: 5\r\n\r\n{{}}",
        f"{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}",
        f"{POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{SMUGGLED}",
        f"{POST}Transfer-Encoding: xchunked\r\n\r\n{SMUGGLED}",
        f"{POST}Transfer-Encoding : chunked\r\n\r\n{SMUGGLED}",
        f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n{SMUGGLED}",
        f"{POST}Content-Length: -1\r\n\r\n",
        f"{POST}Content-Length: +2\r\n\r\n{{}}",
        f"{POST}Content-Length: {'9' * 5000}\r\n\r\n",
        f"{GET}X: a\r\n b\r\n\r\n",
        f"{GET}X: a\0b\r\n\r\n",
        f"{GET}X : a\r\n\r\n",
        "GET /health/live HTTP/1.1\nHost: x\n\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_may_be_read_in_two_ways_is_refused_once(api: Served, request_: str) -> None:
    answer = exchange(api, request_.encode())
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("version", ["", " HTTP/1.0"])
def test_old_clients_get_an_answer_and_its_end(api: Served, version: str) -> None:
    assert status(exchange(api, f"GET /health/live{version}\r\n\r\n".encode())) == 200


def test_requests_in_one_go_are_answered_in_turn(api: Served) -> None:
    with connect(api) as client:
        client.sendall(f"{GET}\r\n".encode() * 9 + f"{GET}Connection: close\r\n\r\n".encode())
        assert rest(client).count(b"200 OK") == 10


@pytest.mark.parametrize(
    "path",
    [
        "/page/..%2f..%2f..%2fetc%2fpasswd",
        "/page/../../etc/passwd",
        "/page/%2e%2e/app.py",
        "/page/%00",
        "/page//etc/passwd",
        "/page/index.html%00.js",
        "/page/__init__.py",
        "//page/app.js",
        "/api/status%00",
        "/api/status/../alerts",
    ],
)
def test_no_path_leads_out_of_what_there_is(api: Served, path: str) -> None:
    answer = exchange(api, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert status(answer) == 404
    assert b"root:" not in answer


@pytest.mark.parametrize("name", ["env", "queue", "lane", "rule", "type", "severity", "active", "limit"])
@pytest.mark.parametrize(
    "value", ["\0", "\ud800", "💩", "-1", "9" * 300, "../..", "*", "'; DROP TABLE jobs --"]
)
def test_odd_values_are_answered_and_are_no_mistake(api: Served, name: str, value: str) -> None:
    odd = value.encode("utf-8", "surrogatepass").decode("latin-1")
    answer = api.get("/api/alerts", **{name: odd.encode("latin-1")})
    assert answer.status in {200, 404, 422}, answer.body
    assert b"Traceback" not in answer.body


def test_who_opens_hundreds_of_connections_is_let_go_in_seconds(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuewarden.application.http.protocol.REQUEST_WITHIN", 5.0)
    with contextlib.ExitStack() as stack:
        idle: list[socket.socket] = [
            stack.enter_context(contextlib.closing(connect(api))) for _ in range(300)
        ]
        refused = [one for one in idle[-100:] if re.match(rb"HTTP/1.1 503", rest(one))]
        assert refused
        eventually(lambda: exchange(api, f"{GET}Connection: close\r\n\r\n".encode())[9:12] == b"200")
