"""Images are exact: a value of any type goes into the ledger as the server prints it, and comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest
from ledgers import Ledgered

from queuewarden.queues.mapping import TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

VALUES = {
    "num": ("numeric", "123456789012345678901234567890.000000001000"),
    "scaled": ("numeric(20,4)", "1.5"),
    "nan": ("numeric", "NaN"),
    "single": ("real", "0.1"),
    "double": ("double precision", "0.1234567890123456"),
    "least": ("double precision", "5e-324"),
    "minus": ("double precision", "-0"),
    "forever": ("double precision", "Infinity"),
    "raw": ("bytea", r"\x00ff5c27"),
    "moment": ("timestamptz", "2026-03-29 02:30:00.123456+01"),
    "bc": ("timestamptz", "0044-03-15 12:00:00+00 BC"),
    "never": ("timestamptz", "infinity"),
    "naive": ("timestamp", "2026-03-29 02:30:00.000001"),
    "day": ("date", "2026-02-28"),
    "clock": ("timetz", "23:59:59.999999+05:30"),
    "span": ("interval", "-1 mons +2 days -03:04:05.678"),
    "doc": ("jsonb", '{"b": [1, 1.10, "\\u00e9"], "a": null}'),
    "loose": ("json", '{"b":1,   "a":2, "b":3}'),
    "list": ("text[]", '{a,NULL,"NULL","a b","",","}'),
    "grid": ("int[]", "[0:1][2:3]={{1,2},{3,4}}"),
    "mood": ("mood", "so so, 'well'"),
    "pair": ("pair", '(1,"a ""b""")'),
    "many": ("pair[]", '{"(1,x)","(,)"}'),
    "void": ("text", ""),
    "word": ("text", "NULL"),
    "none": ("text", None),
    "odd": ("text", "%s {x} \\ ' \" \t\n\x01 \U0001f600 \u202e"),
    "padded": ("char(5)", "ab"),
    "net": ("inet", "10.0.0.1/8"),
    "bits": ("bit varying", "1010"),
    "ids": ("uuid", "f196f00b-80ec-4d62-b56d-d29f236dac83"),
    "rng": ("tstzrange", '["2026-01-01 00:00:00+00",)'),
    "cash": ("money", "12.34"),
    "shape": ("point", "(0.1,1e-300)"),
    "flag": ("boolean", "true"),
}


def schema() -> str:
    columns = ", ".join(f'"{name}" {type_}' for name, (type_, _) in VALUES.items())
    return (
        "CREATE TYPE mood AS ENUM ('so so, ''well''');"
        "CREATE TYPE pair AS (n int, t text);"
        f"CREATE TABLE jobs (id bigint PRIMARY KEY, status text NOT NULL, started_at timestamptz, {columns});"
        + ledgers.schema.script()
    )


MAPPING = replace(
    kit.jobs_mapping(
        kit.MAPPING,
        table=TableName("jobs"),
        worker=None,
        enqueued_at=None,
        finished_at=None,
        attempts=None,
        max_attempts=None,
        error=None,
        label=tuple(VALUES),
        clear=tuple(VALUES),
    ),
    workers=None,
)


@pytest.fixture
def queue(databases: Callable[..., Database]) -> Ledgered:
    database = databases(schema())
    database.execute(
        "INSERT INTO jobs SELECT 1, 'running', now() - interval '1 h', "
        + ", ".join(f"%({name})s::{type_}" for name, (type_, _) in VALUES.items()),
        {name: text for name, (_, text) in VALUES.items()},
    )
    return Ledgered(database, MAPPING, replace(kit.LIMITS, checks=("stuck_jobs",)))


def texts(database: Database) -> dict[str, Any]:
    """Each column as the server prints it, by a way of its own."""
    names = ["id", "status", "started_at", *VALUES]
    (row,) = database.rows("SELECT " + ", ".join(f'"{name}"::text' for name in names) + " FROM jobs")
    return dict(zip(names, row, strict=True))


@pytest.mark.versions
def test_before_and_after_are_what_the_server_prints(queue: Ledgered) -> None:
    before = texts(queue.database)
    assert queue.sweep()["stuck"].mended == 1
    after = texts(queue.database)
    (change,) = queue.changes()
    assert change.finding.before == before
    assert change.finding.after == after
    assert set(before.values()) > {None, "", "NULL"}
    assert {after[name] for name in VALUES} == {None}


