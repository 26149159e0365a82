"""Composing SQL: identifiers, typed parameters, and the few joins that psycopg leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg.abc import AdaptContext
    from psycopg.sql import Composable

TEXT = ("pg_catalog", "text")
INTERVAL = ("pg_catalog", "interval")
INTEGER = ("pg_catalog", "int8")
TRUE: Composable = sql.SQL("TRUE")


class Name(sql.Identifier):
    """An identifier that may hold a percent sign: psycopg would read it as a placeholder."""

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        """The quoted identifier, percent signs doubled."""
        return super().as_bytes(context).replace(b"%", b"%%")


class Value(sql.Composable):
    """A named parameter with its value, cast to a catalog type.

    The parameter has the column's own type, rather than text that is cast: such a cast would not be a
    constant to the planner, which then could not use a partial index.
    """

    def __init__(self, name: str, value: Any, type_: tuple[str, str]) -> None:
        super().__init__(name)
        self.name = name
        self.value = value
        self._cast = sql.Placeholder(name) + sql.SQL("::") + Name(*type_)

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        """The placeholder and its cast."""
        return self._cast.as_bytes(context)


def parameters(query: Composable) -> dict[str, Any]:
    """Collect the values that stand in a query, by parameter name.

    Raises:
        ValueError: one name stands for two values, which is a mistake in a check.
    """
    found: dict[str, Any] = {}
    for part in _walk(query):
        if found.setdefault(part.name, part.value) != part.value:
            raise ValueError(f"parameter {part.name} stands for two values")
    return found


def _walk(part: Composable) -> Iterator[Value]:
    if isinstance(part, Value):
        yield part
    elif isinstance(part, sql.Composed):
        for inner in part:
            yield from _walk(inner)


def every(parts: Iterable[Composable]) -> Composable:
    """All of the conditions."""
    chosen = [part for part in parts if part is not TRUE]
    if not chosen:
        return TRUE
    return sql.SQL("\n   AND ").join(sql.SQL("({})").format(part) for part in chosen)


def some(parts: Sequence[Composable]) -> Composable:
    """At least one of the conditions."""
    return sql.SQL("({})").format(sql.SQL(" OR ").join(parts))


def negate(part: Composable) -> Composable:
    """The opposite, where unknown counts as false."""
    return sql.SQL("(({}) IS NOT TRUE)").format(part)


def commas(parts: Iterable[Composable]) -> Composable:
    """A list."""
    return sql.SQL(", ").join(parts)


def cast(part: Composable, type_: tuple[str, str]) -> Composable:
    """The expression in another type."""
    return sql.SQL("CAST({} AS {})").format(part, Name(*type_))


def folded(part: Composable) -> Composable:
    """A text of a type that brings an ``=`` of its own, in practice citext, as that compares it."""
    return sql.SQL("lower({})").format(cast(part, TEXT))


def spelled(part: Composable) -> Composable:
    """A value of another type than its partner, as text, without what spellings differ in.

    Text may hold ``{A0EE…}`` or ``042`` where the other table has a uuid or a number. To overlook a job that
    refers to nothing is harmless, to take one for such that has its partner is not.
    """
    return sql.SQL("ltrim(translate(lower(btrim({})), '{{-}}', ''), '+0')").format(cast(part, TEXT))
