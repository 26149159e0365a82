from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuewarden.checks import CHECKS
from queuewarden.errors import ConfigurationError, UnavailableError
from queuewarden.queues.mapping import Jobs, OrderTerm, Positions, Reference, States, TableName, Workers
from queuewarden.queues.presets import presets
from queuewarden.settings.load import load
from queuewarden.settings.mappings import preset_mapping
from queuewarden.settings.names import ANY, leaves, variable
from queuewarden.settings.secret import DsnSource

if TYPE_CHECKING:
    from queuewarden.settings.configuration import Configuration

DSN = {"ENV__PROD__DSN": "host=prod"}
MAIL = {
    "QUEUE__MAIL__JOBS__TABLE": "app.jobs",
    "QUEUE__MAIL__JOBS__ID": "id",
    "QUEUE__MAIL__JOBS__STATUS": "status",
    "QUEUE__MAIL__STATES__WAITING": "pending",
    "QUEUE__MAIL__STATES__RUNNING": "running",
}

MAIL_FILE = "".join(f"QUEUEWARDEN_{name}={value}\n" for name, value in {"DSN": "host=h", **MAIL}.items())


def only(configuration: Configuration) -> Any:
    [environment] = configuration.environments
    return environment


def mail(configuration: Configuration) -> Any:
    return only(configuration).queue_limits["mail"]


class TestDefaults:
    def test_one_variable_is_enough(self, loaded: Any) -> None:
        configuration = loaded({"DSN": "postgresql://db/app"})
        environment = only(configuration)
        assert environment.name == "default"
        assert environment.dsn.read() == "postgresql://db/app"
        assert (environment.queues, environment.discover) == ((), True)
        assert (configuration.log_level, configuration.log_format) == ("info", "auto")
        assert (configuration.profile, configuration.source) == ("production", "environment")

    def test_guard_settings(self, loaded: Any) -> None:
        limits = only(loaded(DSN)).limits
        assert limits.interval == limits.statement_timeout == timedelta(seconds=30)
        assert limits.stuck_after == limits.stuck_after_alive == timedelta(minutes=3)
        assert limits.dead_after == timedelta(minutes=2)
        assert limits.orphan_after == timedelta(minutes=10)
        assert limits.oldest_waiting == limits.remind_after == timedelta(hours=1)
        assert limits.status_every == timedelta(minutes=5)
        assert limits.lock_timeout == timedelta(milliseconds=100)
        assert limits.connect_timeout == timedelta(seconds=5)
        assert limits.lease_ttl == timedelta(seconds=15)
        assert (limits.mode, limits.timestamps_fill, limits.trust_threshold) == ("repair", "estimate", False)
        assert (limits.rescue_budget, limits.batch, limits.position_rows) == (5, 1000, 20_000)
        assert (limits.brake_rows, limits.busy_factor, limits.failed_jobs) == (50, 2.0, 10)
        assert limits.checks == ("dead_workers", "stuck_jobs", "orphans", "timestamps", "lanes", "positions")

    def test_discovery_brings_the_limits_of_each_preset(self, loaded: Any) -> None:
        limits = only(loaded(DSN | {"ENV__PROD__INTERVAL": "7s"})).queue_limits
        assert set(limits) == {name for name, preset in presets().items() if preset.fingerprint}
        assert limits["hooks"].stuck_after == timedelta(minutes=5)
        assert limits["extraction"].interval == timedelta(seconds=7)


