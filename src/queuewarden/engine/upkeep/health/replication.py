"""Replication, as the primary sees it: standbys that lag, and slots that keep WAL which nobody reads."""

from __future__ import annotations

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import Sign, Told, Ward, Where
from queuewarden.engine.upkeep.health.wording import literal, size, span

TOPIC = "replication"
LAG, SLOT = "replication_lag_seconds", "slot_megabytes"
METRICS = frozenset({LAG, SLOT})

_MEGABYTE = 1e6
_QUESTION = Query(
    b"""
(SELECT 'standby', r.application_name, extract(epoch FROM r.replay_lag)::float8,
        pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::float8, r.state IS NULL
   FROM pg_catalog.pg_stat_replication AS r
  WHERE r.state IS NULL OR r.state IN ('streaming', 'catchup') ORDER BY 3 DESC NULLS LAST LIMIT 20)
UNION ALL
(SELECT 'slot', s.slot_name::text, NULL,
        pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::float8, false
   FROM pg_catalog.pg_replication_slots AS s
  WHERE NOT s.active AND s.restart_lsn IS NOT NULL ORDER BY 4 DESC LIMIT 20)""",
    {},
)
_LOOK = "SELECT application_name, state, sync_state, replay_lag FROM pg_stat_replication;"


def question(ward: Ward) -> Query:
    """Standbys, and slots that nobody reads."""
    del ward
    return _QUESTION


def told(ward: Ward, rows: list[Row]) -> Told:
    """The lag of each standby, the WAL of each slot."""
    signs: list[Sign] = []
    figures: dict[tuple[str, str], float] = {}
    hidden = False
    for kind, called, lag, kept, unseen in rows:
        if kind == "slot":
            text = f"replication slot {called} keeps {size(kept)} of WAL, which nobody reads"
            drop = f"SELECT pg_drop_replication_slot({literal(called)});"
            signs.append(Sign(Where(SLOT, "", called), kept / _MEGABYTE, text, (drop,)))
            worst = ("server_slot_bytes", "")
            figures[worst] = max(figures.get(worst, 0.0), kept)
        elif unseen:
            hidden = True
        else:
            # A standby that has nothing left to replay tells no lag.
            text = f"standby {called} is {span(lag or 0.0)} behind, {size(kept or 0.0)} of WAL"
            signs.append(Sign(Where(LAG, "", called), lag or 0.0, text, (_LOOK,)))
            worst = ("server_replication_lag_seconds", "")
            figures[worst] = max(figures.get(worst, 0.0), lag or 0.0)
    readings: dict[Where, float | None] = {sign.where: sign.value for sign in signs}
    if hidden:
        grant = f"the lag of standbys is hidden: GRANT pg_read_all_stats TO {ward.server.role}"
        return Told(tuple(signs), readings, figures, (grant,))
    return Told(tuple(signs), readings, figures)
