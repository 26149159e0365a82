"""What of a row people are shown: as much of a text as helps, of as many rows as anybody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.sqltext import INTEGER, Name, Value, commas

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg.sql import Composable

SHOWN = 4000
"""Characters of a value that are reported; logs show 200 of them."""


def shown(text: Composable) -> Composable:
    """As much of a text as leaves the server for people to see: rows may hold megabytes."""
    return sql.SQL("left({}, {})").format(text, Value("shown", SHOWN, ("pg_catalog", "int4")))


def shown_image(image: Composable) -> Composable:
    """An image as people are shown it; NULL where there is none."""
    parts = sql.SQL("SELECT {} FROM unnest({}) WITH ORDINALITY AS p(part, o) ORDER BY p.o").format(
        shown(Name("p", "part")), image
    )
    return sql.SQL("CASE WHEN {} IS NOT NULL THEN ARRAY({}) END").format(image, parts)


def sampled(image: Composable, order: Collection[Composable], sample: int) -> Composable:
    """The image of the first few rows of a result; NULL for those behind them."""
    return sql.SQL("CASE WHEN row_number() OVER (ORDER BY {}) <= {} THEN {} END").format(
        commas(order), Value("sample", sample, INTEGER), image
    )
