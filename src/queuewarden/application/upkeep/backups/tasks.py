"""The tasks ``backup`` and ``verify``, as the clock and people run them: by dumps, or by pgbackrest."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from queuewarden.application.opening import open_upkeep
from queuewarden.application.upkeep.backups import physical, source, taking
from queuewarden.application.upkeep.backups.backup import BadBackupError
from queuewarden.application.upkeep.backups.proving import Restorer
from queuewarden.application.upkeep.backups.shelf import Shelf
from queuewarden.engine.upkeep.proofs import STAMP
from queuewarden.engine.upkeep.task import Done, Step
from queuewarden.errors import BusyError, UnavailableError

if TYPE_CHECKING:
    from queuewarden.adapters.postgres.pgbackrest import Held, Kind, Stanza
    from queuewarden.application.upkeep.backups.manifest import Verification
    from queuewarden.application.upkeep.programs import Workshop
    from queuewarden.settings.configuration import Configuration, EnvironmentConfig


def shelf(configuration: Configuration, config: EnvironmentConfig) -> Shelf:
    """Where the backups of an environment lie.

    Raises:
        UnavailableError: nowhere.
    """
    if configuration.backup_dir is None:
        raise UnavailableError("no place for backups: set QUEUEWARDEN_BACKUP_DIR")
    return Shelf(configuration.backup_dir / config.name)


async def backup(place: Workshop, kind: Kind | None = None) -> Done:
    """Take a backup, and remove those that need not be kept any more.

    Args:
        place: where.
        kind: of pgbackrest's; None: what is due.

    Raises:
        UnavailableError: it could not be taken; nothing of it is left.
    """
    stanza = physical.stanza(place.config)
    if place.dry_run:
        return Done((Step(place.config.name, "would be backed up", "skipped", "dry run"),))
    begun = time.monotonic()
    try:
        done = await _dumped(place) if stanza is None else await _by(stanza, kind)
    except BusyError as error:
        return Done((Step(place.config.name, "not backed up", "skipped", str(error)),))
    seconds = round(time.monotonic() - begun, 3)
    (name, size), removed = done
    new = Step(name, "taken", "done", seconds=seconds, amount=size)
    return Done((new, *(Step(name, "removed", "done", amount=size) for name, size in removed)))


async def verify(place: Workshop) -> Done:
    """Prove the newest backup.

    Raises:
        UnavailableError: it could not be tried.
    """
    return await prove(place, None)


async def prove(place: Workshop, name: str | None) -> Done:
    """Prove the backup of a name, or the newest.

    Raises:
        UnavailableError: it could not be tried.
    """
    there = shelf(place.configuration, place.config)
    stanza = physical.stanza(place.config)
    restorer = Restorer(place.configuration, place.config, place.tell)
    try:
        if stanza is None:
            chosen = there.find(name)
            return (
                _would(chosen.name)
                if place.dry_run
                else _tried(chosen.name, await source.released(restorer.prove(chosen)))
            )
        held = _find(await stanza.held(), name)
    except BadBackupError as error:
        return Done((Step(name or place.config.name, "not proven", "failed", str(error)),))
    if place.dry_run:
        return _would(named(held))
    trial = physical.Trial(restorer, stanza, there.folder)
    try:
        with there.locked():
            return _tried(named(held), await source.released(trial.prove(held)))
    except BusyError as error:
        return Done((Step(named(held), "not proven", "skipped", str(error)),))


def _would(subject: str) -> Done:
    return Done((Step(subject, "would be proven", "skipped", "dry run"),))


def named(held: Held) -> str:
    """When a backup of pgbackrest was taken, and its label."""
    return f"{held.taken_at:{STAMP}} {held.label}"


def _tried(subject: str, found: Verification) -> Done:
    if found.ok:
        return Done((Step(subject, "proven", "done", seconds=found.seconds, amount=found.rows),))
    return Done((Step(subject, "not proven", "failed", found.why, seconds=found.seconds),))


def _find(held: list[Held], label: str | None) -> Held:
    for one in held:
        if label in {None, one.label}:
            return one
    raise BadBackupError(f"no backup {label or 'at all'} in the repository of pgbackrest")


_Taken = tuple[tuple[str, int], list[tuple[str, int]]]
"""Name and size of the new one, and of those that are gone."""


async def _dumped(place: Workshop) -> _Taken:
    if place.config.upkeep_dsn is not None:
        # It is refused where it leads elsewhere: nothing would be as bad as backups of another database.
        await (await open_upkeep(place.config, place.session)).close()
    taken = await source.released(
        taking.take(place.config, shelf(place.configuration, place.config), place.tell)
    )
    new, *old = ((one.name, one.manifest.size) for one in (taken.backup, *taken.removed))
    return new, old


async def _by(stanza: Stanza, kind: Kind | None) -> _Taken:
    before = await stanza.held()
    await stanza.backup(kind or physical.due(before, datetime.now(UTC)))
    after = await stanza.held()
    labels = {one.label for one in after}
    return (named(after[0]), after[0].size), [
        (named(one), one.size) for one in before if one.label not in labels
    ]
