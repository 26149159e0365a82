"""Who may read and who may write."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from served import READ, WRITE
from starlette.requests import Request
from structlog.testing import capture_logs
from wire import error, exchange, status

from queuewarden.application.http import access
from queuewarden.application.http.access import Access
from queuewarden.application.http.problems import Problem
from queuewarden.settings.configuration import HttpConfig
from queuewarden.settings.secret import SecretSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from served import Served

READING = ("/api/status", "/api/stats", "/api/findings", "/api/alerts", "/metrics", "/api/openapi.json")
OPEN = HttpConfig("127.0.0.1", 1, open_read=True)


@pytest.mark.parametrize("path", [*READING, "/api/events"])
def test_reading_needs_a_token(api: Served, path: str) -> None:
    for token in (None, "wrong-token-of-nobody", READ[:-1], f"{READ}x", "ü" * 20):
        answer = api.get(path, token=token)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert READ not in answer.body.decode()


@pytest.mark.parametrize("path", READING)
def test_both_tokens_read(api: Served, path: str) -> None:
    assert [api.get(path, token=token).status for token in (READ, WRITE)] == [200, 200]


def test_only_the_write_token_writes(api: Served) -> None:
    answers = [api.post("/api/sweep", token=token) for token in (None, "wrong-token-of-nobody", READ, WRITE)]
    assert [answer.status for answer in answers] == [401, 401, 403, 202]


def test_health_and_the_page_need_no_token(api: Served) -> None:
    assert api.get("/health/live", token=None).status == 200
    assert api.get("/health/ready", token=None).status == 503
    assert api.get("/", token=None).status in {200, 404}


def test_a_refusal_names_the_variable_that_is_not_set(serve: Callable[..., Served]) -> None:
    served = serve(HTTP_READ_TOKEN=None, HTTP_WRITE_TOKEN=None)
    assert "QUEUEWARDEN_HTTP_READ_TOKEN" in served.get("/api/status", token=None).json["error"]["message"]
    answer = served.post("/api/sweep", token=None)
    assert (answer.status, "QUEUEWARDEN_HTTP_WRITE_TOKEN" in answer.body.decode()) == (401, True)


def test_open_reading_reads_and_never_writes(serve: Callable[..., Served]) -> None:
    served = serve(HTTP_OPEN_READ="true", HTTP_READ_TOKEN=None)
    assert served.get("/api/status", token=None).status == 200
    assert served.get("/api/status", token="wrong-token-of-nobody").status == 401
    assert served.post("/api/sweep", token=None).status == 401


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((name, 200) for name in ("localhost", "localhost:9753", "127.0.0.1:1", "[::1]:9753", "LOCALHOST")),
        *((name, 403) for name in ("evil.example.com", "evil.example.com:9753", "", "10.0.0.1")),
        *((name, 403) for name in ("127.0.0.1.evil.example.com", "localhost.evil.example.com")),
    ],
)
def test_a_name_of_somebody_else_does_not_read_openly(
    serve: Callable[..., Served], host: str, expected: int
) -> None:
    served = serve(HTTP_OPEN_READ="true")
    request = f"GET /api/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert status(exchange(served, request.encode())) == expected


def test_with_a_token_any_name_will_do(api: Served) -> None:
    request = f"GET /api/status HTTP/1.1\r\nHost: ops.example.com\r\nAuthorization: bearer {READ}\r\n"
    assert status(exchange(api, f"{request}Connection: close\r\n\r\n".encode())) == 200


@pytest.mark.parametrize("header", ["Forwarded: for=8.8.8.8", "X-Forwarded-For: 127.0.0.1", "Via: 1.1 proxy"])
def test_a_proxy_on_this_machine_is_not_this_machine(serve: Callable[..., Served], header: str) -> None:
    served = serve(HTTP_OPEN_READ="true")
    request = f"GET /api/status HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n"
    assert error(exchange(served, request.encode()))["status"] == 401


@pytest.mark.parametrize(
    ("peer", "passes"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False),
     ("fe80::1%eth0", False), ("", False)],
)  # fmt: skip
def test_open_reading_is_for_loopback_peers(peer: str, passes: bool) -> None:  # noqa: FBT001
    request = _request(host="localhost", peer=peer)
    if passes:
        assert Access(OPEN).reader(request) == "http (this machine)"
    else:
        with pytest.raises(Problem, match="only this machine"):
            Access(OPEN).reader(request)


def test_a_unix_socket_is_this_machine_by_any_name(tmp_path: Path) -> None:
    config = HttpConfig(None, 0, socket=tmp_path / "http", open_read=True)
    assert Access(config).reader(_request(host="whatever", peer=None)) == "http (this machine)"


@pytest.mark.parametrize("content", [None, "", "short", "with blanks in it, though long"])
def test_a_token_file_that_is_no_good_lets_nobody_pass_and_is_told_once(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    found = Access(HttpConfig(None, 0, read_token=SecretSource("F", path=file)))
    with capture_logs() as lines:
        for sent in (content or "None", "any-token-of-anybody", "any-token-of-anybody"):
            with pytest.raises(Problem) as caught:
                found.reader(_request(authorization=f"Bearer {sent}"))
            assert caught.value.status == 503
            for token in found._tokens.values():
                token.until = 0.0
    (line,) = lines
    assert (line["event"], str(file) in line["reason"]) == ("http.token_failed", True)
    assert not content or content not in line["reason"]


def test_a_changed_token_file_counts_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("the-first-token-of-all\n")
    found = Access(HttpConfig(None, 0, read_token=SecretSource("F", path=file)))
    assert found.reader(_request(authorization="Bearer the-first-token-of-all"))
    file.write_text("the-second-token-of-all\n")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + access.FRESH + 1)
    assert found.reader(_request(authorization="Bearer the-second-token-of-all"))
    with pytest.raises(Problem):
        found.reader(_request(authorization="Bearer the-first-token-of-all"))


def test_a_good_token_passes_beside_one_that_is_no_good(tmp_path: Path) -> None:
    config = HttpConfig(
        None,
        0,
        read_token=SecretSource("F", path=tmp_path / "none"),
        write_token=SecretSource("W", value=WRITE),
    )
    assert Access(config).writer(_request(authorization=f"Bearer {WRITE}")) == "http (write token)"


def test_no_token_is_kept_in_the_clear() -> None:
    found = Access(HttpConfig(None, 0, read_token=SecretSource("R", value=READ)))
    assert found.reader(_request(authorization=f"Bearer {READ}")) == "http (read token)"
    assert READ not in repr(found)


def _request(
    *, authorization: str | None = None, host: str = "localhost", peer: str | None = "127.0.0.1"
) -> Request:
    headers = [(b"host", host.encode())]
    if authorization is not None:
        headers.append((b"authorization", authorization.encode("latin-1")))
    client = None if peer is None else (peer, 1)
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "client": client})
