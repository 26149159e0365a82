"""Measures of health: what a checkup found, as the numbers of one environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.adapters.metrics.instruments import Instruments, Labels
    from queuewarden.engine.upkeep.health.signs import Health

OF_SERVER = {
    "long_query_seconds": "server_longest_query_seconds",
    "blocked_seconds": "server_longest_lock_wait_seconds",
    "idle_in_transaction_seconds": "server_longest_idle_transaction_seconds",
    "slow_statement_seconds": "server_slowest_statement_mean_seconds",
    "wraparound": "server_wraparound_ratio",
    "disk_used": "server_disk_used_ratio",
}
"""Readings of an environment, and the metrics that show them."""

FIGURES = (
    "server_replication_lag_seconds",
    "server_slot_bytes",
    "server_disk_free_bytes",
    "server_certificate_end_timestamp_seconds",
)
OF_QUEUE = (
    "table_bytes",
    "table_index_bytes",
    "table_dead_rows",
    "table_bloat_ratio",
    "table_index_use_ratio",
    "table_wraparound_ratio",
    "table_last_vacuum_timestamp_seconds",
    "table_last_analyze_timestamp_seconds",
)
INDEXES = ("invalid", "duplicate", "unused", "missing")
ALL = (*OF_SERVER.values(), *FIGURES, *OF_QUEUE, "index_faults")
"""Every metric of health."""


def show(instruments: Instruments, health: Health | None) -> None:
    """Take in what the last checkup found; None: what was found is not known to hold any more."""
    found: dict[str, dict[Labels, float | None]] = {name: {} for name in ALL}
    if health is not None:
        for (metric, queue, subject), value in health.readings.items():
            kind = metric.removesuffix("_indexes")
            if metric in OF_SERVER and not subject:
                found[OF_SERVER[metric]][()] = value
            elif kind in INDEXES:
                found["index_faults"][queue, kind] = value
        for (name, queue), figure in health.figures.items():
            found[name][(queue,) if queue else ()] = figure
    for name, values in found.items():
        instruments.set(name, values)
