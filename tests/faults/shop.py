"""What every process of the campaign's application shares: a connection that comes back, and a diary.

A process of its own, with nothing of the product in it: psycopg, and habits of a careful application.
"""

from __future__ import annotations

import json
import os
import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = 0.15
"""Seconds from which a transaction is worth a line in the diary."""

_INPUT = 0


class LostError(Exception):
    """The connection is gone; what was under way is of unknown outcome."""


class Client:
    """A connection to the shop's database, and what was slow or went wrong on it.

    Args:
        dsn: where to connect.
        name: how the connection calls itself, and the diary's author.
        diary: the file that all processes of the application append to, a JSON line each time.
    """

    def __init__(self, dsn: str, name: str, diary: str) -> None:
        self._dsn = dsn
        self._name = name
        self._diary = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._connection: psycopg.Connection[Any] | None = None
        self.orders: list[list[str]] = []

    def connect(self) -> None:
        """Connect anew, however long that takes."""
        if self._connection is not None:
            self._connection.close()
        while True:
            try:
                self._connection = psycopg.connect(
                    self._dsn, autocommit=True, application_name=f"shop/{self._name}", connect_timeout=2
                )
            except psycopg.OperationalError:
                self.wait(0.1)
            else:
                return

    def close(self) -> None:
        os.close(self._diary)
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def transaction(self, what: str) -> Iterator[psycopg.Connection[Any]]:
        """One transaction, timed.

        Raises:
            LostError: the connection is gone.
            psycopg.Error: anything else, once it is in the diary; the transaction is rolled back.
        """
        connection = self._connection
        assert connection is not None
        began = time.time()
        error: psycopg.Error | None = None
        try:
            with connection.transaction():
                yield connection
        except psycopg.Error as raised:
            error = raised
            if connection.closed or connection.broken:
                raise LostError from raised
            raise
        finally:
            took = time.time() - began
            if took > SLOW or error is not None:
                self._write(what, began, took, connection, error)

    def wait(self, seconds: float) -> None:
        """Let time pass; hear orders, and the end of whoever gives them."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([_INPUT], [], [], left)[0]:
                told = os.read(_INPUT, 4096)
                if not told:
                    raise SystemExit(0)
                self.orders += [line.split() for line in told.decode().splitlines()]

    def _write(
        self,
        what: str,
        began: float,
        took: float,
        connection: psycopg.Connection[Any],
        error: psycopg.Error | None,
    ) -> None:
        entry = {
            "who": self._name,
            "what": what,
            "began": began,
            "took": took,
            "pid": connection.info.backend_pid if not connection.closed else None,
            "sqlstate": error and error.sqlstate,
            "detail": error and error.diag.message_detail,
        }
        os.write(self._diary, (json.dumps(entry) + "\n").encode())
