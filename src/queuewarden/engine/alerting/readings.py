"""Readings: the numbers that alert rules are about."""

from __future__ import annotations

from typing import Literal

Unit = Literal["seconds", "share", "number"]

_MEASURED: dict[str, str] = {
    "environment_down": "1 while the database cannot be used, else 0",
    "connection_failures": "attempts to connect or to sweep that failed in the last minute",
    "database_errors": "share (0 to 1) of checks that failed in the last ten minutes, of at least 20",
    "sweep_age_seconds": "seconds since the last good sweep, beyond INTERVAL",
    "sweep_seconds": "seconds that the last sweep took",
    "probe_seconds": "seconds of the last sweep's first round trip",
    "check_seconds": "seconds that a check worked on what it found in its last look; subject: the check",
    "lease_free": "1 while no daemon is known to hold the lease, else 0",
    "brake": "1 while a brake holds; subject: its kind",
    "waiting_jobs": "jobs that wait",
    "running_jobs": "jobs that run",
    "oldest_waiting_seconds": "seconds that the oldest job that may run has waited",
    "failed_last_hour": "jobs that failed in the last hour",
    "failure_share": "share (0 to 1) of the last hour's finished jobs that failed, of at least 5",
    "failed_in_a_row": "jobs that failed since the last one that went well, among the last 1000",
    "average_run_seconds": "seconds that the last hour's good jobs ran on average",
    "run_time_ratio": "p95 of the last hour's run times to that of the last day, of at least 20",
    "active_workers": "workers that beat",
    "silent_workers": "workers that do not beat and are not marked offline",
    "busy_ratio": "running jobs for each live worker",
    "left_over": "rows that a check found and did not mend in its last look; subject: the check",
    "set_aside": "rows whose repair violated something, in the last hour; subject: the check",
    "given_up": "jobs that this daemon sent to failed, in the last ten minutes",
    "critical_failures": "jobs of a queue marked CRITICAL that failed in the last ten minutes",
    "connections_used": "share (0 to 1) of the server's connections that are in use",
    "cache_hits": "share (0 to 1) of the database's block reads that its cache served",
    "long_query_seconds": "seconds that the longest statement of a client has run; not what maintains tables",
    "blocked_seconds": "seconds that whoever waits longest for a lock has waited",
    "idle_in_transaction_seconds": "seconds that the longest idle transaction has been idle",
    "slow_statement_seconds": "seconds that the slowest statement on a queue takes on average, of 100 calls",
    "wraparound": "share (0 to 1) of the transaction ids that is used up before the server refuses writes",
    "replication_lag_seconds": "seconds that a standby is behind; subject: the standby",
    "slot_megabytes": "megabytes of WAL kept by a replication slot that nobody reads; subject: the slot",
    "disk_used": "share (0 to 1) of the disk of the server's data that is used, where it can be seen",
    "unencrypted": "1 while the connection to the database crosses a network without TLS, else 0",
    "certificate_seconds": "seconds until the certificate ends that the server shows",
    "index_use": "share (0 to 1) of the reads of a large table that go by an index",
    "missing_indexes": "recommended indexes that a large table does not have",
    "invalid_indexes": "indexes of the queue's tables that are invalid, and that nobody builds just now",
    "duplicate_indexes": "indexes of the queue's tables that serve nothing that another one does not",
    "unused_indexes": "indexes of the queue's tables that nothing has used for a week or more",
    "autovacuum_off": "1 while autovacuum is switched off for a table of the queue, else 0",
    "dead_rows": "share (0 to 1) of dead rows, of 10000, in a table not vacuumed for an hour",
    "bloat": "share (0 to 1) of a table that is empty space, by estimate; 0 below 16 MiB of it",
    "stale_statistics": "changed rows for each row, of 10000, in a table not analyzed for a day",
    "upkeep_failed": "1 while the last run of a task failed or was killed, else 0; subject: the task",
    "upkeep_overdue_seconds": "seconds since a task should have begun; subject: the task",
    "backup_verified_age_seconds": "seconds by which the newest proven backup is older than VERIFIED_WITHIN",
    "memory_used": "share (0 to 1) of the memory that the unit or container allows this daemon",
    "channel_failing": "1 while a channel cannot be reached; subject: the channel",
    "http_errors": "share (0 to 1) of the API's answers in the last five minutes that were 5xx, of 20",
    "http_refused": "requests in the last minute that were refused (401, 403, 429)",
    "config_rejected": "1 while the last reload was refused, else 0",
}

ANOMALIES: dict[str, str | None] = {
    "no_live_worker": "waiting_jobs",
    "overbusy": "running_jobs",
    "failures": "failed_jobs",
    "oldest_waiting": "age",
    "stalled": "age",
    "threshold": "advised_seconds",
    "reset_storm": "resets",
    "drift": "faults",
    "premature_reset": None,
    "zombie": None,
    "wedged": None,
    "fight": None,
    "blocked": None,
}
"""Anomalies, each a reading of its own name while it is raised; the fact that tells how much of it there is,
None where it is there or not."""

_OF_ANOMALIES: dict[str, str] = {
    "no_live_worker": "jobs that wait while no worker beats",
    "overbusy": "running jobs, while they are more than BUSY_FACTOR for each live worker",
    "failures": "jobs that failed in the last hour, while they are more than FAILED_JOBS",
    "oldest_waiting": "seconds that the oldest job has waited, while longer than OLDEST_WAITING",
    "stalled": "seconds since a job finished, while jobs wait and that is longer than 5 min",
    "threshold": "seconds that STUCK_AFTER should be, while it is too close to real run times",
    "reset_storm": "resets in the last hour, while they are more than BRAKE_ROWS",
    "drift": "faults, while a mapping or the ledger does not fit the database",
    "premature_reset": "1 while a job is known that was reset and still being worked on; subject: the job",
    "zombie": "1 while a worker beats that is marked offline; subject: the worker",
    "wedged": "1 while a worker beats and claims nothing though jobs wait; subject: the worker",
    "fight": "1 while the application numbers a lane differently; subject: the lane",
    "blocked": "1 while a row stays locked sweep after sweep; subject: the row",
}

READINGS: dict[str, str] = _MEASURED | _OF_ANOMALIES
"""Every reading: name to what it says."""


def unit(metric: str) -> Unit:
    """What a reading is counted in: its description begins with it."""
    first = READINGS.get(metric, "").partition(" ")[0]
    return "seconds" if first == "seconds" else "share" if first == "share" else "number"
