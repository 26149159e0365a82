"""One backup: a folder with a dump and its manifest; and one that is being written."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from queuewarden.application.upkeep.backups.files import create, plainly, settle, write
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuewarden.application.upkeep.backups.manifest import Manifest

DUMP = "database.dump"
MANIFEST = "manifest.json"


class BadBackupError(QueuewardenError):
    """A backup is no good; the message says in what."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """When it was taken, as one word."""
        return self.folder.name

    def record(self, manifest: Manifest) -> None:
        """Exchange its manifest, at once.

        Raises:
            UnavailableError: the file system refuses; the old one stays.
        """
        new = self.folder / f".{MANIFEST}"
        with plainly(self.folder):
            try:
                write(new, manifest.text().encode())
                new.rename(self.folder / MANIFEST)
                settle(self.folder)
            except OSError:
                with contextlib.suppress(OSError):
                    new.unlink()
                raise

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The dump, safe from being tidied away, after a look at every byte of it.

        Raises:
            BadBackupError: it is not what was written.
        """
        try:
            dump = (self.folder / DUMP).open("rb")
        except OSError as error:
            raise BadBackupError(f"{self.name}: the dump cannot be read: {error.strerror}") from None
        with dump:
            fcntl.flock(dump, fcntl.LOCK_SH)
            size, wanted = os.fstat(dump.fileno()).st_size, self.manifest.size
            if size != wanted:
                how = "empty" if not size else "truncated" if size < wanted else "too long"
                raise BadBackupError(f"{self.name}: the dump is {how}: {size} bytes, not {wanted}")
            if hashlib.file_digest(dump, "sha256").hexdigest() != self.manifest.sha256:
                raise BadBackupError(f"{self.name}: the dump is corrupted: its SHA-256 is another one")
            dump.seek(0)
            yield dump


class Draft:
    """A backup that is being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha256()
        self._dump = create(folder / DUMP)
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Add to the dump.

        Raises:
            OSError: as the file system reports it.
        """
        self._dump.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._digest.hexdigest()

    def settle(self, manifest: Manifest) -> None:
        """Write the manifest, and make sure that all of it is on the disk."""
        self._dump.flush()
        os.fsync(self._dump.fileno())
        write(self._folder / MANIFEST, manifest.text().encode())
        settle(self._folder)

    def close(self) -> None:
        """Close the file; what it held back may be lost."""
        with contextlib.suppress(OSError):
            self._dump.close()
