"""Backups by the real pgbackrest, of a server of the test's own; its trial is on another one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import processes
import pytest
import servers

from queuewarden.adapters import postgres
from queuewarden.adapters.postgres.pgbackrest import Held
from queuewarden.application.upkeep.backups import physical
from queuewarden.application.upkeep.backups.proving import Restorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HELD = Held("20260701-120000F", "full", NOW, 1.0, 1, 1, 15, error=False, verified_at=None)


def test_which_kind_is_due() -> None:
    def due(**ago: float) -> str:
        held = [replace(HELD, kind=kind, taken_at=NOW - timedelta(days=days)) for kind, days in ago.items()]  # type: ignore[arg-type]  # names of kinds
        return physical.due(held, NOW)

    assert due() == "full"
    assert due(full=0.5) == "incr"
    assert due(full=2) == "diff"
    assert due(full=2, diff=0.5) == "incr"
    assert due(full=2, diff=1) == "diff"
    assert due(full=6.5, diff=0.5, incr=0.1) == "incr"
    assert due(full=7, diff=0.5) == "full"
    assert due(diff=0.5, incr=0.5) == "full"


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a repository and its configuration, and a pgbackrest that works there.

    Where we are root it runs as the server does, as somebody would have it by sudo.
    """
    program = shutil.which("pgbackrest")
    if program is None:
        pytest.skip("no pgbackrest on this machine: apt-get install pgbackrest")
    account = postgres.server.Account.choose()
    folder = account.directory()
    wrapper = folder / "bin" / "pgbackrest"
    wrapper.parent.mkdir()
    prefix = " ".join(account.prefix())
    wrapper.write_text(
        f'#!/bin/sh\n[ $(id -u) = 0 ] || exec {program} "$@"\ncd /\nexec {prefix} {program} "$@"\n'
    )
    wrapper.chmod(0o755)
    for name in ("repo", "log", "lock"):
        (folder / name).mkdir()
    account.own(folder)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PGBACKREST_CONFIG", str(folder / "conf"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def archived(repository: Path, request: pytest.FixtureRequest) -> Iterator[servers.OwnServer]:
    """A server that archives into the repository."""
    sources = servers.own_sources()
    assert sources, f"no PostgreSQL server here: {postgres.REMEDY}"
    push = f"pgbackrest --config={repository / 'conf'} --stanza=main archive-push %p"
    server = servers.start_own(sources[0], archive_mode="on", archive_command=push, wal_level="replica")
    try:
        (repository / "conf").write_text(
            f"[global]\nrepo1-path={repository / 'repo'}\nlog-path={repository / 'log'}\nstart-fast=y\n"
            "compress-type=none\nprotocol-timeout=60\ndb-timeout=30\nlog-level-file=off\njob-retry=0\nrepo1-bundle=y\n"
            f"lock-path={repository / 'lock'}\nrepo1-retention-full=1\n\n"
            f"[main]\npg1-path={server.server.data}\npg1-port={server.server.port}\npg1-user=postgres\n"
            f"pg1-socket-path={server.server.directory}\n"
        )
        (repository / "conf").chmod(0o644)
        yield server
    finally:
        server.close()


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The processes of a server that is tried, by their kind."""
    seen: list[str] = []
    check = Restorer.check

    async def checked(self: Restorer, dsn: str, name: str) -> int:
        rows = servers.Database(dsn, "postgres").rows("SELECT backend_type FROM pg_stat_activity")
        seen.extend(kind for (kind,) in rows)
        return await check(self, dsn, name)

    monkeypatch.setattr(Restorer, "check", checked)
    return seen


@pytest.mark.slow
def test_full_differential_incremental_listed_proven(
    backup: Callable,
    archived: servers.OwnServer,
    repository: Path,
    folder: Path,
    at_work: list[str],
) -> None:
    database = servers.Database(archived.dsn(), "postgres")
    there = {
        "QUEUEWARDEN_ENV__PROD__DSN": archived.dsn(),
        "QUEUEWARDEN_ENV__PROD__UPKEEP__PGBACKREST": "main",
    }
    nothing = backup("run", **there)
    assert nothing.code == 69
    assert "pgbackrest: stanza main: missing stanza path" in nothing.err
    subprocess.run(["pgbackrest", "--stanza=main", "stanza-create"], check=True)
    database.execute(kit.SCHEMA)
    database.execute("INSERT INTO jobs (label) SELECT 'job' FROM generate_series(1, 40)")
    database.execute("ALTER SYSTEM SET shared_preload_libraries = 'nonsense'")
    tablespace = Path(tempfile.mkdtemp(dir=archived.server.directory))
    postgres.server.Account.choose().own(tablespace)
    database.execute(f"CREATE TABLESPACE elsewhere LOCATION '{tablespace}'")
    database.execute("CREATE TABLE apart TABLESPACE elsewhere AS SELECT generate_series(1, 2) AS id")
    assert listed(backup, there) == []
    for kinds in (["full"], ["incr", "full"]):
        taken = backup("run", **there)
        assert taken.code == 0, taken.err
        assert [one["kind"] for one in listed(backup, there)] == kinds
    assert backup("run", "--type", "diff", **there).code == 0
    newest = listed(backup, there)[0]
    assert (newest["kind"], newest["verified_at"]) == ("diff", None)
    assert "not proven yet" in backup("list", **there).out

    database.execute("DELETE FROM jobs")
    proven = backup("verify", **there)
    assert proven.code == 0, proven.out + proven.err
    assert f"{newest['label']} proven in" in proven.out
    assert "42 rows" in proven.out
    assert "checkpointer" in at_work
    assert "logical replication launcher" not in at_work
    assert listed(backup, there)[0]["verified_at"] is not None
    assert not processes.naming(str(folder))
    assert [place.name for place in (folder / "prod").iterdir()] == [".lock"]

    unfit = backup("verify", **there, QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE="nowhere")
    assert unfit.code == 1
    assert "cannot be checked: queue mail" in unfit.out
    assert listed(backup, there)[0]["verified_at"] is None
    for damaged in (repository / "repo" / "backup" / "main").glob("*/bundle/*"):
        damaged.write_bytes(b"")
    broken = backup("verify", **there)
    assert broken.code == 1
    assert f"{newest['label']} cannot be restored: pgbackrest: " in broken.out
    assert "no backup nothing in the repository" in backup("verify", "--backup", "nothing", **there).out
    refused = backup("restore", "--env", "prod", **there)
    assert refused.code == 69
    assert "pgbackrest --stanza=main --pg1-path=DIRECTORY restore" in refused.err
    # A new full backup makes the old ones superfluous, by pgbackrest's own retention.
    renewed = backup("run", "--type", "full", **there)
    assert renewed.code == 0
    assert renewed.out.count("removed") == 3
    assert [one["kind"] for one in listed(backup, there)] == ["full"]


def listed(backup: Callable, there: dict[str, str]) -> list[dict[str, object]]:
    found = backup("list", "--json", **there)
    assert found.code == 0, found.err
    backups: list[dict[str, object]] = json.loads(found.out)["environments"]["prod"]["backups"]
    return backups


def test_without_the_program_or_the_setting(backup: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    lacking = backup("run", QUEUEWARDEN_UPKEEP__PGBACKREST="main")
    assert lacking.code == 69
    assert "no pgbackrest on this machine" in lacking.err
    wrong = backup("run", "--type", "full")
    assert wrong.code == 2
    assert "set UPKEEP__PGBACKREST for prod" in wrong.err
