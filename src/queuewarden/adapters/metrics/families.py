"""Every metric: its name, type, labels and meaning. `config/metrics.md` shows this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "queuewarden_"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: without `PREFIX`.
        labels: their values are bounded by the configuration and by lists in this program: never a job, a
            worker or a lane.
        meaning: a sentence.
        buckets: upper bounds, in seconds, of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


_WHERE = ("environment",)
_QUEUE = ("environment", "queue")
_CHECK = ("environment", "queue", "check")
_TASK = ("environment", "task")

OF_ENVIRONMENT = (
    Family("up", "gauge", _WHERE, "1 where the database is in use and its guard keeps its time, 0 where not"),
    Family(
        "sweeps_total",
        "counter",
        ("environment", "outcome"),
        "Sweeps: ok, partial (some check failed) or failed (it did not come to its end)",
    ),
    Family(
        "last_successful_sweep_timestamp_seconds",
        "gauge",
        _WHERE,
        "When the last sweep came to its end, in seconds since 1970",
    ),
    Family(
        "sweep_duration_seconds",
        "histogram",
        _WHERE,
        "How long sweeps took that came to their end",
        (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    ),
    Family(
        "probe_duration_seconds",
        "histogram",
        _WHERE,
        "How long the first round trip of a sweep took, which asks for counts and workers",
        (0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5),
    ),
    Family(
        "check_duration_seconds",
        "histogram",
        ("environment", "check"),
        "How long a check worked on a queue where it found something",
        (0.01, 0.05, 0.25, 1, 5, 30),
    ),
    Family(
        "findings_total",
        "counter",
        _CHECK,
        "Rows at fault that a check found; one that stays is found by each sweep anew",
    ),
    Family("repairs_total", "counter", _CHECK, "Rows that a check changed"),
    Family(
        "skipped_total", "counter", _CHECK, "Rows found and left: locked, changed meanwhile, or held back"
    ),
    Family("set_aside_total", "counter", _CHECK, "Rows whose repair violated something"),
    Family(
        "guarded_write_races_total",
        "counter",
        _CHECK,
        "Rows found that a guarded write did not hit, since somebody held or changed them just then",
    ),
    Family("left_over_rows", "gauge", _CHECK, "Rows found and not mended when the check last looked"),
    Family(
        "database_errors_total",
        "counter",
        ("environment", "sqlstate_class"),
        "Errors by the first two characters of their SQLSTATE; connection: there was none",
    ),
    Family(
        "database_round_trips_total", "counter", _WHERE, "Round trips of the sweeps that came to their end"
    ),
    Family("database_connections", "gauge", _WHERE, "Connections to databases that the guard has open"),
    Family("server_connections", "gauge", _WHERE, "Client connections that the server has"),
    Family("server_connections_max", "gauge", _WHERE, "Client connections that the server takes"),
    Family(
        "server_cache_hit_ratio",
        "gauge",
        _WHERE,
        "Share of the database's block reads that its cache served, since its statistics began",
    ),
    Family(
        "server_longest_query_seconds",
        "gauge",
        _WHERE,
        "How long the longest statement of a client has run, without those that maintain tables",
    ),
    Family(
        "server_longest_lock_wait_seconds",
        "gauge",
        _WHERE,
        "How long the session has waited that waits longest for a lock",
    ),
    Family(
        "server_longest_idle_transaction_seconds",
        "gauge",
        _WHERE,
        "How long the longest idle transaction has been idle",
    ),
    Family(
        "server_slowest_statement_mean_seconds",
        "gauge",
        _WHERE,
        "Mean time of the slowest statement on a queue, where pg_stat_statements tells",
    ),
    Family(
        "server_wraparound_ratio",
        "gauge",
        _WHERE,
        "Share of the transaction ids that is used up before the server refuses writes",
    ),
    Family("server_replication_lag_seconds", "gauge", _WHERE, "How far the slowest standby is behind"),
    Family(
        "server_slot_bytes", "gauge", _WHERE, "WAL kept by the replication slot that nobody has read longest"
    ),
    Family("server_disk_used_ratio", "gauge", _WHERE, "Share of the disk of the server's data that is used"),
    Family("server_disk_free_bytes", "gauge", _WHERE, "What is free on the disk of the server's data"),
    Family(
        "server_certificate_end_timestamp_seconds",
        "gauge",
        _WHERE,
        "When the certificate ends that the server shows, in seconds since 1970",
    ),
    Family("table_bytes", "gauge", _QUEUE, "Size of a queue's tables without their indexes"),
    Family("table_index_bytes", "gauge", _QUEUE, "Size of the indexes of a queue's tables"),
    Family("table_dead_rows", "gauge", _QUEUE, "Dead rows in a queue's tables, as the server estimates them"),
    Family("table_bloat_ratio", "gauge", _QUEUE, "Share of a large table that is empty space, by estimate"),
    Family(
        "table_index_use_ratio", "gauge", _QUEUE, "Share of the reads of a large table that go by an index"
    ),
    Family(
        "table_wraparound_ratio",
        "gauge",
        _QUEUE,
        "Share of the transaction ids that has passed since a queue's tables were frozen",
    ),
    Family(
        "table_last_vacuum_timestamp_seconds",
        "gauge",
        _QUEUE,
        "When a queue's tables were last vacuumed, by whomever, in seconds since 1970",
    ),
    Family(
        "table_last_analyze_timestamp_seconds",
        "gauge",
        _QUEUE,
        "When a queue's tables were last analyzed, by whomever, in seconds since 1970",
    ),
    Family(
        "index_faults",
        "gauge",
        ("environment", "queue", "kind"),
        "Indexes that are invalid, duplicate or unused, and those that are missing",
    ),
    Family("jobs", "gauge", ("environment", "queue", "state"), "Jobs that wait, run or failed"),
    Family("jobs_eligible", "gauge", _QUEUE, "Waiting jobs whose time has come"),
    Family(
        "jobs_ended_last_hour",
        "gauge",
        ("environment", "queue", "outcome"),
        "Jobs that ended within the last hour: done or failed",
    ),
    Family("job_run_seconds_mean", "gauge", _QUEUE, "Mean run time of the jobs that ended in the last hour"),
    Family("oldest_waiting_seconds", "gauge", _QUEUE, "How long the oldest waiting job has waited"),
    Family(
        "workers",
        "gauge",
        ("environment", "queue", "liveness"),
        "Workers: alive, silent or registered; queues that share a table of workers show the same ones",
    ),
    Family("lease_held", "gauge", _WHERE, "1 where this daemon has the lease; absent without a ledger"),
    Family(
        "brake",
        "gauge",
        ("environment", "kind"),
        "Brakes that hold: grace, mass_death, mass_repair, pause or maintenance",
    ),
    Family("upkeep_failed", "gauge", _TASK, "1 where the last run of a task failed, or was killed"),
    Family(
        "upkeep_overdue_seconds", "gauge", _TASK, "Time since a task should have begun; 0 where it need not"
    ),
    Family("upkeep_last_run_seconds", "gauge", _TASK, "How long the last run of a task took"),
    Family("backup_verified_age_seconds", "gauge", _WHERE, "Time since the newest proven backup was taken"),
    Family(
        "upkeep_last_success_timestamp_seconds",
        "gauge",
        _TASK,
        "When a task last went well, in seconds since 1970",
    ),
    Family(
        "anomalies",
        "gauge",
        ("environment", "queue", "kind"),
        "Anomalies that are raised; absent where there are none",
    ),
)
"""What there is of each environment."""

OF_DAEMON = (
    Family("build_info", "gauge", ("version", "python"), "Always 1; what is running"),
    Family("config_reload_successful", "gauge", (), "0 while the last reload was refused"),
    Family(
        "alerts",
        "gauge",
        ("environment", "severity"),
        "Alerts that fire, muted ones included; the daemon's own have no environment",
    ),
    Family(
        "notices_total",
        "counter",
        ("channel", "outcome"),
        "Messages to people: sent, failed, dropped (too old, or too many), swallowed by the hourly cap",
    ),
    Family("notices_queued", "gauge", ("channel",), "Messages to people that wait"),
    Family("channel_failing", "gauge", ("channel",), "1 while a channel cannot be reached"),
    Family("http_requests_total", "counter", ("route", "status_class"), "Requests that the API answered"),
    Family("http_request_seconds_total", "counter", ("route",), "Time that their answers took"),
    Family("http_refused_total", "counter", ("status",), "Requests that the API refused: 401, 403 or 429"),
)
"""What there is of the daemon."""

OF_PROCESS = (
    Family("process_virtual_memory_bytes", "gauge", (), "Virtual memory size in bytes"),
    Family("process_resident_memory_bytes", "gauge", (), "Resident memory size in bytes"),
    Family("process_start_time_seconds", "gauge", (), "When the process started, in seconds since 1970"),
    Family("process_cpu_seconds_total", "counter", (), "User and system CPU time spent in seconds"),
    Family("process_open_fds", "gauge", (), "Open file descriptors"),
    Family("process_max_fds", "gauge", (), "Open file descriptors that the process may have"),
)
"""What Linux says of the process; collected by prometheus-client."""

BRAKES = ("grace", "mass_death", "mass_repair", "pause", "maintenance")
"""Kinds of brakes; the check of a mass repair is left out."""

SQLSTATE_CLASSES = frozenset({
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "22",
    "23", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F",
    "40", "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
})  # fmt: skip
"""Those of PostgreSQL; a trigger may raise any other."""


def sqlstate_class(sqlstate: str | None) -> str:
    """The label of an error: ``connection`` without a SQLSTATE, ``other`` where the class is unknown."""
    if sqlstate is None:
        return "connection"
    return sqlstate[:2] if sqlstate[:2] in SQLSTATE_CLASSES else "other"
