"""The database that is dumped, or restored into: a direct connection, what it says of itself, its rows."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.deadline import deadline, shut
from queuewarden.adapters.db.reasons import primary_message, reason
from queuewarden.adapters.db.upkeep import APPLICATION, POOLED
from queuewarden.application.upkeep.backups.manifest import Rows
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from datetime import datetime

    from queuewarden.settings.configuration import EnvironmentConfig

T = TypeVar("T")

POLITELY = 5.0
"""Seconds that whoever is cancelled has to tidy up; then sockets are shut, as the server may be frozen."""

_ANYHOW = 2.0
_OPEN: ContextVar[list[AsyncConnection]] = ContextVar("open")

_BEGIN = b"""
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL search_path = pg_catalog;
SET LOCAL lock_timeout = '10s';
SET LOCAL row_security = off
"""
# What a role or a database sets for those who serve its users would end a long restore, or its lock.
_UNHURRIED = b"""
SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout',
    'transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout')
"""
_FACTS = b"""
SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
    current_database(), pg_database_size(current_database()), now(),
    (SELECT reset_val FROM pg_settings WHERE name = 'search_path'),
    to_jsonb(d) || jsonb_build_object('encoding', pg_encoding_to_char(d.encoding))
FROM pg_database d WHERE d.datname = current_database()
"""
# What a dump holds the rows of: not what an extension creates, and a partitioned table's are its partitions'.
_TABLES = b"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
    AND n.nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
_LARGE_OBJECTS = b"SELECT count(*) FROM pg_largeobject_metadata"
_LOCALE = ("encoding", "datcollate", "datctype", "datlocprovider", "daticulocale", "datlocale")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a database says of itself.

    Attributes:
        version: its server's, such as ``15.14``.
        size: bytes that it takes on its server.
        search_path: where sessions look for tables, which a dump does not hold.
        locale: encoding and locale, by the columns of ``pg_database``.
    """

    version: str
    major: int
    database: str
    size: int
    now: datetime
    search_path: str
    locale: dict[str, Any]


def direct(config: EnvironmentConfig) -> str:
    """The DSN that leads to the database without a pooler, as far as one is configured.

    Raises:
        UnavailableError: it cannot be read.
    """
    return (config.upkeep_dsn or config.dsn).read()


@asynccontextmanager
async def opened(config: EnvironmentConfig, dsn: str, place: str = "") -> AsyncIterator[AsyncConnection]:
    """A connection of upkeep's own, for as long as one run may take.

    Args:
        config: the environment.
        dsn: where it leads.
        place: what that is, where it is not the environment's own database.

    Raises:
        UnavailableError: it cannot be made, is lost, or the time is over; or what the server refused.
    """
    try:
        connection = await connect(
            dsn,
            application_name=APPLICATION,
            connect_timeout=config.limits.connect_timeout,
            statement_timeout=config.limits.statement_timeout,
        )
    except UnavailableError as error:
        raise UnavailableError(f"{place}: {error}" if place else str(error)) from None
    open_ = _OPEN.get([])
    open_.append(connection)
    try:
        async with deadline(connection, config.upkeep.timeout.total_seconds()):
            row = await (await connection.execute(b"SELECT pg_backend_pid()")).fetchone()
            if row != (connection.info.backend_pid,):
                raise UnavailableError(POOLED)
            await connection.execute(_UNHURRIED)
            yield connection
    except psycopg.Error as error:
        raise UnavailableError(said(error)) from None
    finally:
        open_.remove(connection)
        shut(connection)
        await connection.close()


async def released(work: Coroutine[Any, Any, T]) -> T:
    """Do something; when we are cancelled it ends soon, though a server of its connections be frozen."""
    open_: list[AsyncConnection] = []
    token = _OPEN.set(open_)
    task = asyncio.create_task(work)
    _OPEN.reset(token)
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            if not (await asyncio.wait({task}, timeout=POLITELY))[0]:
                for connection in open_:
                    shut(connection)
                await asyncio.wait({task}, timeout=_ANYHOW)
    return task.result()


def said(error: psycopg.Error) -> str:
    """What the server said; where it said nothing, why the connection failed."""
    return primary_message(error) or reason(error)


def pinned(dsn: str, connection: AsyncConnection) -> str:
    """The DSN of the very server that a connection leads to, for programs with defaults of their own."""
    info = connection.info
    place = {"host": info.host, "port": str(info.port), "dbname": info.dbname, "user": info.user}
    if "hostaddr" in conninfo_to_dict(dsn):
        place["hostaddr"] = info.hostaddr
    if info.password:
        place["password"] = info.password
    return make_conninfo(dsn, **place)


async def begin(connection: AsyncConnection) -> Facts:
    """Begin to read: all that follows sees one and the same moment."""
    await connection.execute(_BEGIN)
    ((version, major, database, size, now, path, every),) = await (
        await connection.execute(_FACTS)
    ).fetchall()
    locale = {name: every[name] for name in _LOCALE if every.get(name) is not None}
    return Facts(str(version).split()[0], major, database, size, now, path, locale)


async def count(
    connection: AsyncConnection, tell: Callable[[str, int, int], None] = lambda *_: None
) -> tuple[tuple[Rows, ...], int]:
    """The rows of each table, and how many large objects there are.

    Raises:
        UnavailableError: a table may not be read; the message names it.
    """
    tables = await (await connection.execute(_TABLES)).fetchall()
    found = []
    for number, (schema, table) in enumerate(tables):
        tell(f"{schema}.{table}", number, len(tables))
        query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))
        try:
            row = await (await connection.execute(query)).fetchone() or (0,)
        except psycopg.Error as error:
            raise UnavailableError(f"rows of {schema}.{table} cannot be counted: {said(error)}") from None
        found.append(Rows(schema, table, row[0]))
    objects = await (await connection.execute(_LARGE_OBJECTS)).fetchone() or (0,)
    return tuple(found), objects[0]
