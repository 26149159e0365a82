"""The demo's tables are those that the presets know."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg
import pytest

from queuewarden.application.demo import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database


@pytest.mark.versions
@pytest.mark.parametrize("preset", ["extraction", "interviews"])
def test_columns_and_types_are_those_of_the_preset(database: Database, preset: str) -> None:
    text = files("queuewarden.queues").joinpath("presets", f"{preset}.toml").read_text()
    tables = tomllib.loads(text)["fingerprint"]["tables"]
    for table, columns in tables.items():
        actual = dict(
            database.rows(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0",
                [table],
            )
        )
        for column, types in columns.items():
            assert actual.get(column) in types.split(" | "), f"{table}.{column}"


def test_create_makes_it_all_in_an_empty_database(databases: Callable[..., Database]) -> None:
    empty = databases()
    with empty.connect() as connection:
        schema.create(connection)
    assert empty.rows("SELECT id, name FROM extraction_queue_status ORDER BY id") == [
        (1, "waiting"), (2, "running"), (3, "done"), (4, "failed"),
    ]  # fmt: skip
    assert empty.value("SELECT count(*) FROM companies") == 4
    assert empty.value("SELECT count(*) FROM students") == 60


def test_a_status_that_the_lookup_table_lacks_is_refused(database: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        database.execute("INSERT INTO extraction_queue (status_id) VALUES (5)")
