"""Where the API listens, tokens and pings: what is read, and what is wrong, in one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuewarden.errors import UnavailableError
from queuewarden.settings import listening
from queuewarden.settings.listening import callable_url, checked_token, loopback, unusable
from queuewarden.settings.secret import SecretSource

from .conftest import SECRET, the_line

if TYPE_CHECKING:
    from pathlib import Path

DSN = {"DSN": "host=h"}
HTTP = {"HTTP": "127.0.0.1:9753"}
READ, WRITE = f"read-{SECRET}-{'r' * 10}", f"write-{SECRET}-{'w' * 10}"
TOKENS = {"HTTP_READ_TOKEN": READ, "HTTP_WRITE_TOKEN": WRITE}
PING = f"https://ping.example.com/{SECRET}"

ADDRESSES = [
    "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:70000", "127.0.0.1:http",
    "127.0.0.1:-1", "127.0.0.1:1_0", "127.0.0.1:٣", "256.0.0.1:9753", "127.1:9753", "[127.0.0.1]:9753",
    ":9753", "9753", "::1:9753", "[::1]", "[::1:9753", "[:::]:9753", "http://127.0.0.1:9753", "a host:9753",
    "host:9753/path", "user@host:9753", "*:9753", "-x:9753",
]  # fmt: skip
# Variables; what the one line must say.
WRONG = [
    *(({"HTTP": address}, ["QUEUEWARDEN_HTTP ", "not an address such as"]) for address in ADDRESSES),
    ({"HTTP": "unix:queuewarden.sock"}, ["QUEUEWARDEN_HTTP ", "not an absolute path"]),
    ({"HTTP": "unix:"}, ["QUEUEWARDEN_HTTP ", "not an absolute path"]),
    ({"HTTP": "/run/" + "x" * 103}, ["QUEUEWARDEN_HTTP ", "107 bytes at most"]),
    ({"HTTP": ""}, ["QUEUEWARDEN_HTTP ", "empty"]),
    (HTTP | {"HTTP_RATE": "49"}, ["QUEUEWARDEN_HTTP_RATE ", "from 50 to"]),
    (HTTP | {"HTTP_OPEN_READ": "local"}, ["QUEUEWARDEN_HTTP_OPEN_READ ", "neither true nor false"]),
    *(
        (
            {"HTTP": f"{host}:9753", "HTTP_OPEN_READ": "true"},
            ["QUEUEWARDEN_HTTP_OPEN_READ ", "could read", "QUEUEWARDEN_HTTP_READ_TOKEN", "127.0.0.1"],
        )
        for host in ("0.0.0.0", "[::]", "192.168.1.1", "db.example.com", "localhost.example.com")  # noqa: S104
    ),
    ({"HTTP_READ_TOKEN": SECRET}, ["QUEUEWARDEN_HTTP_READ_TOKEN ", "less than 16 characters"]),
    ({"HTTP_WRITE_TOKEN": f" {SECRET}         "}, ["HTTP_WRITE_TOKEN ", "less than 16 characters"]),
    ({"HTTP_READ_TOKEN": f"{SECRET} and blanks"}, ["HTTP_READ_TOKEN ", "no header can hold"]),
    ({"HTTP_READ_TOKEN": f"{SECRET}-mit-ümläuten"}, ["HTTP_READ_TOKEN ", "no header can hold"]),
    ({"HTTP_READ_TOKEN": ""}, ["HTTP_READ_TOKEN ", "empty"]),
    (
        {"HTTP_READ_TOKEN": READ, "HTTP_WRITE_TOKEN": f"{READ} "},
        ["HTTP_WRITE_TOKEN (", "the same as QUEUEWARDEN_HTTP_READ_TOKEN ", "make another"],
    ),
    (TOKENS | {"HTTP_READ_TOKEN_FILE": "/run/token"}, ["READ_TOKEN ", "READ_TOKEN_FILE ", "keep one"]),
    ({"HTTP_WRITE_TOKEN_FILE": "token"}, ["HTTP_WRITE_TOKEN_FILE ", "absolute path"]),
    ({"PING_URL": SECRET}, ["QUEUEWARDEN_PING_URL ", "https://ping.example.com/word"]),
    ({"PING_URL": f"ftp://example.com/{SECRET}"}, ["QUEUEWARDEN_PING_URL ", "not a URL such as"]),
    ({"PING_URL": f"https:///{SECRET}"}, ["QUEUEWARDEN_PING_URL ", "not a URL such as"]),
    ({"PING_URL": f"https://[{SECRET}"}, ["QUEUEWARDEN_PING_URL ", "not a URL such as"]),
    ({"PING_URL": f"https://h:0/{SECRET}"}, ["QUEUEWARDEN_PING_URL ", "not a URL such as"]),
    ({"PING_URL": f"https://h:port/{SECRET}"}, ["QUEUEWARDEN_PING_URL ", "not a URL such as"]),
    ({"PING_URL": f"https://h/{SECRET} b"}, ["QUEUEWARDEN_PING_URL ", "not a URL such as"]),
    ({"PING_URL": PING, "PING_URL_FILE": "/run/p"}, ["PING_URL ", "PING_URL_FILE ", "keep one"]),
    ({"ENV__DEFAULT__PING_URL": SECRET}, ["ENV__DEFAULT__PING_URL ", "not a URL such as"]),
]


@pytest.mark.parametrize(("variables", "said"), WRONG)
def test_wrong_ones(validate: Any, variables: dict[str, str], said: list[str]) -> None:
    line = the_line(validate(DSN | variables))
    assert [part for part in said if part not in line] == []


def test_the_api_needs_its_extra(validate: Any, loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "find_spec", lambda name: None if name == "fastapi" else object())
    assert loaded(DSN).http is None
    line = the_line(validate(DSN | HTTP))
    assert "QUEUEWARDEN_HTTP (process environment): needs the extra http" in line
    assert "pip install 'queuewarden[http]'" in line


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("HTTP_TOKEN", "HTTP_READ_TOKEN"),
        ("HTTP_READ", "HTTP_READ_TOKEN"),
        ("HTTP_WRITE", "HTTP_WRITE_TOKEN"),
        ("HTTP_WRITETOKEN", "HTTP_WRITE_TOKEN"),
        ("HTTP__OPEN_READ", "HTTP_OPEN_READ"),
        ("HTTP_PORT", "HTTP"),
        ("HTTP_LISTEN", "HTTP"),
        ("LISTEN", "HTTP"),
        ("HTTP_RATE_LIMIT", "HTTP_RATE"),
        ("PING", "PING_URL"),
        ("ENV_PROD_PING_URL", "ENV__PROD__PING_URL"),
        ("ENV__PROD__URL", "ENV__PROD__DSN"),
        ("DATABASE_URL", "DSN"),
        ("ALERT_OPS_URL", "ALERT__OPS__URL"),
        ("ALERTS__OPS__URL", "ALERT__OPS__URL"),
        ("CHANNEL__OPS__URL", "ALERT__OPS__URL"),
        ("ALERT__OPS__SEVERITY", "ALERT__OPS__SEVERITIES"),
        ("ALERT__OPS__ENVIRONMENT", "ALERT__OPS__ENVIRONMENTS"),
        ("RULES__BACKLOG__THRESHOLD", "RULE__BACKLOG__THRESHOLD"),
        ("RULE_BACKLOG_THRESHOLD", "RULE__BACKLOG__THRESHOLD"),
        ("RULE__BACKLOG__TRESHOLD", "RULE__BACKLOG__THRESHOLD"),
        ("RULE__BACKLOG__HOLD", "RULE__BACKLOG__FOR"),
        ("RULE__BACKLOG__CHANNEL", "RULE__BACKLOG__CHANNELS"),
        ("RULE__URL__HOLD", "RULE__URL__FOR"),
    ],
)
def test_names_that_come_near(validate: Any, variable: str, meant: str) -> None:
    line = the_line(validate(DSN | {variable: SECRET}))
    assert f"QUEUEWARDEN_{variable} (process environment): unknown variable;" in line
    assert line.endswith(f"did you mean QUEUEWARDEN_{meant}?")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9753", "127.0.0.1", 9753),
        (" localhost:1 ", "localhost", 1),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("0.0.0.0:08080", "0.0.0.0", 8080),  # noqa: S104
        ("db-1.example_x.com:80", "db-1.example_x.com", 80),
    ],
)
def test_addresses(loaded: Any, text: str, host: str, port: int) -> None:
    http = loaded(DSN | {"HTTP": text}).http
    assert (http.host, http.port, http.socket) == (host, port, None)


@pytest.mark.parametrize("text", ["unix:/run/queuewarden/http", "/run/queuewarden/http"])
def test_sockets(loaded: Any, text: str) -> None:
    http = loaded(DSN | {"HTTP": text, "HTTP_OPEN_READ": "yes"}).http
    assert (http.host, http.port, str(http.socket)) == (None, 0, "/run/queuewarden/http")
    assert http.open_read


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_open_reading_on_this_machine(loaded: Any, host: str) -> None:
    assert loaded(DSN | {"HTTP": f"{host}:9753", "HTTP_OPEN_READ": "true"}).http.open_read


def test_loopback() -> None:
    assert loopback("::1")
    assert not loopback("::ffff:10.0.0.1")
    assert not loopback("localhost.localdomain")


def test_off_by_default(loaded: Any) -> None:
    configuration = loaded(DSN | TOKENS)
    assert (configuration.http, configuration.ping, configuration.channels) == (None, None, ())
    http = loaded(DSN | HTTP).http
    assert (http.read_token, http.write_token, http.open_read, http.rate) == (None, None, False, 100)


def test_tokens(loaded: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{WRITE}\n")
    configuration = loaded(
        DSN | HTTP | {"HTTP_READ_TOKEN": READ, "HTTP_WRITE_TOKEN_FILE": str(file), "HTTP_RATE": "50"}
    )
    assert configuration.http.read_token.read() == READ
    assert checked_token(configuration.http.write_token) == WRITE
    assert configuration.http.rate == 50
    assert SECRET not in repr(configuration)


def test_files_are_looked_at_when_they_are_used(loaded: Any, tmp_path: Path) -> None:
    source = loaded(DSN | HTTP | {"HTTP_READ_TOKEN_FILE": str(tmp_path / "token")}).http.read_token
    with pytest.raises(UnavailableError, match="token cannot be read: No such file"):
        checked_token(source)
    (tmp_path / "token").write_text(SECRET)
    with pytest.raises(UnavailableError, match="token: a token of less than 16 characters") as raised:
        checked_token(source)
    assert SECRET not in str(raised.value)


def test_two_files_with_the_same_token(tmp_path: Path) -> None:
    sources = [SecretSource(name, path=tmp_path / name) for name in ("read", "write")]
    for source in sources:
        assert source.path is not None
        source.path.write_text(READ)
    assert unusable(sources) == [
        f"{tmp_path}/write: the same as {tmp_path}/read: whoever may read could write; make another"
    ]
    (tmp_path / "write").write_text(WRITE)
    assert unusable(sources) == []


def test_credentials(loaded: Any, tmp_path: Path) -> None:
    for name, text in {
        "http_read_token": READ,
        "http_write_token": WRITE,
        "ping_url": PING,
        "ping_url_prod": f"{PING}/prod",
        "dsn_prod": "host=p",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    configuration = loaded(HTTP, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert checked_token(configuration.http.read_token) == READ
    assert checked_token(configuration.http.write_token) == WRITE
    assert configuration.ping.read() == PING
    [environment] = configuration.environments
    assert (environment.name, environment.ping.read()) == ("prod", f"{PING}/prod")
    assert configuration.http.read_token.origin == "credential http_read_token"


def test_pings_of_an_environment(loaded: Any) -> None:
    configuration = loaded(
        {"ENV__PROD__DSN": "host=p", "ENV__DEV__DSN": "host=d", "ENV__PROD__PING_URL": PING}
    )
    pings = {one.name: one.ping for one in configuration.environments}
    assert pings["dev"] is None
    assert pings["prod"].read() == PING
    assert configuration.ping is None


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://h:8443/a?b=c#d", "https://user:pass@h/x", "https://[::1]:80/", " https://h/x "],
)
def test_urls_that_can_be_called(url: str) -> None:
    assert callable_url(url)
