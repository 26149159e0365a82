"""The least-privilege role: just the rights that the queues of a database need, and those for the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.ledger.schema import RIGHTS
from queuewarden.engine.library_rights import grants, library_rights
from queuewarden.engine.rights import SYSTEM, job_columns, worker_columns, written_columns
from queuewarden.queues.presets import presets
from queuewarden.queues.sqltext import commas

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from psycopg.sql import Composable, Identifier

    from queuewarden.engine.resolve import Resolution
    from queuewarden.queues.target import Shape, Target

_CREATE = """DO $role$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE {role} LOGIN;  -- give it a password, or another way to log in
    END IF;
END $role$;"""


def statements(resolutions: Collection[Resolution], role: Identifier, database: str) -> list[str]:
    """One statement a line (the first one takes several), to be run by an administrator of the database."""
    targets = [one.target for one in resolutions if one.target is not None]
    name = sql.Literal(role.as_string(None)[1:-1].replace('""', '"'))
    found: list[Composable | str] = [
        sql.SQL(_CREATE).format(name=name, role=role),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {};").format(sql.Identifier(database), role),
    ]
    usage = sql.SQL("GRANT USAGE ON SCHEMA {} TO {};")
    found += [usage.format(sql.Identifier(schema), role) for schema in _schemas(targets)]
    for target in targets:
        read = job_columns(target.mapping)
        found += _table(target.jobs, read, written_columns(target, "jobs"), role)
        if target.workers is not None and target.mapping.workers is not None:
            # A worker's row is locked with its jobs, for which the right to write any column will do.
            written = written_columns(target, "workers") or {target.mapping.workers.heartbeat}
            found += _table(target.workers, worker_columns(target.mapping.workers), written, role)
        for reference, parent in target.parents.items():
            found += _table(parent, {reference.parent_column}, (), role)
        found += _beside(target, role)
        found += _of_library(target, role)
    found += _seeing(resolutions, role)
    found += _path(resolutions, role, database)
    found.append(sql.SQL("GRANT USAGE ON SCHEMA queuewarden TO {};").format(role))
    for table, rights in RIGHTS.items():
        listed = commas(sql.SQL(right) for right in rights)
        found.append(
            sql.SQL("GRANT {} ON {} TO {};").format(listed, sql.Identifier("queuewarden", table), role)
        )
    found.append(
        sql.SQL("-- to name who holds a row locked and to see all of its health; it works without, too")
    )
    found.append(sql.SQL("GRANT pg_read_all_stats TO {};").format(role))
    return list(dict.fromkeys(one if isinstance(one, str) else one.as_string(None) for one in found))


def _schemas(targets: Iterable[Target]) -> list[str]:
    """The schemas of all tables, and of the types of their columns."""
    found: dict[str, None] = {}
    for target in targets:
        shapes = (target.jobs, target.workers, target.starts, target.row_lock, *target.parents.values())
        for shape in shapes:
            if shape is not None:
                types = [column.type[0] for column in shape.columns.values()]
                found.update(dict.fromkeys([shape.schema, *types]))
    return sorted(set(found) - {"pg_catalog"})


def _beside(target: Target, role: Identifier) -> Iterator[Composable]:
    """The table that notes starts, and the one whose rows workers lock, and we with them."""
    starts, lock = target.mapping.starts, target.mapping.alive.row_lock
    if starts is not None and target.starts is not None:
        named = {name for name in (starts.job, starts.at, starts.kind) if name is not None}
        yield from _table(target.starts, named, (), role)
    if lock is not None and target.row_lock is not None:
        yield from _table(target.row_lock, {lock.key, "xmax"}, {lock.key}, role)


def _of_library(target: Target, role: Identifier) -> Iterator[Composable | str]:
    """What a library's own way of a repair needs beyond the columns; in words where no statement says it."""
    preset = presets().get(target.mapping.preset or "")
    if preset is None or preset.library is None:
        return
    rights, words = library_rights(preset, target.jobs.schema)
    yield from (f"{statement};" for _, statement in grants(rights, role.as_string(None)))
    for name in preset.fingerprint.functions if preset.fingerprint is not None else ():
        function = sql.Identifier(target.jobs.schema, name)
        yield sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {};").format(function, role)
    for word in words:
        yield f"-- {preset.library.name} takes {word}, too"


def _seeing(resolutions: Iterable[Resolution], role: Identifier) -> Iterator[Composable | str]:
    """Membership in the owner of a library's table, where row-level security would hide its rows."""
    for one in resolutions:
        if one.target is not None and one.fit.owner is not None:
            yield f"-- row-level security hides the rows of {one.target.jobs} from all but its owner"
            yield sql.SQL("GRANT {} TO {};").format(sql.Identifier(one.fit.owner), role)


def _path(resolutions: Iterable[Resolution], role: Identifier, database: str) -> Iterator[Composable]:
    """The search_path by which functions of libraries find their tables, where the default does not."""
    found = {one.target.jobs.schema for one in resolutions if one.target is not None and one.fit.path}
    schemas = [sql.Identifier(schema) for schema in sorted(found - {"public"})]
    if schemas:
        yield sql.SQL('ALTER ROLE {} IN DATABASE {} SET search_path = {}, "$user", public;').format(
            role, sql.Identifier(database), commas(schemas)
        )


def _table(
    shape: Shape, read: Collection[str], written: Collection[str], role: Identifier
) -> list[Composable]:
    there = {*shape.columns, *((*SYSTEM, "xmax") if shape.leaves else ())}
    rights = []
    for right, columns in ((sql.SQL("SELECT ({})"), read), (sql.SQL("UPDATE ({})"), written)):
        known = sorted(set(columns) & there)
        if known:
            rights.append(right.format(commas(map(sql.Identifier, known))))
    table = sql.Identifier(shape.schema, shape.name)
    return [sql.SQL("GRANT {} ON {} TO {};").format(commas(rights), table, role)] if rights else []