class TestNames:
    def test_are_lower_cased_everywhere(self, loaded: Any) -> None:
        queue = {name.replace("MAIL", "Mail").lower(): value for name, value in MAIL.items()}
        configuration = loaded({"env__PROD__dsn": "host=h", "ENV__prod__QUEUES": "MAIL", **queue})
        assert only(configuration).name == "prod"
        assert [queue.name for queue in only(configuration).queues] == ["mail"]

    def test_may_hold_single_underscores_and_digits(self, loaded: Any) -> None:
        assert only(loaded({"ENV__PROD_EU_1__DSN": "host=h"})).name == "prod_eu_1"

    @pytest.mark.parametrize(
        "name",
        ["SERVICE_HOST", "SERVICE_PORT_METRICS", "PORT", "PORT_80_TCP_ADDR", "service_host"],
    )
    def test_what_container_platforms_inject_is_ignored(self, loaded: Any, name: str) -> None:
        assert only(loaded(DSN | {name: "tcp://10.0.0.1:80"})).name == "prod"

    def test_other_programs_variables_are_none_of_ours(self, loaded: Any) -> None:
        others = {"PATH": "/bin", "QUEUE_NAME": "x", "PGPASSWORD": "x", "_": "y", "": "z"}
        assert only(loaded(DSN, environ=others)).name == "prod"


class TestPrecedence:
    LEVELS = (
        ("ENV__PROD__QUEUE__MAIL__STUCK_AFTER", "1m"),
        ("QUEUE__MAIL__STUCK_AFTER", "2m"),
        ("ENV__PROD__STUCK_AFTER", "4m"),
        ("QUEUE__MAIL__PRESET", "hooks"),
        ("STUCK_AFTER", "6m"),
    )
    MINUTES = (1, 2, 4, 5, 6, 3)

    @pytest.mark.parametrize("given", range(6))
    def test_the_most_specific_wins(self, loaded: Any, given: Any) -> None:
        limits = mail(loaded(DSN | MAIL | dict(self.LEVELS[given:])))
        assert limits.stuck_after == timedelta(minutes=self.MINUTES[given])

    def test_the_environment_itself_knows_no_queue(self, loaded: Any) -> None:
        assert only(loaded(DSN | MAIL | dict(self.LEVELS))).limits.stuck_after == timedelta(minutes=4)

    def test_every_guard_setting_may_stand_at_every_level(self, loaded: Any) -> None:
        for prefix in ("", "ENV__PROD__", "QUEUE__MAIL__", "ENV__PROD__QUEUE__MAIL__"):
            limits = mail(loaded(DSN | MAIL | {f"{prefix}INTERVAL": "7s", f"{prefix}TRUST_THRESHOLD": "on"}))
            assert (limits.interval, limits.trust_threshold) == (timedelta(seconds=7), True)

    def test_another_environments_setting_does_not_count(self, loaded: Any) -> None:
        configuration = loaded(DSN | MAIL | {"ENV__DEV__DSN": "host=dev", "ENV__DEV__MODE": "observe"})
        assert [one.limits.mode for one in configuration.environments] == ["observe", "repair"]
        assert [one.queue_limits["mail"].mode for one in configuration.environments] == ["observe", "repair"]

    def test_a_default_that_is_spelled_out_counts_as_given(self, loaded: Any) -> None:
        limits = mail(loaded(DSN | MAIL | {"STUCK_AFTER": "9m", "QUEUE__MAIL__STUCK_AFTER": "3m"}))
        assert limits.stuck_after == timedelta(minutes=3)

    def test_live_workers_have_the_same_limit_unless_told_otherwise(self, loaded: Any) -> None:
        limits = mail(loaded(DSN | MAIL | {"QUEUE__MAIL__STUCK_AFTER": "9m"}))
        assert limits.stuck_after_alive == timedelta(minutes=9)
        limits = mail(loaded(DSN | MAIL | {"STUCK_AFTER_ALIVE": "1h", "QUEUE__MAIL__STUCK_AFTER": "9m"}))
        assert limits.stuck_after_alive == timedelta(hours=1)
        assert mail(loaded(DSN | MAIL | {"STUCK_AFTER_ALIVE": "never"})).stuck_after_alive is None

    def test_checks_keep_their_order(self, loaded: Any) -> None:
        assert only(loaded(DSN | {"CHECKS": "positions, Stuck_Jobs"})).limits.checks == (
            "stuck_jobs",
            "positions",
        )
        assert only(loaded(DSN | {"CHECKS": "all"})).limits.checks == tuple(CHECKS)


