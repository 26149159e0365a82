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
from queuewarden.settings.names import ANY, leaves, variable
from queuewarden.settings.reference import reference
from queuewarden.settings.sections import Guard
from queuewarden.settings.show import masked, shown

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
    everywhere = {path for path in leaves() if not (path[-1] in GUARD and len(path) > 1 and path[-2] == ANY)}
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
        assert len(field.description) < 100, path
        assert "\n" not in field.description, path


def test_the_reference_changes_nothing_until_it_is_edited(loaded: Any) -> None:
    assert loaded({"DSN": DSN}, reference()) != loaded({"DSN": DSN})
    assert loaded({"DSN": DSN}, reference()).environments == loaded({"DSN": DSN}).environments
