from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.application.commands.config import config
from queuewarden.settings import load
from queuewarden.settings.guard_section import Guard
from queuewarden.settings.names import ANY, leaves, variable
from queuewarden.settings.reference import reference
from queuewarden.settings.secret import SecretSource
from queuewarden.settings.show import masked, shown
from queuewarden.settings.show_alerts import hidden

EXAMPLE = Path(__file__).parents[2] / "config" / "queuewarden.env.example"
DSN = "postgresql://guard:hunter2@db:5433/app"

SPELLINGS = [
    DSN,
    "postgres://guard:hunter2@db/app?sslmode=require",
    "postgresql://guard:h%75nter2@db/app",
    "postgresql://guard@db/app?password=hunter2",
    "postgresql://guard@db/app?password=%68unter2",
    "postgresql://guard@db/app?sslpassword=hunter2",
    "postgresql://guard:p:hunter2@db/app",
    "host=db user=guard password=hunter2 dbname=app",
    "host=db user=guard password='hunter2' dbname=app",
    "host=db user=guard password = 'a\\'hunter2' dbname=app",
    "password=hunter2",
    "dbname='postgresql://guard:hunter2@db/app'",
    "dbname='password=hunter2'",
    "host=db options='-c my.secret=hunter2'",
    "host=db passfile=/home/hunter2",
    "postgresql://guard:first@hunter2@db/app",
    "host=db passwrod=hunter2",
    "hunter2",
]


@pytest.mark.parametrize("dsn", SPELLINGS)
def test_no_spelling_of_a_dsn_shows_its_password(dsn: str) -> None:
    assert "hunter2" not in masked(dsn)
    assert "***" in masked(dsn)


def test_what_tells_the_database_is_shown() -> None:
    assert masked(DSN) == "dbname=app host=db password=*** port=5433 user=guard"


@given(
    st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), st.sampled_from(["keywords", "uri"])
)
def test_no_password_is_shown_however_odd(password: str, spelling: str) -> None:
    secret = f"hunter2{password}"
    keyword = secret.replace("\\", "\\\\").replace("'", "\\'")
    dsn = f"host=db password='{keyword}'" if spelling == "keywords" else f"postgresql://u:{secret}@db/app"
    assert "hunter2" not in masked(dsn)


def test_each_value_has_its_origin(explained: Any) -> None:
    text = "\nQUEUEWARDEN_STUCK_AFTER=9m\nQUEUEWARDEN_QUEUE__MAIL__PRESET=hooks\n"
    values = shown(explained({"DSN": DSN, "ENV__DEFAULT__BATCH": "7", "PROFILE": "test"}, text))
    [settings] = [environment["settings"] for environment in values["environments"].values()]
    assert settings["batch"] == {
        "value": "7",
        "origin": "QUEUEWARDEN_ENV__DEFAULT__BATCH (process environment)",
    }
    assert settings["stuck_after"]["value"] == "9m"
    assert settings["stuck_after"]["origin"].endswith("given.env, line 2)")
    assert settings["interval"] == {"value": "1s", "origin": "profile test"}
    assert settings["lock_timeout"] == {"value": "100ms", "origin": "default"}
    assert settings["stuck_after_alive"]["value"] == "as stuck_after"
    mail = values["environments"]["default"]["queues"]["mail"]
    assert mail["stuck_after"] == {"value": "5m", "origin": "preset hooks"}
    assert values["queues"]["mail"]["jobs__table"] == {"value": "queue_jobs", "origin": "preset hooks"}
    assert values["queues"]["mail"]["preset"]["origin"].endswith("given.env, line 3)")
    assert values["settings"]["log_level"] == {"value": "error", "origin": "profile test"}
    assert values["environments"]["default"]["dsn"] == {
        "value": "dbname=app host=db password=*** port=5433 user=guard",
        "origin": "QUEUEWARDEN_DSN (process environment)",
    }


def test_every_guard_setting_is_shown(explained: Any) -> None:
    values = shown(explained({"DSN": DSN}))
    assert len(values["environments"]["default"]["settings"]) == 25


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> Any:
    monkeypatch.setattr(load, "explain", partial(load.explain, default_file=nowhere, credentials=nowhere))

    def _run(*arguments: str, **environ: str) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr("os.environ", {f"QUEUEWARDEN_{name}": value for name, value in environ.items()})
            return CliRunner().invoke(config, arguments)

    return _run


