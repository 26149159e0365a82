"""Opening a session on an environment: the same for its guard and for commands by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.session import Session
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from queuewarden.adapters.db.upkeep import UpkeepConnection
    from queuewarden.settings.configuration import EnvironmentConfig

S = TypeVar("S", bound=Session)


async def open_session(
    config: EnvironmentConfig,
    *,
    kind: type[S] = Session,  # type: ignore[assignment]  # the default fits the bound
    by: str | None = None,
    statement_timeout: timedelta | None = None,
    on_step: Callable[[float], None] | None = None,
) -> S:
    """Connect.

    Args:
        config: where to.
        kind: of session.
        by: the environment on whose behalf, as the server shows it; by default this one.
        statement_timeout: if another one than configured.
        on_step: see `Session`.

    Raises:
        UnavailableError: with the reason in words of ours.
    """
    limits = config.limits
    timeout = statement_timeout or limits.statement_timeout
    connection = await connect(
        config.dsn.read(),
        application_name=f"queuewarden/{by or config.name}",
        connect_timeout=limits.connect_timeout,
        statement_timeout=timeout,
    )
    return kind(
        connection,
        statement_timeout=timeout,
        lock_timeout=min(limits.lock_timeout, timeout),
        on_step=on_step,
    )


async def open_upkeep(config: EnvironmentConfig, session: Session) -> UpkeepConnection:
    """Connect for upkeep: directly, where such a way was named.

    Args:
        config: where to.
        session: one that is there already, as the environment's DSN leads.

    Raises:
        UnavailableError: with the reason in words of ours; the direct way leads to another database.
        psycopg.Error: as the server reports it.
    """
    from queuewarden.adapters.db.upkeep import UpkeepConnection

    limits = config.limits
    opened = await UpkeepConnection.open(
        (config.upkeep_dsn or config.dsn).read(),
        connect_timeout=limits.connect_timeout,
        statement_timeout=limits.statement_timeout,
        lock_timeout=limits.lock_timeout,
        longest=config.upkeep.timeout,
    )
    try:
        same = config.upkeep_dsn is None or await opened.beside(session)
    except BaseException:
        await opened.close()
        raise
    if not same:
        await opened.close()
        raise UnavailableError("UPKEEP_DSN leads to another database, or server, than DSN")
    return opened
