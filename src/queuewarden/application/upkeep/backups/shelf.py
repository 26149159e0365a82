"""Where the backups of an environment lie: a folder each, with dump and manifest.

A backup is written into a folder that begins with a dot, and gets its name by one rename, manifest and all:
what bears a name is whole. Whoever writes holds the shelf's lock; whoever reads a dump holds a lock on that,
so that it is not tidied away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from queuewarden.adapters.postgres.account import PARTIAL
from queuewarden.application.upkeep.backups.backup import DUMP, MANIFEST, Backup, BadBackupError, Draft
from queuewarden.application.upkeep.backups.files import plainly, room, settle
from queuewarden.application.upkeep.backups.manifest import Manifest, ManifestError, parse
from queuewarden.errors import BusyError, UnavailableError
from queuewarden.redact import visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuewarden.application.upkeep.backups.keeping import Keep

_LOCK = ".lock"
_NAME = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
_LARGEST = 50_000_000
"""Bytes of a manifest: a table takes some hundred."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Something on the shelf that is no backup of ours; it is left alone."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """The backups of one environment.

    Attributes:
        folder: of this environment alone.
    """

    folder: Path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """The right to write; leftovers of whoever was killed while writing are removed.

        Raises:
            BusyError: somebody else is writing.
            UnavailableError: there is no such place.
        """
        self._require_place()
        with plainly(self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise BusyError(f"another backup is being written to {visible(str(self.folder))}") from None
        try:
            for left in self.folder.glob(f"{PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(lock)

    def _require_place(self) -> None:
        if not self.folder.parent.is_dir():
            place = visible(str(self.folder.parent))
            raise UnavailableError(f"{place} is no folder: create it, or mount what belongs there")

    @contextlib.contextmanager
    def draft(self) -> Iterator[Draft]:
        """A new backup, gone at the end of the block unless it was settled; under the lock.

        Raises:
            UnavailableError: the file system refuses.
        """
        folder = self._partial
        with plainly(self.folder):
            try:
                folder.mkdir(mode=0o700)
                with contextlib.closing(Draft(folder)) as draft:
                    yield draft
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def publish(self, manifest: Manifest) -> Backup:
        """Give the settled draft its name.

        Raises:
            UnavailableError: the file system refuses.
        """
        stamp = f"{manifest.taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        names = (stamp, *(f"{stamp}-{number}" for number in range(2, 100)))
        folder = next(place for name in names if not (place := self.folder / name).exists())
        with plainly(self.folder):
            self._partial.rename(folder)
            settle(self.folder)
        return Backup(folder, manifest)

    @property
    def _partial(self) -> Path:
        return self.folder / f"{PARTIAL}{os.getpid()}"

    def look(self) -> tuple[list[Backup], list[Stray]]:
        """What lies there: backups, the newest first, and what is none.

        Raises:
            UnavailableError: it cannot be read, or is not mounted.
        """
        self._require_place()
        backups, strays = [], []
        with plainly(self.folder):
            places = sorted(self.folder.iterdir()) if self.folder.exists() else []
        for place in places:
            if place.name.startswith("."):
                continue
            try:
                backups.append(Backup(place, self._manifest(place)))
            except ManifestError as error:
                strays.append(Stray(place.name, str(error)))
        return sorted(backups, key=lambda one: one.manifest.taken_at, reverse=True), strays

    def _manifest(self, place: Path) -> Manifest:
        if not _NAME.fullmatch(place.name) or not place.is_dir():
            raise ManifestError("not put there by queuewarden")
        try:
            with (place / MANIFEST).open("rb") as file:
                manifest = parse(file.read(_LARGEST))
        except OSError as error:
            raise ManifestError(f"manifest cannot be read: {error.strerror}") from None
        if manifest.environment != self.folder.name:
            raise ManifestError(f"a backup of environment {manifest.environment!r}, not of this one")
        return manifest

    def find(self, name: str | None) -> Backup:
        """The backup of a name; without one, the newest.

        Raises:
            BadBackupError: there is none, or it is none of ours.
        """
        backups, strays = self.look()
        if name is None:
            if backups:
                return backups[0]
            raise BadBackupError(f"no backup at all in {visible(str(self.folder))}")
        for one in backups:
            if one.name == name:
                return one
        for stray in strays:
            if stray.name == name:
                raise BadBackupError(f"{visible(name)}: {stray.why}")
        raise BadBackupError(f"no backup {visible(name)} in {visible(str(self.folder))}")

    def tidy(self, keep: Keep, new: Backup | None = None) -> list[Backup]:
        """Remove what need not be kept; under the lock. What somebody reads stays until the next time.

        Args:
            keep: what is kept.
            new: stays in any case, though a clock that went back makes it older than others.

        Raises:
            UnavailableError: the file system refuses.
        """
        gone = []
        for backup in keep.superfluous(self.look()[0], lambda one: one.manifest):
            if backup == new:
                continue
            doomed = self.folder / f"{PARTIAL}{backup.name}"
            with plainly(self.folder), contextlib.ExitStack() as stack:
                with contextlib.suppress(FileNotFoundError):
                    dump = stack.enter_context((backup.folder / DUMP).open("rb"))
                    try:
                        fcntl.flock(dump, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                backup.folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
            gone.append(backup)
        return gone

    def free(self) -> int:
        """Bytes that may still be written there."""
        return room(self.folder)
