"""What health speaks in: signs, readings, and how loud a sign is by the alert rules. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from queuewarden.engine.alerting.rules import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.engine.alerting.rules import AlertRule, Severity
    from queuewarden.queues.target import Target

LARGE = 8 * 1024 * 1024
"""Bytes below which a table is no matter: the planner reads it whole, and its waste costs nothing."""


class Where(NamedTuple):
    """What a reading is of; what does not apply is empty."""

    metric: str
    queue: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that may be wrong; whether it is, the alert rules say.

    Attributes:
        where: the reading that it is about.
        value: in that reading's unit.
        text: what is the case, for a person.
        remedy: statements to run, in this order; a person decides.
    """

    where: Where
    value: float
    text: str
    remedy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What one room found.

    Attributes:
        readings: what can be seen; None: it is known that there is nothing to read. What cannot be seen is
            not in it.
        figures: numbers of an environment or a queue that are for metrics alone, by name and queue.
        unseen: what could not be seen, and why.
    """

    signs: tuple[Sign, ...] = ()
    readings: Mapping[Where, float | None] = field(default_factory=dict)
    figures: Mapping[tuple[str, str], float] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself.

    Attributes:
        version: such as 150004.
        role: whom it knows us as.
        statements: the schema of pg_stat_statements; None where it is not there.
        data_directory: None where the role may not know.
    """

    version: int
    role: str
    statements: str | None = None
    data_directory: str | None = None


@dataclass(frozen=True, slots=True)
class Ward:
    """What is looked at.

    Attributes:
        targets: the queues.
        tables: oid of each of their tables to the queue it counts as: the first one that has it.
    """

    server: Server
    targets: Sequence[Target]
    tables: Mapping[int, str]

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues."""
        return tuple(target.queue for target in self.targets)


def ward(server: Server, targets: Sequence[Target]) -> Ward:
    """All tables of jobs and of workers of some queues."""
    tables: dict[int, str] = {}
    for target in targets:
        for shape in (target.jobs, target.workers):
            for oid in shape.leaves if shape is not None else ():
                tables.setdefault(oid, target.queue)
    return Ward(server, targets, tables)


class Room(Protocol):
    """One topic."""

    @property
    def TOPIC(self) -> str:  # noqa: N802 -- a constant of a module
        """What it is about, for a person."""
        ...

    @property
    def METRICS(self) -> frozenset[str]:  # noqa: N802 -- as above
        """Readings that it makes known as a whole where nothing is hidden from it."""
        ...

    def question(self, ward: Ward, /) -> Query | None:
        """What to ask; None: nothing."""
        ...

    def told(self, ward: Ward, rows: list[Row], /) -> Told:
        """What the answer tells."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """What one look at a database found.

    Attributes:
        settled: metrics of which all is known: what is missing among them is not there.
        seconds: how long it took.
    """

    signs: tuple[Sign, ...]
    readings: Mapping[Where, float | None]
    figures: Mapping[tuple[str, str], float]
    unseen: tuple[str, ...]
    settled: frozenset[str]
    seconds: float = 0.0


def together(told: Iterable[tuple[Told, frozenset[str]]], seconds: float = 0.0) -> Health:
    """What several rooms told, each with the metrics that it has settled."""
    signs: list[Sign] = []
    readings: dict[Where, float | None] = {}
    figures: dict[tuple[str, str], float] = {}
    unseen: list[str] = []
    settled: set[str] = set()
    for one, metrics in told:
        signs += one.signs
        readings |= one.readings
        figures |= one.figures
        unseen += one.unseen
        settled |= metrics
    return Health(tuple(signs), readings, figures, tuple(unseen), frozenset(settled), seconds)


def loudness(rules: Iterable[AlertRule], where: Where, value: float) -> Severity | None:
    """How loud the rules are about a reading; None: all is well, or nobody wants to know."""
    found = {rule.severity for rule in rules if rule.metric == where.metric and _bad(rule, value)}
    return next((severity for severity in reversed(SEVERITIES) if severity in found), None)


def _bad(rule: AlertRule, value: float) -> bool:
    return value > rule.threshold if rule.comparison == "above" else value < rule.threshold


def worst(values: Iterable[float]) -> float:
    """The largest; 0 where there is none: all was seen."""
    return max(values, default=0.0)
