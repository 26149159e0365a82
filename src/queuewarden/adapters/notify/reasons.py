"""Why a message was not taken, from what Apprise logged: a few known facts, and never a part of the URL."""

from __future__ import annotations

import os
import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote

from queuewarden.redact import redact, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 200
"""Characters of a reason."""

_HTTP = re.compile(r"\berror=(\d{3})\b")
_SMTP = re.compile(
    r"(?:\((\d{3}), b|was refused: (\d{3}) b)(?P<quote>['\"])(?P<text>.*?)(?P=quote)", re.DOTALL
)
_ERRNO = re.compile(r"\[Errno (\d+)\]|\b\w+Error\((\d+), ")
_RESOLVING = re.compile(r"\[Errno -\d+\] ([A-Z][A-Za-z ]+)")
_CERTIFICATE = re.compile(r"certificate verify failed(?:: [a-z-]+(?: [a-z-]+)*)?", re.IGNORECASE)
_CLOSED = re.compile(r"RemoteDisconnected|IncompleteRead|closed|EOF occurred")
_OWN = re.compile(r"^Socket Exception: (.*)", re.DOTALL)
_LATER = re.compile(r"timed out", re.IGNORECASE)

_SEPARATORS = re.compile(r"[/:@?&,;#\s<>\"']+")
_SHORT = 3
"""A part of a URL of so many characters is only looked for as a word."""

_REFUSED = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""What a receiver says of a message that it will not take the next time either."""

_REFUSED_MAIL = range(550, 560)
"""As above. Those recipients that took it would have it again with each attempt."""


def reason(loud: Sequence[str], quiet: Sequence[str], url: str) -> tuple[str, bool]:
    """Why, in a few words, and whether the receiver refuses just this message.

    Args:
        loud: what Apprise logged as a warning, or worse.
        quiet: what else it logged.
        url: the channel's, no part of which may be told.
    """
    text = "\n".join([*loud, *quiet])
    if found := _HTTP.search(text):
        code = int(found[1])
        return f"HTTP {code}{_phrase(code)}", code in _REFUSED
    if found := _SMTP.search(text):
        answer = clean(found["text"].replace("\\r", "").replace("\\n", " "), url)
        code = int(found[1] or found[2])
        return f"SMTP {code} {answer}".strip(), code in _REFUSED_MAIL
    if found := _RESOLVING.search(text):
        return found[1].strip(), False
    if found := _CERTIFICATE.search(text):
        return found[0].lower(), False
    if found := _ERRNO.search(text):
        return os.strerror(int(found[1] or found[2])), False
    if _LATER.search(text):
        return "timed out", False
    if _CLOSED.search(text):
        return "the connection was closed", False
    own = [found[1] for line in quiet if (found := _OWN.match(line))]
    answers = (clean(line, url) for line in [*own, *reversed(loud)])
    return next(filter(None, answers), "not taken"), False


def clean(text: str, url: str) -> str:
    """The text on one line, redacted; nothing where it holds a part of the URL."""
    folded = text.casefold()
    for part in _parts(url):
        if part in folded if len(part) > _SHORT else re.search(rf"\b{re.escape(part)}\b", folded):
            return ""
    return visible(str(redact(text, limit=LONGEST))).strip()


def _parts(url: str) -> set[str]:
    """What a URL consists of, scheme and names of parameters excepted, as written and as meant."""
    _, _, rest = url.partition("://")
    parts = set()
    for spelled in (rest, unquote(rest), unquote(rest.replace("+", " "))):
        for part in _SEPARATORS.split(spelled.casefold()):
            name, _, value = part.partition("=")
            parts |= {part, value} if value else {name} if "=" not in part else set()
    return parts - {""}


def _phrase(code: int) -> str:
    try:
        return f" {HTTPStatus(code).phrase}"
    except ValueError:
        return ""
