"""Scratch databases: closed to others, gone afterwards; what their server lacks is not the backup's fault."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Any

import kit
import pytest
import servers
from psycopg.conninfo import make_conninfo

from queuewarden.adapters.db.session import Query
from queuewarden.adapters.postgres.children import FailedError
from queuewarden.adapters.postgres.dumping import Tools
from queuewarden.application.upkeep.backups import backup as module
from queuewarden.application.upkeep.backups import proving
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import Database

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.upkeep.backups.shelf import Shelf
    from queuewarden.settings.configuration import EnvironmentConfig


def test_a_trial_lets_nobody_in_and_outlasts_what_roles_set(
    backup: Callable, database: Database, scratches: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    role, other = f"{database.name}_hasty", f"{database.name}_other"
    database.execute(
        f"CREATE ROLE {role} LOGIN CREATEDB; GRANT pg_read_all_data TO {role}; CREATE ROLE {other};"
        f" ALTER ROLE {role} SET idle_session_timeout = '200ms'"
    )
    hasty = {"QUEUEWARDEN_ENV__PROD__DSN": make_conninfo(database.dsn, user=role)}
    may = "SELECT has_database_privilege(%s, datname, 'CONNECT') FROM pg_database WHERE datname = %s"
    seen = []
    check = proving.Restorer.check

    async def checked(self: proving.Restorer, dsn: str, name: str) -> int:
        (scratch,) = scratches()
        seen.append([database.value(may, (one, scratch)) for one in (role, other)])
        await asyncio.sleep(0.4)
        return await check(self, dsn, name)

    monkeypatch.setattr(proving.Restorer, "check", checked)
    try:
        assert backup("run", **hasty).code == 0
        verified = backup("verify", **hasty)
        assert (verified.code, scratches(), seen) == (0, [], [[True, False]]), verified.err
        assert backup("restore", "--env", "prod", "--no-owner", "--into", other, **hasty).code == 0
        assert database.value(may, (other, other))
    finally:
        database.execute(f"DROP DATABASE IF EXISTS {other}")
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}; DROP ROLE {other}")


def test_who_owns_the_trial_by_set_role_alone_gets_in(backup: Callable, database: Database) -> None:
    role, owner = f"{database.name}_session", f"{database.name}_owner"
    database.execute(
        f"CREATE ROLE {owner} CREATEDB; GRANT pg_read_all_data TO {owner};"
        f" CREATE ROLE {role} LOGIN NOINHERIT; GRANT {owner} TO {role}"
    )
    dsn = make_conninfo(database.dsn, user=role, options=f"-c role={owner}")
    try:
        assert backup("run", QUEUEWARDEN_ENV__PROD__DSN=dsn).code == 0
        verified = backup("verify", QUEUEWARDEN_ENV__PROD__DSN=dsn)
        assert verified.code == 0, verified.err
    finally:
        database.execute(f"DROP OWNED BY {owner}; DROP ROLE {role}; DROP ROLE {owner}")


def test_a_right_that_a_trial_lacks_says_nothing_about_the_backup(
    backup: Callable, database: Database, shelf: Shelf
) -> None:
    role = f"{database.name}_plain"
    database.execute(
        f"CREATE EXTENSION pageinspect; CREATE ROLE {role} LOGIN CREATEDB; GRANT pg_read_all_data TO {role}"
    )
    plain = {"QUEUEWARDEN_ENV__PROD__DSN": make_conninfo(database.dsn, user=role)}
    try:
        assert (backup("run").code, backup("verify").code) == (0, 0)
        untried = backup("verify", **plain)
        assert untried.code == 69
        assert "permission denied to create extension" in untried.err
        assert shelf.look()[0][0].manifest.verified_at is not None
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_trial_looks_for_tables_where_the_original_does(backup: Callable, database: Database) -> None:
    database.execute(
        'CREATE SCHEMA "its own\\ "; ALTER TABLE jobs SET SCHEMA "its own\\ ";'
        ' ALTER TABLE workers SET SCHEMA "its own\\ "'
    )
    database.execute(f'ALTER DATABASE {database.name} SET search_path = "$user", "its own\\ "')
    assert backup("run").code == 0
    verified = backup("verify")
    assert verified.code == 0, verified.out


def test_a_subscription_is_not_doubled(backup: Callable, database: Database) -> None:
    new = f"{database.name}_new"
    database.execute(
        f"CREATE SUBSCRIPTION {new} CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)"
    )
    try:
        assert backup("run").code == 0
        assert backup("restore", "--env", "prod", "--into", new).code == 0
        assert database.value("SELECT count(*) FROM pg_subscription WHERE subname = %s", [new]) == 1
    finally:
        database.execute(f"ALTER SUBSCRIPTION {new} SET (slot_name = NONE)")
        database.execute(f"DROP SUBSCRIPTION {new}")
        database.execute(f"DROP DATABASE IF EXISTS {new}")


@pytest.mark.versions
def test_triggers_at_a_login_stay_asleep_in_a_trial(backup: Callable, server: servers.TestServer) -> None:
    if server.major < 17:
        pytest.skip("there are none before PostgreSQL 17")
    with server.database(kit.SCHEMA) as database:
        database.execute(
            "CREATE TABLE logins (who name); CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO logins VALUES (session_user); END $$;"
            " CREATE EVENT TRIGGER noted ON login EXECUTE FUNCTION note()"
        )
        there = {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn}
        assert backup("run", **there).code == 0
        verified = backup("verify", **there)
        assert verified.code == 0, verified.out
        new = f"{database.name}_new"
        try:
            assert backup("restore", "--env", "prod", "--into", new, **there).code == 0
            restored = servers.Database(server.dsn(new), new)
            assert restored.value("SELECT count(*) FROM logins") < restored.value(
                "SELECT count(*) FROM logins"
            )
        finally:
            server.drop(new)


def test_a_trial_asks_at_its_leisure(
    backup: Callable, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was just restored is slow: a guard's time for a question says nothing about a backup."""
    resolve_all = proving.resolve_all

    async def slowly(session: Session, config: EnvironmentConfig) -> Any:
        await session.rows(Query(b"SELECT pg_sleep(0.2)", {}))
        return await resolve_all(session, config)

    monkeypatch.setattr(proving, "resolve_all", slowly)
    assert backup("run").code == 0
    hasty = {"QUEUEWARDEN_STATEMENT_TIMEOUT": "100ms", "QUEUEWARDEN_LOCK_TIMEOUT": "10ms"}
    verified = backup("verify", **hasty)
    assert verified.code == 0, verified.out + verified.err


