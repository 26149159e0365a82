"""Readings: the numbers that alert rules are about."""

from __future__ import annotations

READINGS: dict[str, str] = {
    "environment_down": "1 while the database cannot be used, else 0",
    "connection_failures": "attempts to connect or to sweep that failed in the last minute",
    "database_errors": "share (0 to 1) of checks that failed in the last ten minutes, of at least 20",
    "sweep_age_seconds": "seconds since the last good sweep",
    "sweep_seconds": "seconds that the last sweep took",
    "probe_seconds": "seconds of the last sweep's first round trip",
    "check_seconds": "seconds that a check took in the last sweep; subject: the check",
    "lease_free": "1 while no daemon is known to hold the lease, else 0",
    "brake": "1 while a brake holds; subject: its kind",
    "waiting_jobs": "jobs that wait",
    "running_jobs": "jobs that run",
    "oldest_waiting_seconds": "seconds that the oldest waiting job has waited",
    "failed_last_hour": "jobs that failed in the last hour",
    "failure_share": "share (0 to 1) of the last hour's finished jobs that failed, of at least 5",
    "failed_in_a_row": "jobs that failed since the last one that went well (at most 20)",
    "average_run_seconds": "mean run time of the last hour's finished jobs",
    "run_time_ratio": "p95 of the last hour's run times to that of the last day",
    "active_workers": "workers that beat",
    "silent_workers": "workers that do not beat and are not marked offline",
    "busy_ratio": "running jobs for each live worker",
    "left_over": "rows that a check found and did not mend, in the last sweep; subject: the check",
    "set_aside": "rows whose repair violated something, in the last sweep; subject: the check",
    "given_up": "jobs that this daemon sent to failed, in the last ten minutes",
    "critical_failures": "jobs of a queue marked CRITICAL that failed in the last ten minutes",
    "connections_used": "share (0 to 1) of the server's connections that are in use",
    "cache_hits": "share (0 to 1) of the database's block reads that its cache served",
    "memory_used": "share (0 to 1) of the memory that the unit or container allows this daemon",
    "channel_failing": "1 while a channel cannot be reached; subject: the channel",
    "http_errors": "share (0 to 1) of the API's answers in the last five minutes that were 5xx, of 20",
    "http_refused": "requests in the last minute that were refused (401, 403, 429)",
    "config_rejected": "1 while the last reload was refused, else 0",
}
"""Every reading: name to what it says."""
