from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from commands_kit import UNREACHABLE, Called, as_role
from eventually import eventually
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from queuewarden.application.adoption.writing import WriteError, append, line
from queuewarden.application.cli import cli
from queuewarden.application.demo import schema
from queuewarden.settings.envfile import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

DOCUMENTED = Path(__file__).parents[1] / "conformance" / "documented"

MAIL = """
CREATE TABLE workers (
    id text PRIMARY KEY, status text NOT NULL CHECK (status IN ('idle', 'busy', 'offline')),
    heartbeat timestamptz);
CREATE TABLE mail_jobs (
    id bigserial PRIMARY KEY, kind text, payload jsonb, locked_by text, started_at timestamptz,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed',
    'on_hold')),
    created_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz, attempts int NOT NULL DEFAULT 0);
INSERT INTO workers VALUES ('w1', 'busy', now());
INSERT INTO mail_jobs (kind, status, locked_by, started_at, attempts) VALUES
    ('newsletter', 'running', 'w1', now() - interval '1 hour', 1), ('invoice', 'queued', NULL, NULL, 0);
CREATE TABLE tasks (
    id serial PRIMARY KEY, title text, assignee_id int, started_at timestamptz, due_at timestamptz,
    status text CHECK (status IN ('todo', 'doing', 'done')));
CREATE TABLE users (id serial PRIMARY KEY, email text, locked_at timestamptz, status text);
CREATE VIEW running_mail AS SELECT * FROM mail_jobs WHERE status = 'running';
"""


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(MAIL)


@pytest.fixture
def adopt(database: servers.Database, call: Callable[..., Called]) -> Callable[..., Called]:
    def _adopt(*arguments: str, **variables: str) -> Called:
        return call("adopt", *arguments, **({"QUEUEWARDEN_ENV__PROD__DSN": database.dsn} | variables))

    return _adopt


def answered(answers: str, *arguments: str, **variables: str) -> Called:
    result = CliRunner().invoke(cli, ["adopt", *arguments], env=variables, input=answers)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Called(result.exit_code, result.stdout, result.stderr)


def test_a_person_sees_what_why_and_what_a_sweep_finds(adopt: Callable) -> None:
    called = adopt()
    assert called.code == 0
    out = called.out
    assert "public.mail_jobs: a queue of jobs (confidence: high)" in out
    assert "+ JOBS__WORKER" in out
    assert "set in the 1 running row" in out
    assert "STATES: which state is 'on_hold'?" in out
    assert "prod/mail: 1 waiting, 1 running, 0 failed, 1 workers alive" in out
    assert "prod/mail: stuck_jobs: 1 job found (stuck)" in out
    assert "- public.tasks: too little speaks for a queue" in out
    assert "- public.running_mail: it is a view" in out
    assert "users" not in out
    assert "\nQUEUEWARDEN_QUEUE__MAIL__MODE=observe\n" in out
    assert "QUEUEWARDEN_QUEUE__MAIL__MODE=repair" in out, "the line to change"
    assert "\x1b" not in out


def test_what_it_says_itself_fits_eighty_columns(adopt: Callable) -> None:
    said = [each for each in adopt().out.splitlines() if not each.startswith(("QUEUEWARDEN_", "prod/"))]
    assert max(map(len, said)) <= 80


def test_the_database_is_only_read(adopt: Callable, database: servers.Database) -> None:
    look = "SELECT (SELECT array_agg(xmin::text) FROM mail_jobs), (SELECT array_agg(xmin::text) FROM workers)"
    catalog = "SELECT count(*), max(xmin::text::bigint) FROM pg_class"
    before = database.rows(look), database.rows(catalog)
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    assert adopt().code == 0
    assert (database.rows(look), database.rows(catalog)) == before


def test_programs_read_one_document(adopt: Callable) -> None:
    document = adopt("--json").document
    (queue,) = document["queues"]
    assert (queue["queue"], queue["table"], queue["confidence"]) == ("mail", "public.mail_jobs", "high")
    assert document["variables"]["QUEUEWARDEN_QUEUE__MAIL__WORKERS__OFFLINE_VALUE"] == "offline"
    assert all(one["why"] and one["confidence"] in {"sure", "likely", "guess"} for one in queue["choices"])
    assert queue["environments"]["prod"]["found"][0] == {
        "check": "stuck_jobs", "rule": "stuck", "reason": "stuck", "rows": 1, "error": None,
    }  # fmt: skip
    assert {one["table"] for one in document["environments"]["prod"]["refused"]} == {
        "public.tasks", "public.running_mail",
    }  # fmt: skip


