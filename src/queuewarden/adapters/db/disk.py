"""The disk of a server's data, where the server runs on this machine and lets the path be seen."""

from __future__ import annotations

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, in bytes; `free` is what others than root may use."""

    size: int
    free: int

    @property
    def used(self) -> float:
        """The share that is used, of what others than root may use."""
        taken = self.size - self.free
        return taken / self.size if self.size else 0.0


def disk(connection: AsyncConnection, data_directory: str) -> Disk | None:
    """The disk that a data directory is on; None where it cannot be told.

    A server at the other end of a Unix socket may still run in a container, where its path means another
    place: the directory must belong to the user that listens at the socket.
    """
    try:
        listener = _listener(connection)
        found = Path(data_directory).stat() if listener is not None else None
        if found is None or not stat.S_ISDIR(found.st_mode) or found.st_uid != listener:
            return None
        room = os.statvfs(data_directory)
    except (psycopg.Error, OSError):
        return None
    used = (room.f_blocks - room.f_bfree) * room.f_frsize
    free = room.f_bavail * room.f_frsize
    return Disk(used + free, free)


def _listener(connection: AsyncConnection) -> int | None:
    """The user who listens at the other end of a Unix socket."""
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        if duplicate.family != socket.AF_UNIX:
            return None
        credentials = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return int(user)
