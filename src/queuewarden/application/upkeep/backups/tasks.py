"""The tasks ``backup`` and ``verify``, as the clock and people run them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queuewarden.application.upkeep.backups import taking
from queuewarden.application.upkeep.backups.backup import BadBackupError
from queuewarden.application.upkeep.backups.proving import Restorer
from queuewarden.application.upkeep.backups.shelf import Shelf
from queuewarden.engine.upkeep.task import Done, Step
from queuewarden.errors import BusyError, UnavailableError

if TYPE_CHECKING:
    from queuewarden.application.upkeep.programs import Workshop
    from queuewarden.engine.upkeep.task import Outcome
    from queuewarden.settings.configuration import Configuration, EnvironmentConfig


def shelf(configuration: Configuration, config: EnvironmentConfig) -> Shelf:
    """Where the backups of an environment lie.

    Raises:
        UnavailableError: nowhere.
    """
    if configuration.backup_dir is None:
        raise UnavailableError("no place for backups: set QUEUEWARDEN_BACKUP_DIR")
    return Shelf(configuration.backup_dir / config.name)


async def backup(place: Workshop) -> Done:
    """Take a backup, and remove those that need not be kept any more.

    Raises:
        UnavailableError: it could not be taken; nothing of it is left.
    """
    there = shelf(place.configuration, place.config)
    if place.dry_run:
        return Done((Step(str(there.folder), "would be given a backup", "skipped", "dry run"),))
    begun = time.monotonic()
    try:
        taken = await taking.take(place.config, there, place.tell)
    except BusyError as error:
        return Done((Step(place.config.name, "backed up", "skipped", str(error)),))
    seconds = round(time.monotonic() - begun, 3)
    new = Step(taken.backup.name, "taken", "done", seconds=seconds, amount=taken.backup.manifest.size)
    old = (Step(one.name, "removed", "done", amount=one.manifest.size) for one in taken.removed)
    return Done((new, *old))


async def verify(place: Workshop) -> Done:
    """Prove the newest backup.

    Raises:
        UnavailableError: it could not be tried.
    """
    there = shelf(place.configuration, place.config)
    return await prove(place, there, None)


async def prove(place: Workshop, there: Shelf, name: str | None) -> Done:
    """Prove one backup; see `verify`."""
    try:
        chosen = there.find(name)
    except BadBackupError as error:
        return Done((Step(name or place.config.name, "proven", "failed", str(error)),))
    if place.dry_run:
        return Done((Step(chosen.name, "would be proven", "skipped", "dry run"),))
    found = await Restorer(place.configuration, place.config, place.tell).prove(chosen)
    outcome: Outcome = "done" if found.ok else "failed"
    rows = chosen.manifest.rows
    return Done((Step(chosen.name, "proven", outcome, found.why, seconds=found.seconds, amount=rows),))
