"""Connecting: bounded, without session state, so that a transaction-mode pooler is fine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
from psycopg import AsyncConnection, conninfo

from queuewarden.adapters.db.reasons import reason
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from datetime import timedelta

_DEFAULTS = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "client_encoding": "UTF8",
}
_PER_HOST_GRACE = 2.0


async def connect(
    dsn: str, *, application_name: str, connect_timeout: timedelta, statement_timeout: timedelta
) -> AsyncConnection:
    """Open a connection, in autocommit mode.

    Args:
        dsn: libpq URI or keyword string; its own settings win over our defaults.
        application_name: how the connection shows in ``pg_stat_activity``.
        connect_timeout: for each host of the DSN.
        statement_timeout: bounds how long unacknowledged data may stay in flight (``tcp_user_timeout``).

    Raises:
        UnavailableError: with the reason in words of ours, never libpq's.
    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError):
        raise UnavailableError("connection string not understood") from None
    # libpq takes whole seconds and treats 1 as 2.
    seconds = max(2, round(connect_timeout.total_seconds()))
    settings = {
        **_DEFAULTS,
        "connect_timeout": str(seconds),
        "tcp_user_timeout": str(int(statement_timeout.total_seconds() * 1000) + 2000),
        **given,
        "application_name": application_name,
    }
    try:
        async with asyncio.timeout(longest(dsn, connect_timeout)):
            return await AsyncConnection.connect(
                conninfo.make_conninfo("", **settings), autocommit=True, prepare_threshold=None
            )
    except UnicodeError:
        raise UnavailableError("host name not resolved") from None
    except psycopg.ProgrammingError:  # a setting of it that is no number
        raise UnavailableError("connection string not understood") from None
    except (psycopg.Error, OSError) as error:
        raise UnavailableError(reason(error)) from _anonymous(error)


def longest(dsn: str, connect_timeout: timedelta) -> float:
    """Seconds that `connect` may take at most: so much for each host."""
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError):
        return _PER_HOST_GRACE
    hosts = str(given.get("host") or given.get("hostaddr") or "").count(",") + 1
    return hosts * (connect_timeout.total_seconds() + _PER_HOST_GRACE)


def _anonymous(error: BaseException) -> BaseException:
    """The kind of error without its text, which may hold the connection string."""
    return type(error)()