def test_nothing_there(call: Callable, databases: Callable[..., servers.Database]) -> None:
    called = call("adopt", QUEUEWARDEN_DSN=databases("CREATE TABLE users (id int, email text)").dsn)
    assert called.code == 1
    assert "Nothing here can be guarded as it is" in called.out


def test_without_any_environment_the_way_is_shown(call: Callable) -> None:
    called = call("adopt")
    assert called.code == 78
    assert "as in: QUEUEWARDEN_DSN=" in called.err


def test_a_database_that_is_down_hides_nothing(adopt: Callable) -> None:
    called = adopt(QUEUEWARDEN_ENV__STAGING__DSN=UNREACHABLE)
    assert called.code == 69
    assert "public.mail_jobs: a queue of jobs (confidence: high), in prod" in called.out
    assert "staging was not looked at" in called.out
    assert "geheim" not in called.out + called.err


def test_it_is_written_into_a_new_file_for_its_owner_alone(
    adopt: Callable, call: Callable, database: servers.Database, tmp_path: Path
) -> None:
    file = tmp_path / "guard.env"
    called = adopt("--write", str(file), "--yes")
    assert called.code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["guard.env"]
    again = adopt("--config", str(file))
    assert again.code == 0
    assert "public.mail_jobs is queue mail already" in again.out
    checked = call("check", "--config", str(file), QUEUEWARDEN_ENV__PROD__DSN=database.dsn)
    assert "prod/mail: stuck_jobs: 1 job found (stuck), held: only observed" in checked.out


def test_the_next_step_works_where_the_dsn_stands_in_another_file(
    call: Callable, database: servers.Database, tmp_path: Path
) -> None:
    both, queues = tmp_path / "both.env", tmp_path / "queues.env"
    both.write_text(f"QUEUEWARDEN_DSN={database.dsn}\n")
    apart = call("adopt", "--config", str(both), "--write", str(queues), "--yes")
    assert "in one file, then reload" in apart.err
    together = call("adopt", "--config", str(both), "--write", str(both), "--yes")
    assert f"next: queuewarden check --config {both}, then reload" in together.err


def test_a_table_that_was_named_is_not_to_be_named_again(adopt: Callable) -> None:
    called = adopt("--table", "users")
    assert "public.users: no word in status" in called.out
    assert "--table" not in called.out


def test_a_file_that_is_there_is_added_to_and_keeps_its_mode(adopt: Callable, tmp_path: Path) -> None:
    file, link = tmp_path / "guard.env", tmp_path / "link.env"
    file.write_text("# ours\nQUEUEWARDEN_LOG_LEVEL=debug")
    file.chmod(0o640)
    link.symlink_to(file)
    assert adopt("--write", str(link), "--yes").code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert link.is_symlink()
    text = file.read_text()
    assert text.startswith("# ours\nQUEUEWARDEN_LOG_LEVEL=debug\n\n# Queue mail")
    called = adopt("--write", str(link), "--yes")
    assert called.code == 2
    assert "has QUEUEWARDEN_QUEUE__MAIL__MODE already: nothing was written" in called.err
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("path", "why"),
    [("nowhere/guard.env", "No such file"), ("", "Is a directory"), ("odd.env", "never closed")],
)
def test_a_file_that_cannot_be_written_is_told(adopt: Callable, tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "odd.env").write_text('QUEUEWARDEN_LOG_LEVEL="info')
    called = adopt("--write", str(tmp_path / path), "--yes")
    assert called.code == 2
    assert why in called.err


def test_nothing_is_written_unless_somebody_says_so(
    adopt: Callable, database: servers.Database, tmp_path: Path
) -> None:
    file = tmp_path / "guard.env"
    no = answered("n\n", "--write", str(file), QUEUEWARDEN_ENV__PROD__DSN=database.dsn)
    assert (no.code, file.exists()) == (1, False)
    assert "Write queue mail (public.mail_jobs) into" in no.err
    silent = answered("", "--write", str(file), QUEUEWARDEN_ENV__PROD__DSN=database.dsn)
    assert (silent.code, file.exists()) == (1, False)
    called = adopt("--json", "--write", str(file))
    assert called.code == 2
    assert "add --yes" in called.err
    yes = answered("y\n", "--write", str(file), QUEUEWARDEN_ENV__PROD__DSN=database.dsn)
    assert (yes.code, file.exists()) == (0, True)