class TestMode:
    """To the safe side: where environment and queue differ, observe wins; a preset gives way to any."""

    @pytest.mark.parametrize(
        ("given", "mode"),
        [
            ({}, "repair"),
            ({"": "observe"}, "observe"),
            ({"ENV__PROD__": "repair", "": "observe"}, "repair"),
            ({"QUEUE__MAIL__": "repair", "": "observe"}, "repair"),
            ({"ENV__PROD__": "observe", "QUEUE__MAIL__": "repair"}, "observe"),
            ({"ENV__PROD__": "repair", "QUEUE__MAIL__": "observe"}, "observe"),
            ({"ENV__PROD__": "observe"}, "observe"),
            ({"QUEUE__MAIL__": "observe"}, "observe"),
            (
                {"ENV__PROD__": "observe", "QUEUE__MAIL__": "observe", "ENV__PROD__QUEUE__MAIL__": "repair"},
                "repair",
            ),
            (
                {"ENV__PROD__": "repair", "QUEUE__MAIL__": "repair", "ENV__PROD__QUEUE__MAIL__": "observe"},
                "observe",
            ),
        ],
    )
    def test_of_a_queue(self, loaded: Any, given: Any, mode: str) -> None:
        assert (
            mail(loaded(DSN | MAIL | {f"{level}MODE": value for level, value in given.items()})).mode == mode
        )

    @pytest.mark.parametrize(
        ("given", "own", "mode"),
        [
            ({}, "observe", "observe"),
            ({"MODE": "repair"}, "observe", "repair"),
            ({"ENV__PROD__MODE": "repair"}, "observe", "repair"),
            ({"MODE": "observe"}, "repair", "observe"),
            ({"PROFILE": "development"}, "repair", "observe"),
            ({"PROFILE": "test"}, "observe", "observe"),
            ({"PROFILE": "development", "MODE": "repair"}, "observe", "repair"),
        ],
    )
    def test_of_a_preset(
        self, loaded: Any, monkeypatch: pytest.MonkeyPatch, given: Any, own: str, mode: str
    ) -> None:
        guard = {"mode": own}
        hooks = presets()["hooks"]
        other = type(hooks)(**{name: getattr(hooks, name) for name in hooks.__slots__} | {"guard": guard})
        changed = {**presets(), "hooks": other}
        monkeypatch.setattr("queuewarden.settings.load.presets", lambda: changed)
        assert mail(loaded(DSN | {"QUEUE__MAIL__PRESET": "hooks"} | given)).mode == mode


class TestProfiles:
    def test_development(self, loaded: Any) -> None:
        configuration = loaded(DSN | {"PROFILE": "Development"})
        assert (configuration.log_level, configuration.log_format) == ("debug", "console")
        assert only(configuration).limits.mode == "observe"

    def test_test(self, loaded: Any) -> None:
        configuration = loaded(DSN | {"PROFILE": "test"})
        assert (configuration.log_level, configuration.profile) == ("error", "test")
        assert only(configuration).limits.interval == timedelta(seconds=1)
        assert only(configuration).limits.mode == "repair"

    def test_only_sets_defaults(self, loaded: Any) -> None:
        given = {
            "PROFILE": "development",
            "LOG_LEVEL": "warn",
            "LOG_FORMAT": "json",
            "ENV__PROD__MODE": "repair",
        }
        configuration = loaded(DSN | given)
        assert (configuration.log_level, configuration.log_format) == ("warning", "json")
        assert only(configuration).limits.mode == "repair"


