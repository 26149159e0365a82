"""Files and folders that survive a crash, and whose errors are said plainly."""

from __future__ import annotations

import contextlib
import os
from typing import IO, TYPE_CHECKING

from queuewarden.errors import UnavailableError
from queuewarden.redact import visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUFFER = 1 << 20


@contextlib.contextmanager
def plainly(folder: Path) -> Iterator[None]:
    """Say what a file system refused as a person would."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"{visible(str(folder))}: {error.strerror or error}") from None


def room(folder: Path) -> int:
    """Bytes that may still be written there."""
    place = os.statvfs(folder)
    return place.f_bavail * place.f_frsize


def megabytes(size: float) -> str:
    """So many bytes, for people."""
    return f"{size / 1e6:,.1f} MB"


def create(path: Path) -> IO[bytes]:
    """A new file to write, for its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return open(descriptor, "wb", buffering=_BUFFER)  # noqa: PTH123 -- by its descriptor; closed by the draft


def write(path: Path, content: bytes) -> None:
    """Write a small file, all the way to the disk."""
    path.unlink(missing_ok=True)
    with create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def settle(folder: Path) -> None:
    """Make sure that names in a folder survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
