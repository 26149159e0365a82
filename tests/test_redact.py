"""What may leave the process: no planted secret, no escape sequence, and nothing harmless harmed."""

from __future__ import annotations

import ipaddress
import json
import re
import time
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuewarden.redact import LIMIT, is_secret_name, redact

SECRET = "hunter2-S3cr3t"


@pytest.mark.parametrize(
    "name",
    [
        "password", "dbPassword", "PGPASSWORD", "passwd", "pwd", "sslpassword", "db-password", "passphrase",
        "secret", "clientSecret", "SECRET_KEY", "token", "accessToken", "worker_token", "apiKey", "api_key",
        "API-KEY", "APIKey", "apikey", "dsn", "DSN", "sentryDsn", "dsn_prod", "authorization",
        "Proxy-Authorization", "credential", "credentials", "privateKey", "private-key", "private_key",
        "AWS_SECRET_ACCESS_KEY", "QUEUEWARDEN_ENV__PROD__DSN", "cookie", "Set-Cookie",
    ],
)  # fmt: skip
def test_g11_a_secret_name_hides_its_value_in_any_spelling_and_depth(name: str) -> None:
    nested = {"a": [{"b": ({name: SECRET},)}, [{name: [SECRET, {"x": SECRET}]}]]}
    assert SECRET not in json.dumps(redact(nested))
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["key", "status", "description", "author", "compass", "passenger", "by_hand", "error", "dsn_file",
     "password_file", "credentials_directory", "count", "environment", "", "…", "id"],
)  # fmt: skip
def test_other_names_show_their_value(name: str) -> None:
    assert redact({name: "as it is"}) == {name: "as it is"}


def test_a_secret_name_shows_whether_there_is_one_at_all() -> None:
    assert redact({"password": None, "token": False, "secret": 5}) == {
        "password": None,
        "token": False,
        "secret": "***",
    }


def test_names_that_are_data_hide_nothing() -> None:
    document = {"environments": {"token": {"up": True, "reason": f"password={SECRET}"}}}
    assert redact(document, names=False) == {
        "environments": {"token": {"up": True, "reason": "password=***"}}
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p%40ss@db/x?a=1", "postgresql://u:***@db/x?a=1"),
        ("postgresql://u:p@ss/w:rd#1@db/x", "postgresql://u:***@db/x"),
        ("postgres://u:two words@db/x failed", "postgres://u:***@db/x failed"),
        ("postgresql+asyncpg://:only@db", "postgresql+asyncpg://:***@db"),
        ("amqp://u:p@mq:5672/v", "amqp://u:***@mq:5672/v"),
        ("postgresql://u:forgot-the-host", "postgresql://u:***"),
        (
            "postgresql://db:5432/x, then postgresql://db:5433",
            "postgresql://db:5432/x, then postgresql://db:5433",
        ),
        ("postgresql:///x?user=u&password=a'b&sslmode=no", "postgresql:///x?user=u&password=***&sslmode=no"),
        ("host=db password=abc user=u", "host=db password=*** user=u"),
        ("host=db password = abc user=u", "host=db password = *** user=u"),
        (r"password=a\ b user=u", "password=*** user=u"),
        (r"password='it\'s me' user=u", "password='***' user=u"),
        ("password='it''s me' user=u", "password='***' user=u"),
        ("password='never closed user=u", "password='***'"),
        ("sslpassword=abc sslmode=no", "sslpassword=*** sslmode=no"),
        ("PGPASSWORD=abc psql", "PGPASSWORD=*** psql"),
        ("--password abc --token=def --token-file /f", "--password *** --token=*** --token-file /f"),
        ("ALTER ROLE r PASSWORD 'a''b' LOGIN", "ALTER ROLE r PASSWORD '***' LOGIN"),
        ('{"apiKey": "a b", "n": 1}', '{"apiKey": "***", "n": 1}'),
        ("{'client_secret': 'a', 'n': 1}", "{'client_secret': '***', 'n': 1}"),
        (r"{\"password\": \"a b\"}", r"{\"password\": \"***\"}"),
        (r"{\\\"password\\\": \\\"a \\\\\"b\\\"}", r"{\\\"password\\\": \\\"***\\\"}"),
        (r"E('password=\'a\\\' b\"c\' user=u')", r"E('password=\'***\' user=u')"),
        (r"""E("password='a\\' b' user=u")""", r"""E("password='***' user=u")"""),
        (r"E('password=a\\ b user=u')", r"E('password=*** user=u')"),
        ("token: secret: abc", "token: secret: ***"),
        ("Authorization: Basic dTpw, then", "Authorization: *** then"),
        ("sent Bearer abc.def", "sent Bearer ***"),
        ("got eyJhbGciOi.eyJzdWIi.c2ln", "got ***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----",
        ),
    ],
)
def test_spellings_of_secrets_inside_texts(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("for jane.doe@example.com", "for ***@example.com"),
        ("o'brien+x@example.co.uk,", "***@example.co.uk,"),
        ("?user=jane%40example.com", "?user=***%40example.com"),
        ("server at 10.1.2.3:5432,", "server at [ip]:5432,"),
        ("from 192.168.0.0/16.", "from [ip]/16."),
        ("2001:db8::1 and fe80::1: refused", "[ip] and [ip]: refused"),
        ("::ffff:10.0.0.1", "[ip]"),
        ("1:2:3:4:5:6:7:8", "[ip]"),
    ],
)
def test_personal_data_is_masked(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T12:34:56.123456Z", "2026-01-02 12:34:56.7+02", "2026-01-02T12:34:56+00:00", "12:34:56",
        "1 day 02:03:04.5", "3m12s", "2h05m", "PT3M12S", "550e8400-e29b-41d4-a716-446655440000",
        "16.4", "PostgreSQL 15.18 (Debian 15.18-0+deb12u1)", "v1.2.3.4", "version 1.2.3.4", "1.2.3.4.5",
        "0.6.12", "aa:bb:cc:dd:ee:ff", "id::text", "password::text", "localhost 127.0.0.1:8000 ::1 0.0.0.0",
        "celery@node3", "a@1.0.2", 'password authentication failed for user "u"', "bypass=1",
        "000000010000000A",
        "0/3000148", "QUEUEWARDEN_ENV__PROD__DSN: no such file", "postgresql://db:5432/x", "reason=stuck",
        "task 1/2: ok", "größe ✓ 日本 👩‍👩‍👧", "a\tb\nc",
    ],
)  # fmt: skip
def test_harmless_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


