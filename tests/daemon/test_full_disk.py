"""A full disk on the server: an error of the check, nothing lost, mended once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import OwnServer


@pytest.fixture
def small_disk(own_server: OwnServer) -> Iterator[Path]:
    """A folder of the server's own with room for two megabytes."""
    folder = own_server.server.directory / "small"
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system takes root")
    folder.mkdir()
    owner = own_server.server.data.stat()
    options = f"size=2m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no small file system here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        own_server.halt()
        subprocess.run(["umount", str(folder)], check=True)


def fill(connection: psycopg.Connection) -> None:
    """Write to another table until there is no room at all."""
    connection.execute(b"CREATE TABLE filler (text text)")
    while True:
        connection.execute(b"INSERT INTO filler SELECT repeat('y', 1900)")


def test_a_full_disk_is_an_error_of_the_check_and_loses_nothing(
    own_server: OwnServer, small_disk: Path
) -> None:
    dsn = own_server.dsn()
    rows = b"SELECT id, status, xmin::text FROM jobs ORDER BY id"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'".encode())
        connection.execute(b"SET default_tablespace = small")
        connection.execute(kit.SCHEMA.encode())
        connection.execute(
            b"INSERT INTO jobs (status, worker, started_at, label)"
            b" SELECT 'running', 'w1', now() - interval '1 hour', repeat('x', 1500)"
            b" FROM generate_series(1, 5)"
        )
        with pytest.raises(psycopg.errors.DiskFull):
            fill(connection)
        before = connection.execute(rows).fetchall()

        full = kit.sweep(dsn)
        assert {outcome.error for outcome in full.values()} == {"53100"}
        assert not any(outcome.mended for outcome in full.values())
        assert connection.execute(rows).fetchall() == before

        connection.execute(b"DROP TABLE filler")
        mended = kit.sweep(dsn)
        assert sum(outcome.mended for outcome in mended.values()) == 5