def test_libraries_are_named_by_their_preset_wherever_they_are(
    call: Callable, databases: Callable[..., servers.Database]
) -> None:
    tables = (DOCUMENTED / "good_job.sql").read_text()
    database = databases(f"CREATE SCHEMA bg; SET search_path = bg; {tables}")
    called = call("adopt", "--json", QUEUEWARDEN_DSN=database.dsn)
    assert called.document["variables"] == {
        "QUEUEWARDEN_QUEUE__GOOD_JOB__PRESET": "good_job",
        "QUEUEWARDEN_QUEUE__GOOD_JOB__JOBS__TABLE": "bg.good_jobs",
        "QUEUEWARDEN_QUEUE__GOOD_JOB__WORKERS__TABLE": "bg.good_job_processes",
    }
    (queue,) = called.document["queues"]
    assert queue["environments"]["default"]["faults"] == []
    out = call("adopt", QUEUEWARDEN_DSN=database.dsn).out
    assert "bg.good_jobs: GoodJob" in out
    assert "stuck there:" in out


def test_a_library_that_differs_is_told_and_looked_at(
    call: Callable, databases: Callable[..., servers.Database]
) -> None:
    database = databases((DOCUMENTED / "oban.sql").read_text())
    database.execute("ALTER TABLE oban_jobs RENAME attempted_at TO started_at")
    called = call("adopt", QUEUEWARDEN_DSN=database.dsn)
    assert "public.oban_jobs resembles oban, and differs: oban_jobs.attempted_at missing" in called.out
    assert "QUEUEWARDEN_QUEUE__OBAN__JOBS__STARTED_AT=started_at" in called.out
    assert "PRESET" not in called.out


def test_our_own_tables_stay_guarded(call: Callable, databases: Callable[..., servers.Database]) -> None:
    database = databases()
    with database.connect() as connection:
        schema.create(connection)
    database.execute(MAIL.partition("CREATE TABLE tasks")[0].replace("workers", "mailers"))
    called = call("adopt", "--json", QUEUEWARDEN_DSN=database.dsn)
    assert {one["preset"] for one in called.document["queues"]} == {"extraction", "interviews", None}
    assert any("without a name: extraction, interviews;" in note for note in called.document["notes"])


def test_one_table_that_somebody_names(adopt: Callable) -> None:
    called = adopt("--table", "public.tasks", "--json")
    (queue,) = called.document["queues"]
    assert (queue["table"], queue["confidence"]) == ("public.tasks", "low")
    called = adopt("--table", "taks")
    assert called.code == 1
    assert "did you mean public.tasks?" in called.out
    assert adopt("--table", "a.b.c").code == 2


def test_with_mode_repair_the_rights_that_are_missing_are_told(
    adopt: Callable, database: servers.Database, roles: Callable[[str], str]
) -> None:
    reader = roles("GRANT SELECT ON mail_jobs, workers TO {}")
    dsn = as_role(database, reader)
    observed = adopt(QUEUEWARDEN_ENV__PROD__DSN=dsn)
    assert observed.code == 0
    assert "before it can repair anything, see to this" in observed.out
    assert "GRANT UPDATE" in observed.out
    (queue,) = adopt("--mode", "repair", "--json", QUEUEWARDEN_ENV__PROD__DSN=dsn).document["queues"]
    assert queue["choices"][0]["value"] == "repair"
    assert any("GRANT UPDATE" in fault for fault in queue["environments"]["prod"]["faults"])


@pytest.fixture
def roles(database: servers.Database) -> Iterator[Callable[[str], str]]:
    made = []

    def _role(rights: str) -> str:
        name = f"role{len(made)}_{database.name}"
        made.append(name)
        database.execute(f"CREATE ROLE {name}; {rights.format(name)}")
        return name

    yield _role
    for name in made:
        database.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_role_that_may_use_no_schema_is_told_so(
    call: Callable, database: servers.Database, roles: Callable[[str], str]
) -> None:
    dsn = as_role(database, roles("REVOKE USAGE ON SCHEMA public FROM public, {}"))
    called = call("adopt", "--table", "mail_jobs", QUEUEWARDEN_DSN=dsn)
    assert called.code == 1
    assert "no table mail_jobs that this role may use" in called.out
    assert "look as another one" in called.out


def test_what_may_not_be_read_is_proposed_by_its_catalog_with_the_grant(
    adopt: Callable, roles: Callable[[str], str], database: servers.Database
) -> None:
    dsn = as_role(database, roles("GRANT SELECT ON workers TO {}"))
    called = adopt(QUEUEWARDEN_ENV__PROD__DSN=dsn)
    assert "no row looked at" in called.out
    assert "no right to read public.mail_jobs: GRANT SELECT" in called.out


