"""A queue whose every name and word would be SQL if somebody pasted it, in several spellings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable

DROP = "DROP TABLE public.canary"
COLUMNS = (
    "id", "second_id", "status", "worker", "started_at", "heartbeat", "enqueued_at", "finished_at",
    "updated_at", "attempts", "max_attempts", "error", "label", "cleared", "lane",
    "position", "priority", "parent",
)  # fmt: skip
WORDS = ("waiting", "running", "done", "failed", "cancelled", "offline")


def _cut(text: str) -> str:
    """As many bytes as the server keeps of a name."""
    return text.encode()[:63].decode(errors="ignore")


_KEYWORDS = {"id": "select", "status": "user", "lane": "order", "label": "table"}

STYLES: dict[str, Callable[[str], str]] = {
    "semicolons": lambda word: _cut(f"{word[:12]}'; {DROP}; --"),
    "quotes": lambda word: _cut(f'{word[:12]}"; {DROP}; --"'),
    "both quotes": lambda word: _cut(f"""'"'{word[:12]}''""\\"\\'$$""" + "`"),
    "percent signs": lambda word: _cut(f"%s%({word[:12]})s%%{word}%b%d%"),
    "braces": lambda word: _cut("{0}{" + word + "}{{}}{!r}"),
    "comments": lambda word: _cut(f"/*{word}*/--{word}"),
    "unicode": lambda word: _cut(f"{word[:12]} ünïcödé 日本 👩‍👩‍👧 ﬁ"),
    "right to left": lambda word: _cut(f"\u202e{word[:12]} שלום\u2066 مرحبا\u2069"),
    "63 bytes": lambda word: f"{word}{'_x' * 40}"[:63],
    "63 bytes of others": lambda word: _cut(f"{word[:11]}{'ß' * 40}"),
    "keywords": lambda word: {"id": "select", "status": "user", "lane": "order", "label": "table"}.get(
        word, word
    ),
    "dots and blanks": lambda word: f" {word[:12]}.a.b , c = ",
    "brackets": lambda word: _cut(f"[{word}]::text(1)->>'x'"),
    "only case": str.upper,
}
"""How a plain name is spelled: as PostgreSQL keeps it, and no two of them alike."""

_SCHEMA = """
CREATE SCHEMA {app};
CREATE TABLE public.canary (alive bool);
CREATE TYPE {app}.{state} AS ENUM ({waiting_}, {running_}, {done_}, {failed_}, {cancelled_});
CREATE TABLE {app}.{parents} ({parent} text PRIMARY KEY);
CREATE TABLE {app}.{workers} (
    {worker} text PRIMARY KEY, {status} text NOT NULL DEFAULT 'idle',
    {heartbeat} timestamptz, {started_at} timestamptz,
    CONSTRAINT {status} CHECK ({status} IN ('idle', {offline_})));
CREATE TABLE {app}.{jobs} (
    {id} text, {second_id} int DEFAULT 0, {status} {type} NOT NULL DEFAULT {waiting_},
    {worker} text,
    {started_at} timestamptz, {heartbeat} timestamptz,
    {enqueued_at} timestamptz NOT NULL DEFAULT now(),
    {finished_at} timestamptz, {updated_at} timestamptz, {attempts} int NOT NULL DEFAULT 0,
    {max_attempts} int,
    {error} text, {label} text, {cleared} text, {lane} text, {position} int,
    {priority} int NOT NULL DEFAULT 0,
    {parent} text, PRIMARY KEY ({id}, {second_id}),
    CONSTRAINT {status} CHECK (
        {status} IN ({waiting_}, {running_}, {done_}, {failed_}, {cancelled_})));
INSERT INTO {app}.{parents} VALUES ({here_});
INSERT INTO {app}.{workers} ({worker}, {heartbeat})
    VALUES ({dead_}, now() - interval '1 hour'), ({alive_}, now());
INSERT INTO {app}.{jobs}
    ({id}, {status}, {worker}, {started_at}, {lane}, {position}, {enqueued_at}, {label}, {error})
VALUES
    ({of_the_dead_}, {running_}, {dead_}, now() - interval '1 hour', {a_}, NULL, now() - interval '3 hours',
        {x_}, NULL),
    ({stuck_}, {running_}, {alive_}, now() - interval '1 hour', {b_}, NULL, now() - interval '3 hours',
        {x_}, NULL),
    ({well_}, {running_}, {alive_}, now() - interval '1 minute', {c_}, NULL, now() - interval '1 hour',
        {x_}, {x_}),
    ({too_many_}, {running_}, {alive_}, now(), {c_}, NULL, now(), {x_}, {x_}),
    ({third_}, {waiting_}, NULL, NULL, {d_}, 7, now() - interval '1 minute', {x_}, {x_}),
    ({second_}, {waiting_}, NULL, NULL, {d_}, 7, now() - interval '2 minutes', {x_}, {x_}),
    ({first_}, {waiting_}, NULL, NULL, {d_}, NULL, now() - interval '3 minutes', {x_}, {x_}),
    ({undated_}, {done_}, {alive_}, now(), {e_}, NULL, now(), {x_}, {x_}),
    ({broken_}, {failed_}, {alive_}, now(), {e_}, NULL, now(), {x_}, {x_});
UPDATE {app}.{jobs} SET {finished_at} = now() WHERE {id} = {broken_};
INSERT INTO {app}.{jobs} ({id}, {lane}, {position}, {parent}, {enqueued_at})
    VALUES ({orphan_}, {f_}, 1, {gone_}, now() - interval '1 day');
"""


