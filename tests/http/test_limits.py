"""How often, how much, how long: no client keeps the daemon waiting, or has it keep much."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from eventually import eventually
from served import WRITE
from starlette.responses import Response
from wire import connect, error, exchange, rest, status

from queuewarden.application.http import gate, protocol, rate
from queuewarden.application.http.rate import Buckets, client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fastapi import FastAPI
    from served import Served

AUTHORIZED = f"Authorization: Bearer {WRITE}\r\n"


def post(length: str, path: str = "/api/alerts/ack") -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{AUTHORIZED}Content-Type: application/json\r\n"
    return f"{lines}{length}\r\n\r\n".encode()


def test_who_asks_too_often_waits_as_long_as_told(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, take = [0.0], Buckets.take  # how fast this machine asks is not the question
    monkeypatch.setattr(Buckets, "take", lambda self, client, cost, _: take(self, client, cost, now[0]))
    served, statuses = serve(HTTP_RATE="50"), []
    with contextlib.closing(served.connect()) as connection:
        for _ in range(101):
            connection.request("GET", "/api/status", headers={"Authorization": f"Bearer {WRITE}"})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
    assert statuses == [*[200] * 100, 429]
    told = int(response.headers["Retry-After"])
    assert told >= 1
    now[0] += 0.01
    assert served.get("/health/live", token=None).status == 200
    now[0] += told
    assert served.get("/api/status").status == 200
    assert served.station.own.http is not None
    assert served.station.own.http.refused_lately() == 1


def test_nobody_is_refused_below_fifty_requests_a_second() -> None:
    buckets = Buckets(50)
    assert not any(buckets.take("one", 1, now / 50) for now in range(1000))


def test_a_bucket_refills_and_belongs_to_one_client() -> None:
    buckets = Buckets(50)
    assert not any(buckets.take("one", 1, 0.0) for _ in range(100))
    assert buckets.take("one", 1, 0.0) == pytest.approx(0.02)
    assert buckets.take("other", 1, 0.0) == 0.0
    assert buckets.take("one", 1, 0.021) == 0.0


def test_clients_without_number_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "CLIENTS", 10)
    buckets = Buckets(50)
    for number in range(100):
        buckets.take(str(number), 1, 0.0)
    assert list(buckets._buckets) == [str(number) for number in range(90, 100)]


def test_one_ipv6_network_is_one_client() -> None:
    assert client_of("2001:db8:1:2::1") == client_of("2001:db8:1:2:ffff::9") != client_of("2001:db8:1:3::1")
    assert client_of("::ffff:10.0.0.1") == client_of("10.0.0.1") == "10.0.0.1"
    assert client_of("fe80::1%eth0") == client_of("fe80::2%eth0")
    assert client_of("nonsense:") == "nonsense:"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a body may take its time."""
    monkeypatch.setattr(gate, "LINGER", 30.0)


def test_a_body_of_ten_megabytes_is_refused_and_its_sender_can_read_why(api: Served, patient: None) -> None:
    size = 10_000_000
    with connect(api) as client:
        client.sendall(post(f"Content-Length: {size}"))
        client.sendall(b"x" * size)
        answer = rest(client)
    assert (status(answer), error(answer)["message"]) == (413, "a body of more than 65536 bytes")
    assert b"connection: close" in answer


def test_a_body_without_a_length_is_refused_once_it_is_too_large(api: Served, patient: None) -> None:
    with connect(api) as client:
        client.sendall(post("Transfer-Encoding: chunked"))
        for _ in range(100):
            client.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        answer = rest(client)
    assert error(answer)["status"] == 413


