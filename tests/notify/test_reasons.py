from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.adapters.notify.reasons import clean, reason

URL = "mailtos://alice:hunter2%40x@mail.example.com:587/?to=ops@example.com"


@pytest.mark.parametrize(
    ("loud", "quiet", "expected"),
    [
        ("Failed to send JSON POST notification: error=503.", "", ("HTTP 503 Service Unavailable", False)),
        ("Failed to send Slack notification: Bad Request, error=400.", "", ("HTTP 400 Bad Request", True)),
        (
            "Failed to send JSON POST notification: error=422.",
            "Socket Exception: [Errno 111] x",
            ("HTTP 422 Unprocessable Entity", True),
        ),
        ("", "Socket Exception: (535, b'5.7.8 bad credentials')", ("SMTP 535 5.7.8 bad credentials", False)),
        ("", "Socket Exception: (552, b'too large')", ("SMTP 552 too large", True)),
        (
            "SMTP recipient ops@example.com was refused: 550 b'5.1.1 <ops@example.com> unknown'",
            "",
            ("SMTP 550", True),
        ),
        ("", "Socket Exception: [Errno 113] No route to host", ("No route to host", False)),
        (
            "",
            'x (Caused by NameResolutionError("[Errno -2] Name or service not known)"))',
            ("Name or service not known", False),
        ),
        (
            "",
            "Socket Exception: ConnectionResetError(104, 'Connection reset by peer')",
            ("Connection reset by peer", False),
        ),
        (
            "",
            "HTTPSConnectionPool(host='mail.example.com'): Read timed out. (read timeout=4)",
            ("timed out", False),
        ),
        (
            "",
            "SSLError(1, '[SSL: X] certificate verify failed: self-signed certificate (_ssl.c:1)')",
            ("certificate verify failed: self-signed certificate", False),
        ),
        ("", "Socket Exception: Connection unexpectedly closed", ("the connection was closed", False)),
        (
            "",
            "Socket Exception: STARTTLS extension not supported by server.",
            ("STARTTLS extension not supported by server.", False),
        ),
        ('Connection error while submitting email to "mail.example.com"', "", ("not taken", False)),
        ("There are no Email recipients to notify", "", ("There are no Email recipients to notify", False)),
        ("", "", ("not taken", False)),
    ],
)
def test_known_facts_are_told_in_few_words(loud: str, quiet: str, expected: tuple[str, bool]) -> None:
    assert reason([loud], [quiet], URL) == expected


@pytest.mark.parametrize(
    "text",
    [
        "user alice is unknown",
        "ALICE",
        "password hunter2@x is wrong",
        "hunter2%40x",
        "cannot reach mail.example.com",
        "port 587",
        "587",
    ],
)
def test_text_with_a_part_of_the_url_is_dropped(text: str) -> None:
    assert clean(text, URL) == ""


def test_harmless_text_stays_on_one_line() -> None:
    assert clean("login\r\nfailed\x1b[1m", URL) == "login\\x0d\\nfailed\\x1b[1m"
    assert clean("to whom? token=abc", "json://h/?to=x") == "to whom? token=***"


_SECRETS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)


@given(secret=_SECRETS, before=st.text(max_size=20), after=st.text(max_size=20))
def test_whatever_surrounds_a_secret_it_is_not_told(secret: str, before: str, after: str) -> None:
    for url in (
        f"json://user:{quote(secret)}@host.invalid/",
        f"json://host.invalid/{quote(secret)}/x",
        f"json://host.invalid/?token={quote(secret)}",
    ):
        assert clean(f"{before} {secret} {after}", url) == ""
        assert clean(f"{before} {quote(secret)} {after}", url) == ""