@dataclass(frozen=True)
class Strange:
    """A queue in which every name and word is spelled in one style."""

    style: str
    enum: bool = False

    def spelled(self, word: str) -> str:
        return STYLES[self.style](word)

    def quoted(self, word: str) -> str:
        """The name as a variable spells it."""
        return '"' + self.spelled(word).replace('"', '""') + '"'

    def table(self, word: str) -> str:
        return f"{self.quoted('app')}.{self.quoted(word)}"

    @property
    def schema(self) -> sql.Composed:
        names = [*COLUMNS, "app", "state", "parents", "workers", "jobs"]
        values = [
            *WORDS, "dead", "alive", "here", "gone", "of_the_dead", "stuck", "well", "too_many", "third",
            "second", "first", "undated", "broken", "orphan", *"abcdefx",
        ]  # fmt: skip
        kind = sql.Identifier(self.spelled("app"), self.spelled("state")) if self.enum else sql.SQL("text")
        return sql.SQL(_SCHEMA).format(
            type=kind,
            **{name: sql.Identifier(self.spelled(name)) for name in names},
            **{f"{value}_": sql.Literal(self.spelled(value)) for value in values},
        )

    @property
    def variables(self) -> dict[str, str]:
        """Everything mapped, as one would write it into the environment."""
        parent = self.quoted("parent")
        given = {f"JOBS__{name.upper()}": self.quoted(name) for name in COLUMNS if name in _JOBS}
        given |= {f"STATES__{word.upper()}": self.quoted(word) for word in WORDS if word != "offline"}
        given |= {
            "JOBS__TABLE": self.table("jobs"),
            "JOBS__ID": f"{self.quoted('id')}, {self.quoted('second_id')}",
            "JOBS__CLEAR": self.quoted("cleared"),
            "WORKERS__TABLE": self.table("workers"),
            "WORKERS__ID": self.quoted("worker"),
            "WORKERS__HEARTBEAT": self.quoted("heartbeat"),
            "WORKERS__STATUS": self.quoted("status"),
            "WORKERS__STARTED_AT": self.quoted("started_at"),
            "WORKERS__OFFLINE_VALUE": self.quoted("offline"),
            "REFERENCES": f"{parent} -> {self.table('parents')}.{parent}",
            "TIMESTAMPS": f"{self.quoted('done')} = {self.quoted('finished_at')}",
            "POSITIONS__COLUMN": self.quoted("position"),
            "POSITIONS__LANE": self.quoted("lane"),
            "POSITIONS__ORDER_BY": f"{self.quoted('priority')} desc, {self.quoted('enqueued_at')} nulls last",
            "POSITIONS__MAX_RUNNING": "1",
            "POSITIONS__DEMOTE": "true",
        }
        return {f"QUEUEWARDEN_QUEUE__MAIL__{name}": value for name, value in given.items()}


_JOBS = {
    "status", "worker", "started_at", "heartbeat", "enqueued_at", "finished_at", "updated_at", "attempts",
    "max_attempts", "error", "label",
}  # fmt: skip
