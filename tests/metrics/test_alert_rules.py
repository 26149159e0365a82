"""Each alert rule for Prometheus fires on what it is about, alone, and not where all is well."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from metrics.promtool import promtool

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMETHEUS = Path(__file__).parents[2] / "config/prometheus"
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((PROMETHEUS / "rules/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]

USUALLY = 2
"""Hours after which alerts are looked at; a sample comes each minute."""

LONG = {"QueuewardenPauseForgotten": 26}
"""Where that is too early."""

WHO = 'instance="h:9753",job="queuewarden"'
WHERE = f'environment="prod",{WHO}'
QUEUE = f'environment="prod",queue="mail",{WHO}'


def check(name: str) -> str:
    return f'check="{name}",{QUEUE}'


def steady(value: float) -> str:
    return f"{value}x1600"


def rising(step: float) -> str:
    return f"0+{step}x1600"


BUCKET = "queuewarden_sweep_duration_seconds_bucket"
CALM: dict[str, str] = {
    f"up{{{WHO}}}": steady(1),
    f'queuewarden_build_info{{version="1",python="3",{WHO}}}': steady(1),
    f"queuewarden_process_start_time_seconds{{{WHO}}}": steady(1),
    f"queuewarden_config_reload_successful{{{WHO}}}": steady(1),
    f"queuewarden_process_resident_memory_bytes{{{WHO}}}": steady(60e6),
    f"queuewarden_process_open_fds{{{WHO}}}": steady(40),
    f"queuewarden_process_max_fds{{{WHO}}}": steady(1024),
    f"queuewarden_up{{{WHERE}}}": steady(1),
    f"queuewarden_last_successful_sweep_timestamp_seconds{{{WHERE}}}": rising(60),
    f'queuewarden_sweeps_total{{outcome="ok",{WHERE}}}': rising(2),
    f'queuewarden_sweeps_total{{outcome="partial",{WHERE}}}': steady(0),
    f'queuewarden_sweeps_total{{outcome="failed",{WHERE}}}': steady(0),
    f'{BUCKET}{{le="0.1",{WHERE}}}': rising(2),
    f'{BUCKET}{{le="10.0",{WHERE}}}': rising(2),
    f'{BUCKET}{{le="+Inf",{WHERE}}}': rising(2),
    f"queuewarden_server_connections{{{WHERE}}}": steady(20),
    f"queuewarden_server_connections_max{{{WHERE}}}": steady(100),
    f"queuewarden_server_longest_lock_wait_seconds{{{WHERE}}}": steady(1),
    f"queuewarden_server_disk_used_ratio{{{WHERE}}}": steady(0.5),
    f"queuewarden_server_wraparound_ratio{{{WHERE}}}": steady(0.1),
    f"queuewarden_server_certificate_end_timestamp_seconds{{{WHERE}}}": steady(90 * 86_400),
    f"queuewarden_server_replication_lag_seconds{{{WHERE}}}": steady(1),
    f"queuewarden_lease_held{{{WHERE}}}": steady(1),
    'queuewarden_lease_held{environment="prod",instance="other:9753",job="queuewarden"}': steady(0),
    f'queuewarden_brake{{kind="grace",{WHERE}}}': steady(1),
    f'queuewarden_brake{{kind="mass_repair",{WHERE}}}': steady(0),
    f'queuewarden_brake{{kind="pause",{WHERE}}}': steady(0),
    f"queuewarden_repairs_total{{{check('stuck_jobs')}}}": rising(0.1),
    f"queuewarden_repairs_total{{{check('dead_workers')}}}": rising(0.1),
    f"queuewarden_set_aside_total{{{check('stuck_jobs')}}}": steady(0),
    f"queuewarden_left_over_rows{{{check('stuck_jobs')}}}": steady(0),
    f'queuewarden_workers{{liveness="alive",{QUEUE}}}': steady(3),
    f'queuewarden_workers{{liveness="silent",{QUEUE}}}': steady(0),
    f"queuewarden_jobs_eligible{{{QUEUE}}}": steady(5),
    f"queuewarden_oldest_waiting_seconds{{{QUEUE}}}": steady(20),
    f'queuewarden_jobs_ended_last_hour{{outcome="done",{QUEUE}}}': steady(99),
    f'queuewarden_jobs_ended_last_hour{{outcome="failed",{QUEUE}}}': steady(1),
    f'queuewarden_channel_failing{{channel="ops",{WHO}}}': steady(0),
    f'queuewarden_notices_total{{channel="ops",outcome="sent",{WHO}}}': rising(1),
    f'queuewarden_notices_total{{channel="ops",outcome="swallowed",{WHO}}}': steady(0),
    f'queuewarden_http_refused_total{{status="401",{WHO}}}': rising(1),
    f'queuewarden_http_requests_total{{route="/metrics",status_class="2xx",{WHO}}}': rising(2),
    f'queuewarden_http_requests_total{{route="/metrics",status_class="5xx",{WHO}}}': steady(0),
}
"""A daemon that is well, with a second one that does not have the lease."""


def series(start: str) -> str:
    (found,) = [one for one in CALM if one.startswith(start)]
    return found


FIRES: dict[str, tuple[dict[str, str | None], set[str]]] = {
    "QueuewardenAbsent": ({series("queuewarden_build_info"): None}, set()),
    "QueuewardenDown": ({series("up{"): steady(0)}, set()),
    "QueuewardenRestarts": ({series("queuewarden_process_start"): rising(1)}, set()),
    "QueuewardenReloadRefused": ({series("queuewarden_config"): steady(0)}, set()),
    "QueuewardenMemory": ({series("queuewarden_process_resident"): steady(160e6)}, set()),
    "QueuewardenDescriptors": ({series("queuewarden_process_open"): steady(900)}, set()),
    "QueuewardenEnvironmentDown": ({series("queuewarden_up"): steady(0)}, set()),
    "QueuewardenNoSweep": ({series("queuewarden_last"): steady(60)}, set()),
    "QueuewardenNeverSwept": ({series("queuewarden_last"): None}, set()),
    "QueuewardenErrors": ({series('queuewarden_sweeps_total{outcome="partial"'): rising(0.5)}, set()),
    "QueuewardenErrorsMost": (
        {series('queuewarden_sweeps_total{outcome="failed"'): rising(3)},
        {"QueuewardenErrors"},
    ),
    "QueuewardenSlowSweeps": ({series(BUCKET + '{le="0.1"'): steady(0)}, set()),
    "QueuewardenServerConnections": ({series("queuewarden_server_connections{"): steady(85)}, set()),
    "QueuewardenServerConnectionsSpent": (
        {series("queuewarden_server_connections{"): steady(97)},
        {"QueuewardenServerConnections"},
    ),
    "QueuewardenLockWait": ({series("queuewarden_server_longest_lock"): steady(301)}, set()),
    "QueuewardenDisk": ({series("queuewarden_server_disk"): steady(0.96)}, set()),
    "QueuewardenWraparound": ({series("queuewarden_server_wraparound"): steady(0.76)}, set()),
    "QueuewardenCertificate": ({series("queuewarden_server_certificate"): steady(3 * 86_400)}, set()),
    "QueuewardenReplicationLag": ({series("queuewarden_server_replication"): steady(601)}, set()),
    "QueuewardenNobodyRepairs": (
        {series('queuewarden_lease_held{environment="prod",instance="h:9753"'): steady(0)},
        set(),
    ),
    "QueuewardenBrake": ({series('queuewarden_brake{kind="mass_repair"'): steady(1)}, set()),
    "QueuewardenPauseForgotten": ({series('queuewarden_brake{kind="pause"'): steady(1)}, set()),
    "QueuewardenRepairStorm": ({series('queuewarden_repairs_total{check="stuck_jobs"'): rising(1)}, set()),
    "QueuewardenDeadWorkers": ({series('queuewarden_repairs_total{check="dead_workers"'): rising(1)}, set()),
    "QueuewardenNoWorkers": ({series('queuewarden_workers{liveness="alive"'): steady(0)}, set()),
    "QueuewardenSilentWorkers": ({series('queuewarden_workers{liveness="silent"'): steady(1)}, set()),
    "QueuewardenOldestWaiting": ({series("queuewarden_oldest"): steady(4000)}, set()),
    "QueuewardenFailures": (
        {series('queuewarden_jobs_ended_last_hour{outcome="failed"'): steady(20)},
        set(),
    ),
    "QueuewardenLeftOver": ({series("queuewarden_left_over"): steady(2)}, set()),
    "QueuewardenSetAside": ({series("queuewarden_set_aside"): rising(0.1)}, set()),
    "QueuewardenChannelFailing": ({series("queuewarden_channel"): steady(1)}, set()),
    "QueuewardenNoticesSwallowed": (
        {series('queuewarden_notices_total{channel="ops",outcome="swallowed"'): rising(0.1)},
        set(),
    ),
    "QueuewardenRefused": ({series("queuewarden_http_refused"): rising(40)}, set()),
    "QueuewardenHttpErrors": (
        {series('queuewarden_http_requests_total{route="/metrics",status_class="5xx"'): rising(1)},
        set(),
    ),
}
"""What is different, and which other alerts come with it."""

STILL: dict[str, dict[str, str | None]] = {
    "few jobs ended": {
        series('queuewarden_jobs_ended_last_hour{outcome="done"'): steady(5),
        series('queuewarden_jobs_ended_last_hour{outcome="failed"'): steady(5),
    },
    "nobody works, nothing waits": {
        series('queuewarden_workers{liveness="alive"'): steady(0),
        series("queuewarden_jobs_eligible"): steady(0),
    },
    "one restart": {series("queuewarden_process_start"): "1x100 2x60"},
}


def case(changes: Mapping[str, str | None], firing: set[str], hours: int = USUALLY) -> dict[str, Any]:
    given = {name: values for name, values in (CALM | dict(changes)).items() if values is not None}
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in given.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{hours}h",
                "exp_samples": expected,
            }
        ],
    }


def run(place: Path, tested: dict[str, Any]) -> None:
    shutil.copy(PROMETHEUS / "rules/alerts.yml", place)
    test = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": [tested]}
    (place / "test.yml").write_text(json.dumps(test))
    promtool("test", "rules", str(place / "test.yml"))


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", *map(str, sorted((PROMETHEUS / "rules").glob("*.yml"))))


def test_promtool_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    token = tmp_path / "token"
    token.write_text("a-token")
    path = tmp_path / "prometheus/scrape.yml"
    path.write_text(path.read_text().replace("/etc/prometheus/queuewarden.token", str(token)))
    assert "2 rule files found" in promtool("check", "config", str(path))


def test_every_alert_has_a_scene_in_which_it_fires() -> None:
    assert set(FIRES) == set(ALERTS)


def test_nothing_fires_where_all_is_well(tmp_path: Path) -> None:
    run(tmp_path, case({}, set()))


@pytest.mark.parametrize("scene", STILL)
def test_nothing_fires_on_what_is_no_fault(scene: str, tmp_path: Path) -> None:
    run(tmp_path, case(STILL[scene], set()))


@pytest.mark.parametrize("alert", FIRES)
def test_it_fires_on_what_it_is_about(alert: str, tmp_path: Path) -> None:
    changes, others = FIRES[alert]
    run(tmp_path, case(changes, {alert} | others, LONG.get(alert, USUALLY)))