def test_a_proof_that_cannot_be_noted_is_told(
    backup: Callable, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert backup("run").code == 0
    monkeypatch.setattr(module, "write", full)
    untold = backup("verify")
    assert untold.code == 69
    assert "No space left on device" in untold.err
    (one,), _ = shelf.look()
    assert sorted(place.name for place in one.folder.iterdir()) == [module.DUMP, module.MANIFEST]


SAYS_NOTHING = (
    'could not extend file "base/24576/24577": wrote only 4096 of 8192 bytes at block 6710',
    'extension "vector" is not available',
    'role "app" does not exist',
)
SAYS_ENOUGH = (
    'could not create unique index "jobs_pkey"',
    "could not read from input file: end of file",
)


def test_what_its_server_lacks_is_told_from_what_a_backup_lacks(
    backup: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ""

    async def restore(*_: object, **__: object) -> None:
        raise FailedError("pg_restore", 1, [f"pg_restore: error: COPY failed for table: ERROR:  {said}"])

    assert backup("run").code == 0
    monkeypatch.setattr(Tools, "restore", restore)
    for code, told in ((69, SAYS_NOTHING), (1, SAYS_ENOUGH)):
        for said in told:
            assert backup("verify").code == code, said


def test_a_disk_or_a_right_of_this_machine_is_not_the_backups_fault() -> None:
    for word in ("unable to write '/x': [28] No space left on device", "[13] Permission denied"):
        assert isinstance(proving.judged(f"20260701-120000F cannot be restored: {word}"), UnavailableError)
    assert isinstance(proving.judged("unable to open missing file '/x' for read"), module.BadBackupError)


def test_names_that_no_new_database_can_have(backup: Callable, database: Database) -> None:
    assert backup("run").code == 0
    for name in ("", "n" * 64, "ü" * 32, "a\nb", "\udcff", "queuewarden_scratch_mine"):
        refused = backup("restore", "--env", "prod", "--into", name)
        assert refused.code == 69, name
        assert refused.err.startswith("queuewarden: ")
    assert not database.rows("SELECT FROM pg_database WHERE datname ~ '^(n{63}|queuewarden_scratch_mine)$'")
