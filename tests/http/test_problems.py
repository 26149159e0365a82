"""What a client is told when something is wrong: an id and a message, never a detail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from served import READ, WRITE
from structlog.testing import capture_logs
from wire import error, exchange, status

from queuewarden.application.http import gate
from queuewarden.application.http.problems import Problem

if TYPE_CHECKING:
    from fastapi import FastAPI
    from served import Served

SECRET = "postgres://me:opensesame@db/prod"


def app(served: Served) -> FastAPI:
    assert served.server._built is not None
    return served.server._built.app


@pytest.mark.parametrize(
    "path",
    ["/nope", "/api", "/api/", "/api/status/", "//api/status", "/page/..%2f..%2fapp.py", "/page/", "/%00"],
)
def test_a_path_that_there_is_not_is_a_problem(api: Served, path: str) -> None:
    answer = api.get(path)
    assert (answer.status, set(answer.json["error"])) == (404, {"id", "status", "message"})


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_method_that_there_is_not_is_a_problem(api: Served, method: str) -> None:
    answer = api.get("/api/status", method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert answer.json["error"]["status"] == 405


def test_all_methods_that_a_path_has_are_told(api: Served) -> None:
    assert api.get("/api/consistency", method="PUT").headers["Allow"] == "GET, POST"
    assert api.get("/", method="PUT").headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "request_",
    [
        b"NONSENSE\r\n\r\n",
        b"FOO /api/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/status HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"CONNECT db:5432 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused_and_the_next_client_served(api: Served, request_: bytes) -> None:
    assert error(exchange(api, request_))["status"] == 400
    assert api.get("/health/live").status == 200


def test_who_asks_for_another_protocol_gets_an_answer_in_this_one(api: Served) -> None:
    upgrade = "Connection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n"
    answer = exchange(api, f"GET /api/events HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
    assert status(answer) == 401


def test_head_is_get_without_the_body(api: Served) -> None:
    got = api.get("/api/openapi.json")
    headed = api.get("/api/openapi.json", method="HEAD")
    assert (headed.status, headed.body) == (200, b"")
    assert headed.headers["Content-Length"] == str(len(got.body))
    assert api.get("/api/events", method="HEAD").status == 405


@pytest.mark.parametrize("path", ["/", "/health/live", "/api/status", "/nope", "/metrics"])
def test_every_answer_is_guarded(api: Served, path: str) -> None:
    headers = api.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == ("no-cache" if path == "/" and "ETag" in headers else "no-store")
    assert headers["Server"] is None
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Date"].endswith("GMT")


def test_a_refusal_by_the_parser_is_guarded_too(api: Served) -> None:
    answer = exchange(api, b"NONSENSE\r\n\r\n").lower()
    assert all(b"%b: " % name in answer for name, _ in gate.HEADERS)


def test_a_mistake_of_ours_has_an_id_that_the_log_has_and_no_details(api: Served) -> None:
    async def broken() -> None:
        raise RuntimeError(SECRET)

    app(api).add_api_route("/api/broken", broken)
    with capture_logs() as lines:
        answer = api.get("/api/broken")
    fault = answer.json["error"]
    assert answer.status == 500
    assert "opensesame" not in answer.body.decode()
    (line,) = [line for line in lines if line["event"] == "http.failed"]
    assert (line["id"], str(line["exc_info"])) == (fault["id"], SECRET)


def test_a_header_with_line_ends_in_it_is_not_sent(api: Served) -> None:
    async def injecting() -> None:
        raise Problem(404, "no", {"x-word": "a\r\nx-evil: b"})

    app(api).add_api_route("/api/injecting", injecting)
    answer = exchange(api, b"GET /api/injecting HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"evil" not in answer
    assert api.get("/health/live").status == 200


def test_what_was_asked_does_not_come_back_in_headers(api: Served) -> None:
    answer = exchange(
        api,
        f"GET /api/status%0d%0aX-Evil:%20b?env=a%0d%0aX-Evil:%20b HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {READ}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert b"evil" not in answer.lower()


def test_wrong_parameters_are_named_and_not_quoted(api: Served) -> None:
    answer = api.get("/api/alerts", limit="opensesame", severity="loud")
    assert answer.status == 422
    message = answer.json["error"]["message"]
    assert "limit: " in message
    assert "severity: " in message
    assert "opensesame" not in message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id": 4711}',
        b'{"id": "a", "opensesame": 1}',
        b"\xff",
        b"null",
        b'{"id": "\\u0000"}',
    ],
)
def test_a_wrong_body_is_named_and_not_quoted(api: Served, body: bytes) -> None:
    connection = api.connect()
    headers = {"Authorization": f"Bearer {WRITE}", "Content-Type": "application/json"}
    connection.request("POST", "/api/alerts/ack", body, headers)
    response = connection.getresponse()
    message = json.loads(response.read())["error"]["message"]
    connection.close()
    assert response.status in {400, 422}
    assert message
    assert "4711" not in message


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"id": ' + b"1" * 60_000 + b"}", b'{"id":' * 9_000])
def test_a_monstrous_body_is_only_wrong(api: Served, body: bytes) -> None:
    lines = f"Authorization: Bearer {WRITE}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head = f"POST /api/alerts/ack HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    assert error(exchange(api, head.encode() + body))["status"] in {400, 422}


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("GET", "/api/status?env=prod", "there is none"),
        ("GET", "/api/stats?que=mail", "did you mean queue?"),
        ("POST", "/api/sweep?environment=prod", "there is env"),
        ("POST", "/api/consistency?queu=mail", "did you mean queue?"),
        ("POST", "/api/consistency?env=prod&env=test", "env: more than once"),
    ],
)
def test_a_parameter_that_a_path_does_not_take_is_refused(
    api: Served, method: str, path: str, meant: str
) -> None:
    answer = api.get(path, token=WRITE, method=method)
    assert (answer.status, meant in answer.json["error"]["message"]) == (422, True)


def test_a_body_that_nobody_reads_is_refused(api: Served) -> None:
    """It may say of which queue the repair is meant to be."""
    connection = api.connect()
    headers = {"Authorization": f"Bearer {WRITE}"}
    connection.request("POST", "/api/consistency", b'{"queue": "mail"}', headers)
    assert (status := connection.getresponse().status) == 422, status
    connection.close()


def test_a_scraper_may_say_what_it_likes(api: Served) -> None:
    assert api.get("/metrics", format="prometheus").status == 200


def test_an_absolute_address_is_a_path(api: Served) -> None:
    answer = exchange(api, b"GET http://x/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status(answer) == 200
    assert status(exchange(api, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 404


def test_a_name_that_there_is_not_brings_the_nearest(api: Served) -> None:
    answer = api.get("/api/stats", env="prood")
    assert (answer.status, answer.json["error"]["message"]) == (
        404,
        "env: no environment of this name; did you mean prod?",
    )
    answer = api.get("/api/stats", queue="mial", env="PROD")
    assert "did you mean mail?" in answer.json["error"]["message"]
    answer = api.get("/api/findings", check="stuck_job")
    assert "did you mean stuck_jobs?" in answer.json["error"]["message"]
