"""Words and statements of health: spans, sizes, names, and how to end a session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from datetime import datetime

_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_FEW = 10
_QUOTED = re.compile(
    r"""(?P<name>"[^"]*(?:"|\Z))|(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"""
    r"""|(?<!\w)e'(?:[^'\\]|\\(?:.|\Z)|'')*(?:'|\Z)|'[^']*(?:'|\Z)|\$\w*\$.*""",
    re.DOTALL | re.IGNORECASE,
)
_SHOWN = 120


def span(seconds: float) -> str:
    """``40 s``, ``7 min``, ``2.5 h``."""
    for size, word in _SPANS:
        if abs(seconds) >= size:
            return f"{number(seconds / size)} {word}"
    return f"{seconds:.0f} s" if abs(seconds) >= 1 else f"{seconds * 1000:.0f} ms"


def size(count: float) -> str:
    """``12 MiB``."""
    for unit, word in _SIZES:
        if count >= unit:
            return f"{number(count / unit)} {word}"
    return f"{count:.0f} bytes"


def percent(share: float) -> str:
    """``2.5 %``."""
    return f"{number(share * 100)} %"


def number(value: float) -> str:
    """Whole from 10 on."""
    if abs(value) >= _FEW or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}".removesuffix(".0")


def name(schema: str, relation: str) -> str:
    """A table or index as it stands in a statement."""
    return sql.Identifier(schema, relation).as_string(None)


def literal(value: str) -> str:
    """A value as it stands in a statement."""
    return sql.Literal(value).as_string(None)


def statement(query: str) -> str:
    """The beginning of it on one line, without values or comments: they may be anybody's secrets."""
    line = " ".join(_QUOTED.sub(_masked, query).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _masked(found: re.Match[str]) -> str:
    return found["name"] or (" " if found["comment"] else "'…'")


def end(pid: int, born: datetime, *, cancel: bool) -> str:
    """How to end a session, or only its statement; never another session that got its number since."""
    how = sql.SQL("SELECT {}(pid) FROM pg_stat_activity WHERE pid = {} AND backend_start = {};")
    function = sql.SQL("pg_cancel_backend" if cancel else "pg_terminate_backend")
    return how.format(function, sql.Literal(pid), sql.Literal(born)).as_string(None)


def who(pid: int, user: str | None, application: str | None) -> str:
    """A session, for a person."""
    called = " ".join(part for part in (user, f"({application})" if application else None) if part)
    return f"session {pid} of {called}" if called else f"session {pid}"