@given(
    st.one_of(
        st.uuids().map(str),
        st.datetimes(timezones=st.just(UTC)).map(str),
        st.datetimes().map(lambda moment: moment.isoformat()),
        st.timedeltas().map(str),
        st.integers().map(str),
        st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 999)).map(
            lambda v: ".".join(map(str, v))
        ),
    ),
    st.sampled_from(["{}", "at {}", "({})", "x={} y", "'{}'", '"{}",']),
)
def test_times_uuids_and_versions_survive_wherever_they_stand(value: str, around: str) -> None:
    text = around.format(value)
    assert redact(text) == text


def test_values_that_can_hold_no_secret_keep_their_type() -> None:
    values = [1, 1.5, True, None, datetime(2026, 1, 2, tzinfo=UTC), timedelta(1), Decimal("1.5"), UUID(int=1)]
    assert redact(values) == values


def test_other_objects_become_redacted_text() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

    shown = redact([ValueError(f"password={SECRET}"), ipaddress.ip_address("10.0.0.1"), b"a\xff", Broken()])
    assert shown == ["password=***", "[ip]", "a\ufffd", "<Broken: RuntimeError>"]


def test_keys_are_redacted_and_none_is_lost() -> None:
    assert redact({"a@x.com": 1, "b@x.com": 2, "\x1b[0m": 3}) == {
        "***@x.com": 1,
        "***@x.com'": 2,
        "\\x1b[0m": 3,
    }


def test_a_cycle_ends() -> None:
    cycle: list[Any] = [f"password={SECRET}"]
    cycle.append(cycle)
    assert SECRET not in str(redact(cycle))


def test_long_texts_are_cut_after_masking() -> None:
    text = "x" * (LIMIT - 10) + f" password='{SECRET * 50}' " + "y" * LIMIT
    shown = redact(text)
    assert shown.endswith(" …[cut]")
    assert len(shown) < LIMIT + 20
    assert SECRET[:5] not in shown
    assert redact(shown) == shown
    assert redact("x" * LIMIT) == "x" * LIMIT


