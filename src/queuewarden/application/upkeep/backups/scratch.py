"""Scratch databases: restored into, looked at, and dropped; or renamed, where somebody wanted to have one.

Their names say what they are. While one is in use its maker holds an advisory lock, so that the next run
knows which ones were left over by a kill, and drops them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from queuewarden.adapters.db.begin import GUARD_LOCK
from queuewarden.application.upkeep.backups import source
from queuewarden.errors import UnavailableError
from queuewarden.redact import visible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any, LiteralString

    from psycopg import AsyncConnection

    from queuewarden.application.upkeep.backups.manifest import Manifest
    from queuewarden.settings.configuration import EnvironmentConfig

    Options = dict[LiteralString, str | None]

PREFIX = "queuewarden_scratch_"

_LEFT = b"SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1"
_TRY_LOCK = b"SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_UNLOCK = b"SELECT pg_advisory_unlock(%s, hashtext(%s))"
_MAJOR = b"SELECT current_setting('server_version_num')::int / 10000"
_COMMENT = "a backup of {} that queuewarden is trying out; it drops this database by itself"
# Restored without privileges, it would let everybody do what the original lets a few.
_CLOSED: tuple[LiteralString, ...] = (
    "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {} TO SESSION_USER",  # who may own it by SET ROLE alone
    "ALTER DATABASE {} ALLOW_CONNECTIONS true",
)
_REFUSED = "42501"
_USUAL_PATH = '"$user", public'
_TRIGGERS_AT_LOGIN = 17
"""The version since which a database can do something as soon as we look at what was restored."""

_LONGEST = 63
"""Bytes of a name; the server would cut off the rest."""

_PROVIDERS: dict[str, tuple[str, LiteralString]] = {
    "i": ("icu", "ICU_LOCALE"),
    "b": ("builtin", "BUILTIN_LOCALE"),
}


@dataclass(frozen=True, slots=True)
class Scratch:
    """A scratch database, new and empty.

    Attributes:
        dsn: leads to it, on the very server where it is.
        major: its server's version.
        connection: to another database of that server.
    """

    name: str
    dsn: str
    major: int
    connection: AsyncConnection

    async def become(self, name: str) -> None:
        """Give it the name that it is wanted under: then it is scratch no more.

        Raises:
            UnavailableError: there is a database of that name, or it may not be renamed.
        """
        await require_absent(self.connection, name)
        old, new = sql.Identifier(self.name), sql.Identifier(name)
        async with self.connection.transaction():
            await self.connection.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(old))
            await self.connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(old))
            await self.connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(old))
            await self.connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(old, new))


def prefix(environment: str, database: str) -> str:
    """What the names of an environment's scratch databases begin with.

    Args:
        environment: its name.
        database: which they are made from: locks are each database's own.
    """
    digest = hashlib.sha256(f"{environment}\0{database}".encode()).hexdigest()[:8]
    return f"{PREFIX}{digest}_"


async def require_absent(connection: AsyncConnection, name: str) -> None:
    """Make sure that no database has a name, and that a new one can have it.

    Raises:
        UnavailableError: one has, or none can.
    """
    shown = visible(name)
    if shown != name or not 0 < len(name.encode()) <= _LONGEST:
        raise UnavailableError(
            f"a database cannot be called “{shown}”: name one of 1 to {_LONGEST} visible bytes by --into"
        )
    if name.startswith(PREFIX):
        raise UnavailableError(f"a database called {PREFIX}… is dropped by the next trial: name another one")
    there = await connection.execute(b"SELECT FROM pg_database WHERE datname = %s", [name])
    if there.rowcount:
        raise UnavailableError(f"database {name} exists, and a restore never touches one: name a new one")


@asynccontextmanager
async def scratch(
    config: EnvironmentConfig, dsn: str, connection: AsyncConnection, manifest: Manifest, *, bare: bool
) -> AsyncIterator[Scratch]:
    """A database to restore a backup into; dropped at the end of the block, unless it was renamed.

    Args:
        config: the environment.
        dsn: where to make it.
        connection: opened by that DSN.
        manifest: of the backup.
        bare: where the server lacks the locale of the original, another one will do.

    Raises:
        UnavailableError: it cannot be made.
    """
    ours = prefix(config.name, connection.info.dbname)
    await _drop_leftovers(connection, ours)
    name = f"{ours}{secrets.token_hex(4)}"
    await connection.execute(_TRY_LOCK, (GUARD_LOCK[0], name))
    try:
        await _create(connection, name, manifest, bare=bare)
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        said = sql.Literal(_COMMENT.format(config.name))
        await connection.execute(comment.format(sql.Identifier(name), said))
        for closing in _CLOSED:
            await connection.execute(sql.SQL(closing).format(sql.Identifier(name)))
        (major,) = await (await connection.execute(_MAJOR)).fetchone() or (0,)
        if major >= _TRIGGERS_AT_LOGIN:
            # Whoever may not switch them off may not restore them either.
            with suppress(psycopg.errors.InsufficientPrivilege):
                asleep = sql.SQL("ALTER DATABASE {} SET event_triggers = off")
                await connection.execute(asleep.format(sql.Identifier(name)))
        place = _as_the_original(source.pinned(dsn, connection), manifest.search_path)
        yield Scratch(name, make_conninfo(place, dbname=name), major, connection)
    finally:
        await _drop(config, dsn, connection, name)


def _as_the_original(dsn: str, path: str) -> str:
    """The DSN, with the search path that the original's sessions have, mostly by its ALTER DATABASE … SET."""
    if path in {"", _USUAL_PATH}:
        return dsn
    options = conninfo_to_dict(dsn).get("options") or ""
    escaped = re.sub(r"([\\\s])", r"\\\1", path)
    return make_conninfo(dsn, options=f"{options} -c search_path={escaped}")