class TestFile:
    TEXT = "QUEUEWARDEN_ENV__PROD__DSN='host=h password=p$HOME#;'\nQUEUEWARDEN_INTERVAL=10s\n"

    def test_the_process_environment_wins(self, loaded: Any, tmp_path: Path) -> None:
        configuration = loaded({"interval": "20s"}, self.TEXT)
        assert only(configuration).limits.interval == timedelta(seconds=20)
        assert only(configuration).dsn.read() == "host=h password=p$HOME#;"
        assert configuration.source == f"environment, {tmp_path}/given.env"

    def test_alone(self, loaded: Any, tmp_path: Path) -> None:
        configuration = loaded({}, self.TEXT)
        assert only(configuration).limits.interval == timedelta(seconds=10)
        assert configuration.source == f"{tmp_path}/given.env"

    def test_a_later_line_wins(self, loaded: Any) -> None:
        text = self.TEXT + "QUEUEWARDEN_INTERVAL=11s\n"
        assert only(loaded({}, text)).limits.interval == timedelta(seconds=11)

    def test_other_lines_are_ignored(self, loaded: Any) -> None:
        assert only(loaded({}, self.TEXT + "PGPASSFILE=/x\nOTHER=1\n")).name == "prod"

    def test_a_byte_order_mark_and_windows_line_ends(self, loaded: Any) -> None:
        assert only(loaded({}, "\ufeff" + self.TEXT.replace("\n", "\r\n"))).limits.interval == timedelta(
            seconds=10
        )

    def test_named_by_a_variable(self, loaded: Any, tmp_path: Path) -> None:
        (tmp_path / "named.env").write_text(self.TEXT)
        configuration = loaded({"CONFIG_FILE": str(tmp_path / "named.env")})
        assert only(configuration).name == "prod"

    def test_the_command_line_comes_before_the_variable(self, loaded: Any) -> None:
        assert only(loaded({"CONFIG_FILE": "/nowhere"}, self.TEXT)).name == "prod"

    def test_the_usual_place_is_read_if_no_other_is_named(self, loaded: Any, tmp_path: Path) -> None:
        usual = tmp_path / "usual.env"
        usual.write_text("QUEUEWARDEN_ENV__USUAL__DSN=host=h\n")
        assert only(loaded({}, default=usual)).name == "usual"
        assert loaded({}, default=usual).source == str(usual)
        assert only(loaded({}, self.TEXT, default=usual)).name == "prod"
        named = tmp_path / "given.env"
        assert only(loaded({"CONFIG_FILE": str(named)}, default=usual)).name == "prod"

    def test_the_environments_dsn_replaces_the_files_dsn_file(self, loaded: Any) -> None:
        text = "QUEUEWARDEN_ENV__PROD__DSN_FILE=/run/secrets/dsn\n"
        assert only(loaded({"ENV__PROD__DSN": "host=other"}, text)).dsn.read() == "host=other"
        dsn = only(loaded({"ENV__PROD__DSN_FILE": "/run/x"}, self.TEXT)).dsn
        assert (dsn.value, dsn.path) == (None, Path("/run/x"))


