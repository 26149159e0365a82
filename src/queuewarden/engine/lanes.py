"""Rendering lane rules: the members of a lane ranked, the faulty ones found, the lane written whole.

A lane is locked before it is written; where one of its members is locked elsewhere it is left for the next
sweep, since numbering around a row that was skipped leaves 1, 2, 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import compiled, found_columns, image_columns, texts
from queuewarden.queues.keys import key_columns, key_names
from queuewarden.queues.sqltext import INTEGER, TRUE, Name, Value, cast, commas, every
from queuewarden.queues.terms import job, relation

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query
    from queuewarden.model import Rank, Rule
    from queuewarden.queues.target import Target

Lane = tuple[str | None, ...]
"""The values that name a lane, as text."""

FAR_ABOVE = 10**9
"""Where positions that are not numbers are parked: above any lane."""


def faulty_lanes(target: Target, rule: Rule, limit: int, only: Lane | None = None) -> Query:
    """Lanes with faulty members, those with the fewest members first: lane, faulty members, members."""
    lane = [job(name) for name in _rank(rule).lane]
    grouped = sql.SQL("GROUP BY {}").format(commas(lane)) if lane else sql.SQL("")
    return compiled(
        sql.SQL(
            "SELECT {lane}, count(*) FILTER (WHERE {faulty}), count(*)\n  FROM {ranked}\n {grouped}"
            "\nHAVING count(*) FILTER (WHERE {faulty}) > 0\n ORDER BY count(*), 1 LIMIT {limit}"
        ).format(
            lane=texts(lane),
            ranked=_ranked(target, rule, only),
            faulty=rule.faulty or TRUE,
            grouped=grouped,
            limit=Value("limit", limit, INTEGER),
        )
    )


def faulty_rows(target: Target, rule: Rule, only: Lane | None, limit: int, offset: int = 0) -> Query:
    """The faulty members: key, lane, image, facts and rank."""
    columns = [job(name) for name in found_columns(target, rule)]
    return compiled(
        sql.SQL(
            "SELECT {}, {}, {}, {}, CAST(r.n AS text)\n  FROM {}\n WHERE {}\n ORDER BY {} LIMIT {} OFFSET {}"
        ).format(
            texts(key_names(target, "jobs")),
            texts([job(name) for name in _rank(rule).lane]),
            texts(columns),
            texts(list(rule.facts.values())),
            _ranked(target, rule, only),
            rule.faulty or TRUE,
            commas([*(job(name) for name in _rank(rule).lane), sql.SQL("r.n")]),
            Value("limit", limit, INTEGER),
            Value("offset", offset, INTEGER),
        )
    )


def lock_lane(target: Target, rule: Rule, lane: Lane) -> Query:
    """Lock the members of a lane, in the order of their keys: how many, and a digest of their order."""
    keys = key_names(target, "jobs")
    columns = commas(job(name) for name in image_columns(target, "jobs", _ordered(target)))
    return compiled(
        sql.SQL(
            "SELECT count(*),"
            " coalesce(sum(hashtextextended(concat_ws(',', {texts}, s.qw_n), 0) / 1024), 0)::text"
            "\n  FROM (SELECT j.*, row_number() OVER (ORDER BY {order}) AS qw_n"
            "\n          FROM (SELECT {columns} FROM {table} AS j WHERE {where}"
            "\n                 ORDER BY {keys} FOR UPDATE SKIP LOCKED) AS j) AS s"
        ).format(
            texts=commas(Name("s", name) for name in key_columns(target, "jobs")),
            order=commas([*_rank(rule).order, *keys]),
            columns=columns,
            table=relation(target.jobs),
            where=every([rule.where, lane_is(target, rule, lane)]),
            keys=commas(keys),
        )
    )


def must_park(target: Target, rule: Rule) -> bool:
    """Whether a unique index is checked row by row, so that a permutation needs a step between."""
    column = _rank(rule).position
    return column is not None and any(column in columns for columns in target.jobs.instant_unique)


def park(target: Target, rule: Rule, lane: Lane, locked: int) -> Query:
    """Put the positions that will change out of the way: to NULL where allowed, else above all others."""
    column = _rank(rule).position
    if column is None:
        raise ValueError(f"rule {rule.code} writes no position")
    shape = target.jobs.columns[column]
    above = cast(sql.SQL("r.top + r.n"), shape.type)
    value: Composable = above if shape.not_null else sql.SQL("NULL")
    return _written(target, rule, lane, locked, {column: value}, images=True)


def write_lane(target: Target, rule: Rule, lane: Lane, locked: int, *, images: bool) -> Query:
    """Write the faulty members, provided that all members are locked.

    Rows: key, image before, facts, image after.
    """
    if rule.write is None:
        raise ValueError(f"rule {rule.code} writes nothing")
    return _written(target, rule, lane, locked, dict(rule.write.values), images=images)


def lane_is(target: Target, rule: Rule, lane: Lane) -> Composable:
    """The job is of this lane."""
    return in_lane(target, _rank(rule).lane, lane)


def in_lane(target: Target, columns: tuple[str, ...], lane: Lane) -> Composable:
    """The job is of this lane, which some columns name."""
    conditions: list[Composable] = []
    for number, (name, text) in enumerate(zip(columns, lane, strict=True)):
        if text is None:
            conditions.append(sql.SQL("{} IS NULL").format(job(name)))
        else:
            value = Value(f"lane_{number}", text, target.jobs.columns[name].type)
            conditions.append(sql.SQL("{} = {}").format(job(name), value))
    return every(conditions)


def _written(
    target: Target,
    rule: Rule,
    lane: Lane,
    locked: int,
    values: dict[str, Composable],
    *,
    images: bool,
) -> Query:
    keys = key_columns(target, "jobs")
    columns = [job(name) for name in image_columns(target, "jobs", tuple(values))] if images else []
    before = commas(
        sql.SQL("{} AS {}").format(part, Name(name))
        for part, name in ((texts(columns), "before"), (texts(list(rule.facts.values())), "facts"))
    )
    held = commas(
        sql.SQL("{} AS {}").format(job(name), Name(f"k{number}")) for number, name in enumerate(keys)
    )
    same = every(
        sql.SQL("{} = {}").format(job(name), Name("r", f"k{number}")) for number, name in enumerate(keys)
    )
    return compiled(
        sql.SQL(
            "WITH hit AS MATERIALIZED (\n"
            "SELECT {held}, r.n, r.size, r.head, r.top, {before}\n  FROM {ranked}\n"
            " WHERE {faulty} AND r.size = {locked}),\n"
            "done AS (UPDATE {table} AS j SET {assignments}\n  FROM hit AS r WHERE {same}\n"
            "  RETURNING {key} AS key, r.before, r.facts, {after} AS after)\n"
            "SELECT key, before, facts, after FROM done"
        ).format(
            held=held,
            before=before,
            ranked=_ranked(target, rule, lane),
            faulty=rule.faulty or TRUE,
            locked=Value("locked", locked, INTEGER),
            table=relation(target.jobs),
            assignments=commas(
                sql.SQL("{} = {}").format(Name(column), value) for column, value in values.items()
            ),
            same=same,
            key=texts(key_names(target, "jobs")),
            after=texts(columns),
        )
    )


def _ranked(target: Target, rule: Rule, only: Lane | None) -> Composable:
    """The members of all lanes, or of one, with their ranks: ``j`` joined to its own ``r``."""
    rank = _rank(rule)
    partition = (
        sql.SQL("PARTITION BY {}").format(commas(job(name) for name in rank.lane))
        if rank.lane
        else sql.SQL("")
    )
    order = commas([*rank.order, *key_names(target, "jobs")])
    columns = commas(job(name) for name in image_columns(target, "jobs", _ordered(target)))
    where = every([rule.where, lane_is(target, rule, only)]) if only is not None else rule.where
    ranked = sql.SQL(
        "(SELECT {columns}, row_number() OVER ({partition} ORDER BY {order}) AS qw_n,"
        " count(*) OVER ({partition}) AS qw_size, {windows} FROM {table} AS j WHERE {where}) AS j"
    ).format(
        columns=columns,
        partition=partition,
        order=order,
        windows=_windows(target, rank, partition),
        table=relation(target.jobs),
        where=where,
    )
    return sql.SQL(
        "{} CROSS JOIN LATERAL (SELECT j.qw_n AS n, j.qw_size AS size, j.qw_twins AS twins,"
        " j.qw_head AS head, j.qw_top AS top) AS r"
    ).format(ranked)


def _windows(target: Target, rank: Rank, partition: Composable) -> Composable:
    """Window columns over positions: how many share one, the lowest valid one, the highest.

    Those that a statement does not use cost nothing: the planner drops them.
    """
    if rank.position is None:
        return sql.SQL("NULL::int8 AS qw_twins, NULL::int8 AS qw_head, NULL::int8 AS qw_top")
    column = job(rank.position)
    by_position = commas([*(job(name) for name in rank.lane), column])
    twins = sql.SQL("count(*) OVER (PARTITION BY {})").format(by_position)
    if target.jobs.columns[rank.position].family != "number":
        return sql.SQL("{} AS qw_twins, 1::int8 AS qw_head, {} AS qw_top").format(
            twins, Value("far_above", FAR_ABOVE, INTEGER)
        )
    return sql.SQL(
        "{twins} AS qw_twins, coalesce(min({column}) FILTER (WHERE {column} >= 1) OVER ({partition}), 1)"
        " AS qw_head, greatest(max({column}) OVER ({partition}), 0) AS qw_top"
    ).format(twins=twins, column=column, partition=partition)


def _ordered(target: Target) -> tuple[str, ...]:
    positions = target.mapping.positions
    return tuple(term.column for term in positions.order_by) if positions is not None else ()


def _rank(rule: Rule) -> Rank:
    if rule.rank is None:
        raise ValueError(f"rule {rule.code} is not about lanes")
    return rule.rank
