"""Drift: what a library's preset knows of its tables, held against the database.

What a user has added, such as a column, a trigger or an index, is never a fault. What they mapped by their
own variables is theirs, too: only what still comes from the preset is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.engine.library_catalog import Asked, read_library, read_version
from queuewarden.engine.library_rights import astray, by_path, lacking, library_rights, placed
from queuewarden.queues.fingerprints import bare, fits
from queuewarden.queues.presets import presets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Mapping as MappingOf

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.catalog import Relation
    from queuewarden.engine.library_catalog import Found
    from queuewarden.model import Mode
    from queuewarden.queues.fingerprints import Fingerprint
    from queuewarden.queues.mapping import Mapping
    from queuewarden.queues.presets import Library, Preset

    Expected = MappingOf[tuple[str, str], MappingOf[str, tuple[str, ...]]]

MOST = 8
"""So many differences are named in one fault."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the tables of a library fit its preset.

    Attributes:
        fault: all that differs, in one line; empty where nothing does.
        differences: the same, one by one.
        rights: what the role lacks for the library's own way of a repair, each with its statement.
        notes: what was added to the tables and takes part in a repair.
        version: what the schema says of the library's version.
        path: functions that a repair calls or triggers find their tables by the role's search_path.
        owner: of the jobs table, where row-level security hides its rows from others.
        echoes: how the check of the mapping says the same as `differences`.
    """

    fault: str = ""
    differences: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    version: str | None = None
    path: bool = False
    owner: str | None = None
    echoes: tuple[str, ...] = ()

    def told(self, faults: Iterable[str]) -> tuple[str, ...]:
        """All faults of a mapping: the preset's before those of the mapping, none of them twice."""
        own = [self.fault] if self.fault else []
        others = (one for one in faults if not any(echo in f"{one};" for echo in self.echoes))
        return (*own, *others, *self.rights)


NO_LIBRARY = Fit()