def test_a_superuser_runs_no_code_of_strangers(
    adopt: Callable, roles: Callable[[str], str], database: servers.Database
) -> None:
    stranger = roles("")
    database.execute(
        f"""CREATE FUNCTION trap(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
            CREATE INDEX ON mail_jobs (id) WHERE trap(1); ALTER TABLE mail_jobs OWNER TO {stranger}"""
    )
    counted = {"QUEUEWARDEN_ENV__PROD__DSN": make_conninfo(database.dsn, options="-c track_functions=all")}

    def runs() -> int:
        # A session tells what it ran when it ends.
        eventually(lambda: not database.value(_OURS))
        return database.value(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'trap'"
        )

    called = adopt(**counted)
    assert called.code == 1
    assert "it belongs to another role" in called.out.replace("\n    ", " ")
    assert runs() == 0
    assert adopt("--table", "mail_jobs", **counted).code == 0
    assert runs() > 0, "where its owner is trusted, it is read: by then the trap is one"


_RUNS = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'trap'"
_OURS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'queuewarden/%'"""


def test_a_table_that_somebody_locks_holds_nobody_up(adopt: Callable, database: servers.Database) -> None:
    with database.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE mail_jobs")
        begun = time.monotonic()
        called = adopt()
        assert time.monotonic() - begun < 10
    assert "public.mail_jobs: somebody holds it locked just now: look again" in called.out
    assert called.code == 1


def test_the_same_table_in_many_schemas_is_shown_once(
    call: Callable, databases: Callable[..., servers.Database]
) -> None:
    jobs = "CREATE TABLE {0}.jobs (id int PRIMARY KEY, status text CHECK (status IN ('queued', 'running')),"
    jobs += " worker_id text, started_at timestamptz)"
    database = databases("; ".join(f"CREATE SCHEMA t{n}; {jobs.format(f't{n}')}" for n in range(30)))
    called = call("adopt", "--json", QUEUEWARDEN_DSN=database.dsn)
    (queue,) = called.document["queues"]
    assert queue["same_in_other_schemas"] == 29
    assert "29 more schemas have this table" in call("adopt", QUEUEWARDEN_DSN=database.dsn).out


def test_of_many_a_handful_is_shown(call: Callable, databases: Callable[..., servers.Database]) -> None:
    jobs = "CREATE TABLE q{0}_jobs (id int PRIMARY KEY, status text CHECK (status IN ('queued', 'running')),"
    jobs += " worker_id text, started_at timestamptz, c{0} int)"
    database = databases("; ".join(jobs.format(n) for n in range(40)))
    document = call("adopt", "--json", QUEUEWARDEN_DSN=database.dsn).document
    assert len(document["queues"]) == 5
    assert document["environments"]["default"]["tables"] == 40
    assert document["environments"]["default"]["looked_at"] == 16


def test_names_do_not_reach_the_terminal_as_they_are(
    call: Callable, databases: Callable[..., servers.Database]
) -> None:
    database = databases(
        """CREATE TABLE U&"\\001b]0;x\\0007jobs" (id int PRIMARY KEY, worker_id text, started_at timestamptz,
           status text CHECK (status IN ('queued', 'running', U&'\\001b[31m')));
           CREATE TABLE U&"jobs\\202Etxt" (id int PRIMARY KEY, worker_id text, locked_at timestamptz,
           status text CHECK (status IN ('queued', 'running', U&'\\001b[31m')))"""
    )
    for arguments in ((), ("--json",)):
        called = call("adopt", *arguments, QUEUEWARDEN_DSN=database.dsn)
        assert not {"\x1b", "\x07", "\u202e"} & set(called.out + called.err)
    assert "settings would not take it" in call("adopt", QUEUEWARDEN_DSN=database.dsn).out


def test_environments_with_other_tables_are_told_apart(
    adopt: Callable, databases: Callable[..., servers.Database]
) -> None:
    other = databases(MAIL.replace("mail_jobs", "scan_jobs"))
    document = adopt("--json", QUEUEWARDEN_ENV__STAGING__DSN=other.dsn).document
    assert document["variables"]["QUEUEWARDEN_ENV__PROD__QUEUES"] == "mail"
    assert document["variables"]["QUEUEWARDEN_ENV__STAGING__QUEUES"] == "scan"
    by_name = {one["queue"]: one["environments"] for one in document["queues"]}
    assert list(by_name["scan"]) == ["staging"]
    same = adopt("--json", QUEUEWARDEN_ENV__STAGING__DSN=databases(MAIL).dsn).document
    assert not any(name.endswith("__QUEUES") for name in same["variables"])
    assert set(same["queues"][0]["environments"]) == {"prod", "staging"}


def test_an_environment_whose_queues_are_listed_is_for_a_person_to_change(
    adopt: Callable, database: servers.Database, tmp_path: Path
) -> None:
    database.execute("CREATE TABLE scan_jobs (LIKE mail_jobs INCLUDING ALL)")
    file = tmp_path / "guard.env"
    queue = {"TABLE": "mail_jobs", "ID": "id", "STATUS": "status"}
    lines = [f"QUEUEWARDEN_QUEUE__POST__JOBS__{name}={value}" for name, value in queue.items()]
    lines += [
        "QUEUEWARDEN_QUEUE__POST__STATES__WAITING=queued",
        "QUEUEWARDEN_QUEUE__POST__STATES__RUNNING=running",
    ]
    file.write_text("\n".join([*lines, "QUEUEWARDEN_ENV__PROD__QUEUES=post"]))
    document = adopt("--json", "--config", str(file)).document
    assert document["notes"] == ["QUEUEWARDEN_ENV__PROD__QUEUES is set already: add scan to it"]
    (one,) = document["queues"]
    assert one["environments"]["prod"]["faults"] == []
    assert document["environments"]["prod"]["mapped"] == [{"table": "public.mail_jobs", "queue": "post"}]


LARGE = """
CREATE TABLE jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), status text NOT NULL DEFAULT 'queued', pad text,
    locked_by text, started_at timestamptz, finished_at timestamptz) WITH (fillfactor = 10);
