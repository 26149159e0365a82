"""Small disks: file systems in memory that are soon full."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILLER = "filler"
PAGE = 4096
"""Bytes; what is smaller than that would leave a rest."""


@contextlib.contextmanager
def small_disk(folder: Path, size: str, owner: os.stat_result) -> Iterator[Path]:
    """A new folder with room for so much, for one user alone; its content is gone afterwards."""
    folder.mkdir()
    options = f"size={size},uid={owner.st_uid},gid={owner.st_gid},mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small file system here: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            # Lazily: a server that goes on may still hold a file that it has dropped.
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


def fill(disk: Path) -> None:
    """Leave no room at all, as somebody else's file does."""
    with (disk / FILLER).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(PAGE)):
            pass
    assert os.statvfs(disk).f_bavail == 0


def empty(disk: Path) -> None:
    """Make room again."""
    (disk / FILLER).unlink()
