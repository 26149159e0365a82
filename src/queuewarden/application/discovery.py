"""Recognising queues where none is configured: ours are guarded, a library's are shown how to name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from queuewarden.engine.discover import of_strangers, read_tables
from queuewarden.queues.fingerprints import differences, matching_schemas
from queuewarden.queues.presets import presets
from queuewarden.queues.proposal.choices import spelled, spelled_table
from queuewarden.settings.mappings import preset_mapping
from queuewarden.settings.names import variable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping
    from queuewarden.queues.presets import Preset
    from queuewarden.settings.configuration import EnvironmentConfig

NOTHING = (
    "no table of a known queue was found: map yours with QUEUEWARDEN_QUEUE__NAME__JOBS__TABLE, __ID,"
    " __STATUS, QUEUEWARDEN_QUEUE__NAME__STATES__WAITING and __RUNNING"
)

MOST = 8
"""So many differences are named in one hint."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A preset's tables, as they stand in a database.

    Attributes:
        full: all of the fingerprint fits.
        guarded: it may be repaired without being named: one of our own, fully recognised, and no stranger's.
        differing: where the fingerprint does not fit, in words.
        to_map: the variables of what differs and is mapped.
    """

    preset: str
    schema: str
    mapping: Mapping
    full: bool
    guarded: bool
    differing: tuple[str, ...] = ()
    to_map: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """What to do so that it is guarded."""
        table = f"{self.schema}.{self.mapping.jobs.table.name}"
        named = " ".join(self.variables)
        if self.full:
            return f"{table} looks like {self.preset}: only observed until you set {named}"
        hint = f"{table} resembles {self.preset}, but differs: {_some(self.differing)}; set {named}"
        if self.to_map:
            hint += f" and map the columns that differ, or unmap them (empty): {_some(self.to_map)}"
        return hint

    @property
    def variables(self) -> list[str]:
        """What to set to name it."""
        values = {"PRESET": self.preset, **placed(self.mapping, presets()[self.preset], self.schema)}
        return [f"QUEUEWARDEN_QUEUE__{self.preset.upper()}__{name}={value}" for name, value in values.items()]


def placed(mapping: Mapping, preset: Preset, schema: str) -> dict[str, str]:
    """The tables of a preset that were found in a schema, by variable, unless where tables are by default."""
    if schema == "public":
        return {}
    tables = {
        "JOBS__TABLE": mapping.jobs.table,
        "WORKERS__TABLE": mapping.workers.table if mapping.workers is not None else None,
        "STARTS__TABLE": mapping.starts.table if mapping.starts is not None else None,
    }
    found = {
        name: spelled_table(table.schema, table.name)
        for name, table in tables.items()
        if table is not None
        and table.schema is not None
        and "." not in preset.mapping[name.split("__")[0].lower(), "table"]
    }
    lock = mapping.alive.row_lock
    if lock is not None and lock.table.schema is not None:
        place = spelled_table(lock.table.schema, lock.table.name)
        found["ALIVE__ROW_LOCK"] = f"{spelled(lock.column)} -> {place}.{spelled(lock.key)}"
    return found


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
    strangers = {schema for schema, _ in await of_strangers(session, sorted(names))}
    found = []
    for preset in known:
        matches = matching_schemas(preset, tables)
        best = sorted(matches, key=lambda schema: (matches[schema] != "full", schema != "public", schema))
        if best:
            full = matches[best[0]] == "full"
            mapping = preset_mapping(preset, best[0])
            wrong = {} if full else differences(preset, best[0], tables)
            found.append(
                Recognised(
                    preset.name,
                    best[0],
                    mapping,
                    full,
                    guarded=full and preset.ours and best[0] not in strangers,
                    differing=tuple(
                        f"{table}{column and f'.{column}'} {what}" for (table, column), what in wrong.items()
                    ),
                    to_map=tuple(_variables(preset, wrong)),
                )
            )
    return found


def _variables(preset: Preset, wrong: Collection[tuple[str, str]]) -> Iterator[str]:
    """The variables of mapped tables and columns that differ."""
    for path, text in preset.mapping.items():
        table = preset.mapping.get((path[0], "table"), preset.mapping["jobs", "table"])
        columns = [""] if path[1:] == ("table",) else [name.strip() for name in text.split(",")]
        if path[0] != "states" and any((table, column) in wrong for column in columns):
            yield variable(("queue", preset.name, *path))


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - MOST} more" if len(words) > MOST else ""
    return ", ".join(words[:MOST]) + more


@dataclass(frozen=True, slots=True)
class Discovered:
    """What was recognised in an environment.

    Attributes:
        queues: those to guard or observe.
        unnamed: of those, the ones that are only observed until they are named.
        hints: what to set so that they are guarded.
    """

    queues: list[tuple[Mapping, Limits]]
    unnamed: frozenset[str] = frozenset()
    hints: tuple[str, ...] = ()


async def discovered(session: Session, config: EnvironmentConfig) -> Discovered:
    """The queues to guard or observe.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    queues, hints, unnamed = [], [], set()
    for one in await recognise(session):
        limits = config.queue_limits.get(one.preset, config.limits)
        if not one.guarded:
            limits = replace(limits, mode="observe")
            hints.append(one.hint)
            unnamed.add(one.mapping.name)
        queues.append((one.mapping, limits))
    return Discovered(queues, frozenset(unnamed), tuple(hints or ([] if queues else [NOTHING])))
