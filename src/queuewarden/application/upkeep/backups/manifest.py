"""What is written beside a dump: whence it comes, what it must hold, and whether somebody has tried it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import MAXYEAR, MINYEAR, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar, cast

from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

FORMAT = 1
"""The version of the document."""


class ManifestError(QueuewardenError):
    """A manifest cannot be read."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows a table had in the snapshot that was dumped."""

    schema: str
    table: str
    rows: int


@dataclass(frozen=True, slots=True)
class Verification:
    """One attempt to prove a backup.

    Attributes:
        ok: it was restored, has the rows that it must have, and can be checked.
        why: what was wrong, if anything was.
        findings: what `check` found in it: jobs that were stuck when it was taken, mostly.
        rows: how many were counted.
    """

    at: datetime
    ok: bool
    seconds: float
    why: str = ""
    findings: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup.

    Attributes:
        server_version: of the server that was dumped.
        tool_version: of the `pg_dump` that did it.
        taken_at: the moment of the snapshot, by the server's clock.
        seconds: how long it took.
        size: bytes of the dump.
        sha256: of the dump.
        database_size: bytes that the database took on its server.
        locale: encoding and locale, as `pg_database` has them.
        tables: rows of each table in the very snapshot that was dumped.
        large_objects: how many of them.
        search_path: where sessions looked for tables; empty in older ones.
        verified_at: when it was last proven; None: never.
        verification: the last attempt to prove it.
    """

    environment: str
    database: str
    server_version: str
    tool_version: str
    taken_at: datetime
    seconds: float
    size: int
    sha256: str
    database_size: int
    locale: Mapping[str, Any]
    tables: tuple[Rows, ...]
    large_objects: int = 0
    search_path: str = ""
    verified_at: datetime | None = None
    verification: Verification | None = None
    format: int = field(default=FORMAT)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(one.rows for one in self.tables)

    @property
    def broken(self) -> bool:
        """Somebody tried it, and it was no good."""
        return self.verification is not None and not self.verification.ok

    def differences(self, tables: tuple[Rows, ...], large_objects: int) -> Iterator[str]:
        """What differs in a database that was restored from it."""
        wanted = {(one.schema, one.table): one.rows for one in self.tables}
        found = {(one.schema, one.table): one.rows for one in tables}
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                there = [
                    f"{rows} rows" if rows is not None else "absent"
                    for rows in (wanted.get(name), found.get(name))
                ]
                yield f"table {name[0]}.{name[1]}: {there[0]} when it was taken, {there[1]} once restored"
        if large_objects != self.large_objects:
            yield f"{self.large_objects} large objects when it was taken, {large_objects} once restored"

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=2, default=datetime.isoformat) + "\n"


def parse(text: str | bytes) -> Manifest:
    """The manifest in a text.

    Raises:
        ManifestError: it is none of ours; whoever reads a shelf must not stumble over one odd value of it.
    """
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ManifestError(f"manifest of format {values['format']!r}; this program knows {FORMAT}")
        return _read(Manifest, values)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ManifestError("manifest not understood") from None


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    there = [one for one in fields(cast("Any", kind)) if one.name in values]
    return kind(**{one.name: _READERS[str(one.type)](values[one.name]) for one in there})


def _checked(value: T, *, fits: bool) -> T:
    if not fits:
        raise ValueError
    return value


def _text(value: str) -> str:
    return _checked(value, fits=type(value) is str and "\0" not in value)


def _moment(value: str) -> datetime:
    """A moment that has its time of day in every zone."""
    moment = datetime.fromisoformat(value)
    return _checked(moment, fits=moment.tzinfo is not None and MINYEAR < moment.year < MAXYEAR)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": lambda value: _checked(value, fits=type(value) is int and value >= 0),
    "float": lambda value: _checked(value, fits=type(value) in {int, float} and isfinite(value)),
    "bool": lambda value: _checked(value, fits=type(value) is bool),
    "datetime": _moment,
    "datetime | None": lambda value: None if value is None else _moment(value),
    "Mapping[str, Any]": lambda value: {_text(name): _text(one) for name, one in value.items()},
    "tuple[Rows, ...]": lambda value: tuple(_read(Rows, one) for one in value),
    "Verification | None": lambda value: None if value is None else _read(Verification, value),
}
"""How a value is read, by the kind of its field."""