def test_show_prints_every_value_in_a_line_with_its_origin(run: Any) -> None:
    result = run("show", DSN=DSN, QUEUE__MAIL__PRESET="interviews", STUCK_AFTER_ALIVE="never")
    assert result.exit_code == 0
    assert result.stderr == "queuewarden: configuration from environment\n"
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["dead_after", "2m", "default"] in lines
    assert [
        "stuck_after_alive",
        "never",
        "QUEUEWARDEN_STUCK_AFTER_ALIVE",
        "(process",
        "environment)",
    ] in lines
    assert ["positions__max_running", "1", "default"] in lines
    assert ["checks", "orphans,", "timestamps,", "lanes,", "positions", "preset", "interviews"] in lines
    assert "hunter2" not in result.output


def test_show_spells_signs_of_life_as_their_variables(run: Any) -> None:
    shown_ = run("show", DSN=DSN, QUEUE__A__PRESET="oca_queue_job", QUEUE__B__PRESET="pgqueuer").stdout
    lines = [" ".join(line.split()) for line in shown_.splitlines()]
    assert "alive__row_lock id -> queue_job_lock.queue_job_id preset oca_queue_job" in lines
    assert "starts__table pgqueuer_log preset pgqueuer" in lines
    assert "None" not in shown_


def test_show_tells_what_is_looked_for_without_any_queue(run: Any) -> None:
    assert "if preset hooks is recognised" in run("show", DSN=DSN).stdout


def test_show_json(run: Any) -> None:
    result = run("show", "--json", DSN=DSN)
    values = json.loads(result.stdout)
    assert values["source"] == "environment"
    assert values["environments"]["default"]["discover"] is True
    assert "hunter2" not in result.output


def test_validate(run: Any, tmp_path: Path) -> None:
    result = run("validate", DSN=DSN, ENV__DEV__DSN="host=x")
    assert (result.exit_code, result.stdout) == (0, "valid: environments default, dev\n")
    file = tmp_path / "x.env"
    file.write_text("QUEUEWARDEN_DSN=host=h\n")
    result = run("validate", "--config", str(file))
    assert (result.exit_code, result.stderr) == (0, f"queuewarden: configuration from {file}\n")


SEEN = {
    "HTTP": "127.0.0.1:9753",
    "HTTP_READ_TOKEN": "hunter2-hunter2-read",
    "HTTP_WRITE_TOKEN_FILE": "/run/write",
    "PING_URL": "https://ping.example.com/hunter2",
    "ENV__PROD__DSN": "host=p",
    "ENV__PROD__PING_URL_FILE": "/run/ping",
    "ALERT__OPS__URL": "slack://hunter2/b/c",
    "ALERT__OPS__SEVERITIES": "critical",
    "ALERT__MAIL__URL_FILE": "/run/mail",
    "RULE__BACKLOG__THRESHOLD": "200",
    "RULE__BACKLOG__FOR": "1m",
    "RULE__STALLED__ENABLED": "false",
    "RULE__MINE__METRIC": "waiting_jobs",
    "RULE__MINE__THRESHOLD": "5",
    "RULE__OVERBUSY__SEVERITY": "warning",
}


def test_what_is_told_of_outside_is_shown(explained: Any) -> None:
    values = shown(explained(SEEN))
    settings = values["settings"]
    assert settings["http"]["value"] == "127.0.0.1:9753"
    assert settings["http_read_token"] == {
        "value": "***",
        "origin": "QUEUEWARDEN_HTTP_READ_TOKEN (process environment)",
    }
    assert settings["http_write_token"]["value"] == "(read from /run/write)"
    assert settings["http_open_read"] == {"value": "false", "origin": "default"}
    assert settings["http_rate"]["value"] == "100"
    assert settings["ping_url"]["value"] == "https://***"
    assert values["environments"]["prod"]["ping_url"]["value"] == "(read from /run/ping)"
    assert values["channels"]["ops"]["url"]["value"] == "slack://***"
    assert values["channels"]["ops"]["severities"]["value"] == "critical"
    assert values["channels"]["mail"]["hourly"] == {"value": "20", "origin": "default"}
    assert "hunter2" not in json.dumps(values)


def test_rules_are_shown_where_they_are_not_the_default_ones(explained: Any) -> None:
    rules = shown(explained(SEEN))["rules"]
    assert {name: {key: one["value"] for key, one in rule.items()} for name, rule in rules.items()} == {
        "backlog": {"threshold": "200", "for": "1m"},
        "mine": {"metric": "waiting_jobs", "threshold": "5"},
        "stalled": {"enabled": "false"},
    }
    assert rules["mine"]["metric"]["origin"] == "QUEUEWARDEN_RULE__MINE__METRIC (process environment)"


def test_without_any_of_it_nothing_is_shown(explained: Any) -> None:
    values = shown(explained({"DSN": DSN, "HTTP_READ_TOKEN": "hunter2-hunter2-read"}))
    assert (values["channels"], values["rules"]) == ({}, {})
    assert not [name for name in values["settings"] if name.startswith(("http", "ping"))]