@pytest.mark.parametrize(
    "unit",
    [
        "password",
        "password='",
        "password='\\",
        "a",
        " ",
        "a.",
        ":",
        "'",
        "postgres://u:",
        "x@",
        "1.",
        "eyJ",
        "a-",
        "\\",
        "::1",
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    started = time.thread_time()
    redact(unit * (2_000_000 // len(unit)))
    assert time.thread_time() - started < 1


# Passwords that occur by chance in the text around them would prove nothing.
passwords = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=20
).map(lambda text: f"Zq{text}9")


def libpq_quoted(password: str) -> str:
    return "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"


def libpq_bare(password: str) -> str:
    return re.sub(r"([\s\\'])", r"\\\1", password)


spellings = st.sampled_from(
    [
        lambda p: (quote(p, safe=""), f"postgresql://u:{quote(p, safe='')}@db.example.com:5432/x"),
        lambda p: (quote(p, safe=""), f"postgresql:///x?host=db&password={quote(p, safe='')}&user=u"),
        lambda p: (libpq_quoted(p), f"host=db password={libpq_quoted(p)} user=u"),
        lambda p: (libpq_quoted(p), f"sslpassword = {libpq_quoted(p)}"),
        lambda p: (libpq_bare(p), f"password={libpq_bare(p)} host=db"),
        lambda p: (json.dumps(p), json.dumps({"host": "db", "password": p, "port": 1})),
        lambda p: (json.dumps(p), f"body was {json.dumps(json.dumps({'apiKey': p}))}"),
        lambda p: (json.dumps(p), f"body was {json.dumps(json.dumps(json.dumps({'apiKey': p})))}"),
        lambda p: (libpq_quoted(p), repr(ValueError(f"password={libpq_quoted(p)} user=u"))),
        lambda p: (libpq_quoted(p), repr([repr(f"password = {libpq_quoted(p)} user=u")])),
        lambda p: (libpq_bare(p), repr([repr(f"password={libpq_bare(p)} user=u")])),
    ]
)


@given(passwords, spellings, st.text(max_size=20), st.text(max_size=20))
def test_no_planted_password_survives_in_a_text(password: str, spell: Any, before: str, after: str) -> None:
    written, text = spell(password)
    shown = redact(f"{before} {text} {after}", limit=10_000)
    context = redact(f"{before}  {after}", limit=10_000)
    for form in {password, written.strip("'\"")}:
        assert form not in shown or form in context


nested = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["a", "jobs", "label", "x@y.org"]), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=15,
)


@given(passwords, nested, st.sampled_from(["password", "apiKey", "dsn", "Authorization", "private-key"]))
def test_no_planted_password_survives_in_nested_values(password: str, value: Any, name: str) -> None:
    planted = [
        value,
        {"details": [{name: password, "message": f"postgresql://u:{quote(password, safe='')}@h"}]},
    ]
    shown = redact(planted)
    assert shown[1] == {"details": [{name: "***", "message": "postgresql://u:***@h"}]}


@given(st.text(st.characters(), max_size=80))
def test_nothing_that_controls_a_terminal_survives(text: str) -> None:
    shown = redact(text)
    for character in shown:
        assert character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cs"}
        assert unicodedata.bidirectional(character) not in {
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
    shown.encode()


@pytest.mark.parametrize(
    "sequence", ["\x1b[31m", "\x9b31m", "\x1b]0;title\x07", "\r", "\x08", "\u202e", "\u2066", "\x7f"]
)
def test_escape_sequences_become_visible(sequence: str) -> None:
    shown = redact({"label": f"a{sequence}b", f"key{sequence}": 1})
    assert sequence not in str(shown)
    assert shown["label"].startswith("a\\")
    assert shown["label"].endswith("b")


fragments = st.sampled_from(
    ["password=", "token: ", "secret", "'", '"', "\\", "@", "postgresql://", "u:", "x.com",
     "10.0.0.1", "::1",
     "Bearer ", "Authorization: ", "eyJabcdef.", "***", "[ip]", " ", "\n", "=", "&", "?", "--password ",
     "%40", "\x1b", "…", " …[cut]", "-----BEGIN PRIVATE KEY-----"]
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.lists(st.one_of(fragments, st.text(max_size=4)), max_size=25).map("".join),
    st.sampled_from([8, 30, LIMIT]),
)
def test_redacting_twice_is_redacting_once(text: str, limit: int) -> None:
    once = redact(text, limit=limit)
    assert redact(once, limit=limit) == once


@given(nested)
def test_redacting_nested_values_twice_is_redacting_them_once(value: Any) -> None:
    once = redact(value)
    assert repr(redact(once)) == repr(once)  # NaN is not equal to itself
