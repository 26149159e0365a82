"""What a library's own way of a repair needs: each lack is a fault with its statement, and those suffice."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest
from library_schemas import ddl
from psycopg import sql
from psycopg.conninfo import make_conninfo

from queuewarden.engine.grants import statements
from queuewarden.engine.library_rights import grants, library_rights
from queuewarden.engine.resolve import resolve
from queuewarden.queues.presets import presets
from queuewarden.settings.mappings import preset_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

    from queuewarden.engine.resolve import Resolution

LIMITS = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"))
STATEMENT = re.compile(r": ((?:GRANT|ALTER ROLE) .*)\Z")
STUCK = """
INSERT INTO app.procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour'), (now());
INSERT INTO app.procrastinate_jobs (queue_name, task_name, status, worker_id, attempts, abort_requested)
VALUES ('q', 't', 'doing', 1, 0, false), ('q', 't', 'doing', 1, 0, true), ('q', 't', 'doing', 2, 0, false)"""


def procrastinate(database: servers.Database, schema: str) -> None:
    text = ddl("procrastinate")
    with database.connect() as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}")
        connection.execute(text)


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    found = databases()
    procrastinate(found, "app")
    return found


@pytest.fixture
def dsn(database: servers.Database) -> Iterator[str]:
    """A role without any right."""
    name = f"{database.name}_role"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'role'")
    yield make_conninfo(database.dsn, user=name, password="role")
    database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def look(dsn: str, name: str = "procrastinate", schema: str = "app", **limits: Any) -> Resolution:
    async def resolved() -> Resolution:
        async with kit.session(dsn) as session:
            mapping = preset_mapping(presets()[name], schema)
            return await resolve(session, "test", mapping, replace(LIMITS, **limits))

    return asyncio.run(resolved())


def remedies(resolution: Resolution) -> list[str]:
    """The statements that the faults end in; there is no other fault."""
    found = [STATEMENT.search(fault) for fault in resolution.faults]
    assert all(found), resolution.faults
    return [one[1] for one in found if one]


def repaired(database: servers.Database, dsn: str) -> None:
    """One sweep of the role: the dead worker's jobs end as the library's own calls leave them."""
    database.execute(STUCK)
    mapping = preset_mapping(presets()["procrastinate"], "app")
    done = kit.sweep(dsn, mapping, LIMITS)
    assert [one for one in done.values() if one.error or one.set_aside or one.held] == []
    assert database.rows("SELECT id, status::text, attempts FROM app.procrastinate_jobs ORDER BY id") == [
        (1, "todo", 1),
        (2, "failed", 1),
        (3, "doing", 0),
    ]
    assert database.value("SELECT count(*) FROM app.procrastinate_events WHERE type <> 'deferred'") >= 2


@pytest.mark.versions
def test_the_statements_of_the_faults_suffice_for_a_repair(database: servers.Database, dsn: str) -> None:
    asked: list[str] = []
    while statements_ := remedies(look(dsn)):
        assert not {*asked} & {*statements_}
        for statement in statements_:
            database.execute(statement)
        asked += statements_
    role = f"{database.name}_role"
    assert f"GRANT INSERT ON app.procrastinate_events TO {role}" in asked
    assert f"GRANT USAGE ON SEQUENCE app.procrastinate_events_id_seq TO {role}" in asked
    assert f'ALTER ROLE {role} IN DATABASE {database.name} SET search_path = app, "$user", public' in asked
    repaired(database, dsn)


def test_what_grants_prints_suffices_for_a_repair(database: servers.Database, dsn: str) -> None:
    role = sql.Identifier(f"{database.name}_role")
    database.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC")
    printed = statements([look(database.dsn)], role, database.name)
    for statement in (one for one in printed if "queuewarden" not in one):
        database.execute(statement)
    database.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA app TO PUBLIC")
    database.execute("REVOKE EXECUTE ON FUNCTION app.procrastinate_retry_job_v2 FROM PUBLIC")
    assert look(dsn).faults == ()
    repaired(database, dsn)


def test_who_only_observes_needs_none_of_it(database: servers.Database, dsn: str) -> None:
    for statement in remedies(look(dsn, mode="observe")):
        assert "GRANT SELECT" in statement or "GRANT USAGE ON SCHEMA" in statement
        database.execute(statement)
    assert look(dsn, mode="observe").faults == ()
    assert len(remedies(look(dsn))) >= 4


def test_a_function_that_may_not_be_called(database: servers.Database) -> None:
    role = f"{database.name}_caller"
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'role'; GRANT USAGE ON SCHEMA app TO {role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA app TO {role};"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO {role};"
        f"ALTER ROLE {role} SET search_path = app;"
        "REVOKE EXECUTE ON FUNCTION app.procrastinate_finish_job_v1 FROM PUBLIC"
    )
    try:
        dsn = make_conninfo(database.dsn, user=role, password="role")
        (statement,) = remedies(look(dsn))
        assert statement == f"GRANT EXECUTE ON FUNCTION app.procrastinate_finish_job_v1 TO {role}"
        database.execute(statement)
        assert look(dsn).faults == ()
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_tables_of_the_same_name_that_come_first_on_the_path(database: servers.Database) -> None:
    """Its functions would put back a job of the same number there."""
    procrastinate(database, "other")
    dsn = make_conninfo(database.dsn, options="-c search_path=other,app")
    (fault,) = look(dsn).faults
    assert "search_path, which leads to schema other, not to app;" in fault
    assert STATEMENT.search(fault)[1].endswith(f"IN DATABASE {database.name} SET search_path = app, other")  # type: ignore[index]
    assert look(make_conninfo(database.dsn, options="-c search_path=app,other")).faults == ()
    (none,) = look(make_conninfo(database.dsn, options="-c search_path=pg_catalog")).faults
    assert "leads to no schema that has them, not to app;" in none
    assert none.endswith("SET search_path = app, pg_catalog")


def test_functions_with_a_path_of_their_own_need_none_of_the_role(database: servers.Database) -> None:
    dsn = make_conninfo(database.dsn, options="-c search_path=public")
    assert len(look(dsn).faults) == 1
    with database.connect() as connection:
        found = connection.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'app'::regnamespace"
        )
        for (function,) in found.fetchall():
            connection.execute(f"ALTER FUNCTION {function} SET search_path = app")
    assert look(dsn).faults == ()


def test_a_version_that_may_not_be_read_comes_with_its_grant(
    databases: Callable[..., servers.Database],
) -> None:
    database = databases(ddl("graphile_worker"))
    role = f"{database.name}_role"
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'role'; GRANT USAGE ON SCHEMA graphile_worker TO {role};"
        f"GRANT SELECT, UPDATE ON graphile_worker._private_jobs TO {role};"
        f"GRANT SELECT ON graphile_worker._private_job_queues TO {role}"
    )
    try:
        dsn = make_conninfo(database.dsn, user=role, password="role")
        found = look(dsn, "graphile_worker", "graphile_worker")
        assert {*remedies(found)} == {
            f"GRANT UPDATE ON graphile_worker._private_job_queues TO {role}",
            f"GRANT SELECT (id) ON graphile_worker.migrations TO {role}",
        }
        assert found.fit.version is None
        for statement in remedies(found):
            database.execute(statement)
        found = look(dsn, "graphile_worker", "graphile_worker")
        assert (found.faults, found.fit.version) == ((), "20")
        database.execute("ALTER TABLE graphile_worker.migrations ENABLE ROW LEVEL SECURITY")
        found = look(dsn, "graphile_worker", "graphile_worker")
        assert (found.faults, found.fit.version) == ((), None)
        assert found.notes[0].startswith("the version in graphile_worker.migrations could not be read: ")
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_nothing_else_is_granted(database: servers.Database, dsn: str) -> None:
    while asked := remedies(look(dsn)):
        for statement in asked:
            database.execute(statement)
    with psycopg.connect(dsn, autocommit=True) as guard:
        for statement in (
            "DELETE FROM app.procrastinate_jobs",
            "INSERT INTO app.procrastinate_jobs (queue_name, task_name) VALUES ('q', 't')",
            "DELETE FROM app.procrastinate_workers",
            "UPDATE app.procrastinate_events SET at = now()",
            "SELECT FROM app.procrastinate_periodic_defers",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                guard.execute(statement)


def test_row_level_security_takes_the_owner_s_role(databases: Callable[..., servers.Database]) -> None:
    database = databases(ddl("graphile_worker"))
    owner, role = f"{database.name}_owner", f"{database.name}_role"
    database.execute(
        f"CREATE ROLE {owner}; CREATE ROLE {role} LOGIN PASSWORD 'role';"
        "ALTER TABLE graphile_worker._private_jobs ENABLE ROW LEVEL SECURITY;"
        f"ALTER TABLE graphile_worker._private_jobs OWNER TO {owner};"
        f"ALTER SCHEMA graphile_worker OWNER TO {owner}"
    )
    try:
        found = look(database.dsn, "graphile_worker", "graphile_worker")
        printed = statements([found], sql.Identifier(role), database.name)
        assert f'GRANT "{owner}" TO "{role}";' in printed
        for statement in (one for one in printed if "queuewarden" not in one):
            database.execute(statement)
        dsn = make_conninfo(database.dsn, user=role, password="role")
        assert look(dsn, "graphile_worker", "graphile_worker").faults == ()
    finally:
        database.execute(f"DROP OWNED BY {role}, {owner} CASCADE; DROP ROLE {role}, {owner}")


def test_rights_are_read_as_grant_has_them_and_else_kept_as_words() -> None:
    river = presets()["river"]
    assert river.library is not None
    written = ("SELECT, UPDATE (a, b) ON log", "USAGE ON SEQUENCE log_id_seq", "a good day")
    preset = replace(river, library=replace(river.library, rights=written))
    rights, words = library_rights(preset, "app")
    assert [one for _, one in grants(rights, "guard")] == [
        "GRANT SELECT, UPDATE (a, b) ON app.log TO guard",
        "GRANT USAGE ON SEQUENCE app.log_id_seq TO guard",
    ]
    assert words == ["a good day"]