async def fitted(session: Session, mapping: Mapping, jobs: Relation, mode: Mode) -> Fit:
    """Hold a mapping that comes from a library's preset against the catalog; any other fits.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    preset = presets().get(mapping.preset or "")
    if preset is None or preset.library is None or preset.fingerprint is None:
        return NO_LIBRARY
    return await _Comparison(session, mapping, jobs, mode, preset, preset.library, preset.fingerprint).made()


@dataclass(frozen=True, slots=True)
class _Comparison:
    session: Session
    mapping: Mapping
    jobs: Relation
    mode: Mode
    preset: Preset
    library: Library
    fingerprint: Fingerprint

    async def made(self) -> Fit:
        shape = self.jobs.shape
        _, own = placed(self.preset, self.preset.mapping["jobs", "table"], shape.schema)
        if shape.name != own:
            return self._elsewhere(own)
        expected = self._expected()
        wanted, _ = library_rights(self.preset, shape.schema)
        version = self.library.version
        found = await read_library(
            self.session,
            Asked(
                shape.schema,
                self.jobs.oid,
                self.mapping.jobs.status or "",
                list(expected),
                self.fingerprint.unique,
                self.fingerprint.functions,
                wanted,
                version.comment if version is not None else "",
            ),
        )
        differing, notes = dict(self._differing(expected, found)), list(self._notes(found))
        told = await self._version(found, notes)
        if version is not None and told is not None and told not in version.versions:
            differing[f"its version is {told}, none of {', '.join(version.versions)}"] = ""
        path = by_path(found, self.fingerprint)
        rights = list(lacking(found, self.jobs, self.library.name))
        if path and self.mode == "repair" and self.mapping.jobs.table.schema is not None:
            lost = await astray(self.session, self.jobs, self.library.name)
            rights += [lost] if lost is not None else []
        return Fit(
            self._fault(differing),
            tuple(differing),
            tuple(rights) if self.mode == "repair" else (),
            tuple(notes),
            told,
            path,
            found.owner,
            tuple(echo for echo in differing.values() if echo),
        )

    def _fault(self, differing: Iterable[str]) -> str:
        told = list(differing)
        if not told:
            return ""
        more = [f"and {len(told) - MOST} more"] if len(told) > MOST else []
        return (
            f"preset {self.preset.name} does not fit {self.jobs.shape}: {'; '.join([*told[:MOST], *more])}"
            f" (read against versions {self.library.versions}): only observed"
        )

    def _elsewhere(self, own: str) -> Fit:
        """Another table than the library's: the preset's names serve, what it knows of the table does not."""
        if not self.library.moves:
            return Fit(notes=(f"{self.jobs.shape} is not {own}: what is known of that is not compared",))
        differing = (f"jobs are put back by the library's own way, which knows only {own}",)
        return Fit(self._fault(differing), differing)

    def _expected(self) -> Expected:
        """Columns of the fingerprint that the preset, and nobody's own variable, names; table by table."""
        mapping = self.mapping
        parts = {"jobs": mapping.jobs, "workers": mapping.workers, "starts": mapping.starts}
        theirs: dict[str, set[str] | None] = {}
        places: dict[str, tuple[str, str]] = {}
        for part, mapped in parts.items():
            name = self.preset.mapping.get((part, "table"))
            if name is None:
                continue
            own = name.rpartition(".")[2]
            if mapped is None or mapped.table.name != own or self._registered_elsewhere(part):
                theirs[name] = None
                continue
            if mapped.table.schema is not None:
                places[name] = (mapped.table.schema, own)
            kept = {*_columns(mapped)}
            theirs[name] = {
                column.strip()
                for (of, *field), text in self.preset.mapping.items()
                if of == part and field != ["table"]
                for column in text.split(",")
            } - kept
        expected = {}
        for name, columns in self.fingerprint.tables.items():
            if (mine := theirs.get(name, set())) is not None:
                where = places.get(name) or placed(self.preset, name, self.jobs.shape.schema)
                expected[where] = {one: types for one, types in columns.items() if one not in mine}
        return expected

    def _registered_elsewhere(self, part: str) -> bool:
        workers = self.mapping.workers
        return part == "workers" and workers is not None and workers.registered_in is not None

    def _differing(self, expected: Expected, found: Found) -> Iterator[tuple[str, str]]:
        """What differs, and how the check of the mapping would say it."""
        for (schema, table), columns in expected.items():
            there = found.tables.get((schema, table))
            if there is not None:
                yield from self._columns(f"{schema}.{table}", columns, there)
            elif not self._maps(table):
                # One that is mapped may stand elsewhere on the search_path; else the mapping's check tells.
                yield f"table {schema}.{table} is missing", ""
        yield from self._labels(found)
        yield from ((one, "") for one in self._objects(found))

    def _columns(
        self, table: str, columns: MappingOf[str, tuple[str, ...]], there: MappingOf[str, str]
    ) -> Iterator[tuple[str, str]]:
        of = "" if table == str(self.jobs.shape) else f"{table.rpartition('.')[2]}."
        for column, types in columns.items():
            if column not in there:
                yield f"column {of}{column} is missing", f"{table} has no column {column};"
            elif not fits(there[column], types):
                wanted = " or ".join(dict.fromkeys(map(bare, types)))
                yield (
                    f"column {of}{column} is {bare(there[column])}, not {wanted}",
                    f"{table}.{column} is of type",
                )

    def _objects(self, found: Found) -> Iterator[str]:
        known = self.fingerprint
        yield from (f"constraint {name} is missing" for name in known.constraints if name not in found.checks)
        for name in known.triggers:
            trigger = found.triggers.get(name)
            if trigger is None:
                yield f"trigger {name} is missing"
            elif not trigger.enabled:
                yield f"trigger {name} is disabled"
            elif not trigger.on_update:
                yield f"trigger {name} does not fire on updates"
        for name in known.unique:
            if not found.unique.get(name, False):
                yield f"unique index {name} is {'invalid' if name in found.unique else 'missing'}"
        yield from (f"function {name} is missing" for name in known.functions if name not in found.functions)

    def _maps(self, table: str) -> bool:
        mapped = (self.mapping.workers, self.mapping.starts, self.mapping.alive.row_lock)
        return any(one is not None and one.table.name == table for one in mapped)

    def _labels(self, found: Found) -> Iterator[tuple[str, str]]:
        column = self.mapping.jobs.status
        if not found.labels or column != self.preset.mapping.get(("jobs", "status")):
            return
        known = {*self.fingerprint.statuses, *self.mapping.states.every}
        unknown = [f"'{one}'" for one in found.labels if one not in known]
        if unknown:
            some = "an unknown label" if len(unknown) == 1 else "unknown labels"
            yield f"{column} has {some} {', '.join(unknown)}", ""
        for label in self.fingerprint.statuses:
            if label not in found.labels:
                yield f"{column} has no label '{label}'", f"cannot hold '{label}'"

    def _notes(self, found: Found) -> Iterator[str]:
        """What somebody added that takes part in a repair."""
        jobs, library = self.jobs.shape, self.library.name
        written = _written(self.mapping)
        for name, trigger in found.triggers.items():
            if name not in self.fingerprint.triggers and trigger.enabled and trigger.on_update:
                yield f"trigger {name} of {jobs}, which {library} does not bring, fires with each repair"
        for name, columns in found.checks.items():
            touched = [column for column in columns if column in written]
            if name not in self.fingerprint.constraints and touched:
                yield (
                    f"constraint {name} of {jobs}, which {library} does not bring, may refuse a repair: it"
                    f" checks {', '.join(touched)}"
                )
        for name in found.further:
            yield f"unique index {name} of {jobs}, which {library} does not bring, may refuse a repair"

    async def _version(self, found: Found, notes: list[str]) -> str | None:
        """What the schema says of the library's version; None where it says nothing."""
        version = self.library.version
        if version is None or not version.table:
            return found.comment
        place = placed(self.preset, version.table, self.jobs.shape.schema)
        if any((one.schema, one.name) == place for one in found.denied):
            return None
        try:
            return await read_version(self.session, place, version.column)
        except psycopg.Error as error:
            if not self.session.usable:
                raise
            notes.append(f"the version in {'.'.join(place)} could not be read: {reason(error)}")
            return None


def _columns(mapped: object) -> Iterator[str]:
    """The columns that a part of a mapping names."""
    if (columns := getattr(mapped, "columns", None)) is not None:
        yield from columns
    else:
        yield from (one for name in ("job", "at", "kind") if (one := getattr(mapped, name)) is not None)


def _written(mapping: Mapping) -> set[str]:
    """The columns of the jobs table that a repair may write."""
    jobs = mapping.jobs
    named = {
        *mapping.state_columns,
        *jobs.clear,
        *(one.column for one in (*mapping.requeue, *mapping.fail)),
        *(jobs.worker, jobs.started_at, jobs.heartbeat, jobs.finished_at, jobs.failed_at, jobs.updated_at),
        *(jobs.attempts, jobs.error),
    }
    return {one for one in named if one is not None}
