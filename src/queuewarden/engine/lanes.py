"""Rendering lane rules: the members of a lane ranked, the faulty ones found, the lane written whole.

A lane is locked before it is written; where one of its members is locked elsewhere it is left for the next
sweep, since numbering around a row that was skipped leaves 1, 2, 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.ledger.alone import left_alone
from queuewarden.engine.ledger.book import NO_BOOKING, Booking
from queuewarden.engine.render import compiled, found_columns, image_columns, intended, texts
from queuewarden.engine.shown import shown_image
from queuewarden.queues.keys import key_columns, key_names
from queuewarden.queues.sqltext import INTEGER, TEXT, TRUE, Name, Value, cast, commas, every, folded
from queuewarden.queues.terms import job, relation, role_path

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query
    from queuewarden.model import Rank, Rule
    from queuewarden.queues.target import Target

Lane = tuple[str | None, ...]
"""The values that name a lane, as text."""

ORDINARY = 10**9
"""Positions up to here are taken for numbers of a queue, those above for marks (``2147483647``: last)."""

ORDINARY_SMALL = 16_000
"""The same where the column is a smallint."""


def faulty_lanes(target: Target, rule: Rule, limit: int, only: Lane | None = None) -> Query:
    """Lanes with faulty members, those with the fewest members first: lane, faulty members, members."""
    lane = [job(name) for name in rank_of(rule).lane]
    grouped = sql.SQL("GROUP BY {}").format(commas(lane)) if lane else sql.SQL("")
    return compiled(
        sql.SQL(
            "SELECT {lane}, count(*) FILTER (WHERE {faulty}), count(*)\n  FROM {ranked}\n {grouped}"
            "\nHAVING count(*) FILTER (WHERE {faulty}) > 0\n ORDER BY count(*), 1 LIMIT {limit}"
        ).format(
            lane=texts(lane),
            ranked=_ranked(target, rule, only),
            faulty=_faulty(target, rule),
            grouped=grouped,
            limit=Value("limit", limit, INTEGER),
        )
    )


def faulty_rows(target: Target, rule: Rule, only: Lane | None, limit: int, *, become: bool = False) -> Query:
    """The faulty members: key, lane, image, facts, rank, and (where ``become``) what they would be."""
    columns = [job(name) for name in found_columns(target, rule)]
    return compiled(
        sql.SQL(
            "SELECT {}, {}, {}, {}, CAST(r.n AS text), {}\n  FROM {}\n WHERE {}\n ORDER BY {} LIMIT {}"
        ).format(
            texts(key_names(target, "jobs")),
            texts([job(name) for name in rank_of(rule).lane]),
            texts(columns) if become else shown_image(texts(columns)),
            texts(list(rule.facts.values())),
            intended(target, rule) if become else sql.SQL("NULL"),
            _ranked(target, rule, only),
            _faulty(target, rule),
            commas([*(job(name) for name in rank_of(rule).lane), sql.SQL("r.n")]),
            Value("limit", limit, INTEGER),
        )
    )


def lock_lane(target: Target, rule: Rule, lane: Lane) -> Query:
    """Lock the members of a lane, in the order of their keys.

    One row: how many, a digest of their order, and a digest of their versions.
    """
    keys = key_names(target, "jobs")
    names = image_columns(target, "jobs", ordered(target))
    return compiled(
        sql.SQL(
            "SELECT count(*), {order_digest}, {version_digest}"
            "\n  FROM (SELECT j.*, row_number() OVER (ORDER BY {order}) AS qw_n"
            "\n          FROM (SELECT {columns}, {version} AS qw_version FROM {table} AS j WHERE {where}"
            "\n                 ORDER BY {keys} FOR UPDATE SKIP LOCKED) AS j) AS s"
        ).format(
            order_digest=_digest(target, "qw_n"),
            version_digest=_digest(target, "qw_version"),
            order=commas([*rank_of(rule).order, *keys]),
            columns=commas(job(name) for name in names),
            version=cast(job("xmin"), TEXT),
            table=relation(target.jobs),
            where=every([rule.where, lane_is(target, rule, lane)]),
            keys=commas(keys),
        )
    )


def write_lane(
    target: Target, rule: Rule, lane: Lane, locked: int, sample: int, book: Booking = NO_BOOKING
) -> Query:
    """Write the faulty members, provided that all members are locked.

    Rows: key, image before, facts, image after, how many were written (NULL: not all that had to be), and the
    two values that the booking tells; at most ``sample`` rows (where that is 0, one without images), those
    with the lowest keys.
    """
    if rule.write is None:
        raise ValueError(f"rule {rule.code} writes nothing")
    return written(target, rule, lane, locked, dict(rule.write.values), sample, book)


def lane_is(target: Target, rule: Rule, lane: Lane) -> Composable:
    """The job is of this lane."""
    return in_lane(target, rank_of(rule).lane, lane)


def lane_values(lane: Lane) -> dict[str, str]:
    """The parameters by which `in_lane` names a lane."""
    return {f"lane_{number}": text for number, text in enumerate(lane) if text is not None}


def in_lane(target: Target, columns: tuple[str, ...], lane: Lane) -> Composable:
    """The job is of this lane, which some columns name."""
    conditions: list[Composable] = []
    for number, (name, text) in enumerate(zip(columns, lane, strict=True)):
        if text is None:
            conditions.append(sql.SQL("{} IS NULL").format(job(name)))
        else:
            column = target.jobs.columns[name]
            sides: list[Composable] = [job(name), Value(f"lane_{number}", text, column.type)]
            if column.own_equality and column.family == "text":
                sides = [folded(side) for side in sides]
            conditions.append(sql.SQL("{} = {}").format(*sides))
    return every(conditions)


def written(
    target: Target,
    rule: Rule,
    lane: Lane,
    locked: int,
    values: dict[str, Composable],
    sample: int,
    book: Booking,
) -> Query:
    """Write some values to the faulty members; see `write_lane`.

    The rows are joined by where they lie, too: as they are locked they cannot move, and a join by key alone
    may read the whole table for a lane.
    """
    keys = key_columns(target, "jobs")
    imaged = bool(sample) or book is not NO_BOOKING
    columns = [job(name) for name in image_columns(target, "jobs", tuple(values))] if imaged else []
    facts = list(rule.facts.values()) if sample else []
    held = commas(
        sql.SQL("{} AS {}").format(job(name), Name(f"k{number}")) for number, name in enumerate(keys)
    )
    same = every(
        sql.SQL("{} = {}").format(job(name), Name("r", f"k{number}")) for number, name in enumerate(keys)
    )
    return compiled(
        sql.SQL(
            "WITH hit AS MATERIALIZED (\n"
            "SELECT {held}, r.at, r.n, r.head, {before} AS before, {facts} AS facts\n  FROM {ranked}\n"
            " WHERE {faulty} AND r.size = {locked}),\n"
            "done AS (UPDATE {table} AS j SET {assignments}\n  FROM hit AS r WHERE j.ctid = r.at AND {same}\n"
            "  RETURNING {key} AS key, r.before, r.facts, {after} AS after){booked}\n{report}"
        ).format(
            held=commas([held, *role_path(target.jobs)]),
            before=texts(columns),
            facts=texts(facts),
            ranked=_ranked(target, rule, lane),
            faulty=_faulty(target, rule),
            locked=Value("locked", locked, INTEGER),
            table=relation(target.jobs),
            assignments=commas(
                sql.SQL("{} = {}").format(Name(column), value) for column, value in values.items()
            ),
            same=same,
            key=texts(key_names(target, "jobs")),
            after=texts(columns),
            booked=book.ctes,
            report=report(sample, book, _ALL_OF_HIT),
        )
    )


_ALL = sql.SQL("SELECT count(*) FROM done")
_ALL_OF_HIT = sql.SQL("SELECT CASE WHEN count(*) = (SELECT count(*) FROM hit) THEN count(*) END FROM done")
"""NULL where a trigger refused one of them: numbered around it, the lane would have a gap or a double."""


def report(sample: int, book: Booking, count: Composable = _ALL) -> Composable:
    """What a write tells of ``done``: a few rows, the count, and what the booking tells.

    A long lane must not fill our memory.
    """
    images: Composable = sql.SQL("NULL, NULL, NULL")
    if sample:
        before, after = shown_image(Name("d", "before")), shown_image(Name("d", "after"))
        images = sql.SQL("{}, d.facts, {}").format(before, after)
    return sql.SQL("SELECT d.key, {}, ({}), {} FROM done AS d ORDER BY d.key LIMIT {}").format(
        images, count, book.told, Value("sample", max(1, sample), INTEGER)
    )


def _ranked(target: Target, rule: Rule, only: Lane | None) -> Composable:
    """The members of all lanes, or of one, with their ranks: ``j`` joined to its own ``r``."""
    rank = rank_of(rule)
    partition = (
        sql.SQL("PARTITION BY {}").format(commas(job(name) for name in rank.lane))
        if rank.lane
        else sql.SQL("")
    )
    order = commas([*rank.order, *key_names(target, "jobs")])
    columns = commas(job(name) for name in image_columns(target, "jobs", ordered(target)))
    where = every([rule.where, lane_is(target, rule, only)]) if only is not None else rule.where
    ranked = sql.SQL(
        "(SELECT {columns}, j.ctid AS qw_at, row_number() OVER ({partition} ORDER BY {order}) AS qw_n,"
        " count(*) OVER ({partition}) AS qw_size, {alone} AS qw_alone, {windows}"
        " FROM {table} AS j WHERE {where}) AS j"
    ).format(
        columns=columns,
        partition=partition,
        order=order,
        alone=_alone(target, partition),
        windows=_windows(target, rank, partition),
        table=relation(target.jobs),
        where=where,
    )
    return sql.SQL(
        "{} CROSS JOIN LATERAL (SELECT j.qw_at AS at, j.qw_n AS n, j.qw_size AS size, j.qw_twins AS twins,"
        " j.qw_head AS head) AS r"
    ).format(ranked)


def _faulty(target: Target, rule: Rule) -> Composable:
    """The member is to be written; none is in a lane with a member that an undo put back."""
    faulty = rule.faulty or TRUE
    if "jobs" not in target.left_alone:
        return faulty
    return every([faulty, sql.SQL("NOT j.qw_alone")])


def _alone(target: Target, partition: Composable) -> Composable:
    """Whether a member of the lane is left alone: numbering around it would leave a gap."""
    alone = left_alone(target, "jobs")
    if alone is None:
        return sql.SQL("FALSE")
    return sql.SQL("bool_or({}) OVER ({})").format(alone, partition)


def _windows(target: Target, rank: Rank, partition: Composable) -> Composable:
    """Window columns over positions: how many share one, and the lowest ordinary one.

    Those that a statement does not use cost nothing: the planner drops them.
    """
    if rank.position is None:
        return sql.SQL("NULL::int8 AS qw_twins, NULL::int8 AS qw_head")
    column = job(rank.position)
    by_position = commas([*(job(name) for name in rank.lane), column])
    twins = sql.SQL("count(*) OVER (PARTITION BY {})").format(by_position)
    head: Composable = sql.SQL("1::int8")
    if target.jobs.columns[rank.position].family == "number":
        head = sql.SQL(
            "CAST(coalesce(min({column}) FILTER"
            " (WHERE {column} BETWEEN 1 AND {most} AND {column} = trunc({column}))"
            " OVER ({partition}), 1) AS int8)"
        ).format(column=column, partition=partition, most=ordinary(target, rank.position))
    return sql.SQL("{} AS qw_twins, {} AS qw_head").format(twins, head)


def ordinary(target: Target, column: str) -> Value:
    """The highest position that is taken for a number of a queue."""
    small = target.jobs.columns[column].type[1] == "int2"
    return Value("most", ORDINARY_SMALL if small else ORDINARY, INTEGER)


def _digest(target: Target, name: str) -> Composable:
    """A digest of the members and one more column, whatever order they come in."""
    parts = commas(Name("s", column) for column in (*key_columns(target, "jobs"), name))
    return sql.SQL("coalesce(sum(hashtextextended(concat_ws(',', {}), 0) / 1024), 0)::text").format(parts)


def ordered(target: Target) -> tuple[str, ...]:
    """The columns that the order of a lane is made of, the key excepted."""
    positions = target.mapping.positions
    return tuple(term.column for term in positions.order_by) if positions is not None else ()


def rank_of(rule: Rule) -> Rank:
    """The rank of a rule about lanes."""
    if rule.rank is None:
        raise ValueError(f"rule {rule.code} is not about lanes")
    return rule.rank
