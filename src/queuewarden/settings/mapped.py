"""Plain strings that speak of tables and columns, to typed values; each reader as those of `types`."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING, Literal, cast

from queuewarden.queues import conditions
from queuewarden.queues.mapping import Backend, OrderTerm, Reference, RowLock, TableName
from queuewarden.settings.types import listed, number, split

if TYPE_CHECKING:
    from queuewarden.queues.conditions import Written

_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_PLAIN = re.compile(r"""[^\s"',;:.=<>()]+""")
_ORDER = re.compile(
    r'("(?:[^"]|"")+"|[^\s"]+)(?:\s+(asc|desc))?(?:\s+nulls\s+(first|last))?', re.IGNORECASE | re.ASCII
)
_IDENTIFIER_BYTES = 63


class UnquotedError(ValueError):
    """The name of a table or column lacks double quotes."""


def column(text: str) -> str:
    """A column, spelled as the catalog spells it; double quotes around it are optional."""
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        text = quoted.group(1).replace('""', '"')
    elif not _PLAIN.fullmatch(text):
        raise UnquotedError('not a name; put "double quotes" around one with blanks, dots or other signs')
    if len(text.encode()) > _IDENTIFIER_BYTES:
        raise ValueError(f"a name of more than {_IDENTIFIER_BYTES} bytes, which PostgreSQL cuts off")
    return text


def table(text: str) -> TableName:
    """``[schema.]name``."""
    parts = [column(part) for part in split(text, ".")]
    if len(parts) == 1:
        return TableName(parts[0])
    if len(parts) > 2:  # noqa: PLR2004 -- a schema and a name
        raise UnquotedError('a table is [schema.]name; put "double quotes" around a part with a dot in it')
    return TableName(parts[1], parts[0])


def status(text: str) -> str:
    """A status value; double quotes around it are optional and protect a comma."""
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        return quoted.group(1).replace('""', '"')
    return text


def column_or_number(text: str) -> str | int:
    """A column, or a number that holds for all rows."""
    return number(0, 1_000_000)(text) if text.strip().isdecimal() else column(text)


def order_term(text: str) -> OrderTerm:
    """``column [asc|desc] [nulls first|last]``."""
    found = _ORDER.fullmatch(text)
    if not found:
        raise ValueError("not an order such as: priority desc, joined_at")
    direction, nulls = ((word or "").lower() for word in found.group(2, 3))
    return OrderTerm(
        column(found.group(1)),
        descending=direction == "desc",
        nulls=cast("Literal['first', 'last'] | None", nulls or None),
    )


def reference(text: str) -> Reference:
    """``column -> [schema.]parent.column``."""
    own, *rest = split(text, "->")
    target = split(rest[0], ".") if len(rest) == 1 else []
    if not 2 <= len(target) <= 3:  # noqa: PLR2004 -- schema, table, column
        raise ValueError("not a reference such as: student_id -> students.id")
    return Reference(column(own), table(".".join(target[:-1])), column(target[-1]))


def lock_key(text: str) -> str:
    """A column, or a text with columns in braces."""
    if "{" not in text:
        return column(text)
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("a brace without its other half; write {{ for a brace") from None
    for _, name, spec, conversion in parts:
        if name is not None:
            column(name)
            if spec or conversion:
                raise ValueError("a column in braces takes no format: {id}")
    return text.strip()


def row_lock(text: str) -> RowLock:
    """``column -> [schema.]table.column``."""
    found = reference(text)
    return RowLock(found.column, found.parent, found.parent_column)


def backend(text: str) -> Backend:
    """``application_name = column`` or ``pid = column``."""
    by, *rest = split(text, "=")
    if by.lower() not in {"application_name", "pid"} or len(rest) != 1:
        raise ValueError("not a session such as: application_name = worker_id, or pid = backend_pid")
    return Backend(cast("Literal['application_name', 'pid']", by.lower()), column(rest[0]))


def condition(text: str) -> str:
    """A condition on columns; see `queues.conditions`."""
    conditions.condition(text)
    return text.strip()


def written(text: str) -> tuple[Written, ...]:
    """A list of writes, commas between them; none where the text is empty."""
    if not text.strip():
        return ()
    return listed(conditions.written)(text)


def timestamp(text: str) -> tuple[str, str]:
    """``status=column``."""
    parts = split(text, "=")
    if len(parts) != 2 or "" in parts:  # noqa: PLR2004 -- a status and a column
        raise ValueError("not a pair such as: in_progress=started_at")
    return status(parts[0]), column(parts[1])
