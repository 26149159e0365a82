"""Bloat: how much of a table is empty space, as estimated from its statistics; the table is not read."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import LARGE, Sign, Told, Ward, Where
from queuewarden.engine.upkeep.health.wording import name, percent, size

TOPIC = "bloat"
BLOAT = "bloat"
METRICS = frozenset({BLOAT})

LEAST_WASTE = 2 * LARGE
"""Bytes of empty space below which it is no matter."""

_PAGE_HEADER, _LINE, _TUPLE_HEADER, _ALIGNED = 24, 4, 23, 8
_ALIGN = {"c": 1, "s": 2, "i": 4, "d": 8}
_VARIABLE = -1
_SHORT = 127
"""A value of variable length that is shorter is stored without alignment."""

# Those columns alone whose statistics the role may see; reltuples -1 (below 14: 0) is unknown.
_QUESTION = rb"""
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.reltuples::float8, c.relpages,
       current_setting('block_size')::int,
       coalesce((SELECT o.option_value::int FROM pg_options_to_table(c.reloptions) AS o
                  WHERE o.option_name = 'fillfactor'), 100),
       c.reltuples > 0 OR c.reltuples = 0 AND current_setting('server_version_num')::int >= 140000,
       a.attlen, a.attalign::text, s.avg_width, s.null_frac::float8
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_stats AS s
    ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
 WHERE c.oid = ANY(CAST(%(oids)s AS oid[])) AND c.relkind <> 'f' ORDER BY c.oid, a.attnum"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        length: in bytes; -1: it varies, -2: it is a C string.
        width: on average, where it is not NULL; None: not known.
        nulls: the share that is NULL.
    """

    length: int
    align: str
    width: int | None
    nulls: float | None


def question(ward: Ward) -> Query | None:
    """The columns of each table, with what statistics tell of them."""
    return Query(_QUESTION, {"oids": list(ward.tables)}) if ward.tables else None


def told(ward: Ward, rows: list[Row]) -> Told:
    """Of each queue the worst of its tables."""
    signs, hidden = [], []
    readings: dict[Where, float | None] = dict.fromkeys(Where(BLOAT, queue) for queue in ward.queues)
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for oid, group in groupby(rows, key=lambda row: row[0]):
        columns = list(group)
        _, schema, table, tuples, pages, block, fill, counted = columns[0][:8]
        queue, named = ward.tables[oid], name(schema, table)
        if pages * block < LARGE:
            continue
        needed = pages_needed([Column(*row[8:]) for row in columns], tuples, block, fill)
        if not counted or needed is None:
            hidden.append(named)
            continue
        share = max(0.0, 1 - needed / pages)
        shares[queue].append(share)
        waste = share * pages * block
        text = (
            f"{percent(share)} of {named} is empty, {size(waste)}, by estimate; new rows fill it in time;"
            " this gives it back, and stops all use of the table meanwhile"
        )
        worth = share if waste >= LEAST_WASTE else 0.0
        signs.append(Sign(Where(BLOAT, queue), worth, text, (f"VACUUM (FULL, ANALYZE) {named};",)))
    for sign in signs:
        readings[sign.where] = max(readings[sign.where] or 0.0, sign.value)
    figures = {("table_bloat_ratio", queue): max(found) for queue, found in shares.items()}
    unseen = [f"bloat of {one}: its statistics are not there, or not for this role" for one in hidden]
    return Told(tuple(signs), {} if hidden else readings, figures, tuple(unseen))


def pages_needed(columns: list[Column], tuples: float, block: int, fill: int) -> float | None:
    """Pages that rows of these columns take when packed; None where too little is known.

    Where a share of a column is NULL, its bytes and its padding count by the share that is not.
    """
    end, nullable = 0.0, False
    for column in columns:
        if column.width is None and column.length < 0:
            return None
        width = column.width if column.width is not None else column.length
        there = 1 - (column.nulls or 0.0)
        nullable = nullable or there < 1
        short = column.length == _VARIABLE and width < _SHORT
        step = 1 if short else _ALIGN[column.align]
        padding = -end % step
        end += (padding + width) * there
    header = _TUPLE_HEADER + (math.ceil(len(columns) / 8) if nullable else 0)
    whole = _up(header, _ALIGNED) + _up(end, _ALIGNED) + _LINE
    room = (block - _PAGE_HEADER) * fill / 100
    return math.ceil(tuples / max(1.0, room // whole))


def _up(length: float, step: int) -> float:
    return math.ceil(length / step) * step
