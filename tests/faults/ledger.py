"""The product's own schema, as far as the campaign must know it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from faults.guards import Guards


def install(dsn: str) -> None:
    """Install it as an administrator does."""
    subprocess.run(
        [sys.executable, "-m", "queuewarden", "install", "--env", "shop"],
        env=os.environ | {"QUEUEWARDEN_ENV__SHOP__DSN": dsn},
        check=True,
        capture_output=True,
    )


def unrest(connection: psycopg.Connection[Any], guards: Guards) -> list[str]:
    """Why the lease is not held as it should be."""
    if holder(connection, guards) is None:
        return ["the lease is not held by any daemon that runs"]
    return []


def holder(connection: psycopg.Connection[Any], guards: Guards) -> str | None:
    """The daemon that holds the lease, whose id is its host, its process, and a part by chance."""
    rows = connection.execute(
        "SELECT split_part(holder, ':', 2)::int FROM queuewarden.lease"
        " WHERE holder IS NOT NULL AND until > clock_timestamp()"
    ).fetchall()
    names = [name for name, daemon in guards.running.items() if (daemon.process.pid,) in rows]
    return names[0] if names else None
