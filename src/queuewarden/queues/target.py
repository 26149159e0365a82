"""A target: one queue in one environment, its mapping resolved against the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingOf

    from queuewarden.model import Key, Limits, Table
    from queuewarden.queues.mapping import Mapping, Reference

Family = Literal["text", "number", "instant", "naive", "enum", "other"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the catalog has it.

    Attributes:
        type: schema and name of its type in pg_type; arrays by their own name (``_text``).
        family: how it is compared: ``instant`` is timestamptz, ``naive`` is timestamp.
        not_null: NULL cannot be written.
        generated: the server computes it; never written, never in an image.
        writable: this role may update it.
        own_equality: its type brings an ``=`` of its own, which our statements do not see.
        comparable: ``=`` tells whether two of its values are the same; else their text does.
    """

    type: tuple[str, str]
    family: Family
    not_null: bool = False
    generated: bool = False
    writable: bool = True
    comparable: bool = True
    own_equality: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """One table as the catalog has it.

    Attributes:
        instant_unique: sets of columns under a unique index that is checked row by row.
        leaves: oids of the tables that hold the rows: itself, or its leaf partitions.
        role_path: the role's search_path, where functions of the table's owner run when a row is updated.
    """

    schema: str
    name: str
    columns: MappingOf[str, Column]
    instant_unique: tuple[frozenset[str], ...] = ()
    leaves: tuple[int, ...] = ()
    role_path: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Liveness of workers that register in another database, as read there just now; ids as text.

    Attributes:
        live: of the workers that this queue's running jobs name, those that beat.
        dead: those that are silent.
        absent: those that have no row.
        beating: how many workers of the whole fleet beat.
        latest: the latest heartbeat of the whole fleet, in seconds by their own clock.
    """

    live: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    beating: int = 0
    latest: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One queue in one environment, resolved.

    Attributes:
        workers: shape of the workers table; None where none is mapped or it lives in another environment.
        starts: shape of the table that notes starts; None where none is mapped.
        row_lock: shape of the table whose rows living workers hold locked; None where none is mapped.
        parents: shape of each reference's parent table; references whose parent is missing are left out.
        hold: why nothing may be written; None where repair is allowed.
        worn: jobs whose rescue budget is spent.
        fleet: set where the workers register in another environment.
        spare_live: the threshold brake is on: jobs of live workers are not reset.
        left_alone: the tables in which an undo put rows back, which are left alone until they change.
    """

    environment: str
    mapping: Mapping
    limits: Limits
    jobs: Shape
    workers: Shape | None = None
    starts: Shape | None = None
    row_lock: Shape | None = None
    parents: MappingOf[Reference, Shape] = field(default_factory=dict)
    hold: str | None = None
    worn: frozenset[Key] = frozenset()
    fleet: Fleet | None = None
    spare_live: bool = False
    left_alone: frozenset[Table] = frozenset()

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self.mapping.name
