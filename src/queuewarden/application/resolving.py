"""Holding an environment's queues, configured or recognised, against its catalog."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.discovery import Discovered, discovered
from queuewarden.engine.resolve import Resolution, resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.settings.configuration import EnvironmentConfig


@dataclass(frozen=True, slots=True)
class Resolved:
    """The queues of an environment.

    Attributes:
        hints: what to set so that tables that were recognised are guarded.
        complete: every queue could be looked up.
    """

    queues: Mapping[str, Resolution]
    hints: tuple[str, ...] = ()
    complete: bool = True


async def resolve_all(
    session: Session, config: EnvironmentConfig, only: Collection[str] | None = None
) -> Resolved:
    """Resolve each queue, with its own failure.

    Args:
        session: a connection to the environment.
        config: the environment.
        only: just these queues; None: all.

    Raises:
        psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
    """
    found = [(mapping, config.queue_limits[mapping.name]) for mapping in config.queues]
    known = Discovered(found)
    if config.discover:
        known = await discovered(session, config)
    queues: dict[str, Resolution] = {}
    complete = True
    for mapping, limits in known.queues:
        if only is not None and mapping.name not in only:
            continue
        try:
            resolution = await resolve(session, config.name, mapping, limits)
            if mapping.name in known.unnamed:
                # Nobody asked for it: where it does not fit, a hint says so, and no alert.
                resolution = replace(resolution, faults=(), notes=(*resolution.faults, *resolution.notes))
            queues[mapping.name] = resolution
        except psycopg.Error as error:
            if not session.usable:
                raise
            fault = f"the catalog could not be read: {reason(error)}; it is tried again with each sweep"
            queues[mapping.name] = Resolution(None, (fault,))
            complete = False
    return Resolved(queues, known.hints, complete)