class TestCredentials:
    @pytest.fixture
    def unit(self, tmp_path: Path) -> Any:
        place = tmp_path / "unit"
        place.mkdir()
        (place / "dsn_prod").write_text("host=credential\n")
        (place / "other").write_text("x")
        return place

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Any:
        place = tmp_path / "credentials"
        place.mkdir()
        (place / "Prod").write_text("host=outside\n")
        (place / ".dev.swp").write_text("x")
        (place / "old").mkdir()
        return place

    def test_are_found_by_themselves(self, loaded: Any, unit: Path, outside: Path) -> None:
        environment = only(loaded(environ={"CREDENTIALS_DIRECTORY": str(unit)}, credentials=outside))
        assert (environment.name, environment.dsn.read()) == ("prod", "host=credential")
        assert environment.dsn.origin == f"credential {unit}/dsn_prod"

    def test_outside_a_unit_they_are_read_where_they_lie(self, loaded: Any, outside: Path) -> None:
        assert only(loaded({"ENV__PROD__MODE": "observe"}, credentials=outside)).dsn.read() == "host=outside"

    def test_a_reload_has_the_variable_without_the_directory(
        self, loaded: Any, nowhere: Path, outside: Path
    ) -> None:
        environment = only(loaded(environ={"CREDENTIALS_DIRECTORY": str(nowhere)}, credentials=outside))
        assert environment.dsn.read() == "host=outside"

    def test_a_variable_comes_first(self, loaded: Any, outside: Path) -> None:
        assert only(loaded(DSN, credentials=outside)).dsn.read() == "host=prod"

    def test_a_directory_that_may_not_be_read_is_told(
        self, loaded: Any, outside: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(ConfigurationError) as raised:
            loaded({"ENV__PROD__MODE": "observe"}, credentials=outside)
        assert raised.value.faults[0].endswith(f"dsn_prod; {outside} cannot be read: Permission denied")


class TestDsnSource:
    def test_a_file_loses_the_newline_at_its_end(self, loaded: Any, tmp_path: Path) -> None:
        (tmp_path / "dsn").write_text("postgresql://u:p@h/d \r\n\n")
        environment = only(loaded({"ENV__PROD__DSN_FILE": str(tmp_path / "dsn")}))
        assert environment.dsn.read() == "postgresql://u:p@h/d "

    def test_is_read_anew(self, tmp_path: Path) -> None:
        file = tmp_path / "dsn"
        source = DsnSource("x", path=file)
        file.write_text("host=a")
        assert source.read() == "host=a"
        file.write_text("host=b")
        assert source.read() == "host=b"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "cannot be read: No such file"),
            (b"\n", "is empty"),
            (b"\xff hunter2", "is not UTF-8"),
            (b"postgresql://u:hunter2@h:x/d", "wrong host, port"),
            (b"postgresql://u:hun@ter2@h/d", "wrong host, port"),
            (b"postgresql://u:123/hunter2@h/d", "wrong host, port"),
            (b"hunter2", "is not a libpq URI"),
            (b"host=h\0password=hunter2", "is not text"),
        ],
    )
    def test_what_cannot_be_used_is_a_state_of_the_environment(
        self, loaded: Any, tmp_path: Path, content: Any, said: Any
    ) -> None:
        file = tmp_path / "dsn"
        if content is not None:
            file.write_bytes(content)
        source = only(loaded({"ENV__PROD__DSN_FILE": str(file)})).dsn
        with pytest.raises(UnavailableError, match=said) as raised:
            source.read()
        assert str(file) in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
        assert not {"hunter2", "ter2"} & set(str(raised.value).replace("/", " ").split())

    def test_shows_no_secret(self, loaded: Any) -> None:
        configuration = loaded({"DSN": "host=h password=hunter2"})
        assert "hunter2" not in repr(configuration)
        assert only(configuration).dsn.origin == "QUEUEWARDEN_DSN (process environment)"

    @pytest.mark.parametrize("port", ["5432", "5432,5433", ""])
    def test_ports(self, port: str) -> None:
        assert DsnSource("x", value=f"host=a,b port='{port}'").read()