@pytest.mark.parametrize(
    "setting",
    [
        "DateStyle = 'German, DMY'",
        "IntervalStyle = 'sql_standard'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "TimeZone = 'Asia/Kathmandu'",
        "client_encoding = 'UTF8'",
    ],
)
def test_images_go_back_exactly_whatever_the_database_prints_by_default(
    queue: Ledgered, setting: str
) -> None:
    queue.database.execute(f'ALTER DATABASE "{queue.database.name}" SET {setting}')
    whole = ledgers.image(queue.database)
    assert queue.sweep()["stuck"].mended == 1
    (undone,) = queue.undo()
    assert undone.refused is None
    assert ledgers.image(queue.database) == whole


@pytest.mark.versions
def test_a_value_of_another_kind_of_nothing_is_a_change(queue: Ledgered) -> None:
    """NULL, an empty text and the word NULL are three values."""
    queue.sweep()
    for text in ("", "NULL"):
        queue.database.execute("UPDATE jobs SET word = %s", [text])
        (undone,) = queue.undo()
        assert undone.refused == "it has changed since: word"
    queue.database.execute("UPDATE jobs SET word = NULL")
    assert queue.undo()[0].refused is None


@pytest.mark.versions
def test_what_triggers_make_of_a_row_is_in_the_image_after(databases: Callable[..., Database]) -> None:
    database = databases(ledgers.SCHEMA)
    database.execute(
        """
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.updated_at := '2026-01-01Z'; NEW.label := upper(NEW.label); RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION touch();
        INSERT INTO jobs (status, started_at, label) VALUES ('running', now() - interval '1 h', 'mail')"""
    )
    queue = Ledgered(database, kit.jobs_mapping(updated_at="updated_at"))
    queue.sweep()
    (change,) = queue.changes()
    assert change.finding.after is not None
    assert (change.finding.before["label"], change.finding.after["label"]) == ("mail", "MAIL")
    assert change.finding.before["updated_at"] is None
    assert (change.finding.after["updated_at"] or "").startswith("2026-01-01")


def test_generated_columns_are_in_no_image(databases: Callable[..., Database]) -> None:
    database = databases(ledgers.SCHEMA)
    database.execute(
        """
        ALTER TABLE jobs ADD loud text GENERATED ALWAYS AS (upper(status)) STORED;
        INSERT INTO jobs (status, started_at) VALUES ('running', now() - interval '1 h')"""
    )
    queue = Ledgered(database, kit.jobs_mapping(label=("loud",)))
    whole = ledgers.image(database)
    queue.sweep()
    (change,) = queue.changes()
    assert "loud" not in change.finding.before
    assert queue.undo()[0].refused is None
    assert ledgers.image(database) == whole


def test_a_key_that_the_server_always_generates_is_found_again(databases: Callable[..., Database]) -> None:
    database = databases(ledgers.SCHEMA)
    database.execute(
        """
        ALTER TABLE jobs ALTER id DROP DEFAULT, ALTER id ADD GENERATED ALWAYS AS IDENTITY;
        INSERT INTO jobs (status, started_at) VALUES ('running', now() - interval '1 h')"""
    )
    queue = Ledgered(database)
    whole = ledgers.image(database)
    queue.sweep()
    assert [one.finding.key for one in queue.changes()] == [("1",)]
    assert queue.undo()[0].refused is None
    assert ledgers.image(database) == whole


def test_domains_and_their_values(databases: Callable[..., Database]) -> None:
    database = databases(ledgers.SCHEMA)
    database.execute(
        """
        CREATE DOMAIN word AS text CHECK (value <> 'bad');
        ALTER TABLE jobs ALTER worker TYPE word, ALTER error TYPE varchar(20);
        INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w', now() - interval '1 h')"""
    )
    queue = Ledgered(database)
    whole = ledgers.image(database)
    queue.sweep()
    assert queue.undo()[0].refused is None
    assert ledgers.image(database) == whole


def test_megabytes_in_a_mapped_column_stay_in_the_ledger_and_go_back(
    databases: Callable[..., Database],
) -> None:
    database = databases(ledgers.SCHEMA)
    database.execute(
        "INSERT INTO jobs (status, started_at, error)"
        " VALUES ('running', now() - interval '1 h', repeat('ä', 3000000))"
    )
    queue = Ledgered(database)
    report = queue.report()
    told = json.dumps(report.queues[0].outcomes[0].sample[0].before)
    assert len(told) < 100_000, "people are shown the beginning"
    assert queue.undo()[0].refused is None
    assert database.value("SELECT error = repeat('ä', 3000000) FROM jobs")
