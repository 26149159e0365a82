r"""Whatever leaves the process passes here: secrets and personal data masked, terminal control made harmless.

``redact`` never needs to know what it is given: names of fields tell some secrets, their spelling tells the
others, so that a password is found in a DSN inside a message inside a list inside a field, too. It would
rather mask too much than too little, and is idempotent: what is redacted may be redacted again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

MASK = "***"
LIMIT = 4096
"""Characters that are kept of one string."""

_CUT = " …[cut]"
_DEPTH = 12
_PASSES = 5  # a mask may bring to light what was glued to the masked; two passes are usual
_HARMLESS_TYPES = (bool, int, float, date, time, timedelta, Decimal, UUID, type(None))

# C0 (but tab and newline, which renderers escape where they would forge a line), DEL and C1; what reorders or
# hides text; line separators; surrogates, which no output could encode.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f\ud800-\udfff]"
)

# Every pattern below needs a sign that is none of these: most names and values are spared all of them. A time
# has such signs, and comes so often that looking for secrets in it would be most of the work.
_PLAIN = re.compile(r"\w*|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_PARTS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
    "signingkey",
    "encryptionkey",
    "authorization",
    "credential",
)
_SECRET_WORDS = frozenset({"pwd", "pass", "auth", "cookie", "jwt"})
_PLACES = frozenset({"file", "path", "directory", "dir"})

_PEM = re.compile(
    r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\Z)",
    re.DOTALL,
)
# The password reaches to the last @ of the token, as people forget to percent-encode; for PostgreSQL even
# past spaces, and to the end of the token where the @ is missing and the "port" is no number.
_URI = re.compile(
    r"(?P<head>://[^\s/?#@:]*:)\S*@"
    r"|(?P<odd>\bpostgres(?:ql)?(?:\+\w+)?://[^\s/?#@:]*:)(?!\d{0,5}(?:[/?,;.)\]\s\"']|\Z))(?:\S*@|[^\n]*?@|\S+)",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(\bauthorization\b\\?[\"']?\s*[:=]\s*)(?![\"'\\])(?:[A-Za-z]+[ \t]+)?\S+", re.IGNORECASE
)
_BEARER = re.compile(r"\b(bearer)\s+[^\s\"',;]+", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?")

_NAME = re.compile(
    r"(?<![\w-])(?P<flag>--)?(?P<name>(?:(?:api|private|access)[ ])?\w[\w-]*)"
    r"\\*[\"'\]]?(?:\s*(?:[!:=]?=+[>~]?|:(?!:))\s*|\s+(?=')|(?(flag)\s+|(?!)))",
    re.IGNORECASE,
)
_QUOTE = re.compile(r"(?<!\\)\\*[\"']")
_BARE_VALUE = re.compile(r"(?:\\+.|[^\s\\])*\\*", re.DOTALL)
_QUERY_VALUE = re.compile(r"[^\s&]*")

_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]+(?:'[\w.+%-]+)*(@|%40)(?=[\w-]+(?:\.[\w-]+)*\.\w*[^\W\d]\w)")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4 = re.compile(rf"(?<![\w.])(?<!version )(?<!version=){_OCTET}(?:\.{_OCTET}){{3}}(?!\.?\w)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-f]*:[0-9a-f]*:)(?:[0-9a-f:]*:\d+(?:\.\d+){3}|[0-9a-f:]+)(?!\w)",
    re.IGNORECASE,
)


def redact(value: Any, *, names: bool = True, limit: int = LIMIT) -> Any:
    """The value with everything masked that should not be seen, in mappings, lists and strings of any depth.

    Masked: values under names that sound secret, passwords of DSNs in every spelling, bearer tokens, private
    keys, the person in an e-mail address, IP addresses other than loopback. Control characters become visible
    escapes. None, numbers and times stay what they are; any other object becomes its redacted text.

    Args:
        value: anything.
        names: whether a mapping's keys say something about its values; False where they are data themselves,
            such as an environment that somebody named ``token``.
        limit: characters that are kept of one string.

    """
    return _redact(value, names=names, limit=limit, depth=_DEPTH)


def visible(text: str) -> str:
    """The text on one line, with all that a terminal would obey, or that hides or moves text, as escapes."""
    return _CONTROL.sub(_visible, text).replace("\n", "\\n").replace("\t", "\\t")


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret, spelled ``api_key``, ``apiKey`` or ``API-KEY``.

    A name of the place where a secret lies (``password_file``) is not one.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _PLACES:
        return False
    return "dsn" in words or words[-1].endswith("dsn") or _sounds_secret(words)


def _sounds_secret(words: list[str]) -> bool:
    joined = "".join(words)
    return any(part in joined for part in _SECRET_PARTS) or not _SECRET_WORDS.isdisjoint(words)


def _redact(value: Any, *, names: bool, limit: int, depth: int) -> Any:
    if isinstance(value, _HARMLESS_TYPES):
        return value
    if isinstance(value, (Mapping, list, tuple, AbstractSet)):
        if depth == 0:
            return "…"
        if isinstance(value, Mapping):
            return _mapping(value, names=names, limit=limit, depth=depth - 1)
        return [_redact(item, names=names, limit=limit, depth=depth - 1) for item in value]
    return _text(_printed(value), limit)


def _mapping(value: Mapping[Any, Any], *, names: bool, limit: int, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = _text(_printed(key), limit)
        while name in result:  # two people's addresses, masked, are the same key
            name += "'"
        secret = names and item is not None and not isinstance(item, bool) and is_secret_name(name)
        result[name] = MASK if secret else _redact(item, names=names, limit=limit, depth=depth)
    return result


def _printed(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode(errors="replace")
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 -- somebody else's __str__ must not end a log line
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _text(text: str, limit: int) -> str:
    body = text.removesuffix(_CUT)
    # What starts within the limit is masked before the cut, which would otherwise leave half a secret.
    masked = _mask(body[: 4 * limit])
    if len(masked) > limit:
        masked = _mask(masked[:limit])
    elif len(body) <= 4 * limit and body == text:
        return masked
    return masked + _CUT


def _mask(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    for _ in range(_PASSES):
        masked = _mask_once(text)
        if masked == text:
            break
        text = masked
    return text


def _mask_once(text: str) -> str:
    text = _CONTROL.sub(_visible, text)
    text = _PEM.sub(rf"\1{MASK}\2", text)
    text = _URI.sub(_mask_uri, text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _mask_pairs(text)
    text = _JWT.sub(MASK, text)
    text = _EMAIL.sub(rf"{MASK}\1", text)
    text = _IPV6.sub(_mask_ip, text)
    return _IPV4.sub(_mask_ip, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 -- Python's own escapes


def _mask_uri(match: re.Match[str]) -> str:
    at = "@" if match[0].endswith("@") else ""
    return f"{match['head'] or match['odd']}{MASK}{at}"


def _mask_pairs(text: str) -> str:
    """Mask the value of each ``name=value``, ``name: value``, ``--name value``, ``name 'value'``."""
    parts: list[str] = []
    done = 0
    for match in _NAME.finditer(text):
        if match.start() < done or not _names_secret_text(match):
            continue
        start = match.end()
        while (nested := _NAME.match(text, start)) and _names_secret_text(nested):
            start = nested.end()
        in_query = text[match.start() - 1 : match.start()] in {"?", "&"}
        quote = "" if in_query else _quote(text, start)
        if quote:
            end = _end_of_quoted(text, start + len(quote), quote)
        else:
            value = (_QUERY_VALUE if in_query else _BARE_VALUE).match(text, start)
            end = value.end() if value else start
        if end > start:
            # The quotes stay: they tell a second pass, or a reader of JSON, where the value ends.
            parts += [text[done:start], quote, MASK, quote]
            done = end
    return "".join([*parts, text[done:]])


def _quote(text: str, start: int) -> str:
    """The quote that opens there, with the backslashes before it: a text in a text in a text has some."""
    found = _QUOTE.match(text, start)
    return found[0] if found else ""


def _end_of_quoted(text: str, start: int, quote: str) -> int:
    """Where a quoted value ends: behind the next quote that looks just like the first and is not doubled.

    One with other backslashes before it is part of the value, however deep the text was quoted; where a
    value ends in a backslash itself, this takes too much rather than too little.
    """
    while found := _QUOTE.search(text, start):
        start = found.end()
        if found[0] == quote:
            if not text.startswith(quote, start):
                return start
            start += len(quote)
    return len(text)


def _names_secret_text(match: re.Match[str]) -> bool:
    # A DSN inside a text is masked by its own spelling, so that "…__DSN: no such file" stays readable.
    words = [word.lower() for word in _WORD.findall(match["name"])]
    return bool(words) and words[-1] not in _PLACES and _sounds_secret(words)


def _mask_ip(match: re.Match[str]) -> str:
    text = match[0]
    colon = ":" if text.endswith(":") and not text.endswith("::") else ""
    try:
        address = ipaddress.ip_address(text.removesuffix(colon) if colon else text)
    except ValueError:
        return text
    return text if address.is_loopback or address.is_unspecified else f"[ip]{colon}"
