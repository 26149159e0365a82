"""Recognising queues where none is configured: ours are guarded, a library's are shown how to name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from queuewarden.engine.discover import read_tables
from queuewarden.queues.presets import matching_schemas, presets
from queuewarden.settings.mappings import preset_mapping

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping
    from queuewarden.settings.configuration import EnvironmentConfig

NOTHING = (
    "no table of a known queue was found: map yours with QUEUEWARDEN_QUEUE__NAME__JOBS__TABLE, __ID,"
    " __STATUS, QUEUEWARDEN_QUEUE__NAME__STATES__WAITING and __RUNNING"
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A preset's tables, as they stand in a database.

    Attributes:
        full: all of the fingerprint fits.
        guarded: it may be repaired without being named: one of our own, fully recognised.
    """

    preset: str
    schema: str
    mapping: Mapping
    full: bool
    guarded: bool

    @property
    def variables(self) -> list[str]:
        """What to set to name it."""
        lines = [f"QUEUEWARDEN_QUEUE__{self.preset.upper()}__PRESET={self.preset}"]
        if self.schema != "public":
            table = f"{self.schema}.{self.mapping.jobs.table.name}"
            lines.append(f"QUEUEWARDEN_QUEUE__{self.preset.upper()}__JOBS__TABLE={table}")
        return lines


async def recognise(session: Session) -> list[Recognised]:
    """All presets whose tables stand in the database, the best schema of each.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    known = [preset for preset in presets().values() if preset.fingerprint is not None]
    names = {
        name.rpartition(".")[2]
        for preset in known
        if preset.fingerprint
        for name in preset.fingerprint.tables
    }
    tables = await read_tables(session, sorted(names))
    found = []
    for preset in known:
        matches = matching_schemas(preset, tables)
        best = sorted(matches, key=lambda schema: (matches[schema] != "full", schema != "public", schema))
        if best:
            full = matches[best[0]] == "full"
            mapping = preset_mapping(preset, best[0])
            found.append(Recognised(preset.name, best[0], mapping, full, full and preset.ours))
    return found


async def discovered(
    session: Session, config: EnvironmentConfig
) -> tuple[list[tuple[Mapping, Limits]], list[str]]:
    """The queues to guard or observe, and hints on what to set.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    queues, hints = [], []
    for one in await recognise(session):
        limits = config.queue_limits.get(one.preset, config.limits)
        if not one.guarded:
            limits = replace(limits, mode="observe")
            match = "looks like" if one.full else "resembles"
            hints.append(
                f"{one.schema}.{one.mapping.jobs.table.name} {match} {one.preset}:"
                f" only observed until you set {' '.join(one.variables)}"
            )
        queues.append((one.mapping, limits))
    return queues, hints or ([] if queues else [NOTHING])
