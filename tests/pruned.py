"""Jobs that ended long ago, and what `prune` leaves of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keeping

from queuewarden.engine.upkeep.tasks import prune

if TYPE_CHECKING:
    import servers

    from queuewarden.engine.upkeep.task import Step


def old(database: servers.Database, number: int = 10, status: str = "done", days: int = 40) -> None:
    database.execute(
        "INSERT INTO jobs (status, finished_at) SELECT %s, now() - %s * interval '1 day'"
        " FROM generate_series(1, %s)",
        [status, days, number],
    )


def pruned(database: servers.Database, *mappings: Any, **rest: Any) -> list[Step]:
    return keeping.run_steps(prune, database.dsn, *mappings, **rest)


def left(database: servers.Database) -> int:
    return int(database.value("SELECT count(*) FROM jobs"))
