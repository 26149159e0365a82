"""What a library's own way of a repair needs: rights beyond the mapped columns, and a search_path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query
from queuewarden.engine.catalog import read_relation
from queuewarden.engine.rights import listed, quoted
from queuewarden.queues.fingerprints import bare
from queuewarden.queues.mapping import TableName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.catalog import Relation
    from queuewarden.engine.library_catalog import Found
    from queuewarden.queues.fingerprints import Fingerprint
    from queuewarden.queues.presets import Preset

_WRITTEN = re.compile(r"(.+) ON (?:(SEQUENCE|TABLE) )?([^\s()]+)")
_PRIVILEGE = r"([A-Z]+)(?: \(([^()]+)\))?"
_PRIVILEGES = re.compile(rf"{_PRIVILEGE}(?:, {_PRIVILEGE})*")

_SET = b"""
SELECT current_database()::text, s.reset_val FROM pg_catalog.pg_settings AS s WHERE s.name = 'search_path'"""


@dataclass(frozen=True, slots=True)
class Right:
    """One privilege on one table or sequence.

    Attributes:
        columns: those of a table that it is about; empty: all of it.
        kind: TABLE or SEQUENCE.
    """

    privilege: str
    columns: tuple[str, ...]
    kind: str
    schema: str
    name: str

    @property
    def where(self) -> str:
        """Its table or sequence, as a statement names it."""
        return f"{'SEQUENCE ' * (self.kind == 'SEQUENCE')}{quoted(self.schema)}.{quoted(self.name)}"

    def __str__(self) -> str:
        return f"{self.privilege} ({listed(self.columns)})" if self.columns else self.privilege


def library_rights(preset: Preset, schema: str) -> tuple[list[Right], list[str]]:
    """What a preset's library needs where its jobs table stands in a schema.

    Returns:
        Its rights, that to read its version among them; and what is said in words alone.
    """
    library = preset.library
    if library is None:
        return [], []
    rights, words = [], []
    for text in library.rights:
        found = _WRITTEN.fullmatch(text)
        if found is None or _PRIVILEGES.fullmatch(found[1]) is None:
            words.append(text)
            continue
        for privilege, columns in re.findall(_PRIVILEGE, found[1]):
            named = tuple(part.strip() for part in columns.split(",") if part)
            rights.append(Right(privilege, named, found[2] or "TABLE", *placed(preset, found[3], schema)))
    if library.version is not None and library.version.table:
        where = placed(preset, library.version.table, schema)
        rights.append(Right("SELECT", (library.version.column,), "TABLE", *where))
    return rights, words


def grants(rights: Collection[Right], role: str) -> Iterator[tuple[str, str]]:
    """Each table or sequence, and the GRANT of all rights on it."""
    for where in dict.fromkeys(one.where for one in rights):
        words = ", ".join(str(one) for one in rights if one.where == where)
        yield where, f"GRANT {words} ON {where} TO {role}"


def placed(preset: Preset, name: str, schema: str) -> tuple[str, str]:
    """Schema and name of a preset's table: whatever stood beside its jobs table has moved with it."""
    fixed, _, table = name.rpartition(".")
    beside = preset.mapping["jobs", "table"].rpartition(".")[0]
    return (schema if fixed in {"", beside} else fixed), table


def lacking(found: Found, jobs: Relation, library: str) -> Iterator[str]:
    """The rights that are missing, each with its statement."""
    role = quoted(jobs.role)
    for where, statement in grants(found.denied, role):
        words = " and ".join(
            dict.fromkeys(one.privilege.lower() for one in found.denied if one.where == where)
        )
        yield f"no right to {words} {where}, as a repair of {library} does: {statement}"
    for name in found.shut:
        where = f"{quoted(jobs.shape.schema)}.{quoted(name)}"
        yield f"no right to call {where}: GRANT EXECUTE ON FUNCTION {where} TO {role}"


def by_path(found: Found, fingerprint: Fingerprint) -> bool:
    """Whether a function that a repair runs names the library's own objects without their schema."""
    triggers = (one.source for one in found.triggers.values() if one.enabled and one.on_update)
    types = {one for columns in fingerprint.tables.values() for each in columns.values() for one in each}
    names = {name.rpartition(".")[2] for name in fingerprint.tables} | {*fingerprint.functions}
    names |= {bare(one) for one in types if "." in one}
    pattern = re.compile(rf"""(?<![\w.$"'])"?(?:{"|".join(map(re.escape, names))})(?![\w$])""")
    return any(pattern.search(source) for source in (*found.functions.values(), *triggers))


async def astray(session: Session, jobs: Relation, library: str) -> str | None:
    """Why a library's functions would not find their tables: they run under the role's own search_path.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    schema = jobs.shape.schema
    first = await read_relation(session, TableName(jobs.shape.name))
    if first is not None and first.shape.schema == schema:
        return None
    ((database, before),) = await session.rows(Query(_SET, {}))
    others = [part for part in map(str.strip, before.split(",")) if part.strip('"') not in {"", schema}]
    instead = "no schema that has them" if first is None else f"schema {first.shape.schema}"
    return (
        f"functions of {library} find its tables by this role's search_path, which leads to {instead},"
        f" not to {schema}; once set, it holds for new connections (reload the daemon):"
        f" ALTER ROLE {quoted(jobs.role)} IN DATABASE {quoted(database)}"
        f" SET search_path = {', '.join([listed([schema]), *others])}"
    )
