"""`upkeep list`, `status` and `run`, on a real database, with real tasks."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from commands_kit import MAIL, UNREACHABLE, Called
from eventually import eventually
from nightly import AT
from pseudo_terminals import Terminal

from queuewarden.application.upkeep import programs
from queuewarden.engine.upkeep.task import Done, Progress, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.application.upkeep.programs import Workshop

BACKUPS = {"QUEUEWARDEN_UPKEEP__BACKUP": AT, "QUEUEWARDEN_BACKUP_DIR": "/nonexistent"}
NIGHTLY = {"QUEUEWARDEN_UPKEEP__ANALYZE": AT, "QUEUEWARDEN_UPKEEP__JITTER": "0"}


@pytest.fixture
def ready(mail: Callable[..., Called]) -> Callable[..., Called]:
    """With a ledger."""
    assert mail("install").code == 0
    return mail


@pytest.fixture
def backup(monkeypatch: pytest.MonkeyPatch) -> list[Workshop]:
    """A program that does nothing, and where it worked."""
    shops: list[Workshop] = []

    async def work(shop: Workshop) -> Done:
        shops.append(shop)
        shop.tell(Progress("app", "dumping", 1, 2))
        return Done((Step("app.dump", "written", "done", amount=7),))

    monkeypatch.setitem(programs.PROGRAMS, "backup", work)  # type: ignore[arg-type]
    return shops


def missed(database: servers.Database, task: str, schedule: str = f"{AT} UTC") -> None:
    database.execute(
        "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, slot, schedule, alive_until,"
        " finished_at, result) VALUES ('prod', %s, 'schedule', 'before', now() - interval '2 days', %s,"
        " now(), now() - interval '2 days', 'done')",
        [task, schedule],
    )


def recorded(database: servers.Database) -> list[tuple[str, ...]]:
    return database.rows(
        "SELECT task, trigger, result FROM queuewarden.upkeep_runs WHERE actor <> 'before' ORDER BY number"
    )


def test_list_says_when_each_task_begins_and_connects_nowhere(call: Callable[..., Called]) -> None:
    lost = (
        {"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE, "QUEUEWARDEN_UPKEEP__VACUUM": "@daily"} | MAIL | NIGHTLY
    )
    lost["QUEUEWARDEN_ENV__PROD__UPKEEP__TIME_ZONE"] = "Europe/Berlin"
    told = call("upkeep", "list", **lost)
    assert told.code == 0
    lines = told.out.splitlines()
    assert len(lines) == 9
    assert lines[1].split()[:8] == ["prod", "vacuum", "0", "0", "*", "*", "*", "Europe/Berlin"]
    assert lines[2].split() == ["prod", "reindex", "off"]
    found = call("upkeep", "list", "--json", **lost).document
    assert [one["task"] for one in found if one["next"]] == ["analyze", "vacuum"]
    assert call("upkeep", "list", "--env", "prot", **lost).code == 2


def test_a_task_runs_is_recorded_and_shown(ready: Callable[..., Called], database: servers.Database) -> None:
    ran = ready("upkeep", "run", "analyze")
    assert ran.code == 0
    assert ran.out.startswith("prod: analyze: done (")
    assert "public.jobs" in ran.out
    assert recorded(database) == [("analyze", "hand", "done")]
    shown = ready("upkeep", "status", **NIGHTLY)
    assert shown.code == 0
    assert re.search(rf"analyze  {re.escape(AT)}  done \d+ s ago", shown.out)
    told = ready("upkeep", "status", "--json", **NIGHTLY).document["prod"]
    assert told["tasks"]["analyze"]["result"] == "done"
    (run,) = told["runs"]
    assert (run["trigger"], run["slot"]) == ("hand", None)
    assert "public.jobs" in {step["subject"] for step in run["did"]}


def test_a_dry_run_changes_nothing_and_is_not_recorded(
    ready: Callable[..., Called], database: servers.Database
) -> None:
    ran = ready("upkeep", "run", "vacuum", "--dry-run")
    assert ran.code == 0
    assert "prod: vacuum: would be" in ran.out
    assert recorded(database) == []


def test_old_jobs_are_shown_until_somebody_agrees(
    ready: Callable[..., Called], database: servers.Database
) -> None:
    settings = {"QUEUEWARDEN_UPKEEP__PRUNE_AFTER": "30d", "QUEUEWARDEN_UPKEEP__PRUNE": AT}
    database.execute(
        "INSERT INTO jobs (status, finished_at)"
        " SELECT 'done', now() - make_interval(days => number) FROM generate_series(1, 40) AS number"
    )
    old = "SELECT count(*) FROM jobs WHERE finished_at < now() - interval '30 days'"
    shown = ready("upkeep", "run", "prune", **settings)
    assert (shown.code, database.value(old)) == (0, 11)
    assert re.search(r"would delete +11\b", shown.out)
    assert "prune has only shown what it would do; --yes does it" in shown.err
    due = ready("upkeep", "run", "--due", **settings, QUEUEWARDEN_LOG_FORMAT="json")
    assert "would delete 11" in due.err, "a new schedule shows what it will do"
    assert (database.value(old), recorded(database)) == (11, [("prune", "schedule", "skipped")])
    database.execute("UPDATE queuewarden.upkeep_runs SET slot = slot - interval '1 day'")
    assert "deleted 11" in ready("upkeep", "run", "--due", **settings).err
    assert database.value(old) == 0
    database.execute("UPDATE jobs SET finished_at = finished_at - interval '1 day' WHERE status = 'done'")
    assert "deleted" in ready("upkeep", "run", "prune", "--yes", **settings).out
    assert database.value(old) == 0


def test_without_a_ledger_it_runs_and_says_that_it_is_not_recorded(mail: Callable[..., Called]) -> None:
    ran = mail("upkeep", "run", "analyze")
    assert (ran.code, ran.out.startswith("prod: analyze: done")) == (0, True)
    assert "prod: not recorded (no ledger there: run `queuewarden install --env prod`)" in ran.err
    assert mail("upkeep", "status").code == 69
    assert "no ledger there" in mail("upkeep", "status", "--json").document["prod"]["error"]
    due = mail("upkeep", "run", "--due", **NIGHTLY)
    assert due.code == 69
    assert "no ledger there" in due.err
    assert mail("upkeep", "run", "--due").code == 0, "nothing is switched on"


def test_an_older_schema_names_its_remedy(ready: Callable[..., Called], database: servers.Database) -> None:
    database.execute(
        "DROP TABLE queuewarden.upkeep_runs, queuewarden.samples;"
        "UPDATE queuewarden.schema_version SET version = 3"
    )
    assert "too old for upkeep: run `queuewarden install --env prod`" in ready("upkeep", "status").err


def test_due_runs_what_the_clock_says_once_and_logs_it(
    ready: Callable[..., Called], database: servers.Database, backup: list[Workshop]
) -> None:
    clock = NIGHTLY | BACKUPS | {"QUEUEWARDEN_LOG_FORMAT": "json"}
    missed(database, "analyze")
    first = ready("upkeep", "run", "--due", **clock)
    assert (first.code, first.out) == (0, "")
    assert recorded(database) == [("analyze", "schedule", "done"), ("backup", "schedule", "skipped")]
    events = [json.loads(line) for line in first.err.splitlines() if line.startswith("{")]
    assert [(one["event"], one["task"]) for one in events] == [("upkeep.done", "analyze")]
    assert ready("upkeep", "run", "--due", **clock).err.count("upkeep.") == 0
    database.execute(
        "UPDATE queuewarden.upkeep_runs SET slot = slot - interval '1 day' WHERE task = 'backup'"
    )
    assert ready("upkeep", "run", "--due", **clock).code == 0
    assert recorded(database)[2:] == [("backup", "schedule", "done")]
    (shop,) = backup
    assert (shop.config.name, [target.queue for target in shop.targets]) == ("prod", ["mail"])


def test_due_leaves_sql_to_the_daemon_that_guards_the_database(
    ready: Callable[..., Called], database: servers.Database, backup: list[Workshop]
) -> None:
    clock = NIGHTLY | BACKUPS
    for task in ("analyze", "backup"):
        missed(database, task)
    database.execute("UPDATE queuewarden.lease SET holder = 'd', until = now() + interval '1 h'")
    assert ready("upkeep", "run", "--due", **clock).code == 0
    assert recorded(database) == [("backup", "schedule", "done")]
    assert len(backup) == 1


def test_due_waits_for_a_pause_to_end_and_by_hand_does_not(
    ready: Callable[..., Called], database: servers.Database
) -> None:
    missed(database, "analyze")
    ready("pause", "prod", "--for", "30m", "--reason", "migrating")
    held = ready("upkeep", "run", "--due", **NIGHTLY)
    assert (held.code, recorded(database)) == (0, [])
    assert "migrating" in held.err
    assert ready("upkeep", "run", "analyze").code == 0
    late = ready("upkeep", "status", **NIGHTLY)
    assert late.code == 1, "overdue by more than an hour"
    assert "overdue by" in late.out


def test_due_begins_nothing_more_once_a_pause_holds(
    ready: Callable[..., Called], database: servers.Database
) -> None:
    for task in ("analyze", "vacuum"):
        missed(database, task)
    database.execute(
        "CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO queuewarden.pauses (environment, reason, set_by, until)"
        " VALUES ('prod', 'migrating', 'anna', now() + interval '1 h'); RETURN NULL; END $$;"
        "CREATE TRIGGER halt AFTER UPDATE ON queuewarden.upkeep_runs FOR EACH ROW EXECUTE FUNCTION halt()"
    )
    ran = ready("upkeep", "run", "--due", **NIGHTLY, QUEUEWARDEN_UPKEEP__VACUUM=AT)
    assert (ran.code, "migrating" in ran.err) == (0, True)
    assert recorded(database) == [("analyze", "schedule", "done")]


def test_one_that_is_under_way_keeps_others_away(
    ready: Callable[..., Called], database: servers.Database
) -> None:
    database.execute(
        "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, alive_until)"
        " VALUES ('prod', 'reindex', 'hand', 'anna', now() + interval '1 h')"
    )
    refused = ready("upkeep", "run", "analyze")
    assert "prod: analyze: skipped (reindex of prod is under way (by anna))" in refused.out
    assert refused.code == os.EX_TEMPFAIL


def test_what_fails_is_told_and_exits_1(
    ready: Callable[..., Called], database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(shop: Workshop) -> Done:
        del shop
        return Done((Step("app.dump", "written", "failed", why="disk full"),))

    monkeypatch.setitem(programs.PROGRAMS, "backup", work)  # type: ignore[arg-type]
    failed = ready("upkeep", "run", "backup")
    assert failed.code == 1
    assert "prod: backup: failed (1 failed; app.dump: disk full)" in failed.out
    status = ready("upkeep", "status", **BACKUPS)
    assert status.code == 1
    assert re.search(r"failed \d+ s ago", status.out)


def test_what_nobody_reaches_and_what_makes_no_sense(call: Callable[..., Called]) -> None:
    lost = {"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE} | MAIL | NIGHTLY
    for arguments in (("status",), ("run", "analyze"), ("run", "--due")):
        told = call("upkeep", *arguments, **lost)
        assert told.code == 69
        assert "geheim" not in told.out + told.err
    for arguments in (("run",), ("run", "mow"), ("run", "analyze", "--due"), ("run", "--due", "--dry-run")):
        assert call("upkeep", *arguments, **lost).code == 2


def test_a_run_that_takes_too_long_is_ended(ready: Callable[..., Called], database: servers.Database) -> None:
    del database
    called = ready("upkeep", "run", "analyze", QUEUEWARDEN_UPKEEP__TIMEOUT="1ms")
    assert called.code == 1
    assert f"not done within {timedelta(milliseconds=1)}" in called.out


def test_where_everything_is_only_observed_it_only_says_what_it_would_do(
    ready: Callable[..., Called], database: servers.Database
) -> None:
    before = database.value("SELECT count(*) FROM pg_statistic WHERE starelid = 'jobs'::regclass")
    database.execute("INSERT INTO jobs DEFAULT VALUES")
    ran = ready("upkeep", "run", "analyze", QUEUEWARDEN_ENV__PROD__MODE="observe")
    assert ran.code == 0
    assert "would analyse" in ran.out
    assert database.value("SELECT count(*) FROM pg_statistic WHERE starelid = 'jobs'::regclass") == before


@pytest.mark.slow
def test_on_a_terminal_a_bar_shows_how_far_it_is_and_ctrl_c_ends_it(
    ready: Callable[..., Called], database: servers.Database
) -> None:
    del ready
    # Many pages, each of which is rested behind: half a minute's work.
    database.execute("ALTER TABLE jobs SET (fillfactor = 10)")
    database.execute("INSERT INTO jobs (status) SELECT 'done' FROM generate_series(1, 40000)")
    database.execute("DELETE FROM jobs WHERE id % 2 = 0")
    database.execute(f"ALTER DATABASE {database.name} SET vacuum_cost_limit = 1")
    settings = {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn} | MAIL
    with closing(Terminal("upkeep", "run", "vacuum", columns=100, **settings)) as shown:
        eventually(lambda: "public.jobs" in shown.written and "%" in shown.written, what="a bar")
        assert "prod: vacuum" in shown.written
        shown.process.send_signal(signal.SIGINT)
        assert shown.process.wait(30) != 0
    vacuuming = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE datname = current_database()"
    eventually(lambda: not database.value(vacuuming), what="the server has ended it")
    assert recorded(database) == [("vacuum", "hand", "killed")]