class TestMapping:
    def test_everything(self, loaded: Any) -> None:
        configuration = loaded(
            DSN
            | {
                "QUEUE__MAIL__JOBS__TABLE": '"app".jobs',
                "QUEUE__MAIL__JOBS__ID": "tenant, id",
                "QUEUE__MAIL__JOBS__STATUS": "state",
                "QUEUE__MAIL__JOBS__WORKER": "worker_id",
                "QUEUE__MAIL__JOBS__STARTED_AT": "started_at",
                "QUEUE__MAIL__JOBS__HEARTBEAT": "beat",
                "QUEUE__MAIL__JOBS__ENQUEUED_AT": "created_at",
                "QUEUE__MAIL__JOBS__SCHEDULED_AT": "run_at",
                "QUEUE__MAIL__JOBS__FINISHED_AT": "finished_at",
                "QUEUE__MAIL__JOBS__UPDATED_AT": "updated_at",
                "QUEUE__MAIL__JOBS__ATTEMPTS": "attemtps",
                "QUEUE__MAIL__JOBS__MAX_ATTEMPTS": "3",
                "QUEUE__MAIL__JOBS__ATTEMPTS_COUNTED": "finish",
                "QUEUE__MAIL__JOBS__ERROR": "error",
                "QUEUE__MAIL__JOBS__LABEL": "kind, document",
                "QUEUE__MAIL__JOBS__CLEAR": "lock",
                "QUEUE__MAIL__JOBS__TIME_ZONE": "Europe/Berlin",
                "QUEUE__MAIL__STATES__WAITING": "1",
                "QUEUE__MAIL__STATES__RUNNING": "2",
                "QUEUE__MAIL__STATES__DONE": "3, 5",
                "QUEUE__MAIL__STATES__FAILED": "4",
                "QUEUE__MAIL__STATES__CANCELLED": "6",
                "QUEUE__MAIL__WORKERS__TABLE": "workers",
                "QUEUE__MAIL__WORKERS__ID": "id",
                "QUEUE__MAIL__WORKERS__STATUS": "status",
                "QUEUE__MAIL__WORKERS__OFFLINE_VALUE": "gone",
                "QUEUE__MAIL__WORKERS__HEARTBEAT": "seen_at",
                "QUEUE__MAIL__WORKERS__CURRENT_JOB": "job",
                "QUEUE__MAIL__WORKERS__STARTED_AT": "born_at",
                "QUEUE__MAIL__WORKERS__REGISTERED_IN": "Prod",
                "QUEUE__MAIL__POSITIONS__COLUMN": "position",
                "QUEUE__MAIL__POSITIONS__ORDER_BY": "priority desc, created_at",
                "QUEUE__MAIL__POSITIONS__LANE": "tenant, kind",
                "QUEUE__MAIL__POSITIONS__MAX_RUNNING": "2",
                "QUEUE__MAIL__POSITIONS__DENSE": "false",
                "QUEUE__MAIL__POSITIONS__DEMOTE": "true",
                "QUEUE__MAIL__REFERENCES": "tenant -> tenants.id",
                "QUEUE__MAIL__TIMESTAMPS": "2=started_at",
            }
        )
        [queue] = only(configuration).queues
        assert queue.jobs == Jobs(
            table=TableName("jobs", "app"), id=("tenant", "id"), status="state", worker="worker_id",
            started_at="started_at", heartbeat="beat", enqueued_at="created_at", scheduled_at="run_at",
            finished_at="finished_at", updated_at="updated_at", attempts="attemtps", max_attempts=3,
            attempts_counted="finish", error="error", label=("kind", "document"), clear=("lock",),
            time_zone="Europe/Berlin",
        )  # fmt: skip
        assert queue.states == States(("1",), ("2",), ("3", "5"), ("4",), ("6",))
        assert queue.workers == Workers(
            TableName("workers"), "id", "seen_at", "status", "gone", "job", "born_at", "prod"
        )
        assert queue.positions == Positions(
            column="position", order_by=(OrderTerm("priority", descending=True), OrderTerm("created_at")),
            lane=("tenant", "kind"), max_running=2, dense=False, demote=True,
        )  # fmt: skip
        assert queue.references == (Reference("tenant", TableName("tenants"), "id"),)
        assert queue.timestamps == (("2", "started_at"),)

    def test_the_least(self, loaded: Any) -> None:
        [queue] = only(loaded(DSN | MAIL)).queues
        assert (queue.workers, queue.positions, queue.references, queue.timestamps) == (None, None, (), ())
        assert (queue.jobs.attempts_counted, queue.jobs.time_zone, queue.preset) == ("claim", "UTC", None)

    def test_timestamps_follow_from_the_mapping(self, loaded: Any) -> None:
        more = {
            "QUEUE__MAIL__JOBS__STARTED_AT": "s",
            "QUEUE__MAIL__JOBS__FINISHED_AT": "f",
            "QUEUE__MAIL__STATES__DONE": "done,skipped",
        }
        [queue] = only(loaded(DSN | MAIL | more)).queues
        assert queue.timestamps == (("running", "s"), ("done", "f"), ("skipped", "f"))

    def test_one_may_run_in_a_lane_with_positions(self, loaded: Any) -> None:
        positions = {"QUEUE__MAIL__POSITIONS__COLUMN": "p", "QUEUE__MAIL__POSITIONS__ORDER_BY": "a"}
        [queue] = only(loaded(DSN | MAIL | positions)).queues
        assert (queue.positions.max_running, queue.positions.dense, queue.positions.demote) == (
            1,
            True,
            False,
        )
        [queue] = only(loaded(DSN | MAIL | {"QUEUE__MAIL__POSITIONS__MAX_RUNNING": "3"})).queues
        assert (queue.positions.column, queue.positions.max_running) == (None, 3)

    def test_a_dead_workers_status_is_offline_unless_told_otherwise(self, loaded: Any) -> None:
        workers = {
            "QUEUE__MAIL__JOBS__WORKER": "w",
            "QUEUE__MAIL__WORKERS__TABLE": "workers",
            "QUEUE__MAIL__WORKERS__ID": "id",
            "QUEUE__MAIL__WORKERS__HEARTBEAT": "seen_at",
        }
        [queue] = only(loaded(DSN | MAIL | workers)).queues
        assert (queue.workers.status, queue.workers.offline_value) == (None, None)
        [queue] = only(loaded(DSN | MAIL | workers | {"QUEUE__MAIL__WORKERS__STATUS": "s"})).queues
        assert queue.workers.offline_value == "offline"

    def test_an_environment_has_all_queues_or_those_it_names(self, loaded: Any) -> None:
        other = {
            name.replace("MAIL", "IMAGES").replace("app.jobs", "x"): value for name, value in MAIL.items()
        }
        other["QUEUE__IMAGES__JOBS__TABLE"] = "images"
        given = DSN | MAIL | other | {"ENV__DEV__DSN": "host=dev", "ENV__DEV__QUEUES": "mail"}
        dev, prod = loaded(given).environments
        assert [queue.name for queue in dev.queues] == list(dev.queue_limits) == ["mail"]
        assert [queue.name for queue in prod.queues] == list(prod.queue_limits) == ["images", "mail"]

    def test_two_queues_on_one_table(self, loaded: Any) -> None:
        second = {name.replace("MAIL", "OCR"): value for name, value in MAIL.items()}
        stage = second | {"QUEUE__OCR__STATES__RUNNING": "ocr"}
        assert len(only(loaded(DSN | MAIL | stage)).queues) == 2
        own_status = second | {"QUEUE__OCR__JOBS__STATUS": "ocr_status"}
        assert len(only(loaded(DSN | MAIL | own_status)).queues) == 2
        elsewhere = second | {
            "ENV__DEV__DSN": "host=d",
            "ENV__DEV__QUEUES": "ocr",
            "ENV__PROD__QUEUES": "mail",
        }
        assert len(loaded(DSN | MAIL | elsewhere).environments) == 2


