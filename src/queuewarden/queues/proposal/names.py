"""The names that people give to tables and columns of a queue, and what each is a sign of.

The names themselves stand in ``words.toml``, in lower case with underscores.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuewarden.queues.proposal.facts import Table

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SUFFIX = re.compile(r"_(at|on|time|ts|timestamp|date|datetime|dt|utc|since)$")
_PREFIX = re.compile(r"^(date|time|ts|dt)_")
_OWN = ("job", "task", "jobs", "tasks")
_PLANNED = ("start_at", "starts_at", "start_on", "start_date", "starts_on")


def _read() -> dict[str, Any]:
    file = resources.files("queuewarden.queues.proposal").joinpath("words.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def tiers(named: Mapping[str, str]) -> dict[str, int]:
    """Names with their weight: 3 says it outright, 2 usually means it, 1 may mean it; in their order."""
    return {
        name: weight
        for tier, weight in (("sure", 3), ("usual", 2), ("odd", 1))
        for name in named.get(tier, "").split()
    }


WORDS = _read()
STATUS = tiers(WORDS["status"])
WORKER = tiers(WORDS["worker"])
TIME_ROLES = {role: tiers(named) for role, named in WORDS["times"].items()}
"""What a time tells, by the verb in its name."""
NUMBERS = {role: tiers(named) for role, named in WORDS["numbers"].items()}
TEXTS = {role: tiers(named) for role, named in WORDS["texts"].items()}
_FLAGS = {state: frozenset(named.split()) for state, named in WORDS["flags"].items()}
_COLUMNS = {sign: frozenset(named.split()) for sign, named in WORDS["columns"].items()}
_TABLES = {sign: frozenset(named.split()) for sign, named in WORDS["tables"].items()}
GENERIC = _TABLES["generic"]
"""Words for a queue that do not tell one from another."""


@cache
def normal(name: str) -> str:
    """A name in lower case with underscores, whatever its fashion was."""
    return re.sub(r"[^a-z0-9]+", "_", _CAMEL.sub("_", name).lower()).strip("_")


@cache
def spellings(name: str) -> tuple[str, ...]:
    """A name, and what is left of it without the word for a job before it."""
    full = normal(name)
    first, _, rest = full.partition("_")
    return (full, rest) if first in _OWN and rest else (full,)


def weight(name: str, names: Mapping[str, int]) -> int:
    """How clearly a column's name says what ``names`` are names of; 0: not at all."""
    return max(names.get(one, 0) for one in spellings(name))


@cache
def time_weight(name: str, role: str) -> int:
    """The same for a time, by the verb in its name."""
    return max((TIME_ROLES[role].get(verb, 0) for verb in verbs(name)), default=0)


@cache
def verbs(name: str) -> tuple[str, ...]:
    """What is left of a time's name without ``_at``, ``date_`` and the like."""
    return tuple(_verbs(name))


def _verbs(name: str) -> Iterator[str]:
    for full in spellings(name):
        if full in _PLANNED:
            yield "starts"  # a plan, not a fact
            continue
        yield full
        bare = full
        while (shorter := _PREFIX.sub("", _SUFFIX.sub("", bare))) != bare:
            bare = shorter
            yield bare


def called(name: str, sign: str) -> bool:
    """The name of a column is a sign of this kind, as a word list is called; of a time, its verb."""
    return not _COLUMNS[sign].isdisjoint((*spellings(name), *verbs(name)))


def is_status(name: str) -> int:
    """How clearly the name is that of a status."""
    return weight(name, STATUS)


def flag(name: str) -> str | None:
    """The state that a flag of this name tells."""
    return next((state for state, names in _FLAGS.items() if normal(name) in names), None)


def table_weight(name: str) -> float:
    """How much a table's name speaks for jobs, or against."""
    tokens = set(normal(name).split("_"))
    score = 2.0 if tokens & _TABLES["queue"] else 1.0 if tokens & _TABLES["work"] else 0.0
    if tokens & _TABLES["log"]:
        score -= 3.0
    if tokens & _TABLES["people"]:
        score -= 2.0
    return score


def called_a_queue(name: str) -> bool:
    """The table's own name says that jobs are in it, and that it is no record of them."""
    return table_weight(name) >= 2  # noqa: PLR2004 -- as above


def worker_like(name: str) -> bool:
    """The name speaks of workers."""
    return bool(set(normal(name).split("_")) & _TABLES["worker"])


def people(table: Table) -> list[str]:
    """Columns that tables about people and their business have, rather than queues."""
    return [one.name for one in table.columns if not _COLUMNS["people"].isdisjoint(spellings(one.name))]


def payload(table: Table) -> str | None:
    """The column of what a job has to do."""
    for one in table.columns:
        if called(one.name, "payload") or (one.type in ("json", "jsonb") and called(one.name, "content")):
            return one.name
    return None
