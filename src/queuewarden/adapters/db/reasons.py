"""Why a database failed, in a few words of ours.

libpq's own message can repeat a connection string, password and all, so it is never quoted. What a server
said of a statement is another matter.
"""

from __future__ import annotations

import psycopg

from queuewarden.errors import QueuewardenError

_BY_STATE = {
    "28000": "authentication refused",
    "28P01": "password refused",
    "3D000": "no such database",
    "53300": "too many connections",
    "53400": "configuration limit exceeded",
    "53100": "disk full",
    "57P01": "connection ended by an administrator",
    "57P02": "server crashed",
    "57P03": "server is starting up or shutting down",
    "57P05": "idle session ended",
    "25P03": "idle in transaction, ended by the server",
    "08P01": "protocol violation",
    "42501": "rights missing",
}
_BY_WORDS = (
    ("password authentication failed", "password refused"),
    ("no password supplied", "password missing"),
    ("no pg_hba.conf entry", "refused by pg_hba.conf"),
    ("does not exist", "no such database or role"),
    ("connection refused", "connection refused"),
    ("no such file or directory", "no server on that socket"),
    ("permission denied", "socket not accessible"),
    ("timeout expired", "timed out"),
    ("timed out", "timed out"),
    ("could not translate host name", "host name not resolved"),
    ("failed to resolve host", "host name not resolved"),
    ("name or service not known", "host name not resolved"),
    ("no route to host", "no route to host"),
    ("network is unreachable", "network unreachable"),
    ("connection reset", "connection reset"),
    ("certificate", "certificate refused"),
    ("ssl", "TLS failed"),
    ("starting up", "server is starting up"),
    ("shutting down", "server is shutting down"),
    ("in recovery mode", "server is recovering"),
    ("session is read-only", "no server that accepts writes"),
    ("is in hot standby", "no server that accepts writes"),
    ("closed the connection", "connection closed by the server"),
    ("terminating connection", "connection ended by an administrator"),
    ("invalid connection option", "connection string not understood"),
    ("invalid dsn", "connection string not understood"),
    ('missing "="', "connection string not understood"),
    ("invalid port", "connection string not understood"),
    ("too many clients", "too many connections"),
    ("the connection is closed", "connection lost"),
    ("the connection is lost", "connection lost"),
)

_LONGEST = 200


def primary_message(error: psycopg.Error) -> str | None:
    """What the server said went wrong, in one short line: never its DETAIL, which repeats values."""
    text = " ".join((error.diag.message_primary or "").split())
    return text[:_LONGEST] or None


def reason(error: BaseException) -> str:
    """Say why a use of a database failed: an error of ours says it itself, the driver is never quoted."""
    if isinstance(error, QueuewardenError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, psycopg.Error):
        if error.sqlstate in _BY_STATE:
            return _BY_STATE[error.sqlstate]
        if error.sqlstate is not None:
            return f"database error {error.sqlstate}"
        words = str(error).lower()
        # An error of the driver's own that is none of the connection's is a mistake of ours.
        ours = f"internal error: {type(error).__name__}"
        unknown = "connection failed" if isinstance(error, psycopg.OperationalError) else ours
        return next((short for known, short in _BY_WORDS if known in words), unknown)
    return type(error).__name__