class TestPresets:
    def test_give_the_defaults_under_the_users_variables(self, loaded: Any) -> None:
        [queue] = only(
            loaded(
                DSN
                | {
                    "QUEUE__MAIL__PRESET": "Extraction",
                    "QUEUE__MAIL__JOBS__TABLE": "app.extractions",
                    "QUEUE__MAIL__JOBS__ERROR": "",
                }
            )
        ).queues
        assert (queue.name, queue.preset) == ("mail", "extraction")
        assert queue.jobs.table == TableName("extractions", "app")
        assert (queue.jobs.attempts, queue.jobs.error) == ("attemtps", None)
        assert queue.timestamps == (("2", "processing_started_at"), ("3", "completed_at"))

    def test_a_part_can_be_taken_away(self, loaded: Any) -> None:
        [queue] = only(
            loaded(DSN | {"QUEUE__MAIL__PRESET": "extraction", "QUEUE__MAIL__WORKERS__TABLE": ""})
        ).queues
        assert queue.workers is None
        [queue] = only(
            loaded(DSN | {"QUEUE__MAIL__PRESET": "interviews", "QUEUE__MAIL__POSITIONS__COLUMN": ""})
        ).queues
        assert queue.positions is None

    def test_timestamps_of_states_that_are_mapped_otherwise_go(self, loaded: Any) -> None:
        [queue] = only(
            loaded(DSN | {"QUEUE__MAIL__PRESET": "interviews", "QUEUE__MAIL__STATES__DONE": "completed"})
        ).queues
        assert queue.timestamps == (("in_progress", "started_at"), ("completed", "completed_at"))

    def test_generic_is_a_starting_point(self, loaded: Any) -> None:
        [queue] = only(
            loaded(DSN | {"QUEUE__MAIL__PRESET": "generic", "QUEUE__MAIL__JOBS__TABLE": "jobs"})
        ).queues
        assert (queue.jobs.id, queue.jobs.status, queue.states.waiting) == (("id",), "status", ("pending",))

    def test_interviews_are_never_stuck(self, loaded: Any) -> None:
        limits = mail(loaded(DSN | {"QUEUE__MAIL__PRESET": "interviews"}))
        assert limits.checks == ("orphans", "timestamps", "lanes", "positions")

    @pytest.mark.parametrize("name", [name for name, one in presets().items() if one.fingerprint])
    def test_recognised_tables_are_mapped_in_their_schema(self, loaded: Any, name: str) -> None:
        [named] = only(loaded(DSN | {f"QUEUE__{name.upper()}__PRESET": name})).queues
        assert preset_mapping(presets()[name]) == named
        found = preset_mapping(presets()[name], "app")
        tables = [found.jobs.table, *(one.parent for one in found.references)]
        tables += [found.workers.table] if found.workers else []
        # A name as general as `job` is only known in the library's own schema.
        schema = named.jobs.table.schema
        assert {table.schema for table in tables} == {schema or "app"}


