"""What a role that may only CREATE in a schema can lay there: operators, functions, types, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Database

PWNED = "pwned"

_OPERATORS = ("=", "<>", "<", "<=", ">", ">=")
_PAIRS = (
    ("varchar", "varchar"),
    ("varchar", "text"),
    ("text", "varchar"),
    ("text", "text"),
    ("app.state", "app.state"),
    ("app.state", "text"),
    ("name", "text"),
    ("text", "name"),
    ("name", "name"),
    ("int", "int"),
    ("bigint", "bigint"),
    ("int", "bigint"),
    ("oid", "oid"),
    ('"char"', '"char"'),
    ("tid", "tid"),
    ("timestamptz", "timestamptz"),
    ("text[]", "text[]"),
)
_ARITHMETIC = (
    ("+", "int", "int", "int"),
    ("+", "bigint", "bigint", "bigint"),
    ("-", "timestamptz", "interval", "timestamptz"),
    ("-", "timestamptz", "timestamptz", "interval"),
    ("||", "text", "text", "text"),
    ("||", "varchar", "varchar", "text"),
)
_FUNCTIONS = (
    ("unnest", "text[]", "SETOF text"),
    ("unnest", "oid[]", "SETOF oid"),
    ("current_setting", "text", "text"),
    ("set_config", "text, text, boolean", "text"),
    ("statement_timestamp", "", "timestamptz"),
    ("clock_timestamp", "", "timestamptz"),
    ("pg_is_in_recovery", "", "boolean"),
    ("pg_postmaster_start_time", "", "timestamptz"),
    ("pg_try_advisory_xact_lock", "int, int", "boolean"),
    ("pg_table_is_visible", "oid", "boolean"),
    ("has_schema_privilege", "oid, text", "boolean"),
    ("has_column_privilege", "oid, int2, text", "boolean"),
    ("row_security_active", "oid", "boolean"),
    ("starts_with", "text, text", "boolean"),
    ("starts_with", "varchar, text", "boolean"),
    ("md5", "text", "text"),
    ("isfinite", "timestamptz", "boolean"),
    ("substr", "text, int, int", "text"),
    ("concat_ws", "text, text, text", "text"),
    ("cardinality", "text[]", "int"),
)
_AGGREGATES = (
    ("count", "*", "bigint"),
    ("count", "varchar", "bigint"),
    ("array_agg", "text", "bigint"),
    ("array_agg", "varchar", "bigint"),
    ("max", "varchar", "bigint"),
    ("max", "bigint", "bigint"),
    ("sum", "bigint", "bigint"),
    ("string_agg", "text, text", "bigint"),
)
_CATALOGS = (
    "pg_class",
    "pg_namespace",
    "pg_attribute",
    "pg_type",
    "pg_settings",
    "pg_locks",
    "pg_stat_activity",
)


def laid_by(role: str, schema: str = "public") -> str:
    """SQL that lays all traps in a schema, acting as a role that may create objects there.

    Each calls a function in PL/pgSQL that counts: such are never inlined.
    """
    return "\n".join([f"SET ROLE {role};", *_statements(schema), "RESET ROLE;"])


def _statements(schema: str) -> Iterator[str]:
    traps = iter(range(1_000_000))
    yield f"CREATE FUNCTION {schema}.{PWNED}() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';"

    def function(name: str, arguments: str, result: str) -> str:
        body = f"BEGIN PERFORM {schema}.{PWNED}(); RAISE EXCEPTION '{PWNED} by {name}'; END"
        return f"CREATE FUNCTION {name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $${body}$$;"

    def trap(arguments: str, result: str) -> tuple[str, str]:
        name = f"{schema}.trap_{next(traps)}"
        return name, function(name, arguments, result)

    comparisons = ((operator, *pair, "boolean") for operator in _OPERATORS for pair in _PAIRS)
    for operator, left, right, result in (*comparisons, *_ARITHMETIC):
        name, create = trap(f"{left}, {right}", result)
        yield create
        sides = f"LEFTARG = {left}, RIGHTARG = {right}"
        yield f"CREATE OPERATOR {schema}.{operator} ({sides}, FUNCTION = {name});"
    for called, arguments, result in _FUNCTIONS:
        yield function(f"{schema}.{called}", arguments, result)
    for aggregate, arguments, state in _AGGREGATES:
        taken = "" if arguments == "*" else f", {arguments}"
        name, create = trap(f"{state}{taken}", state)
        yield create
        steps = f"SFUNC = {name}, STYPE = {state}, INITCOND = '0'"
        yield f"CREATE AGGREGATE {schema}.{aggregate}({arguments}) ({steps});"
    name, create = trap("", "boolean")
    yield create
    for catalog in _CATALOGS:
        yield f"CREATE VIEW {schema}.{catalog} AS SELECT {name}() AS oid;"
    for table in ("jobs", "workers", "parents"):
        yield f"CREATE VIEW {schema}.{table} AS SELECT {name}() AS id;"
    for type_ in ("text", "int8", "interval", "varchar"):
        name, create = trap(f"pg_catalog.{type_}", "boolean")
        yield create
        yield f"CREATE DOMAIN {schema}.{type_} AS pg_catalog.{type_} CHECK ({name}(VALUE));"


def sprung(database: Database) -> int:
    """How often a trap was run, by the server's own count, which neither a rollback nor READ ONLY takes back.

    The database counts where ``track_functions`` is on. Sessions report what they counted when they end.
    """
    others = (
        "SELECT count(*) FROM pg_catalog.pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'queuewarden%'"
    )
    eventually(lambda: database.value(others) == 0, what="the guard's sessions end")
    calls = "SELECT coalesce(sum(calls), 0)::int FROM pg_catalog.pg_stat_user_functions WHERE funcname = %s"
    return int(database.value(calls, (PWNED,)))
