"""Why a database failed: words of ours, never the driver's."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from queuewarden.adapters.db.reasons import reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), "timed out"),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), "timed out"),
        (psycopg.OperationalError("connection failed: Connection refused"), "connection refused"),
        (psycopg.OperationalError('FATAL:  password authentication failed for user "x"'), "password refused"),
        (psycopg.OperationalError('FATAL:  database "x" does not exist'), "no such database or role"),
        (
            psycopg.OperationalError("server closed the connection"),
            "connection closed by the server",
        ),
        (psycopg.OperationalError("consuming input failed: SSL SYSCALL error"), "TLS failed"),
        (psycopg.ProgrammingError('missing "=" after "hunter2"'), "connection string not understood"),
        (psycopg.OperationalError("hunter2"), "connection failed"),
        (errors.QueryCanceled("canceling statement due to statement timeout"), "database error 57014"),
        (errors.DiskFull("No space left on device"), "disk full"),
        (errors.InsufficientPrivilege("permission denied for table t"), "rights missing"),
        (errors.AdminShutdown("terminating connection"), "connection ended by an administrator"),
        (ConnectionResetError("hunter2"), "ConnectionResetError"),
    ],
)
def test_the_reason(error: BaseException, expected: str) -> None:
    assert reason(error) == expected