def test_a_sender_that_never_ends_is_cut(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LINGER", 0.2)
    with connect(api) as client:
        client.sendall(post("Transfer-Encoding: chunked"))
        assert seconds_until_cut(client, b"10000\r\n" + b"x" * 65_536 + b"\r\n") < 8


@pytest.mark.parametrize(
    "head",
    [
        f"GET /{'x' * 40_000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {'x' * 40_000}\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "".join(f"X-{number}: {'x' * 300}\r\n" for number in range(200)) + "\r\n",
    ],
    ids=["line", "header", "headers"],
)
def test_a_head_that_is_too_large_is_refused(api: Served, head: str) -> None:
    assert error(exchange(api, head.encode()))["status"] == 431


def test_a_header_that_never_ends_is_refused(api: Served) -> None:
    with connect(api) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX-Endless: ")
        for _ in range(10):
            try:
                client.sendall(b"x" * 8192)
            except OSError:
                break
            time.sleep(0.01)  # in parts, as they would come over a network
        assert status(rest(client) or b"HTTP/1.1 431") == 431


@pytest.mark.parametrize(
    "start",
    [b"", b"\r\n", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", post("Content-Length: 10") + b"x"],
    ids=["nothing", "blank", "line", "headers", "body"],
)
def test_a_request_that_does_not_come_is_not_waited_for(
    api: Served, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_WITHIN", 0.3)
    begun = time.monotonic()
    with connect(api) as client:
        client.sendall(start)
        answer = rest(client)
    assert 0.2 < time.monotonic() - begun < 8
    assert status(answer) == 408


def test_one_byte_now_and_then_is_no_sign_of_life(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_WITHIN", 0.5)
    begun = time.monotonic()
    with connect(api) as client:
        assert seconds_until_cut(client, b"\r\n", every=0.05) < 8
    assert time.monotonic() - begun > 0.4


def test_a_kept_connection_serves_request_after_request(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    later = [0.0]
    monkeypatch.setattr(api._loop, "time", lambda: time.monotonic() + later[0])
    with connect(api) as client:
        for _ in range(5):
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                part = client.recv(65_536)
                assert part, answer
                answer += part
            assert status(answer) == 200
            later[0] += 0.6 * protocol.REQUEST_WITHIN  # more than that in all, and less than it each time


def test_pipelined_requests_are_answered_in_order_and_not_without_number(api: Served) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = exchange(api, request * 5 + last)
    assert answers.count(b"HTTP/1.1 200") == 5
    assert answers.count(b"HTTP/1.1 404") == 1
    assert exchange(api, request * 1000).count(b"HTTP/1.1 200") <= protocol.PIPELINE + 1


@pytest.mark.parametrize("requests", [1, 12])
def test_a_client_that_does_not_read_is_cut(
    api: Served, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    async def large() -> Response:
        return Response(b"x" * 5_000_000)

    app(api).add_api_route("/large", large)
    monkeypatch.setattr(protocol, "READ_WITHIN", 0.5)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", int(api.url.rpartition(":")[2])))
        eventually(lambda: connections(api))
        begun = time.monotonic()
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * requests)
        eventually(lambda: not connections(api), seconds=10)
    assert 0.4 < time.monotonic() - begun < 8


def test_connections_have_a_number_and_the_next_one_is_told(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS", 5)
    held = [connect(api) for _ in range(5)]
    eventually(lambda: len(connections(api)) == 5)
    with connect(api) as client:
        assert error(rest(client))["status"] == 503
    for client in held:
        client.close()
    eventually(lambda: not connections(api))
    assert api.get("/health/live").status == 200


def test_a_handler_that_does_not_answer_is_ended(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    async def stuck() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    monkeypatch.setattr(gate, "WITHIN", 0.2)
    app(api).add_api_route("/api/stuck", stuck)
    answer = api.get("/api/stuck")
    assert (answer.status, answer.json["error"]["message"]) == (504, "no answer within 0.2 s")
    assert ended.wait(5)


def seconds_until_cut(client: socket.socket, part: bytes, every: float = 0.0) -> float:
    """Send this again and again, until the server has had enough of it."""
    begun = time.monotonic()
    while (spent := time.monotonic() - begun) < 10:
        try:
            client.sendall(part)
        except OSError:
            break
        time.sleep(every)
    return spent


def app(served: Served) -> FastAPI:
    assert served.server._built is not None
    return served.server._built.app


def connections(served: Served) -> Collection[object]:
    assert served.server._built is not None
    return served.server._built.state.connections
