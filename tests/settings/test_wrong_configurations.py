"""Wrong configurations: exit 78, one clear line that names the variable, and never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuewarden.settings import load
from queuewarden.settings.types import NAME_RULE

from .conftest import SECRET, the_line

if TYPE_CHECKING:
    from pathlib import Path

DSN = {"DSN": f"postgresql://guard:{SECRET}@db/app"}
MAIL = {
    "QUEUE__MAIL__JOBS__TABLE": "jobs",
    "QUEUE__MAIL__JOBS__ID": "id",
    "QUEUE__MAIL__JOBS__STATUS": "status",
    "QUEUE__MAIL__STATES__WAITING": "pending",
    "QUEUE__MAIL__STATES__RUNNING": "running",
}
MAIL_FILE = "".join(f"QUEUEWARDEN_{name}={value}\n" for name, value in {"DSN": "host=h", **MAIL}.items())
COMMENTED = "a # within a line is part of the value: put the comment on a line of its own, or "
OTHER = {name.replace("MAIL", "OTHER"): value for name, value in MAIL.items()}
PRESET = {"QUEUE__MAIL__PRESET": "extraction"}
WORKERS = {
    "QUEUE__MAIL__JOBS__WORKER": "worker_id",
    "QUEUE__MAIL__WORKERS__TABLE": "workers",
    "QUEUE__MAIL__WORKERS__ID": "id",
    "QUEUE__MAIL__WORKERS__HEARTBEAT": "seen_at",
}


def without(mapping: Any, *names: str) -> Any:
    return {name: value for name, value in mapping.items() if not name.endswith(names)}


# Variables; what the one line must say.
UNKNOWN = [
    ({"INTERVALL": "30s"}, ["QUEUEWARDEN_INTERVALL", "did you mean QUEUEWARDEN_INTERVAL?"]),
    ({"STUCKAFTER": "30s"}, ["QUEUEWARDEN_STUCKAFTER", "did you mean QUEUEWARDEN_STUCK_AFTER?"]),
    ({"LOGLEVEL": "info"}, ["did you mean QUEUEWARDEN_LOG_LEVEL?"]),
    ({"LOG__LEVEL": "info"}, ["did you mean QUEUEWARDEN_LOG_LEVEL?"]),
    ({"ENV__PROD__DNS": "x", "ENV__PROD__DSN": "host=h"}, ["did you mean QUEUEWARDEN_ENV__PROD__DSN?"]),
    ({"ENV_PROD_DSN": f"host=h password={SECRET}"}, ["did you mean QUEUEWARDEN_ENV__PROD__DSN?"]),
    ({"ENV__PROD_DSN": f"host=h password={SECRET}"}, ["did you mean QUEUEWARDEN_ENV__PROD__DSN?"]),
    ({"PROD__DSN": f"host=h password={SECRET}"}, ["QUEUEWARDEN_PROD__DSN", "did you mean QUEUEWARDEN_"]),
    (
        {"ENV__PROD__PASSWORD": SECRET, "ENV__PROD__DSN": "host=h"},
        ["QUEUEWARDEN_ENV__PROD__PASSWORD", "`queuewarden config reference`"],
    ),
    ({"ENV__DSN": f"host=h password={SECRET}"}, ["did you mean QUEUEWARDEN_ENV__NAME__DSN?"]),
    ({"ENV__A__B__DSN": "host=h"}, ["QUEUEWARDEN_ENV__A__B__DSN", "did you mean QUEUEWARDEN_ENV__A__DSN?"]),
    ({"ENV__PROD__LOG_LEVEL": "info"}, ["did you mean QUEUEWARDEN_LOG_LEVEL?"]),
    ({"ENV__PROD__STUCK_AFTR": "1m"}, ["did you mean QUEUEWARDEN_ENV__PROD__STUCK_AFTER?"]),
    ({"QUEUE__MAIL__JOBS_TABLE": "jobs"}, ["did you mean QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE?"]),
    ({"QUEUE__MAIL__TABLE": "jobs"}, ["QUEUE__MAIL__TABLE", "QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE?"]),
    ({"QUEUE__MAIL__JOB__TABLE": "jobs"}, ["did you mean QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE?"]),
    ({"QUEUE__MAIL__STATE__RUNNING": "x"}, ["did you mean QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING?"]),
    ({"QUEUE__MAIL__JOBS__STUCK_AFTER": "1m"}, ["did you mean QUEUEWARDEN_QUEUE__MAIL__STUCK_AFTER?"]),
    ({"QUEUE__MAIL__REFERENCE": "x"}, ["did you mean QUEUEWARDEN_QUEUE__MAIL__REFERENCES?"]),
    ({"QUEUE__MAIL__WORKERS__LAST_HEARTBEAT": "x"}, ["QUEUEWARDEN_QUEUE__MAIL__WORKERS__HEARTBEAT?"]),
    (
        {"QUEUE__MAIL__POSITIONS__ORDERBY": "x"},
        ["did you mean QUEUEWARDEN_QUEUE__MAIL__POSITIONS__ORDER_BY?"],
    ),
    ({"QUEUES": "mail"}, ["QUEUEWARDEN_QUEUES", "did you mean QUEUEWARDEN_"]),
    ({"ENV__PROD__QUEUE__MAIL__PRESET": "hooks"}, ["did you mean QUEUEWARDEN_QUEUE__MAIL__PRESET?"]),
    ({"X": "1"}, ["QUEUEWARDEN_X ", "unknown variable; `queuewarden config reference`"]),
    ({"FOO": "1"}, ["QUEUEWARDEN_FOO ", "unknown variable; `queuewarden config reference`"]),
    ({"URL": "host=h"}, ["QUEUEWARDEN_URL ", "unknown variable; did you mean QUEUEWARDEN_DSN?"]),
    ({"": "1"}, ["QUEUEWARDEN_ ", "unknown variable; "]),
    ({"ENV__MY-DB__DSN": "host=h"}, ["QUEUEWARDEN_ENV__MY-DB__DSN", "a-z, 0-9 and single underscores"]),
    ({"ENV____DSN": "host=h"}, ["QUEUEWARDEN_ENV____DSN", "a-z, 0-9 and single underscores"]),
    ({"QUEUE__A.B__PRESET": "hooks"}, ["QUEUEWARDEN_QUEUE__A.B__PRESET", "a-z, 0-9 and single underscores"]),
]
BAD_VALUES = [
    ({"INTERVAL": SECRET}, ["QUEUEWARDEN_INTERVAL ", "not a duration"]),
    ({"INTERVAL": "30"}, ["QUEUEWARDEN_INTERVAL ", "30s"]),
    ({"INTERVAL": "1ms"}, ["QUEUEWARDEN_INTERVAL ", "shorter than 100ms"]),
    ({"INTERVAL": "2d"}, ["QUEUEWARDEN_INTERVAL ", "longer than 1d"]),
    ({"INTERVAL": ""}, ["QUEUEWARDEN_INTERVAL ", "empty"]),
    ({"STUCK_AFTER": "-3m"}, ["QUEUEWARDEN_STUCK_AFTER ", "not a duration"]),
    ({"STUCK_AFTER": "0s"}, ["QUEUEWARDEN_STUCK_AFTER ", "longer than zero"]),
    ({"STUCK_AFTER": "never"}, ["QUEUEWARDEN_STUCK_AFTER ", "not a duration"]),
    ({"STUCK_AFTER_ALIVE": "ever"}, ["QUEUEWARDEN_STUCK_AFTER_ALIVE ", "not a duration", "or write never"]),
    ({"STUCK_AFTER_ALIVE": "nver"}, ["QUEUEWARDEN_STUCK_AFTER_ALIVE ", "or write never"]),
    ({"INTERVAL": "30s # often"}, ["QUEUEWARDEN_INTERVAL ", COMMENTED]),
    ({"MODE": "observe # for now"}, ["QUEUEWARDEN_MODE ", COMMENTED, "double quotes"]),
    ({**MAIL, "QUEUE__MAIL__STATES__WAITING": "pending    # first"}, ["STATES__WAITING ", COMMENTED]),
    ({**MAIL, "QUEUE__MAIL__STATES__DONE": "# none"}, ["QUEUE__MAIL__STATES__DONE ", COMMENTED]),
    ({**MAIL, "QUEUE__MAIL__STATES__DONE": '"a b" # c'}, ["QUEUE__MAIL__STATES__DONE ", COMMENTED]),
    ({**MAIL, "QUEUE__MAIL__STATES__DONE": '"done #1"'}, None),
    ({**MAIL, "QUEUE__MAIL__STATES__DONE": "done#1"}, None),
    ({"ENV__PROD__DSN": "host=h password='a #b'"}, None),
    ({"DEAD_AFTER": "999999999999d"}, ["QUEUEWARDEN_DEAD_AFTER ", "more than 3650d"]),
    ({"ORPHAN_AFTER": "10 minutes"}, ["QUEUEWARDEN_ORPHAN_AFTER ", "not a duration"]),
    ({"STATEMENT_TIMEOUT": "25h"}, ["QUEUEWARDEN_STATEMENT_TIMEOUT ", "more than 1d"]),
    ({"LOCK_TIMEOUT": "100us"}, ["QUEUEWARDEN_LOCK_TIMEOUT ", "not a duration"]),
    ({"LOCK_TIMEOUT": "1m"}, ["QUEUEWARDEN_LOCK_TIMEOUT ", "STATEMENT_TIMEOUT"]),
    ({"STATEMENT_TIMEOUT": "50ms"}, ["QUEUEWARDEN_STATEMENT_TIMEOUT ", "LOCK_TIMEOUT"]),
    ({"CONNECT_TIMEOUT": "20s"}, ["QUEUEWARDEN_CONNECT_TIMEOUT ", "LEASE_TTL"]),
    ({"ENV__DEFAULT__LEASE_TTL": "5s"}, ["QUEUEWARDEN_ENV__DEFAULT__LEASE_TTL ", "CONNECT_TIMEOUT"]),
    ({"MODE": "fix"}, ["QUEUEWARDEN_MODE ", "repair, observe"]),
    ({"CHECKS": "stuck_jobs, dead_worker"}, ["QUEUEWARDEN_CHECKS ", "dead_workers"]),
    ({"CHECKS": "stuck_jobs,,lanes"}, ["QUEUEWARDEN_CHECKS ", "empty item"]),
    ({"CHECKS": "lanes,lanes"}, ["QUEUEWARDEN_CHECKS ", "twice"]),
    ({"CHECKS": '["lanes"]'}, ["QUEUEWARDEN_CHECKS ", "not one of"]),
    ({"RESCUE_BUDGET": "0"}, ["QUEUEWARDEN_RESCUE_BUDGET ", "whole number"]),
    ({"RESCUE_BUDGET": "five"}, ["QUEUEWARDEN_RESCUE_BUDGET ", "whole number"]),
    ({"BATCH": "1_000"}, ["QUEUEWARDEN_BATCH ", "whole number"]),
    ({"BATCH": "0"}, ["QUEUEWARDEN_BATCH ", "from 1"]),
    ({"POSITION_ROWS": "2e4"}, ["QUEUEWARDEN_POSITION_ROWS ", "whole number"]),
    ({"BRAKE_ROWS": "-1"}, ["QUEUEWARDEN_BRAKE_ROWS ", "from 0"]),
    ({"BUSY_FACTOR": "nan"}, ["QUEUEWARDEN_BUSY_FACTOR ", "positive number"]),
    ({"FAILED_JOBS": "10.5"}, ["QUEUEWARDEN_FAILED_JOBS ", "whole number"]),
    ({"TIMESTAMPS_FILL": "guess"}, ["QUEUEWARDEN_TIMESTAMPS_FILL ", "estimate, report"]),
    ({"TRUST_THRESHOLD": "maybe"}, ["QUEUEWARDEN_TRUST_THRESHOLD ", "neither true nor false"]),
    ({"LOG_LEVEL": "verbose"}, ["QUEUEWARDEN_LOG_LEVEL ", "debug, info, warning, error"]),
    ({"LOG_FORMAT": "xml"}, ["QUEUEWARDEN_LOG_FORMAT ", "auto, console, json, journal"]),
    ({"PROFILE": "prod"}, ["QUEUEWARDEN_PROFILE ", "production, development, test"]),
    ({"STATUS_FILE": "status.json"}, ["QUEUEWARDEN_STATUS_FILE ", "absolute path"]),
    ({"ENV__DEFAULT__MODE": "off"}, ["QUEUEWARDEN_ENV__DEFAULT__MODE ", "repair, observe"]),
    ({**MAIL, "QUEUE__MAIL__STUCK_AFTER": "x"}, ["QUEUEWARDEN_QUEUE__MAIL__STUCK_AFTER ", "not a duration"]),
    (
        {**MAIL, "ENV__DEFAULT__QUEUE__MAIL__INTERVAL": "x"},
        ["QUEUEWARDEN_ENV__DEFAULT__QUEUE__MAIL__INTERVAL ", "not a duration"],
    ),
    ({**MAIL, "ENV__DEFAULT__QUEUES": "mail,"}, ["QUEUEWARDEN_ENV__DEFAULT__QUEUES ", "empty item"]),
    ({**MAIL, "ENV__DEFAULT__QUEUES": "ma il"}, ["QUEUEWARDEN_ENV__DEFAULT__QUEUES ", "underscores"]),
    ({**MAIL, "ENV__DEFAULT__QUEUES": ""}, ["QUEUEWARDEN_ENV__DEFAULT__QUEUES ", "empty"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__TABLE": "a.b.c"}, ["QUEUE__MAIL__JOBS__TABLE ", "[schema.]name"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__TABLE": "my jobs"}, ["QUEUE__MAIL__JOBS__TABLE ", "double quotes"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__TABLE": 'app."jobs'}, ["QUEUE__MAIL__JOBS__TABLE ", "double quotes"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__ID": "id,id"}, ["QUEUE__MAIL__JOBS__ID ", "twice"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__STATUS": "x" * 64}, ["QUEUE__MAIL__JOBS__STATUS ", "63 bytes"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__MAX_ATTEMPTS": "-5"}, None),
    ({**MAIL, "QUEUE__MAIL__JOBS__MAX_ATTEMPTS": "9999999"}, ["JOBS__MAX_ATTEMPTS ", "whole number"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__ATTEMPTS_COUNTED": "start"}, ["ATTEMPTS_COUNTED ", "claim, finish, never"]),
    ({**MAIL, "QUEUE__MAIL__JOBS__LABEL": "a;b"}, ["QUEUE__MAIL__JOBS__LABEL ", "not a name"]),
    (
        {**MAIL, "QUEUE__MAIL__JOBS__TIME_ZONE": "Mars/Base"},
        ["QUEUE__MAIL__JOBS__TIME_ZONE ", "Europe/Berlin"],
    ),
    ({**MAIL, "QUEUE__MAIL__STATES__DONE": "done,done"}, ["QUEUE__MAIL__STATES__DONE ", "twice"]),
    (
        {**MAIL, "QUEUE__MAIL__REFERENCES": "a > b.id"},
        ["QUEUE__MAIL__REFERENCES ", "student_id -> students.id"],
    ),
    (
        {**MAIL, "QUEUE__MAIL__REFERENCES": "a -> b"},
        ["QUEUE__MAIL__REFERENCES ", "student_id -> students.id"],
    ),
    ({**MAIL, "QUEUE__MAIL__TIMESTAMPS": "running"}, ["QUEUE__MAIL__TIMESTAMPS ", "in_progress=started_at"]),
    (
        {**MAIL, "QUEUE__MAIL__TIMESTAMPS": "runing=started_at"},
        ["QUEUE__MAIL__TIMESTAMPS ", "'runing'", "did you mean running?"],
    ),
    (
        {**MAIL, "QUEUE__MAIL__POSITIONS__COLUMN": "p", "QUEUE__MAIL__POSITIONS__ORDER_BY": "a downwards"},
        ["QUEUE__MAIL__POSITIONS__ORDER_BY ", "priority desc, joined_at"],
    ),
    (
        {**MAIL, "QUEUE__MAIL__POSITIONS__MAX_RUNNING": "0"},
        ["POSITIONS__MAX_RUNNING ", "whole number from 1"],
    ),
    ({**PRESET, "QUEUE__MAIL__POSITIONS__DENSE": "so so"}, ["POSITIONS__DENSE ", "neither true nor false"]),
    ({"QUEUE__MAIL__PRESET": "extration"}, ["QUEUEWARDEN_QUEUE__MAIL__PRESET ", "did you mean extraction?"]),
    ({"QUEUE__MAIL__PRESET": "sidekiq"}, ["QUEUEWARDEN_QUEUE__MAIL__PRESET ", "interviews"]),
    ({"QUEUE__MAIL__PRESET": ""}, ["QUEUEWARDEN_QUEUE__MAIL__PRESET ", "empty"]),
    ({"DEAD_AFTER": "2m\x1b[31m"}, ["QUEUEWARDEN_DEAD_AFTER ", "control characters"]),
    ({"DEAD_AFTER": "\udcff"}, ["QUEUEWARDEN_DEAD_AFTER ", "UTF-8"]),
    ({"queuewarden_interval": "10s"}, None),
]
HALF = [
    (
        {"QUEUE__MAIL__STUCK_AFTER": "5m"},
        [
            "QUEUEWARDEN_QUEUE__MAIL: half mapped",
            "QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE",
            "QUEUE__MAIL__PRESET",
        ],
    ),
    *(
        (without(MAIL, name), ["QUEUEWARDEN_QUEUE__MAIL: half mapped", f"QUEUEWARDEN_QUEUE__MAIL__{name} "])
        for name in ("JOBS__TABLE", "JOBS__ID", "JOBS__STATUS", "STATES__WAITING", "STATES__RUNNING")
    ),
    ({**MAIL, "QUEUE__MAIL__JOBS__ID": ""}, ["half mapped; also set QUEUEWARDEN_QUEUE__MAIL__JOBS__ID"]),
    ({**PRESET, "QUEUE__MAIL__STATES__RUNNING": " "}, ["also set QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING"]),
    ({"QUEUE__MAIL__PRESET": "generic"}, ["half mapped; also set QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE"]),
    *(
        ({**MAIL, **without(WORKERS, name)}, ["half mapped", f"QUEUEWARDEN_QUEUE__MAIL__{name}"])
        for name in ("JOBS__WORKER", "WORKERS__TABLE", "WORKERS__ID", "WORKERS__HEARTBEAT")
    ),
    (
        {**PRESET, "QUEUE__MAIL__JOBS__WORKER": ""},
        ["half mapped; also set QUEUEWARDEN_QUEUE__MAIL__JOBS__WORKER"],
    ),
    ({**MAIL, "QUEUE__MAIL__POSITIONS__COLUMN": "p"}, ["QUEUE__MAIL__POSITIONS__COLUMN ", "ORDER_BY"]),
    (
        {**MAIL, "QUEUE__MAIL__POSITIONS__LANE": "a"},
        ["QUEUE__MAIL__POSITIONS__LANE ", "COLUMN", "MAX_RUNNING"],
    ),
    ({**MAIL, "QUEUE__MAIL__POSITIONS__DEMOTE": "yes"}, ["QUEUE__MAIL__POSITIONS__DEMOTE ", "MAX_RUNNING"]),
]
CONTRADICTIONS = [
    (
        {**MAIL, "QUEUE__MAIL__STATES__DONE": "running"},
        ["QUEUE__MAIL__STATES__DONE ", "'running'", "RUNNING"],
    ),
    ({**MAIL, "QUEUE__MAIL__STATES__RUNNING": "pending"}, ["STATES__RUNNING ", "'pending'", "WAITING"]),
    ({**PRESET, "QUEUE__MAIL__STATES__FAILED": "4, 3"}, ["QUEUE__MAIL__STATES__FAILED ", "'3'", "DONE"]),
    ({**PRESET, "QUEUE__MAIL__STATES__CANCELLED": "4"}, ["QUEUE__MAIL__STATES__CANCELLED ", "'4'", "FAILED"]),
    (
        MAIL | OTHER,
        [
            "QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING",
            "QUEUEWARDEN_QUEUE__OTHER__STATES__RUNNING",
            "'running'",
            "jobs",
        ],
    ),
    (
        MAIL
        | OTHER
        | {"QUEUE__OTHER__JOBS__TABLE": "public.jobs", "QUEUE__OTHER__STATES__RUNNING": "a,running"},
        [
            "QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING",
            "QUEUEWARDEN_QUEUE__OTHER__STATES__RUNNING",
            "'running'",
        ],
    ),
    ({**MAIL, "ENV__DEFAULT__QUEUES": "male"}, ["QUEUEWARDEN_ENV__DEFAULT__QUEUES ", "did you mean mail?"]),
    ({"ENV__DEFAULT__QUEUES": "mail"}, ["QUEUEWARDEN_ENV__DEFAULT__QUEUES ", "unknown queue", "none"]),
    (
        {**MAIL, "ENV__DEFAULT__QUEUE__MALE__MODE": "observe"},
        ["QUEUEWARDEN_ENV__DEFAULT__QUEUE__MALE__MODE ", "did you mean mail?"],
    ),
    (
        {**MAIL, **WORKERS, "QUEUE__MAIL__WORKERS__REGISTERED_IN": "prod"},
        ["QUEUE__MAIL__WORKERS__REGISTERED_IN ", "unknown environment", "default"],
    ),
    (
        {"ENV__DEFAULT__DSN_FILE": "/run/secrets/dsn"},
        ["QUEUEWARDEN_DSN ", "QUEUEWARDEN_ENV__DEFAULT__DSN_FILE ", "keep one"],
    ),
    (
        {"ENV__DEFAULT__DSN": f"host=x password={SECRET}"},
        ["QUEUEWARDEN_DSN", "QUEUEWARDEN_ENV__DEFAULT__DSN"],
    ),
    (
        {"ENV__PROD__MODE": "observe"},
        ["environment prod has no DSN", "QUEUEWARDEN_ENV__PROD__DSN", "dsn_prod"],
    ),
    ({"ENV__PROD__DSN": ""}, ["QUEUEWARDEN_ENV__PROD__DSN ", "empty"]),
    ({"ENV__PROD__DSN_FILE": f"postgresql://u:{SECRET}@h/d"}, ["ENV__PROD__DSN_FILE ", "absolute path"]),
]
DSNS = [
    f"postgresql://guard:{SECRET}@db:port/app",
    f"postgresql://guard:{SECRET}@db/app?nonsense=1",
    f"postgresql://guard:{SECRET}%zz@db/app",
    f"postgresql://guard:{SECRET}@[db/app",
    f"host=db passwrod={SECRET}",
    f"host=db password='{SECRET}",
    f"host=db password {SECRET}",
    SECRET,
    f"mysql://guard:{SECRET}@db/app",
    f"'{SECRET}'",
]
FILES = [
    (
        f"QUEUEWARDEN_DSN=host=h password={SECRET} # prod\n",
        ["QUEUEWARDEN_DSN ", "line 1", COMMENTED, "or quote the value"],
    ),
    (
        f"{MAIL_FILE}QUEUEWARDEN_QUEUE__MAIL__STATES__WAITING=queued     # the first\n",
        ["QUEUEWARDEN_QUEUE__MAIL__STATES__WAITING ", "line 7", COMMENTED],
    ),
    (
        f"{MAIL_FILE}QUEUEWARDEN_QUEUE__MAIL__STATES__DONE=   # none\n",
        ["QUEUEWARDEN_QUEUE__MAIL__STATES__DONE ", "line 7", COMMENTED],
    ),
    (
        f'{MAIL_FILE}QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE="Weird Schema"."Table.v2"\n',
        ["JOBS__TABLE ", "line 7", 'single ones around the whole: \'"My Schema"."my.table"\''],
    ),
    (f"QUEUEWARDEN_DSN=host=h\npassword {SECRET}\n", ["given.env: line 2: no '='"]),
    (f"QUEUEWARDEN_DSN='host=h password={SECRET}\n", ["given.env: line 1: a quote is opened"]),
    (f"QUEUEWARDEN_DSN=host=h\n={SECRET}\n", ["given.env: line 2: no name"]),
    (f"export QUEUEWARDEN_DSN=postgresql://u:{SECRET}@h/d", ["no environment is configured"]),
    (
        f"QUEUEWARDEN_DSN postgresql://u:{SECRET}@h/d?sslmode=require\n",
        ["QUEUEWARDEN_DSN ", "line 1", "NAME=value"],
    ),
    (
        "QUEUEWARDEN_DSN=host=h\n\nQUEUEWARDEN_INTERVALL=3s\n",
        ["INTERVALL", "line 3", "QUEUEWARDEN_INTERVAL?"],
    ),
    (
        "QUEUEWARDEN_DSN=host=h\nQUEUEWARDEN_INTERVAL=3s # often\n",
        ["QUEUEWARDEN_INTERVAL ", "line 2", COMMENTED],
    ),
    ("QUEUEWARDEN_DSN=host=h\nQUEWARDEN_INTERVAL=3s\n", ["QUEWARDEN_INTERVAL", "did you mean QUEUEWARDEN_"]),
    ("QUEUEWARDEN_DSN=host=h\nQUEUEWARDEN_CONFIG_FILE=/x\n", ["QUEUEWARDEN_CONFIG_FILE ", "no effect"]),
    (
        "QUEUEWARDEN_DSN=host=h\nQUEUEWARDEN_DSN_FILE=/x\n",
        ["QUEUEWARDEN_DSN ", "QUEUEWARDEN_DSN_FILE ", "keep one"],
    ),
    (
        "QUEUEWARDEN_DSN=host=h\nQUEUEWARDEN_BATCH='\x07'\n",
        ["QUEUEWARDEN_BATCH ", "line 2", "control characters"],
    ),
    ("# nothing\n", ["no environment is configured", "QUEUEWARDEN_DSN"]),
]


WRONG = [case for case in [*BAD_VALUES, *HALF, *CONTRADICTIONS] if case[1]]


def test_there_are_enough_of_them() -> None:
    assert len(UNKNOWN) + len(WRONG) + len(DSNS) + len(FILES) >= 100


@pytest.mark.parametrize(("variables", "said"), UNKNOWN)
def test_unknown_variables(validate: Any, variables: dict[str, str], said: Any) -> None:
    line = the_line(validate(DSN | variables))
    assert [part for part in said if part not in line] == []


@pytest.mark.parametrize(("variables", "said"), WRONG)
def test_wrong_values_and_mappings(validate: Any, variables: dict[str, str], said: Any) -> None:
    line = the_line(validate(DSN | variables))
    assert [part for part in said if part not in line] == []


@pytest.mark.parametrize("dsn", DSNS)
@pytest.mark.parametrize("name", ["DSN", "ENV__PROD__DSN"])
def test_malformed_dsns_are_never_quoted(validate: Any, name: str, dsn: str) -> None:
    line = the_line(validate({name: dsn}))
    assert f"QUEUEWARDEN_{name} " in line
    assert "libpq URI or keyword string" in line


@pytest.mark.parametrize(("text", "said"), FILES)
def test_wrong_files(validate: Any, tmp_path: Path, text: str, said: Any) -> None:
    file = tmp_path / "given.env"
    file.write_text(text)
    line = the_line(validate({}, "--config", str(file)))
    assert [part for part in said if part not in line] == []


def test_no_environment_at_all(validate: Any) -> None:
    assert the_line(validate({})) == f"queuewarden: {load.NO_ENVIRONMENT}"


def test_a_file_that_is_not_there(validate: Any, tmp_path: Path) -> None:
    line = the_line(validate({}, "--config", str(tmp_path / "missing.env")))
    assert f"{tmp_path}/missing.env: cannot be read: No such file or directory" in line
    line = the_line(validate({"CONFIG_FILE": f"{tmp_path}/missing.env"}))
    assert f"{tmp_path}/missing.env: cannot be read" in line


def test_a_dsn_where_the_file_belongs(validate: Any) -> None:
    assert "cannot be read" in the_line(validate({"CONFIG_FILE": f"postgresql://u:{SECRET}@h/d"}))


def test_a_file_that_is_no_text(validate: Any, tmp_path: Path) -> None:
    (tmp_path / "binary.env").write_bytes(b"\xff\xfe" + SECRET.encode())
    assert "not UTF-8 text" in the_line(validate({}, "--config", str(tmp_path / "binary.env")))


def test_a_directory_is_no_file(validate: Any, tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in the_line(validate({}, "--config", str(tmp_path)))


def test_what_is_no_path(nowhere: Path) -> None:
    with pytest.raises(load.ConfigurationError, match="not the path of a file"):
        load.load({}, nowhere / "a\0b")


def test_two_spellings_of_one_variable(validate: Any) -> None:
    line = the_line(validate({**DSN, "INTERVAL": "10s", "interval": "20s"}))
    assert "also given as QUEUEWARDEN_" in line


def test_all_faults_are_told_at_once(validate: Any) -> None:
    wrong = {
        "INTERVALL": "1s",
        "MODE": "fix",
        "BATCH": "0",
        "QUEUE__MAIL__STUCK_AFTER": "x",
        "ENV__PROD__MODE": "observe",
    }
    code, _, stderr = validate(DSN | wrong)
    assert code == 78
    told = [line.split(" ")[1] for line in stderr.splitlines()]
    assert set(told) == {
        "QUEUEWARDEN_INTERVALL",
        "QUEUEWARDEN_MODE",
        "QUEUEWARDEN_BATCH",
        "QUEUEWARDEN_QUEUE__MAIL__STUCK_AFTER",
        "QUEUEWARDEN_QUEUE__MAIL:",
        "environment",
    }
    assert len(told) == 6


def test_a_credential_whose_name_no_environment_can_have(explained: Any, tmp_path: Path) -> None:
    place = tmp_path / "credentials"
    place.mkdir()
    (place / "my-db").write_text("host=h")
    with pytest.raises(load.ConfigurationError) as raised:
        explained(credentials=place)
    assert raised.value.faults == [f"{place}/my-db: {NAME_RULE}"]
