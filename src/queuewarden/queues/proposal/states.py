"""The states of a table's rows: by the words of a status column; else by what the rows have in them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.facts import StatesFound, Word
from queuewarden.queues.proposal.names import is_status
from queuewarden.queues.proposal.unspoken import by_conditions, by_rows, counts, evident, rows, under_status
from queuewarden.queues.proposal.words import STATES, Meaning, State, meaning

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from queuewarden.queues.proposal.facts import Column, Table

MOST_WORDS = 40
"""A column with more values than this is no status."""

_SHOWN = 8
_SOURCES = {
    "enum": "enum label",
    "check": "CHECK constraint",
    "lookup": "lookup table",
    "comment": "column's comment",
    "guess": "no job runs: a guess",
}


def vocabulary(table: Table, column: str) -> dict[str, Word]:
    """The values of a column, by what the catalog says and by what its rows have."""
    known = {word.value: word for word in table.words.get(column, ())}
    for group in table.sample.groups if table.sample else ():
        value = group.values.get(column)
        if value is not None:
            known.setdefault(value, Word(value, value, "rows"))
    return known


def status_columns(table: Table) -> list[Column]:
    """The columns that may be the status, the likeliest first."""
    found = [one for one in table.of(("text", "enum", "number")) if is_status(one.name)]
    return sorted(found, key=lambda one: -is_status(one.name))


def find_states(table: Table, *, guessing: bool = False) -> StatesFound | str:
    """How the table tells a job's state, or why nobody can say.

    Args:
        table: the table.
        guessing: where no job runs just now, take the usual word for one that does.
    """
    reasons = []
    best: StatesFound | None = None
    for column in status_columns(table):
        found = _by_column(table, column, guessing=guessing)
        if isinstance(found, str):
            reasons.append(found)
        elif best is None or found.strength > best.strength:
            best = found
    if best is not None:
        return best
    if reasons:
        return reasons[0]
    return by_conditions(table)


def _by_column(table: Table, column: Column, *, guessing: bool) -> StatesFound | str:
    words = vocabulary(table, column.name)
    if len(words) > MOST_WORDS:
        return f"{column.name} has too many different values to be a status"
    if guessing and column.family == "text" and column.name not in table.closed:
        words |= _guessed(words)
    meanings = {value: meaning(word.word) for value, word in words.items()}
    if words and not any(meanings.values()):
        return by_rows(table, column, words)
    return _by_words(table, column, words, meanings)


def _by_words(
    table: Table, column: Column, words: Mapping[str, Word], meanings: Mapping[str, Meaning | None]
) -> StatesFound | str:
    strong: set[State] = {one.state for one in meanings.values() if one is not None and one.strength > 1}
    shown = evident(table, column.name)
    meant = {
        value: one
        for value, one in meanings.items()
        if one is not None and _meant(one, shown.get(value), strong)
    }

    def order(value: str) -> tuple[bool, int, int]:
        return value != column.default, -meant[value].strength, meant[value].rank

    chosen: dict[State, list[str]] = defaultdict(list)
    for value in sorted(meant, key=order):
        chosen[meant[value].state].append(value)
    left = tuple(value for value in words if value not in meant)
    if chosen["waiting"] and not chosen["running"]:
        ends: dict[State, str] = {
            state: some[0] for state, some in chosen.items() if state != "waiting" and some
        }
        held = under_status(table, column, chosen["waiting"][0], ends)
        if held is not None:
            return held
    for state in ("waiting", "running"):
        if not chosen[state]:
            return _lacking(table, column, words, runs=state == "running")
    values: dict[State, tuple[str, ...]] = {state: tuple(chosen[state]) for state in STATES if chosen[state]}
    clear = {
        state: any(meant[value].strength > 1 and words[value].source != "guess" for value in some)
        for state, some in values.items()
    }
    seen = counts(table, column.name)
    return StatesFound(
        column.name,
        values,
        {state: _told(some, words, seen) for state, some in values.items()},
        {state: "sure" if clear[state] else "guess" for state in values},
        sum(2.0 if clear[state] else 0.5 for state in ("waiting", "running")),
        left,
    )


def _guessed(words: Mapping[str, Word]) -> dict[str, Word]:
    """The usual word for a job that runs, spelled like those for jobs that wait, where none is there."""
    known = {one.state: value for value, word in words.items() if (one := meaning(word.word)) is not None}
    if "waiting" not in known or "running" in known:
        return {}
    usual = "doing" if known["waiting"].lower() in ("todo", "to_do") else "running"
    value = usual.upper() if known["waiting"].isupper() else usual
    return {value: Word(value, value, "guess")}


def _meant(one: Meaning, shown: State | None, strong: Collection[State]) -> bool:
    """Whether a word is taken for what it might mean; ``shown``: what its rows look like."""
    if one.strength > 1 or one.state == shown != "waiting":
        return True
    against = ("running",) if one.state in ("done", "failed", "cancelled") else ("running", "done", "failed")
    return one.strength == 1 and one.state not in strong and shown not in against


def _lacking(table: Table, column: Column, words: Mapping[str, Word], *, runs: bool) -> str:
    known = ", ".join(sorted(repr(word.word) for word in words.values())[:_SHOWN]) or "none"
    again = ": look again while a job runs" if runs and column.name not in table.closed else ""
    return f"no word in {column.name} says that a job {'runs' if runs else 'waits'} (there: {known}){again}"


def _told(values: Collection[str], words: Mapping[str, Word], seen: Mapping[str, int]) -> str:
    named = [words[one].word for one in values if words[one].word != one]
    sources = [_SOURCES.get(words[one].source, "its word") for one in values]
    number = sum(seen.get(one, 0) for one in values)
    return f"{sources[0]}{': ' + ', '.join(named) if named else ''}; {rows(number)}"
