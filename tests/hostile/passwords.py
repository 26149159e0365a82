"""A password of which any part can be told, and the ways to spell it in a connection string."""

from __future__ import annotations

import re
from urllib.parse import quote

LEFT, RIGHT = "KqLeft7", "ZwRight3"
SIGNS = (
    "@",
    ":",
    "/",
    "%",
    "?",
    "#",
    " ",
    "'",
    '"',
    "=",
    "\\",
    "&",
    "%40",
    "ü",
    ";",
    "[",
    "$HOME",
    "`",
    "\u202e",
)
ALL = LEFT + "".join(SIGNS) + RIGHT
"""One password with everything in it that some reader takes for something else."""


def uri(password: str, host: str = "127.0.0.1:1") -> str:
    return f"postgresql://guarded:{quote(password, safe='')}@{host}/nowhere"


def uri_as_it_is(password: str) -> str:
    return f"postgresql://guarded:{password}@127.0.0.1:1/nowhere"


def query(password: str, name: str = "password") -> str:
    return f"postgresql:///nowhere?host=127.0.0.1&port=1&user=guarded&{name}={quote(password, safe='')}"


def quoted(password: str, name: str = "password") -> str:
    written = password.replace("\\", "\\\\").replace("'", "\\'")
    return f"host=127.0.0.1 port=1 user=guarded {name} = '{written}' dbname=nowhere"


def bare(password: str, name: str = "password") -> str:
    written = re.sub(r"([\s\\'])", r"\\\1", password)
    return f"host=127.0.0.1 port=1 user=guarded {name}={written} dbname=nowhere"


GOOD = (
    uri,
    query,
    quoted,
    bare,
    lambda password: query(password, "sslpassword"),
    lambda password: quoted(password, "sslpassword"),
)
"""Spellings that libpq understands, to a port where nobody listens."""
BAD = (
    uri_as_it_is,
    lambda password: f"postgresql://guarded:{password.partition('@')[0]}",
    lambda password: f"postgresql://guarded:{quote(password, safe='')}@[127.0.0.1/nowhere",
    lambda password: f"postgresql://guarded:{quote(password, safe='')}%zz@127.0.0.1:1/nowhere",
    lambda password: f"postgresql://guarded@127.0.0.1:1/nowhere?pasword={quote(password, safe='')}",
    lambda password: f"host=127.0.0.1 port=1 passwrod={password}",
    lambda password: f"host=127.0.0.1 port=1 password='{password}",
    lambda password: f"host=127.0.0.1 port=1 password {password}",
    lambda password: f"mysql://guarded:{password}@127.0.0.1:1/nowhere",
    lambda password: password,
)
"""What people write instead; libpq refuses some of it, and takes some of it for something else."""


def leaks(*texts: str | bytes) -> list[str]:
    """Where half a password shows, with a little of what stands around it."""
    found = []
    for text in texts:
        shown = text.decode(errors="replace") if isinstance(text, bytes) else text
        found += [
            shown[max(0, match.start() - 80) : match.end() + 40]
            for match in re.finditer(f"{LEFT}|{RIGHT}", shown, re.IGNORECASE)
        ]
    return found