INSERT INTO jobs (status, pad, started_at, finished_at)
SELECT 'done', repeat('x', 200), now() - interval '1 hour', now() FROM generate_series(1, 8000);
INSERT INTO jobs (status, locked_by, started_at) VALUES ('running', 'w', now()), ('queued', NULL, NULL);
INSERT INTO jobs (status, pad, started_at, finished_at)
SELECT 'done', repeat('x', 200), now() - interval '1 hour', now() FROM generate_series(1, 8000);
"""
"""The rows that matter are neither the first nor the last, nor of the greatest keys."""


@pytest.mark.parametrize(
    "index",
    ["", "CREATE INDEX ON jobs (status)", "CREATE INDEX ON jobs (started_at)"],
    ids=lambda text: text[-12:],
)
def test_large_tables_are_looked_at_in_part(
    call: Callable, databases: Callable[..., servers.Database], index: str
) -> None:
    database = databases(LARGE)
    database.execute(index or "SELECT")
    assert database.value("SELECT pg_relation_size('jobs') / 8192") > 1000
    (queue,) = call("adopt", "--json", QUEUEWARDEN_DSN=database.dsn).document["queues"]
    found = {one["variable"].split("__", 2)[2]: one for one in queue["choices"]}
    assert found["STATES__RUNNING"]["value"] == "running"
    assert found["JOBS__WORKER"]["why"] == "set in the 1 running row"
    assert found["STUCK_AFTER"]["value"] == "2h"
    assert 1000 < queue["rows_looked_at"] < 16_002


def test_rows_that_a_policy_hides_are_not_guessed(
    adopt: Callable, roles: Callable[[str], str], database: servers.Database
) -> None:
    database.execute(
        "ALTER TABLE mail_jobs ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON mail_jobs USING (false)"
    )
    reader = roles("GRANT SELECT ON mail_jobs, workers TO {}")
    called = adopt(QUEUEWARDEN_ENV__PROD__DSN=as_role(database, reader))
    assert "no row looked at" in called.out
    assert "row-level security hides rows" in called.out


VALUES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00"), max_size=30)


@given(VALUES)
def test_every_value_is_read_from_the_line_that_is_written(value: str) -> None:
    (read,) = parse(line("NAME", value))
    assert (read.key, read.value, read.commented) == ("NAME", value, False)


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "guard.env"
    file.write_text("A=1\n")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("queuewarden.application.adoption.writing.os.fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        append(file, [("why", {"B": "2"})])
    assert file.read_text() == "A=1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["guard.env"]


def test_there_is_an_end_to_looking(adopt: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuewarden.application.adoption.looking.PATIENCE", -1.0)
    called = adopt()
    assert called.code == 1
    assert "public.mail_jobs: the tables before it took all the time there was" in called.out