VARIABLES = [variable(tuple("x" if part == ANY else part for part in path)) for path in leaves()]
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["1", "30s", "observe", "jobs", "id", "a,b", "extraction", "interviews", "x", "a -> b.c", ""]
    ),
)
NAMES = st.one_of(
    st.sampled_from(VARIABLES),
    st.text("ABQX_-.é \0", max_size=20).map("QUEUEWARDEN_".__add__),
    st.lists(st.sampled_from(["ENV", "QUEUE", "X", "JOBS", "MODE", "", "*"]), max_size=6).map(
        lambda parts: "QUEUEWARDEN_" + "__".join(parts)
    ),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(variables=st.dictionaries(NAMES, VALUES, max_size=12), text=st.text(max_size=80))
def test_only_configuration_errors_escape(tmp_path: Path, variables: dict[str, str], text: str) -> None:
    file = tmp_path / "fuzz.env"
    lines = "".join(f"{name}='{value}'\n" for name, value in list(variables.items())[:3])
    file.write_bytes((text + "\n" + lines).encode("utf-8", "surrogatepass"))
    variables.pop("QUEUEWARDEN_CONFIG_FILE", None)
    for config_file in (None, file):
        try:
            configuration = load(
                variables, config_file, default_file=tmp_path / "no", credentials=tmp_path / "no"
            )
        except ConfigurationError as error:
            assert error.faults  # noqa: PT017 -- that there are faults to show is the point
            assert all(fault and len(fault.splitlines()) == 1 for fault in error.faults)  # noqa: PT017 -- as above
        else:
            assert configuration.environments


@pytest.mark.parametrize(
    "line",
    ['JOBS__TABLE=\'"Weird Schema"."Table.v2"\'', 'JOBS__TABLE="\\"Weird Schema\\".\\"Table.v2\\""'],
)
def test_quoted_names_in_a_file_are_quoted_once_more(loaded: Any, line: str) -> None:
    [environment] = loaded(text=f"{MAIL_FILE}QUEUEWARDEN_QUEUE__MAIL__{line}\n").environments
    table = environment.queues[0].jobs.table
    assert (table.schema, table.name) == ("Weird Schema", "Table.v2")


def test_a_sign_in_a_quoted_value_or_a_password_stays(loaded: Any) -> None:
    text = (
        f"{MAIL_FILE}QUEUEWARDEN_DSN=host=h password=a#b\nQUEUEWARDEN_QUEUE__MAIL__STATES__DONE='done #1'\n"
    )
    [environment] = loaded(text=text).environments
    assert environment.dsn.read() == "host=h password=a#b"
    assert environment.queues[0].states.done == ("done #1",)