def test_show_has_a_block_for_each_channel_and_rule(run: Any) -> None:
    result = run("show", **SEEN)
    assert result.exit_code == 0
    assert "\nchannel ops\n  url         slack://***" in result.stdout
    assert "\nrule stalled\n  enabled  false" in result.stdout
    assert "\nenvironment prod\n  dsn " in result.stdout
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("secret", "seen"),
    [
        ("hunter2", "***"),
        ("hunter2 ://x", "***"),
        ("://hunter2", "***"),
        (f"{'h' * 40}://x", "***"),
        ("  mailtos://hunter2", "mailtos://***"),
    ],
)
def test_of_a_url_only_the_scheme_is_shown(secret: str, seen: str) -> None:
    assert hidden(SecretSource("x", value=secret)) == {"value": seen, "origin": "x"}


def test_validate_mentions_files_that_cannot_be_used_and_passes(run: Any, tmp_path: Path) -> None:
    for name, text in {"read": "short", "ops": "", "same": "hunter2-hunter2-read"}.items():
        (tmp_path / name).write_text(text)
    files = {
        "HTTP_READ_TOKEN_FILE": str(tmp_path / "read"),
        "HTTP_WRITE_TOKEN_FILE": "/nowhere/write",
        "ALERT__OPS__URL_FILE": str(tmp_path / "ops"),
        "PING_URL_FILE": "/nowhere/ping",
    }
    result = run("validate", DSN=DSN, HTTP="127.0.0.1:9753", **files)
    assert (result.exit_code, result.stdout) == (0, "valid: environments default\n")
    assert result.stderr.splitlines()[1:] == [
        f"queuewarden: channel ops: {tmp_path}/ops is empty; write the secret into it",
        "queuewarden: ping: /nowhere/ping cannot be read: No such file or directory",
        f"queuewarden: HTTP API: {tmp_path}/read: a token of less than 16 characters",
        "queuewarden: HTTP API: /nowhere/write cannot be read: No such file or directory",
    ]
    same = {"HTTP_READ_TOKEN_FILE": str(tmp_path / "same"), "HTTP_WRITE_TOKEN": "hunter2-hunter2-read"}
    result = run("validate", DSN=DSN, HTTP="127.0.0.1:9753", **same)
    assert "HTTP_WRITE_TOKEN (process environment): the same as" in result.stderr
    assert "hunter2" not in result.output


def test_validate_mentions_a_secret_that_cannot_be_read_and_passes(run: Any) -> None:
    result = run("validate", ENV__PROD__DSN_FILE="/nowhere/dsn")
    assert result.exit_code == 0
    assert "environment prod: /nowhere/dsn cannot be read: No such file or directory" in result.stderr


def test_the_committed_example_is_the_reference(run: Any) -> None:
    assert run("reference").stdout == reference() == EXAMPLE.read_text()


def test_the_reference_names_every_variable_once() -> None:
    named = [
        line[1:].partition("=")[0] for line in reference().splitlines() if line.startswith("#QUEUEWARDEN")
    ]
    assert len(named) == len(set(named))
    everywhere = {
        path
        for path in leaves()
        if not (path[-1] in GUARD and len(path) > 1 and path[-2] == ANY) and path[2:3] != ("upkeep",)
    }
    names = {"env": "prod", "queue": "mail", "alert": "ops", "rule": "backlog"}
    assert set(named) == {
        variable(tuple(names[path[at - 1]] if part == ANY else part for at, part in enumerate(path)))
        for path in everywhere
    }


GUARD = set(Guard.model_fields)


def test_all_that_the_reference_shows_is_valid(loaded: Any) -> None:
    lines = [line.removeprefix("#") for line in reference().splitlines() if line.startswith("#QUEUEWARDEN")]
    text = "\n".join(line for line in lines if "_FILE" not in line or "STATUS_FILE" in line)
    [environment] = loaded({}, text).environments
    [queue] = environment.queues
    assert queue.jobs.label == ("kind", "document")
    assert environment.limits.stuck_after_alive is None


def test_each_description_is_one_line() -> None:
    for path, field in leaves().items():
        assert field.description, path
        assert len(field.description) <= 100, path
        assert "\n" not in field.description, path


def test_the_reference_changes_nothing_until_it_is_edited(loaded: Any) -> None:
    assert loaded({"DSN": DSN}, reference()) != loaded({"DSN": DSN})
    assert loaded({"DSN": DSN}, reference()).environments == loaded({"DSN": DSN}).environments
