"""Upkeep settings: for all or for an environment, which decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from queuewarden.engine.upkeep.config import TASKS, Upkeep
from queuewarden.settings.show import shown
from queuewarden.settings.upkeep_section import UpkeepSection

DSN = {"ENV__PROD__DSN": "host=h", "ENV__DEV__DSN": "host=h"}


def of(configuration: Any, name: str) -> Any:
    return next(one for one in configuration.environments if one.name == name)


def test_all_is_off_until_it_is_switched_on(loaded: Any) -> None:
    assert of(loaded(DSN), "prod").upkeep == Upkeep()
    assert of(loaded(DSN), "prod").upkeep.schedule == {}
    assert set(TASKS) <= UpkeepSection.model_fields.keys()


def test_an_environment_decides_over_what_is_said_for_all(loaded: Any) -> None:
    configuration = loaded(
        DSN
        | {
            "UPKEEP__VACUUM": "0 2 * * *",
            "UPKEEP__ANALYZE": "@daily",
            "UPKEEP__TIME_ZONE": "Europe/Berlin",
            "UPKEEP__JITTER": "0",
            "UPKEEP__PRUNE_STATES": "done, cancelled",
            "ENV__DEV__UPKEEP__VACUUM": "off",
            "ENV__DEV__UPKEEP__MISSED": "skip",
            "ENV__DEV__UPKEEP__KEEP_DAILY": "2",
            "BACKUP_DIR": "/srv/backups",
        }
    )
    prod, dev = of(configuration, "prod").upkeep, of(configuration, "dev").upkeep
    assert prod.schedule == {"vacuum": "0 2 * * *", "analyze": "0 0 * * *"}
    assert dev.schedule == {"analyze": "0 0 * * *"}
    assert (prod.missed, dev.missed) == ("once", "skip")
    assert (prod.keep_daily, dev.keep_daily) == (7, 2)
    assert (prod.time_zone, dev.time_zone) == ("Europe/Berlin", "Europe/Berlin")
    assert (prod.jitter, prod.prune_states) == (timedelta(0), ("done", "cancelled"))
    assert str(configuration.backup_dir) == "/srv/backups"


def test_a_direct_way_to_the_database(loaded: Any, tmp_path: Any) -> None:
    file = tmp_path / "dsn"
    file.write_text("host=direct\n")
    configuration = loaded(
        DSN | {"ENV__PROD__UPKEEP_DSN": "host=direct", "ENV__DEV__UPKEEP_DSN_FILE": str(file)}
    )
    for name in ("prod", "dev"):
        assert of(configuration, name).upkeep_dsn.read() == "host=direct"
    assert of(loaded(DSN), "prod").upkeep_dsn is None


def test_what_is_shown(explained: Any) -> None:
    found = shown(
        explained(
            DSN
            | {
                "UPKEEP__VACUUM": "0 2 * * *",
                "ENV__DEV__UPKEEP__VACUUM": "off",
                "ENV__PROD__UPKEEP_DSN": "host=direct password=hunter2",
                "BACKUP_DIR": "/srv/backups",
            }
        )
    )
    prod, dev = found["environments"]["prod"], found["environments"]["dev"]
    assert prod["upkeep"]["vacuum"] == {
        "value": "0 2 * * *",
        "origin": "QUEUEWARDEN_UPKEEP__VACUUM (process environment)",
    }
    assert dev["upkeep"]["vacuum"]["value"] == "off"
    assert "analyze" not in prod["upkeep"]
    assert prod["upkeep"]["timeout"] == {"value": "2h", "origin": "default"}
    assert prod["upkeep_dsn"]["value"] == "host=direct password=***"
    assert "upkeep_dsn" not in dev
    assert found["settings"]["backup_dir"]["value"] == "/srv/backups"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("UPKEEP__VACUUM", "0 2 * *", "not a cron expression of five fields"),
        ("UPKEEP__VACUUM", "0 2 * * * *", "not a cron expression of five fields"),
        ("UPKEEP__VACUUM", "0 25 * * *", "not a cron expression: bad hour"),
        ("UPKEEP__VACUUM", "0 0 30 2 *", "not a cron expression"),
        ("UPKEEP__TIME_ZONE", "Mars/Olympus", "not a time zone"),
        ("UPKEEP__JITTER", "2d", "a jitter of more than 1d"),
        ("UPKEEP__MISSED", "twice", "not one of once, skip"),
        ("UPKEEP__PRUNE_STATES", "running", "not one of done, failed, cancelled"),
        ("UPKEEP__BLOAT", "100", "not a whole number from 1 to 99"),
        ("UPKEEP__REPORT_TO", "here/report.html", "not an absolute path"),
        ("UPKEEP__VACCUM", "0 2 * * *", "did you mean QUEUEWARDEN_UPKEEP__VACUUM?"),
        ("ENV__PROD__UPKEEP__KEEP_DALY", "3", "did you mean QUEUEWARDEN_ENV__PROD__UPKEEP__KEEP_DAILY?"),
        ("ENV__PROD__UPKEEP_DSN", "nonsense", "is not a libpq URI or keyword string"),
        ("UPKEEP__BACKUP", "@daily", "there is no place for backups; set QUEUEWARDEN_BACKUP_DIR"),
        ("ENV__DEV__UPKEEP__VERIFY", "@daily", "there is no place for backups; set QUEUEWARDEN_BACKUP_DIR"),
        ("UPKEEP__REPORT", "@daily", "the report would go nowhere; set QUEUEWARDEN_UPKEEP__REPORT_TO"),
        ("UPKEEP__REPORT_TO", "mail", "unknown channel mail; there is none"),
    ],
)
def test_what_is_wrong_is_said(validate: Any, name: str, value: str, fault: str) -> None:
    code, _, err = validate(DSN | {name: value})
    assert code == 78
    assert fault in err
    assert f"QUEUEWARDEN_{name}" in err


@pytest.mark.parametrize(
    "enough",
    [
        {"UPKEEP__BACKUP": "@daily", "BACKUP_DIR": "/srv/backups"},
        {"UPKEEP__REPORT": "@daily", "UPKEEP__REPORT_TO": "ops", "ALERT__OPS__URL": "json://h"},
        {"UPKEEP__REPORT": "@daily", "UPKEEP__REPORT_TO": "/srv/{environment}.html"},
        {"UPKEEP__REPORT_TO": "/srv/report.html"},
        {"ENV__PROD__UPKEEP__REPORT": "@daily", "ENV__PROD__UPKEEP__REPORT_TO": "/srv/report.html"},
    ],
)
def test_what_a_task_needs_is_there(loaded: Any, enough: dict[str, str]) -> None:
    loaded(DSN | enough)


def test_two_environments_do_not_write_the_same_file(validate: Any) -> None:
    code, _, err = validate(DSN | {"ENV__PROD__UPKEEP__REPORT": "@daily", "UPKEEP__REPORT_TO": "/srv/r.html"})
    assert code == 78
    assert "dev has the same file; put {environment} into its name" in err


def test_what_is_wrong_is_not_missing(validate: Any) -> None:
    wrong = {"UPKEEP__BACKUP": "@daily", "BACKUP_DIR": "backups"}
    _, _, err = validate(DSN | wrong)
    assert "not an absolute path" in err
    assert "no place for backups" not in err


def test_two_spellings_of_the_direct_dsn(validate: Any) -> None:
    code, _, err = validate(DSN | {"ENV__PROD__UPKEEP_DSN": "host=a", "ENV__PROD__UPKEEP_DSN_FILE": "/run/x"})
    assert code == 78
    assert "stands beside it; keep one of the two" in err
