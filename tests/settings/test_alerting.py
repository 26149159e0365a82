"""Alert channels and rules: what is read, and what is wrong with them, in one line each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from queuewarden.engine.alerting.defaults import RULES
from queuewarden.errors import ConfigurationError
from queuewarden.settings import listening
from queuewarden.settings.types import NAME_RULE

from .conftest import SECRET, the_line

if TYPE_CHECKING:
    from pathlib import Path

DSN = {"DSN": "host=h"}
OPS = {"ALERT__OPS__URL": f"slack://{SECRET}/b/c"}
OWN = {"RULE__MINE__METRIC": "waiting_jobs", "RULE__MINE__THRESHOLD": "500"}

# Variables; what the one line must say.
CHANNELS = [
    (
        {"ALERT__OPS__SEVERITIES": "critical"},
        ["channel ops has no URL", "QUEUEWARDEN_ALERT__OPS__URL", "alert_ops"],
    ),
    ({"ALERT__OPS__URL": SECRET}, ["QUEUEWARDEN_ALERT__OPS__URL ", "grammar of Apprise"]),
    ({"ALERT__OPS__URL": f"//{SECRET}"}, ["QUEUEWARDEN_ALERT__OPS__URL ", "grammar of Apprise"]),
    ({"ALERT__OPS__URL": f"slack:{SECRET}"}, ["QUEUEWARDEN_ALERT__OPS__URL ", "grammar of Apprise"]),
    ({"ALERT__OPS__URL": "slack://"}, ["QUEUEWARDEN_ALERT__OPS__URL ", "grammar of Apprise"]),
    ({"ALERT__OPS__URL": " "}, ["QUEUEWARDEN_ALERT__OPS__URL ", "empty"]),
    ({"ALERT__OPS__URL_FILE": "ops_url"}, ["QUEUEWARDEN_ALERT__OPS__URL_FILE ", "absolute path"]),
    (OPS | {"ALERT__OPS__URL_FILE": "/run/ops"}, ["ALERT__OPS__URL ", "ALERT__OPS__URL_FILE ", "keep one"]),
    (
        OPS | {"ALERT__OPS__SEVERITIES": "warn"},
        ["ALERT__OPS__SEVERITIES ", "info, warning, critical, escalated"],
    ),
    (OPS | {"ALERT__OPS__SEVERITIES": "info,info"}, ["ALERT__OPS__SEVERITIES ", "twice"]),
    (OPS | {"ALERT__OPS__ENVIRONMENTS": "defualt"}, ["ALERT__OPS__ENVIRONMENTS ", "did you mean default?"]),
    (OPS | {"ALERT__OPS__HOURLY": "0"}, ["ALERT__OPS__HOURLY ", "from 1 to 10000"]),
    (OPS | {"ALERT__OPS__TIMEOUT": "2d"}, ["ALERT__OPS__TIMEOUT ", "more than 1d"]),
    ({"ALERT__MY-OPS__URL": "slack://a/b/c"}, ["QUEUEWARDEN_ALERT__MY-OPS__URL ", "single underscores"]),
]
RULES_WRONG = [
    (OWN | {"RULE__MINE__METRIC": "waiting_job"}, ["RULE__MINE__METRIC ", "did you mean waiting_jobs?"]),
    ({"RULE__BACKLOG__METRIC": "nonsense"}, ["RULE__BACKLOG__METRIC ", "unknown reading", "there is "]),
    (OWN | {"RULE__MINE__THRESHOLD": "many"}, ["RULE__MINE__THRESHOLD ", "not a number, such as"]),
    (OWN | {"RULE__MINE__THRESHOLD": "nan"}, ["RULE__MINE__THRESHOLD ", "not a number, such as"]),
    (OWN | {"RULE__MINE__THRESHOLD": ""}, ["RULE__MINE__THRESHOLD ", "empty"]),
    ({"RULE__BACKLOG__CLEAR": "5%"}, ["RULE__BACKLOG__CLEAR ", "not a number, such as"]),
    ({"RULE__BACKLOG__CLEAR": "101"}, ["RULE__BACKLOG__CLEAR ", "good side of the threshold 100"]),
    (OWN | {"RULE__MINE__CLEAR": "501"}, ["RULE__MINE__CLEAR ", "good side of the threshold 500"]),
    (
        OWN | {"RULE__MINE__COMPARISON": "below", "RULE__MINE__CLEAR": "499"},
        ["RULE__MINE__CLEAR ", "good side of the threshold 500"],
    ),
    (
        {"RULE__BACKLOG__COMPARISON": "below"},
        ["RULE__BACKLOG__COMPARISON ", "good side of the threshold 100"],
    ),
    (OWN | {"RULE__MINE__COMPARISON": ">"}, ["RULE__MINE__COMPARISON ", "above, below"]),
    (OWN | {"RULE__MINE__SEVERITY": "error"}, ["RULE__MINE__SEVERITY ", "info, warning, critical"]),
    (OWN | {"RULE__MINE__FOR": "5"}, ["RULE__MINE__FOR ", "not a duration"]),
    (OWN | {"RULE__MINE__COOLDOWN": "never"}, ["RULE__MINE__COOLDOWN ", "not a duration"]),
    (OWN | {"RULE__MINE__ESCALATE_AFTER": "nver"}, ["RULE__MINE__ESCALATE_AFTER ", "or write never"]),
    (OWN | {"RULE__MINE__ENABLED": "maybe"}, ["RULE__MINE__ENABLED ", "neither true nor false"]),
    (
        OWN | {"RULE__MINE__CHANNELS": "ops"},
        ["RULE__MINE__CHANNELS ", "unknown channel 'ops'", "there is none"],
    ),
    (OWN | OPS | {"RULE__MINE__CHANNELS": "opss"}, ["RULE__MINE__CHANNELS ", "did you mean ops?"]),
    (OWN | {"RULE__MINE__SUMMARY": "{host} is sad"}, ["RULE__MINE__SUMMARY ", "environment, queue, subject"]),
    (OWN | {"RULE__MINE__SUMMARY": "{value!r}"}, ["RULE__MINE__SUMMARY ", "a placeholder other than"]),
    (
        OWN | {"RULE__MINE__SUMMARY": "{value:>99999999}"},
        ["RULE__MINE__SUMMARY ", "a placeholder other than"],
    ),
    (
        OWN | {"RULE__MINE__SUMMARY": "{queue.__class__}"},
        ["RULE__MINE__SUMMARY ", "a placeholder other than"],
    ),
    (OWN | {"RULE__MINE__SUMMARY": "{"}, ["RULE__MINE__SUMMARY ", "without its other half"]),
    (
        {"RULE__MINE__SEVERITY": "info"},
        [
            "rule mine is no default rule",
            "QUEUEWARDEN_RULE__MINE__METRIC and QUEUEWARDEN_RULE__MINE__THRESHOLD",
        ],
    ),
    (
        {"RULE__MINE__METRIC": "waiting_jobs"},
        ["rule mine is no default rule", "needs QUEUEWARDEN_RULE__MINE__THR"],
    ),
    (
        {"RULE__MINE__THRESHOLD": "5"},
        ["rule mine is no default rule", "needs QUEUEWARDEN_RULE__MINE__METRIC"],
    ),
    (
        {"RULE__DATABASE_SLOW__THRESHOLD": "6"},
        ["RULE__DATABASE_SLOW__THRESHOLD ", "would come after database_slow_critical", "reached first"],
    ),
    (
        {"RULE__DATABASE_SLOW_CRITICAL__THRESHOLD": "0.9"},
        ["RULE__DATABASE_SLOW_CRITICAL__THRESHOLD ", "the warning threshold must be reached first"],
    ),
    (
        {"RULE__CACHE_HITS_LOW__THRESHOLD": "0.8"},
        ["RULE__CACHE_HITS_LOW__THRESHOLD ", "rule cache_hits (info) would come after cache_hits_low"],
    ),
    (
        {"RULE__DATABASE_SLOW__SEVERITY": "critical", "RULE__DATABASE_SLOW_CRITICAL__SEVERITY": "warning"},
        ["DATABASE_SLOW_CRITICAL__SEVERITY ", "RULE__DATABASE_SLOW__SEVERITY ", "must be reached first"],
    ),
    (
        {
            **OWN,
            "RULE__MINE__SEVERITY": "critical",
            "RULE__SOFT__METRIC": "waiting_jobs",
            "RULE__SOFT__THRESHOLD": "600",
        },
        [
            "RULE__SOFT__THRESHOLD ",
            "RULE__MINE__THRESHOLD ",
            "soft (warning) would come after mine (critical)",
        ],
    ),
    ({"RULE__A.B__THRESHOLD": "5"}, ["QUEUEWARDEN_RULE__A.B__THRESHOLD ", "single underscores"]),
]


@pytest.mark.parametrize(("variables", "said"), CHANNELS + RULES_WRONG)
def test_wrong_ones(validate: Any, variables: dict[str, str], said: list[str]) -> None:
    line = the_line(validate(DSN | variables))
    assert [part for part in said if part not in line] == []


def test_channels_need_their_extra(validate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "find_spec", lambda name: None if name == "apprise" else object())
    line = the_line(validate(DSN | OPS))
    assert "QUEUEWARDEN_ALERT__OPS__URL (process environment): needs the extra notify" in line
    assert "pip install 'queuewarden[notify]'" in line


def test_a_channel(loaded: Any) -> None:
    configuration = loaded(
        DSN
        | OPS
        | {
            "ENV__PROD__DSN": "host=p",
            "ALERT__OPS__SEVERITIES": "Critical, escalated",
            "ALERT__OPS__ENVIRONMENTS": "prod",
            "ALERT__OPS__HOURLY": "5",
            "ALERT__OPS__TIMEOUT": "3s",
        }
    )
    [channel] = configuration.channels
    assert (channel.name, channel.url.read()) == ("ops", OPS["ALERT__OPS__URL"])
    assert channel.severities == {"critical", "escalated"}
    assert channel.environments == {"prod"}
    assert (channel.hourly, channel.timeout) == (5, timedelta(seconds=3))
    assert SECRET not in repr(configuration)


def test_what_is_unset_of_a_channel(loaded: Any) -> None:
    [channel] = loaded(DSN | OPS).channels
    assert channel.severities == {"warning", "critical", "escalated"}
    assert (channel.environments, channel.hourly) == (frozenset(), 20)


def test_a_channel_whose_url_is_a_file_that_is_not_there_is_no_fault(loaded: Any) -> None:
    [channel] = loaded(DSN | {"ALERT__OPS__URL_FILE": "/nowhere/ops"}).channels
    assert str(channel.url.path) == "/nowhere/ops"


def test_the_environment_replaces_the_other_spelling_of_a_file(loaded: Any) -> None:
    text = "QUEUEWARDEN_ALERT__OPS__URL=slack://a/b/c\nQUEUEWARDEN_PING_URL_FILE=/run/ping\n"
    configuration = loaded(
        DSN | {"ALERT__OPS__URL_FILE": "/run/ops", "PING_URL": "https://ping.example.com/x"}, text
    )
    assert str(configuration.channels[0].url.path) == "/run/ops"
    assert configuration.ping.read() == "https://ping.example.com/x"


def test_a_url_may_hold_what_looks_like_a_comment(loaded: Any) -> None:
    url = "mailtos://user:pass word #1@example.com"
    assert loaded(DSN | {"ALERT__OPS__URL": url}).channels[0].url.read() == url


class TestCredentials:
    @pytest.fixture
    def unit(self, tmp_path: Path) -> Path:
        place = tmp_path / "unit"
        place.mkdir()
        (place / "alert_Ops").write_text(f"slack://{SECRET}/b/c\n")
        return place

    def test_one_makes_a_channel(self, loaded: Any, unit: Path) -> None:
        [channel] = loaded(DSN, environ={"CREDENTIALS_DIRECTORY": str(unit)}).channels
        assert (channel.name, channel.url.read()) == ("ops", f"slack://{SECRET}/b/c")
        assert channel.url.origin == "credential alert_ops"

    def test_one_goes_with_what_variables_say(self, loaded: Any, unit: Path) -> None:
        variables = DSN | {"ALERT__OPS__SEVERITIES": "info", "RULE__BACKLOG__CHANNELS": "ops"}
        configuration = loaded(variables, environ={"CREDENTIALS_DIRECTORY": str(unit)})
        assert configuration.channels[0].severities == {"info"}

    def test_a_variable_comes_first(self, loaded: Any, unit: Path) -> None:
        [channel] = loaded(
            DSN | {"ALERT__OPS__URL": "slack://a/b/c"}, environ={"CREDENTIALS_DIRECTORY": str(unit)}
        ).channels
        assert channel.url.read() == "slack://a/b/c"

    def test_outside_a_unit_they_lie_beside_the_dsn_files(
        self, loaded: Any, unit: Path, tmp_path: Path
    ) -> None:
        unit.rename(tmp_path / "secrets")
        configuration = loaded(DSN | {"ALERT__OPS__SEVERITIES": "info"}, credentials=tmp_path / "credentials")
        assert configuration.channels[0].url.read() == f"slack://{SECRET}/b/c"
        assert [one.name for one in configuration.environments] == ["default"]

    def test_a_name_that_no_channel_can_have(self, explained: Any, unit: Path) -> None:
        (unit / "alert_my-ops").write_text("slack://a/b/c")
        with pytest.raises(ConfigurationError) as raised:
            explained(DSN, environ={"CREDENTIALS_DIRECTORY": str(unit)})
        assert raised.value.faults == [f"credential 'alert_my-ops': {NAME_RULE}"]

    def test_a_directory_that_may_not_be_read_is_told(
        self, explained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.iterdir", refuse)
        with pytest.raises(ConfigurationError) as raised:
            explained(DSN | {"ALERT__OPS__HOURLY": "5"}, credentials=tmp_path / "credentials")
        [fault] = raised.value.faults
        assert fault.endswith(f"alert_ops; {tmp_path}/secrets cannot be read: Permission denied")


class TestRules:
    def rule(self, loaded: Any, name: str, **variables: str) -> Any:
        rules = {rule.name: rule for rule in loaded(DSN | variables).rules}
        return rules.get(name)

    def test_the_default_ones_are_there(self, loaded: Any) -> None:
        assert loaded(DSN).rules == RULES

    def test_one_is_changed(self, loaded: Any) -> None:
        variables = {"RULE__BACKLOG__THRESHOLD": "200.5", "RULE__BACKLOG__FOR": "10m"}
        rule = self.rule(loaded, "backlog", **variables)
        assert (rule.threshold, rule.hold, rule.metric) == (200.5, timedelta(minutes=10), "waiting_jobs")
        assert rule.clear is None, "the default place where it ends may lie on the wrong side"

    def test_one_is_switched_off(self, loaded: Any) -> None:
        assert self.rule(loaded, "backlog", RULE__BACKLOG__ENABLED="off") is None
        assert len(loaded(DSN | {"RULE__BACKLOG__ENABLED": "off"}).rules) == len(RULES) - 1

    def test_one_that_is_switched_off_contradicts_nothing(self, loaded: Any) -> None:
        variables = {
            "RULE__DATABASE_SLOW__THRESHOLD": "6",
            "RULE__DATABASE_SLOW_CRITICAL__ENABLED": "no",
        }
        assert self.rule(loaded, "database_slow", **variables).threshold == 6

    def test_a_new_one(self, loaded: Any) -> None:
        rule = self.rule(loaded, "mine", **OWN)
        assert (rule.metric, rule.comparison, rule.threshold) == ("waiting_jobs", "above", 500)
        assert (rule.severity, rule.hold, rule.clear) == ("warning", timedelta(0), None)
        assert "{value}" in rule.summary

    def test_all_of_one(self, loaded: Any) -> None:
        rule = self.rule(
            loaded,
            "mine",
            **OWN,
            **OPS,
            RULE__MINE__COMPARISON="Below",
            RULE__MINE__CLEAR="600",
            RULE__MINE__SEVERITY="CRITICAL",
            RULE__MINE__COOLDOWN="1m",
            RULE__MINE__ESCALATE_AFTER="2m",
            RULE__MINE__CHANNELS="ops",
            RULE__MINE__SUMMARY="{environment}: {{{value}}}",
            RULE__MINE__HINT=" look ",
        )
        assert (rule.comparison, rule.clear, rule.severity) == ("below", 600, "critical")
        assert (rule.cooldown, rule.escalate_after) == (timedelta(minutes=1), timedelta(minutes=2))
        assert (rule.channels, rule.summary, rule.hint) == (("ops",), "{environment}: {{{value}}}", "look")

    def test_never_is_how_escalation_is_taken_away(self, loaded: Any) -> None:
        name = "environment_down"
        assert self.rule(loaded, name).escalate_after is not None
        assert self.rule(loaded, name, RULE__ENVIRONMENT_DOWN__ESCALATE_AFTER="never").escalate_after is None

    def test_what_lies_on_the_threshold_is_on_the_good_side(self, loaded: Any) -> None:
        assert self.rule(loaded, "mine", **OWN, RULE__MINE__CLEAR="500").clear == 500

    def test_one_of_somebodys_own_may_lie_beside_the_default_ones(self, loaded: Any) -> None:
        assert self.rule(loaded, "mine", **OWN, RULE__MINE__SEVERITY="info") is not None

    def test_equal_thresholds_are_no_contradiction(self, loaded: Any) -> None:
        assert self.rule(loaded, "database_slow", RULE__DATABASE_SLOW__THRESHOLD="5").threshold == 5


def test_each_fault_is_told_once(validate: Any) -> None:
    wrong = {
        "ALERT__OPS__URL": "",
        "RULE__MINE__METRIC": "nonsense",
        "RULE__MINE__THRESHOLD": "x",
        "RULE__BACKLOG__CHANNELS": "ops",
    }
    code, _, stderr = validate(DSN | wrong)
    assert code == 78
    assert sorted(line.split(" ")[1] for line in stderr.splitlines()) == [
        "QUEUEWARDEN_ALERT__OPS__URL",
        "QUEUEWARDEN_RULE__MINE__METRIC",
        "QUEUEWARDEN_RULE__MINE__THRESHOLD",
    ]


def test_a_rule_may_tell_at_once_and_always(loaded: Any) -> None:
    none = {"RULE__ENVIRONMENT_DOWN__FOR": "0", "RULE__ENVIRONMENT_DOWN__COOLDOWN": "0s"}
    (rule,) = [one for one in loaded(DSN | none).rules if one.name == "environment_down"]
    assert (rule.hold, rule.cooldown) == (timedelta(0), timedelta(0))
