"""Schemas of queue libraries for tests: the library's own, its documented one, or one of a fingerprint."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from queuewarden.queues.presets import presets

DOCUMENTED = Path(__file__).parent / "conformance" / "documented"


def ddl(name: str) -> str:
    """A library's own schema where it is installed, its documented one, or one made of the fingerprint."""
    if name == "procrastinate":
        pytest.importorskip("procrastinate", reason="the package procrastinate is not installed")
        return resources.files("procrastinate").joinpath("sql", "schema.sql").read_text("utf-8")
    if name in MADE:
        return made(name)
    return (DOCUMENTED / f"{name}.sql").read_text("utf-8")


MADE = {
    "graphile_worker": """
        CREATE TABLE migrations (id int PRIMARY KEY);
        INSERT INTO migrations SELECT generate_series(1, 20);
        ALTER TABLE _private_jobs ADD CONSTRAINT jobs_key_check CHECK (length(key) > 0),
            ADD CONSTRAINT jobs_max_attempts_check CHECK (max_attempts >= 1);
        CREATE UNIQUE INDEX jobs_key_key1 ON _private_jobs (key);
        CREATE UNIQUE INDEX job_queues_queue_name_key ON _private_job_queues (queue_name)""",
}


def made(name: str) -> str:
    """Tables as a fingerprint has them, in their own schema; and what else is said above."""
    known = presets()[name].fingerprint
    assert known is not None
    schema = next(iter(known.tables)).partition(".")[0]
    tables = [
        f"CREATE TABLE {table.rpartition('.')[2]} ("
        + ", ".join(
            f"{column} {types[0]}" + " PRIMARY KEY" * (column == "id") for column, types in columns.items()
        )
        + ")"
        for table, columns in known.tables.items()
    ]
    return f"CREATE SCHEMA {schema}; SET search_path = {schema}; {'; '.join(tables)}; {MADE[name]}"