async def _create(connection: AsyncConnection, name: str, manifest: Manifest, *, bare: bool) -> None:
    locale = manifest.locale
    options: Options = {"ENCODING": locale.get("encoding", "UTF8"), "ALLOW_CONNECTIONS": "false"}
    like: Options = {"LC_COLLATE": locale.get("datcollate"), "LC_CTYPE": locale.get("datctype")}
    if (provider := _PROVIDERS.get(locale.get("datlocprovider", ""))) is not None:
        like["LOCALE_PROVIDER"], like[provider[1]] = provider[0], _of_provider(locale)
    attempts = [options | like, *([options | {"LOCALE": "C"}] if bare else [])]
    for attempt in attempts:
        try:
            await connection.execute(_created(name, attempt))
        except psycopg.Error as error:
            if error.sqlstate == _REFUSED:
                raise UnavailableError(
                    f"role {connection.info.user} may not create a database to restore into:"
                    " ALTER ROLE … CREATEDB, or (to verify) name another server by SCRATCH_DSN"
                ) from None
            if attempt is attempts[-1] or connection.closed:
                raise
        else:
            return


def _of_provider(locale: Mapping[str, Any]) -> str | None:
    """The locale of ICU or of the server's own; version 17 has renamed its column."""
    found: str | None = locale.get("datlocale", locale.get("daticulocale"))
    return found


def _created(name: str, options: Options) -> sql.Composed:
    parts = [
        sql.SQL("{} {}").format(sql.SQL(option), sql.Literal(value))
        for option, value in options.items()
        if value is not None
    ]
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(
        sql.Identifier(name), sql.SQL(" ").join(parts)
    )


async def _drop_leftovers(connection: AsyncConnection, prefix: str) -> None:
    """Drop what the same environment left behind, unless it is in use."""
    for (left,) in await (await connection.execute(_LEFT, [prefix])).fetchall():
        row = await (await connection.execute(_TRY_LOCK, (GUARD_LOCK[0], left))).fetchone()
        if row == (True,):
            await connection.execute(_dropped(left))
            await connection.execute(_UNLOCK, (GUARD_LOCK[0], left))


async def _drop(config: EnvironmentConfig, dsn: str, connection: AsyncConnection, name: str) -> None:
    """Drop it, on another connection where the first one is lost; else the next run does it."""
    with suppress(psycopg.Error):
        await connection.execute(_dropped(name))
        return
    with suppress(psycopg.Error, UnavailableError):
        async with source.opened(config, dsn) as another:
            await another.execute(_dropped(name))


def _dropped(name: str) -> sql.Composed:
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
